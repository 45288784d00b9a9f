//! Why a database cannot be opened, and what its errors mean to an agent.

use std::io;
use std::path::{Path, PathBuf};

use crate::vfs::VfsError;

/// Why a database cannot be used. For the host: it names host paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedbError {
    /// The file cannot be opened or made, or is no such database.
    #[error("cannot open the database `{}`: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The database is open already, here or in another process.
    #[error("the database `{}` is in use", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

impl RedbError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "AK0423",
            Self::InUse { .. } => "AK0424",
        }
    }

    pub(super) fn opening(path: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path: path.to_owned() },
            error => Self::Open { path: path.to_owned(), reason: error.to_string() },
        }
    }
}

/// The class of an error, for the agent. The host's log has the rest.
pub(super) fn failed(error: impl Into<redb::Error>) -> VfsError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => VfsError::NoSpace,
        redb::Error::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => VfsError::NoSpace,
        redb::Error::ValueTooLarge(_) => VfsError::TooLarge,
        error => {
            tracing::warn!(%error, "a database failed");
            VfsError::Backend
        }
    }
}
