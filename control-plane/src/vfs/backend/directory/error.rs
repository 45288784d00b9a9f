//! Why a folder cannot be opened, and what the errors of the operating system mean to an agent.

use std::io;
use std::path::{Path, PathBuf};

use crate::vfs::VfsError;

/// Why a folder of the host cannot be used. For the host: it names host paths.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The operating system refused.
    #[error("cannot open the folder `{}`", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another [`Directory`](super::Directory) has the folder open for writing.
    #[error("the folder `{}` is in use", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds more than can be counted when it is opened.
    #[error("the folder `{}` holds more than {limit} entries", path.display())]
    TooManyEntries {
        /// The folder.
        path: PathBuf,
        /// Most entries that are counted.
        limit: u64,
    },
}

impl DirectoryError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "AK0420",
            Self::InUse { .. } => "AK0421",
            Self::TooManyEntries { .. } => "AK0422",
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// The class of an error, for the agent. What has no class goes to the host's log, where the host path may be told.
pub(super) fn classify(error: &io::Error) -> VfsError {
    match error.kind() {
        io::ErrorKind::NotFound => VfsError::NotFound,
        io::ErrorKind::PermissionDenied => VfsError::AccessDenied,
        io::ErrorKind::AlreadyExists => VfsError::Exists,
        io::ErrorKind::NotADirectory => VfsError::NotDirectory,
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => VfsError::IsDirectory,
        io::ErrorKind::StorageFull => VfsError::NoSpace,
        io::ErrorKind::QuotaExceeded => VfsError::Quota,
        io::ErrorKind::FileTooLarge => VfsError::TooLarge,
        io::ErrorKind::ReadOnlyFilesystem => VfsError::ReadOnly,
        io::ErrorKind::StaleNetworkFileHandle => VfsError::Conflict,
        io::ErrorKind::TimedOut => VfsError::Timeout,
        _ => {
            tracing::warn!(%error, "a folder of the host failed");
            VfsError::Backend
        }
    }
}
