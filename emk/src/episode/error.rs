//! Why something is no episode.

use agent_primitives::json::JsonError;

/// Why an episode was refused. Nothing of its texts is repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodeError {
    /// A text or the metadata is too long.
    #[error("the field `{field}` has {len} bytes, the limit is {limit}")]
    FieldTooLarge {
        /// Which field.
        field: &'static str,
        /// Its bytes.
        len: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Neither a goal nor an action.
    #[error("an episode needs a goal or an action")]
    EmptyEpisode,
    /// An importance above 100.
    #[error("an importance lies within 0 and 100, not {found}")]
    InvalidImportance {
        /// The importance.
        found: u8,
    },
    /// The outcome and the failure contradict each other.
    #[error("the outcome is `{outcome}`: a failure has to say how, and a success has none")]
    InconsistentOutcome {
        /// The outcome.
        outcome: &'static str,
    },
    /// Too many tags or causes.
    #[error("the field `{field}` has {found} items, the limit is {limit}")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// How many.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// A tag or a name that is blank or has control characters.
    #[error("the field `{field}` is blank or has control characters")]
    InvalidName {
        /// Which field.
        field: &'static str,
    },
    /// A time outside the years 0 to 9999, or an end that is not after its beginning.
    #[error("the field `{field}` is no time that an episode can have")]
    InvalidTime {
        /// Which field.
        field: &'static str,
    },
    /// Metadata without a canonical form.
    #[error("the metadata cannot be kept")]
    InvalidMetadata(#[source] JsonError),
    /// Bytes that are no episode of this version.
    #[error("no episode: {reason}")]
    Malformed {
        /// Why not.
        reason: String,
    },
}

impl EpisodeError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::FieldTooLarge { .. } => "AK0710",
            Self::EmptyEpisode => "AK0711",
            Self::InvalidImportance { .. } => "AK0712",
            Self::InconsistentOutcome { .. } => "AK0713",
            Self::TooMany { .. } => "AK0714",
            Self::InvalidName { .. } => "AK0715",
            Self::InvalidTime { .. } => "AK0716",
            Self::InvalidMetadata(_) => "AK0717",
            Self::Malformed { .. } => "AK0718",
        }
    }

    pub(super) fn malformed(reason: impl std::fmt::Display) -> Self {
        Self::Malformed { reason: reason.to_string() }
    }
}
