//! What a ticket asks for: whose consent, how much of it, and to what extent.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Principal;
use crate::Timestamp;

/// Most principals one quorum can ask for.
pub const MAX_QUORUM: u8 = 16;
/// Most quorums of one ticket.
pub const MAX_QUORUMS: usize = 32;

/// How often a consent holds. It is bound to one exact call in every case. Ordered from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// For one call.
    Once,
    /// For this call as often as it is made in this life of the agent, until the ticket expires.
    Task,
    /// As a task's, and it outlives a restart of the host, until the ticket expires.
    Session,
}

impl Scope {
    /// Every scope, from the least to the most.
    pub const ALL: [Self; 3] = [Self::Once, Self::Task, Self::Session];

    /// The word policies use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Task => "task",
            Self::Session => "session",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// So many of these have to agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quorum {
    /// Principals and groups whose word counts, in order of their names. Empty means every principal's does.
    approvers: Vec<Principal>,
    needed: u8,
}

impl Quorum {
    /// `needed` of `approvers`, or of any principals when that is empty. `needed` is cut to 1 to [`MAX_QUORUM`].
    #[must_use]
    pub fn new(approvers: impl IntoIterator<Item = Principal>, needed: u8) -> Self {
        let mut approvers: Vec<Principal> = approvers.into_iter().collect();
        approvers.sort();
        approvers.dedup();
        Self { approvers, needed: needed.clamp(1, MAX_QUORUM) }
    }

    /// Principals and groups whose word counts; empty means every principal's does.
    #[must_use]
    pub fn approvers(&self) -> &[Principal] {
        &self.approvers
    }

    /// How many have to agree.
    #[must_use]
    pub fn needed(&self) -> u8 {
        self.needed
    }

    /// Whether the word of a member of these groups counts.
    #[must_use]
    pub fn counts(&self, by: &Principal, groups: &[Principal]) -> bool {
        let named = |name: &Principal| self.approvers.binary_search(name).is_ok();
        self.approvers.is_empty() || named(by) || groups.iter().any(named)
    }

    /// Whether these grants, each of another principal, are enough.
    #[must_use]
    pub fn is_met(&self, grants: &[Grant]) -> bool {
        let counting = grants.iter().filter(|grant| self.counts(&grant.by, &grant.groups));
        usize::from(self.needed) <= counting.count()
    }
}

/// What a ticket asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    quorums: Vec<Quorum>,
    scope: Scope,
}

/// More quorums than a ticket can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ticket has at most {MAX_QUORUMS} quorums")]
pub struct TooManyQuorums;

impl Terms {
    /// Every one of these quorums has to be met, for `scope` at most. Without any, one principal's word is enough.
    ///
    /// # Errors
    /// More than [`MAX_QUORUMS`] different ones.
    pub fn new(quorums: impl IntoIterator<Item = Quorum>, scope: Scope) -> Result<Self, TooManyQuorums> {
        let mut quorums: Vec<Quorum> = quorums.into_iter().collect();
        quorums.sort();
        quorums.dedup();
        if quorums.is_empty() {
            quorums.push(Quorum::new([], 1));
        }
        if MAX_QUORUMS < quorums.len() { Err(TooManyQuorums) } else { Ok(Self { quorums, scope }) }
    }

    /// The quorums; at least one.
    #[must_use]
    pub fn quorums(&self) -> &[Quorum] {
        &self.quorums
    }

    /// The widest scope it can be granted for.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }
}

/// The consent of one principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "whoever grants says all of it")]
pub struct Grant {
    /// Who.
    pub by: Principal,
    /// The groups it was a member of at that time.
    pub groups: Vec<Principal>,
    /// How much it agreed to.
    pub scope: Scope,
    /// When.
    pub at: Timestamp,
}
