//! Why a shelf refuses.

use std::io;

/// Why a shelf refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShelfError {
    /// It cannot be read, written or made: no right, no room, no disk.
    #[error("the shelf cannot be read or written")]
    Io(#[source] io::Error),
    /// It is open already, here or in another process.
    #[error("the shelf is in use, here or in another process")]
    InUse,
    /// It was written by another program, or another release of this one.
    #[error("the shelf is of format `{found}`, and this release reads `{expected}`")]
    Format {
        /// What it is.
        found: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// It does not hold what was written.
    #[error("the shelf is damaged or none: {0}")]
    Damaged(String),
    /// Its documents were made in another way than new ones would be.
    #[error(
        "the documents of the shelf were made with {what} `{held}`, not `{asked}`; use that one, or index them anew on another shelf"
    )]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// What they were made with.
        held: String,
        /// What was asked with.
        asked: String,
    },
    /// Its file was deleted or replaced while it was open. Nothing was changed.
    #[error("the file of the shelf is no longer under its name")]
    Gone,
    /// It failed before, in the middle of a change.
    #[error("the shelf has failed before, and takes nothing until it is opened again")]
    Broken,
}

impl ShelfError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "AK0620",
            Self::InUse => "AK0621",
            Self::Format { .. } => "AK0622",
            Self::Damaged(_) => "AK0623",
            Self::Mismatch { .. } => "AK0624",
            Self::Gone => "AK0625",
            Self::Broken => "AK0626",
        }
    }
}
