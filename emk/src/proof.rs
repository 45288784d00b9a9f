//! Proofs that travel: checked with a checkpoint alone, without the ledger.

use agent_primitives::Digest;
use serde::{Deserialize, Serialize};

use crate::merkle::{Blake3, ProofError, verify_consistency, verify_inclusion};
use crate::{Checkpoint, EntryKind, Record, chain};

/// That one record is among those a checkpoint stands for. Says nothing about the checkpoint: check its signature first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct InclusionProof {
    /// Position of the record.
    pub seq: u64,
    /// Number of its kind.
    pub kind: u8,
    /// Digest of its body.
    pub content_id: Digest,
    /// Hash of the record before it.
    pub previous: Digest,
    /// Records of the checkpoint.
    pub size: u64,
    /// From the record to the root.
    pub path: Vec<Digest>,
}

impl InclusionProof {
    /// The proof that `path` makes for a record and the one before it, in the tree of `size` leaves.
    #[must_use]
    pub const fn new(record: &Record<'_>, previous: Digest, size: u64, path: Vec<Digest>) -> Self {
        Self {
            seq: record.seq,
            kind: record.kind.number(),
            content_id: record.content_id,
            previous,
            size,
            path,
        }
    }

    /// Whether a record with this body is among those that `checkpoint` stands for.
    ///
    /// # Errors
    /// It is not, or this proof does not show it.
    pub fn verify(&self, body: &[u8], checkpoint: &Checkpoint) -> Result<(), ProofError> {
        let kind = EntryKind::from_number(self.kind).ok_or(ProofError::OutOfRange)?;
        if chain::content_id(kind, body) != self.content_id {
            return Err(ProofError::OtherBody);
        }
        if checkpoint.size != self.size {
            return Err(ProofError::OtherCheckpoint);
        }
        let leaf = chain::entry_hash(&self.previous, self.seq, kind, &self.content_id);
        verify_inclusion::<Blake3>(leaf.as_bytes(), self.seq, self.size, &self.path, &checkpoint.root)
    }
}

/// That a later checkpoint stands for everything an earlier one did, and more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsistencyProof {
    /// Records of the earlier checkpoint.
    pub old: u64,
    /// Records of the later one.
    pub new: u64,
    /// From the one to the other.
    pub path: Vec<Digest>,
}

impl ConsistencyProof {
    /// The proof that `path` makes for trees of `old` and `new` leaves.
    #[must_use]
    pub const fn new(old: u64, new: u64, path: Vec<Digest>) -> Self {
        Self { old, new, path }
    }

    /// Whether `new` continues `old`.
    ///
    /// # Errors
    /// It does not, or this proof does not show it.
    pub fn verify(&self, old: &Checkpoint, new: &Checkpoint) -> Result<(), ProofError> {
        if (old.size, new.size) != (self.old, self.new) || old.ledger != new.ledger {
            return Err(ProofError::OtherCheckpoint);
        }
        verify_consistency::<Blake3>((old.size, &old.root), (new.size, &new.root), &self.path)
    }
}
