//! What was true when, as far as it was known when.

use agent_primitives::Timestamp;

/// When something was put on record, and when it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    /// When it was put on record.
    pub(crate) recorded: Timestamp,
    /// Since when it is true.
    pub(crate) from: Timestamp,
    /// From when on it is no longer true, itself not included.
    pub(crate) to: Option<Timestamp>,
}

/// A later record about a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revised {
    /// It was never true.
    Corrected {
        /// When that was put on record.
        recorded: Timestamp,
    },
    /// It was true until then.
    Superseded {
        /// When that was put on record.
        recorded: Timestamp,
        /// Since when the later one is true.
        from: Timestamp,
    },
}

/// Whether the fact is true at `valid`, as far as was known at `known`. Times of validity are half open.
pub(crate) fn holds(
    fact: Fact,
    revisions: impl IntoIterator<Item = Revised>,
    valid: Timestamp,
    known: Timestamp,
) -> bool {
    if known < fact.recorded || valid < fact.from || fact.to.is_some_and(|to| to <= valid) {
        return false;
    }
    revisions.into_iter().all(|revision| match revision {
        Revised::Corrected { recorded } => known < recorded,
        Revised::Superseded { recorded, from } => known < recorded || valid < from,
    })
}
