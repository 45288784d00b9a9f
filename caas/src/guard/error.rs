//! Why a guard answers nothing.

use std::error::Error;
use std::time::Duration;

use agent_primitives::detect::Kind;

use super::Collection;
use crate::index::IndexError;

/// Why a guard answers nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The reader may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The attempt could not be recorded, so there is no answer.
    #[error("the attempt cannot be recorded")]
    Audit {
        /// What the record said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// See [`IndexError`].
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A name that is taken.
    #[error("collection `{0}` is there already")]
    AlreadyThere(Collection),
    /// Nobody may read.
    #[error("collection `{0}` has no readers")]
    NoReaders(Collection),
    /// No answer is small enough.
    #[error("collection `{0}` allows answers of nothing")]
    NothingAllowed(Collection),
    /// No name of a collection, or of a principal.
    #[error("`{0}` is no name: 1 to 128 bytes without control characters")]
    BadName(String),
}

/// Why a reader may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There is no such collection, or it is not open to the reader. Which of the two, the reader is not told.
    #[error("there is no collection `{0}` for this reader")]
    Collection(Collection),
    /// Too many searches.
    #[error("too many searches, the next one in {} ms", .0.as_millis())]
    Rate(Duration),
    /// Too many readers at a time.
    #[error("too many readers search at a time")]
    Busy,
    /// Something in the answer must not leave, and takes the rest of the answer with it.
    #[error("the answer holds something that must not leave: {0}")]
    Content(Kind),
}

impl GuardError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied(Denied::Collection(_)) => "AK0670",
            Self::Denied(Denied::Rate(_)) => "AK0671",
            Self::Denied(Denied::Busy) => "AK0672",
            Self::Denied(Denied::Content(_)) => "AK0673",
            Self::Audit { .. } => "AK0674",
            Self::Index(error) => error.code(),
            Self::AlreadyThere(_) => "AK0675",
            Self::NoReaders(_) => "AK0676",
            Self::NothingAllowed(_) => "AK0677",
            Self::BadName(_) => "AK0678",
        }
    }
}
