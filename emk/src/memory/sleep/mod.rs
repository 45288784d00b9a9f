//! The sleep cycle: old episodes are summed up in rules, and nothing in the ledger is changed.
//!
//! A [`Plan`] is made first; making it writes nothing, and the same memory at the same time gives the same plan. Carrying
//! it out appends a rule for each cluster and a mark that the rule stands for its episodes. A crash between the two leaves
//! the episodes as they were, and the next plan makes it good. A second sleep finds nothing to do.

mod apply;
pub(crate) mod cluster;
mod plan;
mod summary;

use std::time::Duration;

pub use apply::{Skipped, Slept};
pub use plan::{Plan, PlannedRule};
pub use summary::{Medoid, Summariser, Summary};

use super::rule::MAX_RULE_SOURCES;

/// What sleep may sum up, and what it may let go.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SleepPolicy {
    /// Younger episodes stay as they are.
    pub min_age: Duration,
    /// Episodes that matter this much or more stay as they are, 0 to 101.
    pub keep_importance: u8,
    /// Failures stay as they are.
    pub keep_failures: bool,
    /// Share of stems, over 0 and up to 1, from which two episodes belong together.
    pub similarity: f64,
    /// Fewest episodes that make a rule.
    pub min_support: usize,
    /// Most episodes that one rule stands for, up to [`MAX_RULE_SOURCES`]; a larger cluster makes several rules.
    pub batch: usize,
    /// Most bytes of episodes that no rule stands for. Where there are more, age and importance no longer protect, oldest
    /// first; failures that are kept, and what is pinned, stay.
    pub max_bytes: Option<u64>,
    /// Erases episodes that a rule stands for and that are older than this. The rule stays with whatever words of theirs it
    /// repeats, which may be a whole episode's ([`Medoid`]); [`super::EpisodicMemory::redact`] takes those out too. There is no
    /// way back.
    pub erase_after: Option<Duration>,
}

impl Default for SleepPolicy {
    /// From 30 days on, below an importance of 80, no failures; clusters of 2 to 50 with half of their stems in common;
    /// no budget, and nothing is erased.
    fn default() -> Self {
        Self {
            min_age: Duration::from_secs(30 * 86_400),
            keep_importance: 80,
            keep_failures: true,
            similarity: 0.5,
            min_support: 2,
            batch: 50,
            max_bytes: None,
            erase_after: None,
        }
    }
}

impl SleepPolicy {
    /// With another age.
    #[must_use]
    pub const fn min_age(self, min_age: Duration) -> Self {
        Self { min_age, ..self }
    }

    /// With another importance that protects.
    #[must_use]
    pub const fn keep_importance(self, keep_importance: u8) -> Self {
        Self { keep_importance, ..self }
    }

    /// Sums up failures as well.
    #[must_use]
    pub const fn failures_too(self) -> Self {
        Self { keep_failures: false, ..self }
    }

    /// With another similarity; what is outside is brought to the nearer end.
    #[must_use]
    pub const fn similarity(self, similarity: f64) -> Self {
        Self { similarity: similarity.clamp(0.01, 1.0), ..self }
    }

    /// With another support; 2 at least.
    #[must_use]
    pub fn min_support(self, min_support: usize) -> Self {
        Self { min_support: min_support.clamp(2, MAX_RULE_SOURCES), ..self }
    }

    /// With a budget.
    #[must_use]
    pub const fn max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes: Some(max_bytes), ..self }
    }

    /// Erases what has been summed up, once it is this old; see [`SleepPolicy::erase_after`](#structfield.erase_after).
    #[must_use]
    pub const fn erase_after(self, age: Duration) -> Self {
        Self { erase_after: Some(age), ..self }
    }
}
