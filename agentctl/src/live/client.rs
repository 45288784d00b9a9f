//! The other end of the control socket.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use agent_control_plane::control::LINE_DEADLINE;
use agent_control_plane::control::protocol::{Action, Answer, MAX_GRACE_MS, Outcome, Request, VERSION};

/// Longest line of an answer that is read: the largest event, as JSON, and room.
const MAX_ANSWER: u64 = 64 << 20;

/// No kernel answers there.
#[derive(Debug)]
pub(crate) struct Unreachable(String);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

/// A connection to a kernel.
pub(crate) struct Client {
    read: BufReader<UnixStream>,
}

impl Client {
    pub(crate) fn connect(path: &Path) -> Result<Self, Unreachable> {
        let unreachable =
            |what: String| Unreachable(format!("no kernel answers at `{}`: {what}", path.display()));
        let stream = UnixStream::connect(path).map_err(|error| unreachable(error.to_string()))?;
        // Whoever can write to the folder could have put a socket of their own there.
        let peer =
            rustix::net::sockopt::socket_peercred(&stream).map_err(|error| unreachable(error.to_string()))?;
        let (own, other) = (rustix::process::geteuid(), peer.uid);
        if other != own && !other.is_root() && !own.is_root() {
            return Err(unreachable(format!("user {} listens there", other.as_raw())));
        }
        Ok(Self { read: BufReader::new(stream) })
    }

    pub(crate) fn ask(&mut self, action: &Action) -> Result<(), Unreachable> {
        let patience = match action {
            // An event may be long in coming.
            Action::Tail { .. } => None,
            Action::Shutdown { .. } => Some(LINE_DEADLINE + Duration::from_millis(MAX_GRACE_MS)),
            _ => Some(LINE_DEADLINE),
        };
        let request = Request { id: 1, action: action.clone() }.to_line();
        let stream = self.read.get_mut();
        let sent = stream
            .set_read_timeout(patience)
            .and_then(|()| stream.set_write_timeout(Some(LINE_DEADLINE)))
            .and_then(|()| stream.write_all(format!("{request}\n").as_bytes()));
        // A kernel that turns somebody away says so and closes; then its answer tells more than this.
        match sent {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(lost(&error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn next(&mut self) -> anyhow::Result<Outcome> {
        let mut line = Vec::new();
        let read =
            self.read.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut line).map_err(|error| lost(&error))?;
        if read == 0 {
            return Err(Unreachable("the kernel has closed the connection".to_owned()).into());
        }
        let answer: Answer = serde_json::from_slice(&line)?;
        anyhow::ensure!(
            answer.version == VERSION,
            "the kernel speaks version {} of the protocol",
            answer.version
        );
        Ok(answer.result)
    }
}

fn lost(error: &std::io::Error) -> Unreachable {
    Unreachable(format!("the kernel does not answer: {error}"))
}
