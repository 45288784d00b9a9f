//! What a verifier knows beforehand, and the check of a ledger's seals against it.

use std::collections::VecDeque;

use agent_primitives::Digest;

use crate::checkpoint::{Checkpoint, CheckpointError, Seal};
#[cfg(feature = "sign")]
use crate::key::PublicKey;
use crate::merkle::Accumulator;
use crate::verify::Place;
use crate::{EntryKind, Finding, Head, LedgerId, MAX_SEAL_LAG, Record, VerifyError, VerifyReport};

/// What a verifier knows of a ledger from elsewhere. The more it knows, the less can be done to the ledger unseen.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Trust {
    /// A head the ledger had.
    pub head: Option<Head>,
    /// Checkpoints of it that were anchored elsewhere.
    pub anchored: Vec<Checkpoint>,
    /// The keys that may have signed it; with none, signatures are not looked at.
    #[cfg(feature = "sign")]
    pub keys: Vec<PublicKey>,
}

impl Trust {
    /// Also this head.
    #[must_use]
    pub fn head(self, head: Head) -> Self {
        Self { head: Some(head), ..self }
    }

    /// Also these checkpoints, in any order.
    #[must_use]
    pub fn anchored(mut self, checkpoints: impl IntoIterator<Item = Checkpoint>) -> Self {
        self.anchored.extend(checkpoints);
        self
    }

    /// Only what is sealed with this key, or another one that was named.
    #[cfg(feature = "sign")]
    #[must_use]
    pub fn key(mut self, key: PublicKey) -> Self {
        self.keys.push(key);
        self
    }

    /// Whether it takes all records of a ledger to check.
    pub(crate) fn needs_all(&self) -> bool {
        #[cfg(feature = "sign")]
        if !self.keys.is_empty() {
            return true;
        }
        !self.anchored.is_empty()
    }
}

/// Checks seals as records stream by.
#[derive(Debug)]
pub(crate) struct SealVerifier {
    ledger: LedgerId,
    #[cfg(feature = "sign")]
    keys: Vec<PublicKey>,
    /// By size.
    anchored: VecDeque<Checkpoint>,
    tree: Accumulator,
    /// Records that are not in the tree yet: a seal may be of a time before them.
    pending: VecDeque<Digest>,
    last: Option<Last>,
    checkpoints: u64,
}

/// The last seal.
#[derive(Debug)]
#[cfg_attr(not(feature = "sign"), expect(dead_code, reason = "where it stands matters to its signature"))]
struct Last {
    seq: u64,
    place: Option<Place>,
    checkpoint: Checkpoint,
}

impl SealVerifier {
    /// Begins with the first record of `ledger`.
    pub(crate) fn new(ledger: &LedgerId, trust: &Trust) -> Self {
        let mut anchored = trust.anchored.clone();
        anchored.sort_by_key(|checkpoint| checkpoint.size);
        Self {
            ledger: ledger.clone(),
            #[cfg(feature = "sign")]
            keys: trust.keys.clone(),
            anchored: anchored.into(),
            tree: Accumulator::new(),
            pending: VecDeque::new(),
            last: None,
            checkpoints: 0,
        }
    }

    /// Checks a record that follows from the one before. `place` is asked for where it is a seal.
    pub(crate) fn check(
        &mut self,
        record: &Record<'_>,
        place: impl FnOnce() -> Option<Place>,
    ) -> Result<(), VerifyError> {
        if record.kind == EntryKind::Checkpoint {
            let checkpoint = self.check_seal(record)?;
            self.last = Some(Last { seq: record.seq, place: place(), checkpoint });
            self.checkpoints += 1;
        }
        self.pending.push_back(record.hash);
        if MAX_SEAL_LAG < self.pending.len() as u64 {
            self.fold_one()?;
        }
        Ok(())
    }

    fn check_seal(&mut self, record: &Record<'_>) -> Result<Checkpoint, VerifyError> {
        let found = |error: CheckpointError| VerifyError::at(record.seq, Finding::Checkpoint(error));
        let Seal { checkpoint, .. } = Seal::from_body(record.body).map_err(found)?;
        if checkpoint.ledger != self.ledger {
            return Err(found(CheckpointError::OtherLedger { found: checkpoint.ledger }));
        }
        let sealed_before = self.last.as_ref().map_or(0, |last| last.checkpoint.size);
        if checkpoint.size <= sealed_before
            || checkpoint.size < self.tree.size()
            || record.seq < checkpoint.size
        {
            return Err(found(CheckpointError::malformed("it seals other records than it can")));
        }
        // Whose signature a seal bears is looked at here, the signature itself only for the last one: it covers the rest.
        #[cfg(feature = "sign")]
        if !self.keys.is_empty() {
            checkpoint.signed_by(&self.keys).map_err(found)?;
        }
        let mut head = None;
        while self.tree.size() < checkpoint.size {
            head = self.fold_one()?;
        }
        let is_head = head.is_none_or(|head| head == checkpoint.head);
        if !is_head || self.tree.root() != checkpoint.root {
            return Err(VerifyError::at(record.seq, Finding::SealMismatch { size: checkpoint.size }));
        }
        Ok(checkpoint)
    }

    /// Takes one record into the tree, and holds what was anchored of the ledger at that size against it.
    fn fold_one(&mut self) -> Result<Option<Digest>, VerifyError> {
        let Some(hash) = self.pending.pop_front() else { return Ok(None) };
        self.tree.push(hash.as_bytes());
        let size = self.tree.size();
        while self.anchored.front().is_some_and(|anchored| anchored.size <= size)
            && let Some(anchored) = self.anchored.pop_front()
        {
            let same =
                anchored.root == self.tree.root() && anchored.head == hash && anchored.ledger == self.ledger;
            if anchored.size != size || !same {
                return Err(VerifyError::at(size - 1, Finding::AnchorMismatch { size: anchored.size }));
            }
        }
        Ok(Some(hash))
    }

    /// Ends the check.
    pub(crate) fn finish(mut self, report: VerifyReport) -> Result<VerifyReport, VerifyError> {
        while !self.anchored.is_empty() && self.fold_one()?.is_some() {}
        if let Some(anchored) = self.anchored.front() {
            let finding = Finding::RolledBack { size: anchored.size };
            return Err(VerifyError::at(report.head.count, finding));
        }
        #[cfg(feature = "sign")]
        self.check_signature(&report)?;
        let sealed = self.last.as_ref().map_or(0, |last| last.checkpoint.size);
        Ok(VerifyReport { checkpoints: self.checkpoints, sealed, ..report })
    }

    #[cfg(feature = "sign")]
    fn check_signature(&self, report: &VerifyReport) -> Result<(), VerifyError> {
        if self.keys.is_empty() || report.head.count == 0 {
            return Ok(());
        }
        let Some(Last { seq, place, checkpoint }) = &self.last else {
            return Err(VerifyError::at(report.head.count, Finding::Unsealed));
        };
        let signer = checkpoint.signature.and_then(|by| self.keys.iter().find(|key| key.id() == by.key()));
        let checked = signer.ok_or(CheckpointError::Unsigned).and_then(|key| checkpoint.verify(key));
        checked.map_err(|error| {
            let place = place.clone();
            VerifyError { seq: *seq, place, finding: Finding::Checkpoint(error) }
        })
    }
}
