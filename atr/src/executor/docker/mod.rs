//! Programs as containers of a Docker daemon: one container for each program, and none of them left.

mod body;
mod container;
mod daemon;
mod ended;
mod engine;
mod grants;
mod image;
mod lifeline;
mod orders;
mod owner;
mod streams;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::choice::without_fuel;
use super::session::{Cause, Control, Exit, Order, Pending, Session, Usage};
use super::{Artefact, Executor, Launch};
use crate::error::ToolError;
use crate::isolation::{GuaranteeSet, Level, Limits, Permissions};
use container::Container;
use engine::Engine;
use orders::Orders;

/// Least memory that the daemon gives a container.
const LEAST_MEMORY: u64 = 6 << 20;

/// Runs images that a Docker daemon has already, over the daemon's Unix socket and nothing else. Clones share one
/// connection.
///
/// Each program gets a container of its own, from an image named by digest; nothing is ever pulled, and no name of an agent
/// or a tool reaches a command line. The container has no network, no capability, no way to gain rights, a system call filter of
/// this crate's, a root that cannot be written to, and `/scratch`; it runs as user and group 65534 beneath docker-init. It
/// always has a `/proc` of its own processes, an empty `/sys` and a `/dev` without devices of the machine.
///
/// # Limits
/// Memory counts `/scratch` and cannot be swapped. Of processes the program has as many as its limit says; docker-init is one more.
/// A program has one processor at most, and one that has used up its processor time is killed; the daemon is asked when that
/// can have happened at the earliest, so it may have had a tenth of a second more. Should the host be gone, each single process is
/// ended by its own limit a second or two later. What a program used is not measured.
///
/// # How a program ended
/// A daemon reports one number, and docker-init adds 128 to a signal. So a code of 128 and a signal that kills counts as that
/// signal, although a program can end itself with the same number. SIGSYS counts as [`Cause::Violation`], SIGXCPU as
/// [`Cause::Cpu`]; [`Cause::Memory`] is what the daemon says of a program that failed. A program that is not in the image
/// ends with code 127, one that may not be executed with 126, and docker-init says why on standard error. What is no program of
/// this machine is handed to the image's `/bin/sh`, if it has one.
///
/// # Folders
/// A granted folder is mounted at its own path, without what is mounted beneath it. Docker cannot mount a folder so that nothing in
/// it can be executed. [`Access::Read`](crate::Access::Read) and [`Access::Write`](crate::Access::Write) are
/// therefore granted only on file systems that the host has mounted `noexec`, and refused elsewhere;
/// [`Access::Execute`](crate::Access::Execute) is always possible, read-only. Sockets, devices, folders that hold one at
/// their top, and what holds the daemon's own files are refused, and so is `/sbin`, where docker-init is.
///
/// # What is left when something goes wrong
/// Containers are removed on a thread of the connection's own, so it needs no runtime of the caller's to go on. A host that is
/// about to exit awaits [`Docker::idle`] first. What a host that died has left is removed by whoever connects next on
/// the same machine; what is left of another boot, from a minute after its deadline on. If the daemon dies, the program is
/// killed without it where the host may do so: on the daemon's machine, in its process namespace, with its rights.
///
/// # Streams
/// docker-init holds the streams as well: one that the program closes is seen to end when the container does, not before.
///
/// The daemon is trusted: whoever can answer on its socket has the rights of root anyway.
#[derive(Clone)]
pub struct Docker(Arc<Engine>);

impl Docker {
    /// Connects to the daemon behind a Unix socket, asks what it can do, and begins to remove what hosts that are gone have left.
    ///
    /// # Errors
    /// [`ToolError::ExecutorUnavailable`]: there is no daemon, it may not be talked to, or it did not answer within two seconds.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection.
    pub async fn connect(socket: impl AsRef<Path>) -> Result<Self, ToolError> {
        let engine = Engine::connect(socket.as_ref()).await;
        engine.map(Self).map_err(|reason| ToolError::unavailable(Level::Container, reason))
    }

    /// Resolves once no container of this connection is left. Programs that are to start meanwhile wait.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait and nothing else.
    pub async fn idle(&self) {
        self.0.idle().await;
    }
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Docker").field(&self.0.daemon).finish()
    }
}

impl Executor for Docker {
    fn level(&self) -> Level {
        Level::Container
    }

    fn takes(&self, artefact: &Artefact) -> bool {
        matches!(artefact, Artefact::Image { .. })
    }

    fn guarantees(&self, permissions: &Permissions, limits: &Limits) -> Result<GuaranteeSet, ToolError> {
        let refused = |reason: String| ToolError::unavailable(Level::Container, reason);
        without_fuel(Level::Container, limits)?;
        enough(limits).map_err(refused)?;
        grants::mounts(permissions, &self.0.daemon.root).map_err(refused)?;
        Ok(self.0.daemon.guarantees())
    }

    fn check(&self, artefact: &Artefact, limits: &Limits) -> Result<(), String> {
        enough(limits)?;
        match artefact {
            Artefact::Image { reference, .. } => image::unfit(&self.0, reference),
            _ => Ok(()),
        }
    }

    fn start(&self, launch: Launch) -> Pending<'_, Result<Session, ToolError>> {
        Box::pin(self.launch(launch))
    }
}

impl Docker {
    async fn launch(&self, launch: Launch) -> Result<Session, ToolError> {
        let engine = &self.0;
        let Artefact::Image { reference, argv } = &launch.artefact else {
            return Err(ToolError::unavailable(Level::Container, "it runs images only"));
        };
        let guarantees = self.guarantees(&launch.permissions, &launch.limits)?;
        let mounts = grants::mounts(&launch.permissions, &engine.daemon.root)
            .map_err(|reason| ToolError::unavailable(Level::Container, reason))?;
        launch.executions.admitted().await?;
        let place = engine.place().await?;
        let image = image::inspect(engine, reference).await?;
        let name = owner::container_name()?;
        let labels = engine.owner.labels(&launch, engine.timer.as_ref());
        let body = Box::new(body::create(&image, argv, &launch.limits, mounts, labels, &engine.daemon));

        let orders = Arc::new(Orders::default());
        let registered = launch.executions.register(Arc::clone(&orders) as Arc<dyn Control>)?;
        let leash = Leash(Arc::clone(&orders));
        let (ours, theirs) = streams::pair();
        let container = Container::new(Arc::clone(engine), name, Arc::clone(&orders), launch.limits.cpu);
        let (started, ready) = oneshot::channel();
        let (ended, exit) = oneshot::channel();
        let kept = (registered, place);
        engine.spawn(Box::pin(container.run(body, theirs, started, ended, kept)));
        ready.await.unwrap_or_else(|_| Err(ToolError::unavailable(Level::Container, LOST)))?;
        Ok(Session {
            stdin: Box::pin(ours.stdin),
            stdout: Box::pin(ours.stdout),
            stderr: Box::pin(ours.stderr),
            control: orders,
            exit: Box::pin(async move {
                let _leash = leash;
                exit.await.unwrap_or_else(|_| Exit::new(Cause::Lost(LOST.to_owned()), Usage::default()))
            }),
            guarantees,
        })
    }
}

fn enough(limits: &Limits) -> Result<(), String> {
    if limits.memory_bytes < LEAST_MEMORY {
        return Err(format!("a container has {LEAST_MEMORY} bytes of memory at least"));
    }
    Ok(())
}

const LOST: &str = "the thread that talks to the daemon has ended";

/// Kills the program when nobody waits for it any more.
struct Leash(Arc<Orders>);

impl Drop for Leash {
    fn drop(&mut self) {
        self.0.order(Order::Kill);
    }
}
