//! The moment in which a cancelled operation still takes effect, or no longer does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vfs::VfsError;

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
