//! How good a ranking is, against what people judged to be right.
//!
//! The [metrics] are those of `trec_eval`: gains are the grades themselves (linear), a discount of `log2(rank + 1)`,
//! and whatever nobody judged counts as wrong. [`Tally`] gathers them over questions, [`randomisation_p`] tells whether two
//! systems differ by more than chance.

pub mod metrics;
mod randomisation;
mod tally;

pub use metrics::Grades;
pub use randomisation::randomisation_p;
pub use tally::{Means, Tally};

/// Why a ranking is not judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The same thing at two ranks. It would be counted twice.
    #[error("rank {second} holds what rank {first} holds")]
    Duplicate {
        /// The rank where it was seen first, from 1.
        first: usize,
        /// The rank where it was seen again.
        second: usize,
    },
}

impl EvalError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "AK0779",
        }
    }
}
