//! Proofs about a recording for someone who does not have it.
//!
//! Who is given a proof needs the checkpoint it is for, the public key that signed it, and nothing else:
//! [`Checkpoint`]`::verify`, then [`InclusionProof::verify`] or [`ConsistencyProof::verify`].

use emk::merkle::Tree;
use emk::{Checkpoint, ConsistencyProof, Entry, EntryKind, InclusionProof, LedgerError, Seal};

use agent_primitives::Digest;

use super::{RecordingError, Stored};

/// Most records a [`Prover`] takes. It keeps 69 bytes of each.
pub const MAX_PROVABLE: u64 = 1 << 24;

/// Makes proofs about a recording. It has read the recording once and keeps its hashes, so a proof costs microseconds.
#[derive(Debug)]
pub struct Prover {
    genesis: Digest,
    hashes: Vec<Digest>,
    tree: Tree,
    checkpoints: Vec<Checkpoint>,
}

impl Prover {
    /// Reads all of `entries`, which begin with the first of the ledger.
    pub(super) fn read(
        genesis: Digest,
        entries: impl Iterator<Item = Result<Entry, LedgerError>>,
    ) -> Result<Self, RecordingError> {
        let mut prover = Self { genesis, hashes: Vec::new(), tree: Tree::new(), checkpoints: Vec::new() };
        for entry in entries {
            let entry = entry?;
            if MAX_PROVABLE <= entry.seq {
                return Err(RecordingError::TooLong { limit: MAX_PROVABLE });
            }
            prover.tree.push(entry.hash.as_bytes());
            prover.hashes.push(entry.hash);
            // A seal that cannot be read is for `verify` to tell of; here it proves nothing.
            if entry.kind == EntryKind::Checkpoint
                && let Ok(seal) = Seal::from_body(&entry.body)
            {
                prover.checkpoints.push(seal.checkpoint);
            }
        }
        Ok(prover)
    }

    /// The checkpoints in the recording, oldest first.
    #[must_use]
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The first checkpoint that stands for record `seq`, if there is one yet.
    #[must_use]
    pub fn sealed_by(&self, seq: u64) -> Option<&Checkpoint> {
        let first = self.checkpoints.partition_point(|checkpoint| checkpoint.size <= seq);
        self.checkpoints.get(first)
    }

    /// That `record` is among those `checkpoint` stands for; `None` if it comes after them, or is not in the recording.
    #[must_use]
    pub fn inclusion(&self, record: &Stored, checkpoint: &Checkpoint) -> Option<InclusionProof> {
        let entry = record.entry();
        let hash = self.hashes.get(usize::try_from(entry.seq).ok()?)?;
        if *hash != entry.hash {
            return None;
        }
        let previous = match entry.seq.checked_sub(1) {
            Some(before) => *self.hashes.get(usize::try_from(before).ok()?)?,
            None => self.genesis,
        };
        let path = self.tree.inclusion(entry.seq, checkpoint.size)?;
        Some(InclusionProof::new(&entry.as_record(), previous, checkpoint.size, path))
    }

    /// That `new` stands for everything `old` does; `None` if it is the older one, or beyond the recording.
    #[must_use]
    pub fn consistency(&self, old: &Checkpoint, new: &Checkpoint) -> Option<ConsistencyProof> {
        let path = self.tree.consistency(old.size, new.size)?;
        Some(ConsistencyProof::new(old.size, new.size, path))
    }
}
