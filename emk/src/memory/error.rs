//! Why a memory refuses.

use agent_primitives::{Digest, TooManyLabels};

use crate::LedgerError;
use crate::episode::EpisodeError;

/// Why an operation on a memory was refused. Unless said otherwise nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The very same episode is there already, erased or not.
    #[error("record {seq} is the same episode")]
    Duplicate {
        /// Its position.
        seq: u64,
    },
    /// Another episode of the agent says nearly the same, and such are refused.
    #[error("record {seq} says nearly the same (similarity {jaccard:.3})")]
    NearDuplicate {
        /// Its position.
        seq: u64,
        /// Share of tokens that both have.
        jaccard: f64,
    },
    /// No episode or rule stands there.
    #[error("record {seq} is no episode and no rule")]
    UnknownEpisode {
        /// The position asked for.
        seq: u64,
    },
    /// An episode points to one that is not there, or revises one of another agent.
    #[error("the field `{field}` names the episode {id}, which is not here for this agent")]
    UnknownCause {
        /// The field that points.
        field: &'static str,
        /// What it names.
        id: Digest,
    },
    /// An episode that is its own cause.
    #[error("an episode cannot be its own cause")]
    SelfCause,
    /// An episode that was recalled comes back as news.
    #[error("an episode that was recalled is not kept again")]
    Recalled,
    /// An option outside its range.
    #[error("`{what}` is 0 to 1, not `{found}`")]
    OutOfRange {
        /// Which.
        what: &'static str,
        /// What it was.
        found: f64,
    },
    /// As many episodes and rules as were allowed.
    #[error("the memory is full at {limit} episodes and rules")]
    Full {
        /// [`super::MemoryOptions::max_records`].
        limit: usize,
    },
    /// A record of the ledger is not what its kind says.
    #[error("record {seq} cannot be used: {reason}")]
    Unusable {
        /// Its position.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
    /// What is not pinned and can be summed up is not enough to meet a budget.
    #[error("{live} bytes stay in use, the budget is {budget}")]
    BudgetUnmet {
        /// Bytes of bodies that would stay.
        live: u64,
        /// Bytes that were allowed.
        budget: u64,
    },
    /// What was to be written is no episode, or no rule.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The code of a record that cannot be used; a verification finds such too.
pub(super) const UNUSABLE: &str = "AK0727";

impl MemoryError {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Duplicate { .. } => "AK0720",
            Self::UnknownEpisode { .. } => "AK0721",
            Self::UnknownCause { .. } => "AK0722",
            Self::SelfCause => "AK0723",
            Self::NearDuplicate { .. } => "AK0724",
            Self::Recalled => "AK0725",
            Self::OutOfRange { .. } => "AK0630",
            Self::Full { .. } => "AK0726",
            Self::Unusable { .. } => UNUSABLE,
            Self::BudgetUnmet { .. } => "AK0728",
            Self::Episode(error) => error.code(),
            Self::Ledger(error) => error.code(),
        }
    }

    pub(super) fn unusable(seq: u64, reason: impl std::fmt::Display) -> Self {
        Self::Unusable { seq, reason: reason.to_string() }
    }
}

impl From<TooManyLabels> for MemoryError {
    fn from(_: TooManyLabels) -> Self {
        Self::Episode(EpisodeError::TooMany {
            field: "labels",
            found: agent_primitives::MAX_LABELS + 1,
            limit: agent_primitives::MAX_LABELS,
        })
    }
}
