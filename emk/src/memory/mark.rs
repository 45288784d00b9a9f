//! Marks: what was decided about earlier records, as a record of its own. Nothing but erasure changes those.

use agent_primitives::json::{self, Limits};
use agent_primitives::redact::redact_text;
use agent_primitives::truncate::truncate_utf8;
use agent_primitives::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::MemoryError;
use crate::MAX_ERASED;
use crate::episode::Revision;

/// Longest reason in bytes; what is longer is cut.
pub const MAX_REASON_BYTES: usize = 1024;

const SCHEMA: u32 = 1;
const LIMITS: Limits = Limits { bytes: 4 << 20, depth: 8, nodes: 100_000 };

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MarkKind {
    /// The bodies are erased.
    Erased,
    /// A rule stands for them now.
    Compacted,
    /// They are hidden, and so is every rule made from them.
    Quarantined,
    /// They are hidden no longer.
    Released,
    /// No sleep touches them.
    Pinned,
    /// Sleep may touch them again.
    Unpinned,
}

/// A mark: the body of a [`crate::EntryKind::Tombstone`] record, as canonical JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Mark {
    /// Version of this form: 1.
    pub schema: u32,
    /// What it says.
    pub mark: MarkKind,
    /// About which records, in ascending order; 1 to [`MAX_ERASED`].
    pub seqs: Vec<u64>,
    /// Why, redacted.
    pub reason: String,
    /// When, by the clock of the writer.
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub timestamp: Timestamp,
    /// The rule that stands for compacted records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<u64>,
    /// What erased records did to others: it still holds, or what they had put right would be wrong again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Residue>,
}

/// The revision that an erased episode was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Residue {
    /// The erased record.
    pub seq: u64,
    /// When it was put on record.
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub recorded: Timestamp,
    /// Since when it was true.
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub valid_from: Timestamp,
    /// The episode that it corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<Digest>,
    /// The episode that it superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<Digest>,
}

impl Residue {
    pub(super) fn new(seq: u64, recorded: Timestamp, valid_from: Timestamp, revision: Revision) -> Self {
        let (corrects, supersedes) = match revision {
            Revision::Corrects(id) => (Some(id), None),
            Revision::Supersedes(id) => (None, Some(id)),
        };
        Self { seq, recorded, valid_from, corrects, supersedes }
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        self.corrects.map(Revision::Corrects).or_else(|| self.supersedes.map(Revision::Supersedes))
    }
}

impl Mark {
    pub(super) fn new(mark: MarkKind, mut seqs: Vec<u64>, reason: &str, timestamp: Timestamp) -> Self {
        seqs.sort_unstable();
        seqs.dedup();
        let reason = truncate_utf8(&redact_text(reason), MAX_REASON_BYTES).into_owned();
        Self { schema: SCHEMA, mark, seqs, reason, timestamp, rule: None, revisions: Vec::new() }
    }

    /// Reads the body of the record at `seq`.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn decode(seq: u64, body: &[u8]) -> Result<Self, MemoryError> {
        let bad = |reason: &str| MemoryError::unusable(seq, reason);
        let value = json::parse(body, &LIMITS).map_err(|error| bad(&error.to_string()))?;
        let mark: Self = serde_json::from_value(value).map_err(|_| bad("it is no mark"))?;
        let ascending = mark.seqs.is_sorted_by(|one, next| one < next);
        let earlier = mark.seqs.last().is_some_and(|&last| last < seq);
        if mark.schema != SCHEMA || !ascending || !earlier || MAX_ERASED < mark.seqs.len() {
            return Err(bad("it is a mark that cannot be"));
        }
        Ok(mark)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, MemoryError> {
        canonical(self)
    }
}

/// Canonical JSON of what this crate writes.
pub(super) fn canonical(value: &impl Serialize) -> Result<Vec<u8>, MemoryError> {
    let value = serde_json::to_value(value).map_err(|error| MemoryError::unusable(0, error))?;
    json::canonical(&value).map_err(|error| MemoryError::unusable(0, error))
}
