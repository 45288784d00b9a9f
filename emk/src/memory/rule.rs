//! Rules: what many episodes come to, as one record.

use std::collections::BTreeSet;
use std::fmt;

use agent_primitives::json::{self, Limits};
use agent_primitives::{AgentId, Digest, LabelSet, Timestamp};
use serde::{Deserialize, Serialize};

use super::MemoryError;
use super::mark::canonical;
use crate::EntryKind;
use crate::chain;
use crate::episode::{MAX_TEXT_BYTES, Outcome, Source};

/// Most episodes that one rule is made from.
pub const MAX_RULE_SOURCES: usize = 1024;

const SCHEMA: u32 = 1;
const LIMITS: Limits = Limits { bytes: 1 << 20, depth: 8, nodes: 16_384 };

/// What a number of episodes of one agent come to: the body of a [`EntryKind::Rule`] record, as canonical JSON.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Version of this form: 1.
    pub schema: u32,
    /// Whose experience it is.
    pub agent_id: AgentId,
    /// What it says; at most [`MAX_TEXT_BYTES`].
    pub text: String,
    /// How most of them ended; of equals the one whose name comes first, so a failure before a success.
    pub majority: Outcome,
    /// How many they are.
    pub support: u32,
    /// Lower end of the Wilson interval (95 %) of the share that ended so.
    pub confidence: f64,
    /// Their positions, in ascending order.
    pub sources: Vec<u64>,
    /// Positions of those whose words the text repeats. When one of them is erased, so is the rule.
    pub quotes: Vec<u64>,
    /// Merkle root over the hashes of their records.
    pub root: Digest,
    /// Who vouched for any of them.
    pub vouched_by: BTreeSet<Source>,
    /// The labels of all of them.
    #[serde(default, skip_serializing_if = "LabelSet::is_empty")]
    pub labels: LabelSet,
    /// When it was made.
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub timestamp: Timestamp,
}

impl Rule {
    pub(super) const SCHEMA: u32 = SCHEMA;

    /// Reads the body of the record at `seq`.
    ///
    /// # Errors
    /// `Unusable`.
    pub fn decode(seq: u64, body: &[u8]) -> Result<Self, MemoryError> {
        let bad = |reason: &str| MemoryError::unusable(seq, reason);
        let value = json::parse(body, &LIMITS).map_err(|error| bad(&error.to_string()))?;
        let rule: Self = serde_json::from_value(value).map_err(|_| bad("it is no rule"))?;
        rule.check(seq)?;
        Ok(rule)
    }

    /// Whether the rule at `seq` can be.
    pub(super) fn check(&self, seq: u64) -> Result<(), MemoryError> {
        let ascending = |seqs: &[u64]| seqs.is_sorted_by(|one, next| one < next);
        let among = self.quotes.iter().all(|quote| self.sources.binary_search(quote).is_ok());
        let can_be = self.schema == SCHEMA
            && self.text.len() <= MAX_TEXT_BYTES
            && (1..=MAX_RULE_SOURCES).contains(&self.sources.len())
            && usize::try_from(self.support).ok() == Some(self.sources.len())
            && (0.0..=1.0).contains(&self.confidence)
            && ascending(&self.sources)
            && ascending(&self.quotes)
            && among
            && self.sources.last().is_some_and(|&last| last < seq);
        if can_be { Ok(()) } else { Err(MemoryError::unusable(seq, "it is a rule that cannot be")) }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, MemoryError> {
        canonical(self)
    }

    /// The content id that the rule has as a record.
    ///
    /// # Errors
    /// `Unusable` for a confidence that is no number.
    pub fn content_id(&self) -> Result<Digest, MemoryError> {
        Ok(chain::content_id(EntryKind::Rule, &self.encode()?))
    }
}

impl fmt::Debug for Rule {
    /// Its text may repeat anything, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({} of {}, {}, from {:?})", self.support, self.agent_id, self.majority, self.sources)
    }
}
