//! Why a recall is refused.

use agent_primitives::search::EmbedError;

use crate::memory::MemoryError;

use super::query::{MAX_FILTER_NAMES, MAX_RECALL};

/// Why something was not recalled, or not made recallable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecallError {
    /// Nothing, or too much, was asked for.
    #[error("a recall is of 1 to {MAX_RECALL} episodes, not `{k}`")]
    InvalidLimit {
        /// How many were asked for.
        k: usize,
    },
    /// A question longer than [`MAX_QUERY_BYTES`](super::MAX_QUERY_BYTES), or goal and action than twice that.
    #[error("a question of {len} bytes, the limit is {limit}")]
    QueryTooLarge {
        /// Its bytes.
        len: usize,
        /// Most bytes of such a question.
        limit: usize,
    },
    /// More than [`MAX_FILTER_NAMES`] in one part of a filter.
    #[error("a filter names {found} {what}, the limit is {MAX_FILTER_NAMES}")]
    FilterTooLarge {
        /// Of what there are too many.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A number outside its range.
    #[error("`{what}` is 0 to 1, not `{found}`")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it was.
        found: f64,
    },
    /// A vector of another length than the first one had.
    #[error("a vector of {found} dimensions, not {expected}")]
    DimensionMismatch {
        /// Length of the vectors held.
        expected: usize,
        /// Length of this one.
        found: usize,
    },
    /// A vector without direction.
    #[error("a vector of zeros has no direction")]
    ZeroVector,
    /// A component of a vector that is infinite or no number.
    #[error("a component of a vector is not a finite number")]
    NonFinite,
    /// A vector of another model than the first one had: the two have nothing to do with each other.
    #[error("a vector of the model `{found}`, those held are of `{expected}`")]
    ModelMismatch {
        /// The model of the vectors held.
        expected: String,
        /// The model of this one.
        found: String,
    },
    /// The embedder failed. What was embedded before stays.
    #[error("no vector: {0}")]
    Embed(#[from] EmbedError),
    /// An episode that is not in the index.
    #[error("episode {seq} is not indexed")]
    NotIndexed {
        /// The episode asked for.
        seq: u64,
    },
    /// The memory cannot be read.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The index holds as many episodes as it may.
    #[error("the index is full at {limit} episodes")]
    IndexFull {
        /// How many it may hold.
        limit: usize,
    },
}

impl RecallError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidLimit { .. } => "AK0730",
            Self::QueryTooLarge { .. } => "AK0731",
            Self::FilterTooLarge { .. } => "AK0732",
            Self::OutOfRange { .. } => "AK0733",
            Self::DimensionMismatch { .. } => "AK0734",
            Self::ZeroVector => "AK0735",
            Self::NonFinite => "AK0736",
            Self::ModelMismatch { .. } => "AK0737",
            Self::Embed(error) => error.code(),
            Self::NotIndexed { .. } => "AK0738",
            Self::IndexFull { .. } => "AK0739",
            Self::Memory(error) => error.code(),
        }
    }
}
