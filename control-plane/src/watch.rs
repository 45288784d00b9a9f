//! Reloads the policy when its files change. Behind the feature `watch`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::kernel::{Kernel, ReloadError, Widening};
use crate::policy::PolicySet;

/// How long the files must be at rest before they are read: an editor writes a file in several steps.
pub const SETTLE: Duration = Duration::from_millis(200);
/// Longest a reload waits for files that never come to rest.
pub const MAX_UNSETTLED: Duration = Duration::from_secs(5);

/// Watches a policy, as [`PolicySet::load`](crate::policy::PolicySet::load) reads it, and reloads the kernel when it
/// changes. Dropped, it watches no more.
///
/// A policy that does not load leaves the one before in force: the kernel records that, a warning is logged, and
/// [`PolicyWatcher::last_error`] has it until a reload succeeds.
pub struct PolicyWatcher {
    shared: Arc<Shared>,
    _files: RecommendedWatcher,
}

/// Why a policy cannot be watched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The system does not tell about changes there.
    #[error("cannot watch `{path}`: {reason}")]
    Files {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl WatchError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Files { .. } => "AK0143",
        }
    }
}

#[derive(Default)]
struct Shared {
    /// Set by the system's thread, taken by the task: however many changes there are, one of them waits.
    dirty: AtomicBool,
    stopped: AtomicBool,
    changed: Notify,
    reloads: Notify,
    last_error: Mutex<Option<Arc<ReloadError>>>,
}

impl Shared {
    fn last_error(&self) -> MutexGuard<'_, Option<Arc<ReloadError>>> {
        // INVARIANT: each change is one assignment, so a poisoned value is still whole.
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyWatcher {
    /// Begins to watch `path`, a file or a folder. What it holds now is not loaded; the kernel has a policy already.
    ///
    /// Must be called within a tokio runtime: the reloads run in a task there.
    ///
    /// # Errors
    /// The system cannot watch it.
    pub fn watch(kernel: &Kernel, path: impl AsRef<Path>, widening: Widening) -> Result<Self, WatchError> {
        let path = path.as_ref().to_owned();
        let failed =
            |error: notify::Error| WatchError::Files { path: path.clone(), reason: error.to_string() };
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let mut files = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is no change of it, and the watcher itself reads. An error may have hidden a change.
            if event.is_ok_and(|event| event.kind.is_access()) {
                return;
            }
            told.dirty.store(true, Ordering::SeqCst);
            told.changed.notify_one();
        })
        .map_err(failed)?;
        // A file is replaced by renaming another over it, which only its folder is told about.
        let folder = if path.is_dir() { path.as_path() } else { folder_of(&path) };
        let depth = if path.is_dir() { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        files.watch(folder, depth).map_err(failed)?;
        tokio::spawn(follow(kernel.clone(), Arc::clone(&shared), path.clone(), widening));
        Ok(Self { shared, _files: files })
    }

    /// Why the latest change did not come into force; `None` when it did.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<ReloadError>> {
        self.shared.last_error().clone()
    }

    /// Resolves when a change has been read, whether it came into force or not. Cancel safe. A change that was read while
    /// nobody waited counts for the next who does.
    pub async fn next_reload(&self) {
        self.shared.reloads.notified().await;
    }
}

impl Drop for PolicyWatcher {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for PolicyWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyWatcher").field("last_error", &self.last_error()).finish_non_exhaustive()
    }
}

/// Reads the policy and puts it in force, unless it says what is in force already.
fn reload(kernel: &Kernel, path: &Path, widening: Widening) -> Result<u64, ReloadError> {
    match PolicySet::load(path) {
        Ok(set) if set.digest() == kernel.policy().digest() => Ok(kernel.generation()),
        Ok(set) => kernel.reload(set, widening),
        Err(errors) => Err(kernel.refused_policy(errors.into())),
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Reloads after each burst of changes, until the watcher is dropped.
async fn follow(kernel: Kernel, shared: Arc<Shared>, path: PathBuf, widening: Widening) {
    let timer = kernel.timer();
    loop {
        shared.changed.notified().await;
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        if !shared.dirty.load(Ordering::SeqCst) {
            continue;
        }
        let latest = timer.monotonic().after(MAX_UNSETTLED);
        while shared.dirty.swap(false, Ordering::SeqCst) && timer.monotonic() < latest {
            timer.sleep_until(timer.monotonic().after(SETTLE)).await;
        }
        let (reloading, from) = (kernel.clone(), path.clone());
        let reload = tokio::task::spawn_blocking(move || reload(&reloading, &from, widening));
        match reload.await {
            Ok(Ok(_generation)) => {
                kernel.policy_files(None);
                *shared.last_error() = None;
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, path = %path.display(), "the policy that changed is not in force");
                kernel.policy_files(Some(&error));
                *shared.last_error() = Some(Arc::new(error));
            }
            // The runtime is going down.
            Err(_aborted) => return,
        }
        shared.reloads.notify_one();
    }
}
