//! Why a document could not be read.

use std::time::Duration;

use crate::model::Format;

/// Why a document could not be read. Nothing of it is in any index then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// Nothing but white space.
    #[error("the document is empty")]
    Empty,
    /// More of something than [`Limits`](super::Limits) allow.
    #[error("the document has more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
    /// No text in any encoding.
    #[error("the document is binary: {why}")]
    Binary {
        /// What tells.
        why: &'static str,
    },
    /// The bytes say that it is something else than was declared.
    #[error("the document was declared to be {declared}, but its first bytes are those of {found}")]
    FormatMismatch {
        /// What it was said to be.
        declared: Format,
        /// What it is.
        found: &'static str,
    },
    /// A format that is not read, or not by this build.
    #[error("{what} is not read: {why}")]
    Unsupported {
        /// The format.
        what: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// It breaks the rules of its format so far that there is nothing to keep.
    #[error("the document is no {format}: {why}")]
    Malformed {
        /// What it should have been.
        format: Format,
        /// What the parser says, shortened.
        why: String,
    },
    /// It asks for a password.
    #[error("the document is encrypted")]
    Encrypted,
    /// Pages without a letter on them: pictures of text.
    #[error("no text on any of {pages} pages")]
    NoText {
        /// How many pages there are.
        pages: u32,
    },
    /// It took longer than it may.
    #[error("the document was not read within {limit:?}")]
    Timeout {
        /// The time there was.
        limit: Duration,
    },
    /// The parser failed in a way of its own. A defect of the parser, brought out by the document.
    #[error("the parser of {format} gave up: {why}")]
    Crashed {
        /// What was read.
        format: Format,
        /// What it said, shortened.
        why: String,
    },
    /// Threads that did not end in time are still running, so no further one is started.
    #[error(
        "{stuck} documents are still being read long after their time; no further one of this kind is begun"
    )]
    Stuck {
        /// How many.
        stuck: usize,
    },
    /// Limits that cannot be kept.
    #[error("limit `{what}` must be from 1 to {most}")]
    BadLimits {
        /// Which.
        what: &'static str,
        /// The most it may be.
        most: usize,
    },
    /// A file or folder could not be read.
    #[error("`{path}` could not be read: {why}")]
    Io {
        /// Its path beneath the folder.
        path: String,
        /// What the system said.
        why: String,
    },
    /// A path that cannot be the name of a document.
    #[error("the path `{path}` is no document id: 1 to 512 bytes of UTF-8 without control characters")]
    BadPath {
        /// The path, shortened.
        path: String,
    },
}

impl IngestError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "AK0756",
            Self::TooLarge { .. } => "AK0757",
            Self::Binary { .. } => "AK0758",
            Self::FormatMismatch { .. } => "AK0759",
            Self::Unsupported { .. } => "AK0760",
            Self::Malformed { .. } => "AK0761",
            Self::Encrypted => "AK0762",
            Self::NoText { .. } => "AK0763",
            Self::Timeout { .. } => "AK0764",
            Self::Crashed { .. } => "AK0765",
            Self::Stuck { .. } => "AK0766",
            Self::BadLimits { .. } => "AK0767",
            Self::Io { .. } => "AK0768",
            Self::BadPath { .. } => "AK0769",
        }
    }

    /// Whether the same bytes may be read another time.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::Stuck { .. } | Self::Io { .. })
    }
}

/// One line of what a library or the system says, short enough for a record.
pub(super) fn shortened(said: &dyn std::fmt::Display) -> String {
    said.to_string().chars().map(|char| if char.is_control() { ' ' } else { char }).take(200).collect()
}
