//! Stores whose operations block: they run on tokio's blocking pool, and a dropped future revokes its operation.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::{Clock, SystemClock, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::vfs::VfsError;

/// Operations of one store that run at once; others wait. Each takes a thread of tokio's blocking pool.
const MAX_IN_FLIGHT: usize = 16;

/// A store, and what its operations run by.
pub(super) struct Blocking<S> {
    store: Arc<S>,
    in_flight: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl<S: Send + Sync + 'static> Blocking<S> {
    /// `store`, by the clock of the machine.
    pub(super) fn new(store: S) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        Self { store: Arc::new(store), in_flight, clock: Arc::new(SystemClock::new()) }
    }

    pub(super) fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Runs `work` on a thread that may block, and tells it the time. It changes something only while it holds what
    /// [`Commit`] hands out, which it no longer does once this future is dropped.
    ///
    /// # Errors
    /// `Backend` without a runtime, or when `work` panics; what `work` answers.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&S, &Commit, Timestamp) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, VfsError> {
        let runtime = Handle::try_current().map_err(|_| VfsError::Backend)?;
        let turn = Arc::clone(&self.in_flight).acquire_owned().await.map_err(|_| VfsError::Backend)?;
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let commit = Commit::default();
        let _revoke = RevokeOnDrop::of(&commit);
        let done = runtime.spawn_blocking(move || {
            let result = work(&store, &commit, clock.now());
            drop(turn);
            result
        });
        done.await.map_err(|_| VfsError::Backend)?
    }
}

/// Shared by a blocking operation and the future that waits for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit(Arc<Mutex<Standing>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Wanted,
    Revoked,
}

impl Commit {
    /// Held while a change is made that others can see.
    ///
    /// # Errors
    /// `Interrupted` when nobody waits for the operation any longer.
    pub(super) fn begin(&self) -> Result<MutexGuard<'_, Standing>, VfsError> {
        let standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *standing {
            Standing::Wanted => Ok(standing),
            Standing::Revoked => Err(VfsError::Interrupted),
        }
    }
}

/// Revokes an operation when its future is dropped, after a change that is just being made.
#[derive(Debug)]
pub(super) struct RevokeOnDrop(Commit);

impl RevokeOnDrop {
    pub(super) fn of(commit: &Commit) -> Self {
        Self(commit.clone())
    }
}

impl Drop for RevokeOnDrop {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Standing::Revoked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_once_the_future_is_gone() {
        let commit = Commit::default();
        let revoke = RevokeOnDrop::of(&commit);
        drop(commit.begin().unwrap());
        drop(revoke);
        assert_eq!(commit.begin().unwrap_err(), VfsError::Interrupted);
    }

    #[test]
    fn revoking_waits_for_a_change_that_has_begun() {
        let commit = Commit::default();
        let revoke = RevokeOnDrop::of(&commit);
        let change = commit.begin().unwrap();
        let dropping = std::thread::spawn(move || drop(revoke));
        assert_eq!(*change, Standing::Wanted);
        drop(change);
        dropping.join().unwrap();
        assert_eq!(commit.begin().unwrap_err(), VfsError::Interrupted);
    }
}
