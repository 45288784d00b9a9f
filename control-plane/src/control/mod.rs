//! The control socket: how an operator reaches a kernel that runs. Behind the feature `control`, on Unix.
//!
//! ```no_run
//! # use agent_control_plane::{Kernel, Policy};
//! # async fn example(work: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let kernel = Kernel::builder().policy(Policy::deny_all()).build()?;
//! let control = kernel.serve_control("/run/agents/control.sock")?.principal(1000, "ann".parse()?);
//! tokio::join!(control.serve(), work); // the host drives it; nothing is spawned
//! # Ok(())
//! # }
//! ```
//!
//! # Who can reach it
//!
//! The socket is made in a folder that only its owner can enter, gets the mode 0600 there, and is then moved to where it is
//! to be, so that at no moment anybody else can open it. Every connection is asked for its user by the system: only the
//! user the kernel runs as, and root, are heard. The socket of a kernel that is gone is replaced, that of a live one is not.
//!
//! No agent can reach it as an agent: there is no system call that opens a socket, and nothing of the socket is in an
//! agent's tree. What runs outside of the kernel as the same user can, a child process behind a tool or an agent that is a
//! process of its own included: the system cannot tell it from the operator. Run those as another user, or in a container
//! or mount namespace in which the socket's folder is not; until they do, the folder's place is the only protection.
//!
//! # The protocol
//!
//! See [`protocol`]. Everything that changes something is on record, with the user who asked for it, before it happens.

mod answer;
mod connection;
pub mod protocol;
mod socket;
mod tail;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use agent_primitives::ticket::Principal;
use tokio::net::{UnixListener, UnixStream};

use self::connection::Connection;
use self::socket::Socket;
use crate::kernel::{Inner, Kernel};

/// Most connections that are served at once; one more is told so and closed.
pub const MAX_CONNECTIONS: usize = 32;
/// Most of them that follow the record, so that there is always room for a hand on the red button.
pub const MAX_TAILS: usize = 16;
/// How long a connection may stay silent, and how long a line may take to come or to go.
pub const LINE_DEADLINE: Duration = Duration::from_secs(30);

/// How long to rest when a connection could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Why the control socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// A kernel that is alive has its socket there.
    #[error("a kernel is alive behind `{path}`")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("`{path}` is there, and is no socket")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot make the control socket `{path}`: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ControlError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "AK0950",
            Self::NotASocket { .. } => "AK0951",
            Self::Io { .. } => "AK0952",
        }
    }
}

/// The control socket of one kernel. It is there from [`Kernel::serve_control`] on and is answered while
/// [`Control::serve`] is polled; dropped, it is taken away.
#[derive(Debug)]
#[must_use = "nobody is answered until it is served"]
pub struct Control {
    kernel: Kernel,
    socket: Socket,
    principals: BTreeMap<u32, Principal>,
}

impl Kernel {
    /// Makes a control socket at `path`. Blocks for a few operations on the file system. Beside it a file `path.lock` is
    /// made, and stays: by it a kernel knows that another one is alive.
    ///
    /// # Errors
    /// See [`ControlError`]; nothing is left behind.
    pub fn serve_control(&self, path: impl AsRef<Path>) -> Result<Control, ControlError> {
        let socket = Socket::bind(path.as_ref())?;
        Ok(Control { kernel: self.clone(), socket, principals: BTreeMap::new() })
    }
}

impl Control {
    /// Whose word it is when this user grants or refuses an approval. A user for whom this is not said can do neither.
    pub fn principal(mut self, uid: u32, principal: Principal) -> Self {
        self.principals.insert(uid, principal);
        self
    }

    /// Answers until the kernel has been shut down and the last answers are out. A kernel that has panicked is answered
    /// for: its state and its record can still be read.
    ///
    /// Must be polled within a tokio runtime whose I/O is enabled.
    ///
    /// # Errors
    /// The socket fails.
    ///
    /// # Cancel safety
    /// Dropped, it closes all connections. What was asked for and is on record has been begun, and is not undone.
    pub async fn serve(self) -> Result<(), ControlError> {
        let Self { kernel, mut socket, principals } = self;
        let listener = socket.take_listener().and_then(UnixListener::from_std);
        let listener =
            listener.map_err(|source| ControlError::Io { path: socket.path().to_owned(), source })?;
        let shared = Arc::new(Shared { kernel: kernel.clone(), principals, tails: Arc::default() });
        let mut open: Vec<Serving> = Vec::new();
        let mut down = pin!(kernel.inner().closing_done());
        let mut is_down = false;
        let mut pause: Option<Serving> = None;
        poll_fn(|context| {
            is_down = is_down || down.as_mut().poll(context).is_ready();
            let resting = pause.as_mut().is_some_and(|pause| pause.as_mut().poll(context).is_pending());
            if !is_down && !resting {
                pause = accept(&shared, &listener, &mut open, context);
            }
            // A connection that ends, or begins, may make room for another at once.
            open.retain_mut(|connection| connection.as_mut().poll(context).is_pending());
            if is_down && open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }
}

/// A connection that is served.
type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes in the connections that wait. What it returns is a rest, for when none can be accepted.
fn accept(
    shared: &Arc<Shared>,
    listener: &UnixListener,
    open: &mut Vec<Serving>,
    context: &mut Context<'_>,
) -> Option<Serving> {
    loop {
        match listener.poll_accept(context) {
            // One that is far too many gets no answer either.
            Poll::Ready(Ok(_dropped)) if 2 * MAX_CONNECTIONS <= open.len() => {}
            Poll::Ready(Ok((stream, _address))) => {
                open.push(admit(shared, stream, open.len() < MAX_CONNECTIONS));
            }
            Poll::Pending => return None,
            // The process has no descriptor left, say: those that are served are, and others come later.
            Poll::Ready(Err(error)) => {
                tracing::warn!(%error, "no connection to the control socket can be accepted");
                let mut rest = shared.inner().sleep(ACCEPT_AGAIN);
                let _pending = rest.as_mut().poll(context);
                return Some(rest);
            }
        }
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    kernel: Kernel,
    principals: BTreeMap<u32, Principal>,
    /// How many follow the record.
    tails: Arc<std::sync::atomic::AtomicUsize>,
}

impl Shared {
    fn inner(&self) -> &Inner {
        self.kernel.inner()
    }
}

fn admit(shared: &Arc<Shared>, stream: UnixStream, room: bool) -> Serving {
    let connection = Connection::new(Arc::clone(shared), stream);
    if room { Box::pin(connection.serve()) } else { Box::pin(connection.turn_away()) }
}
