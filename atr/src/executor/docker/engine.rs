//! One connection to a daemon, and the thread that everything of it runs on.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent_primitives::Timer;
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use bollard::{API_DEFAULT_VERSION, Docker};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::daemon::Daemon;
use super::owner::{OWNER, Owner};
use crate::TokioTimer;
use crate::error::ToolError;
use crate::isolation::Level;

/// How long the daemon may take to answer a question. One that takes longer counts as not there.
pub(super) const ANSWER: Duration = Duration::from_secs(2);
/// How long it may take to do something: making a container may copy its image.
pub(super) const WORK: Duration = Duration::from_secs(30);
/// Most containers at once, those being removed included. Further programs wait.
const MAX_CONTAINERS: u32 = 64;

/// Why the daemon did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It said no.
    #[error("{message}")]
    Said { status: u16, message: String },
    /// It said nothing, or nothing that is understood.
    #[error("the daemon does not answer: {0}")]
    Silent(String),
}

impl From<bollard::errors::Error> for Refusal {
    fn from(error: bollard::errors::Error) -> Self {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code, message } => {
                Self::Said { status: status_code, message }
            }
            other => Self::Silent(other.to_string()),
        }
    }
}

/// INVARIANT: everything that is sent to the daemon is sent from tasks of `runtime`, which lasts until the last of them and
/// the last user of the engine are gone. No runtime of a caller's takes part, so none can keep a container from being removed.
pub(super) struct Engine {
    runtime: Handle,
    /// Never sent on. The thread ends when it is gone.
    _alive: mpsc::Sender<Infallible>,
    pub(super) client: Docker,
    pub(super) daemon: Daemon,
    pub(super) owner: Owner,
    pub(super) timer: Arc<dyn Timer>,
    /// Keys of the create body that this daemon refuses, learnt from its refusals.
    pub(super) no_swappiness: AtomicBool,
    pub(super) no_cgroup_namespace: AtomicBool,
    places: Arc<Semaphore>,
}

impl Engine {
    pub(super) async fn connect(socket: &Path) -> Result<Arc<Self>, String> {
        let path = socket.to_str().filter(|_| socket.is_absolute());
        let path = path.ok_or("the socket is named by an absolute path in UTF-8")?.to_owned();
        let (alive, mut ended) = mpsc::channel::<Infallible>(1);
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("atr-docker".to_owned());
        let serve = move || {
            runtime.block_on(ended.recv());
        };
        thread.spawn(serve).map_err(|error| error.to_string())?;
        let timer = TokioTimer::new();
        let asked = handle.spawn(async move {
            let client = Docker::connect_with_unix(&path, WORK.as_secs(), API_DEFAULT_VERSION)?;
            within(&timer, ANSWER, async {
                let client = client.negotiate_version().await?;
                let (version, info) = (client.version().await?, client.info().await?);
                Ok((client, Daemon::new(version, info)))
            })
            .await
        });
        let asked = asked.await.map_err(|error| error.to_string())?;
        let (client, daemon) = asked.map_err(|refusal| refusal.to_string())?;
        let engine = Arc::new(Self {
            runtime: handle,
            _alive: alive,
            client,
            daemon: daemon?,
            owner: Owner::this(),
            timer: Arc::new(timer),
            no_swappiness: AtomicBool::new(false),
            no_cgroup_namespace: AtomicBool::new(false),
            places: Arc::new(Semaphore::new(MAX_CONTAINERS as usize)),
        });
        let reaper = Arc::clone(&engine);
        engine.spawn(async move { reaper.remove_what_was_left().await });
        Ok(engine)
    }

    /// Runs something on the connection's own thread, whether or not anybody waits for it.
    pub(super) fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let engine = Arc::clone(self);
        self.runtime.spawn(async move {
            let done = work.await;
            drop(engine);
            done
        })
    }

    /// Waits for the daemon to answer, for `bound` at most.
    pub(super) async fn within<T, E: Into<Refusal>>(
        &self,
        bound: Duration,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Refusal> {
        within(self.timer.as_ref(), bound, async { answer.await.map_err(Into::into) }).await
    }

    /// A place for one container, held until nothing of it is left.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, ToolError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|error| ToolError::unavailable(Level::Container, error))
    }

    pub(super) async fn idle(&self) {
        // It fails only for a semaphore that is closed, which none does.
        drop(self.places.acquire_many(MAX_CONTAINERS).await);
    }

    /// Removes a container with everything in it; one that is not there is removed already.
    pub(super) async fn remove(&self, container: &str) -> Result<(), Refusal> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        match self.within(WORK, self.client.remove_container(container, Some(options))).await {
            Err(Refusal::Said { status: 404, .. }) => Ok(()),
            other => other,
        }
    }

    async fn remove_what_was_left(&self) {
        let filters = std::collections::HashMap::from([("label", vec![OWNER])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        // What cannot be listed or removed now is left for the next connection.
        let Ok(there) = self.within(WORK, self.client.list_containers(Some(options))).await else { return };
        for container in there {
            let name = container.names.iter().flatten().next();
            let (Some(name), Some(labels), Some(id)) = (name, &container.labels, &container.id) else {
                continue;
            };
            if self.owner.may_remove(name, labels, self.timer.as_ref()) {
                let _ = self.remove(id).await;
            }
        }
    }
}

async fn within<T>(
    timer: &dyn Timer,
    bound: Duration,
    answer: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut answer = pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        () = timer.sleep_until(timer.monotonic().after(bound)) => {
            Err(Refusal::Silent(format!("not within {bound:?}")))
        }
    }
}
