//! What goes wrong with a file, under the names POSIX gave it.

use std::fmt;

use agent_primitives::TooManyLabels;

use super::path::{BadPath, VfsPath};

/// Why an operation on a file did not happen.
///
/// This is the whole vocabulary of backends. It has no room for a host path, an address or a server's message: those go
/// to the host's log, and the agent is told the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum VfsError {
    /// Neither a file nor a directory is there.
    #[error("no such file or directory")]
    NotFound,
    /// The operation was called off before it took effect.
    #[error("the operation was interrupted")]
    Interrupted,
    /// The storage behind the mount failed. The host's log says how.
    #[error("the storage behind the mount failed")]
    Backend,
    /// The descriptor is not open, or not open for this.
    #[error("the descriptor is not open, or not open for this")]
    BadDescriptor,
    /// There is nothing to read yet, or no room to send, and the call does not wait.
    #[error("there is nothing to read yet, or no room to send")]
    WouldBlock,
    /// The storage or the mount does not permit this.
    #[error("access denied")]
    AccessDenied,
    /// Something is there already.
    #[error("the file exists")]
    Exists,
    /// A file stands where the path needs a directory.
    #[error("not a directory")]
    NotDirectory,
    /// A directory stands where the operation needs a file.
    #[error("is a directory")]
    IsDirectory,
    /// The path, the combination of flags, or the content for a file of this kind cannot be.
    #[error("invalid path, flags or content")]
    InvalidPath,
    /// As many descriptors are open as may be.
    #[error("too many open descriptors")]
    TooManyOpen,
    /// More bytes than one operation, or one file, may hold.
    #[error("too large")]
    TooLarge,
    /// The storage, or the mount table, is full.
    #[error("no space left")]
    NoSpace,
    /// The mount is read-only.
    #[error("read-only")]
    ReadOnly,
    /// The storage did not answer in time.
    #[error("the operation timed out")]
    Timeout,
    /// The file is no longer in the version that was expected.
    #[error("the file has changed meanwhile")]
    Conflict,
    /// The quota of the mount in bytes or files is used up.
    #[error("quota exceeded")]
    Quota,
    /// The value would carry more labels than one may, or than the storage can keep with it.
    #[error("too many labels")]
    TooManyLabels,
    /// The storage cannot do this, or cannot keep what the file would carry.
    #[error("the storage does not support this")]
    NotSupported,
    /// The message does not fit the schema of its topic.
    #[error("the message does not fit the schema of its topic")]
    InvalidData,
}

impl VfsError {
    /// The number POSIX programs know the error by on Linux.
    #[must_use]
    pub const fn errno(self) -> i32 {
        self.facts().0
    }

    /// The name POSIX gave the error.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.facts().1
    }

    /// The stable code of the error in this system.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.facts().2
    }

    const fn facts(self) -> (i32, &'static str, &'static str) {
        match self {
            Self::NotFound => (2, "ENOENT", "AK0401"),
            Self::Interrupted => (4, "EINTR", "AK0402"),
            Self::Backend => (5, "EIO", "AK0403"),
            Self::BadDescriptor => (9, "EBADF", "AK0404"),
            Self::WouldBlock => (11, "EAGAIN", "AK0405"),
            Self::AccessDenied => (13, "EACCES", "AK0406"),
            Self::Exists => (17, "EEXIST", "AK0407"),
            Self::NotDirectory => (20, "ENOTDIR", "AK0408"),
            Self::IsDirectory => (21, "EISDIR", "AK0409"),
            Self::InvalidPath => (22, "EINVAL", "AK0410"),
            Self::TooManyOpen => (24, "EMFILE", "AK0411"),
            Self::TooLarge => (27, "EFBIG", "AK0412"),
            Self::NoSpace => (28, "ENOSPC", "AK0413"),
            Self::ReadOnly => (30, "EROFS", "AK0414"),
            Self::Timeout => (110, "ETIMEDOUT", "AK0415"),
            Self::Conflict => (116, "ESTALE", "AK0416"),
            Self::Quota => (122, "EDQUOT", "AK0417"),
            Self::TooManyLabels => (7, "E2BIG", "AK0418"),
            Self::NotSupported => (95, "EOPNOTSUPP", "AK0419"),
            Self::InvalidData => (22, "EINVAL", "AK0440"),
        }
    }
}

impl From<TooManyLabels> for VfsError {
    fn from(_: TooManyLabels) -> Self {
        Self::TooManyLabels
    }
}

impl From<BadPath> for VfsError {
    fn from(_: BadPath) -> Self {
        Self::InvalidPath
    }
}

/// A [`VfsError`] and the path it concerns, as the agent sees it. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    error: VfsError,
    path: Option<VfsPath>,
}

impl PathError {
    pub(crate) fn at(path: &VfsPath, error: VfsError) -> Self {
        Self { error, path: Some(path.clone()) }
    }

    pub(crate) const fn pathless(error: VfsError) -> Self {
        Self { error, path: None }
    }

    /// What went wrong.
    #[must_use]
    pub const fn error(&self) -> VfsError {
        self.error
    }

    /// Where. `None` when the call named a descriptor that leads to no path.
    #[must_use]
    pub const fn path(&self) -> Option<&VfsPath> {
        self.path.as_ref()
    }

    /// See [`VfsError::errno`].
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.error.errno()
    }

    /// See [`VfsError::name`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.error.name()
    }

    /// See [`VfsError::code`].
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.error.code()
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "`{path}`: ")?;
        }
        self.error.fmt(f)
    }
}

impl std::error::Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_one_line_with_the_path_in_backticks() {
        let path = VfsPath::parse("/mem/working/a").unwrap();
        assert_eq!(PathError::at(&path, VfsError::Quota).to_string(), "`/mem/working/a`: quota exceeded");
        assert_eq!(PathError::pathless(VfsError::TooManyOpen).to_string(), "too many open descriptors");
    }
}
