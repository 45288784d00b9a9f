//! Erasing, hiding and pinning: each is a mark in the ledger first.

use std::collections::BTreeSet;

use super::mark::{Mark, MarkKind, Residue};
use super::state::State;
use super::{EpisodicMemory, Found, MemoryError, error::UNUSABLE};
use crate::{EntryKind, Finding, Head, LedgerError, MAX_ERASED, Trust, VerifyError, VerifyReport};

impl EpisodicMemory {
    /// Erases the episode or rule at `seq`: from the store, from what is kept in memory, and from what readers give out. A
    /// rule that repeats its words goes with it; other rules made from it are [flagged](super::Status::flagged). The
    /// record keeps its place, content id and hash, so the chain still verifies and says so. Answers which records were
    /// erased. Blocks until it is done, while whole segments are written anew.
    ///
    /// There is no way back. The `reason`, of which at most [`super::MAX_REASON_BYTES`] are kept, is put on record before
    /// anything is erased; a crash in between is made good when the memory is opened again. What led to an erased episode
    /// is forgotten with it; what it corrected or superseded stays so. Erasing what is erased makes sure of it.
    ///
    /// # Errors
    /// `UnknownEpisode`; `Ledger`, with `NotErasable` and nothing done if the store cannot erase. With any other, once the
    /// reason is on record the episode is hidden whatever the store fails with, and erasing can be tried again.
    pub fn redact(&self, seq: u64, reason: &str) -> Result<Vec<u64>, MemoryError> {
        self.redact_all(&[seq], reason)
    }

    /// As [`EpisodicMemory::redact`] for several at once, which writes each segment anew only once for 4096 of them.
    ///
    /// # Errors
    /// As [`EpisodicMemory::redact`].
    pub fn redact_all(&self, seqs: &[u64], reason: &str) -> Result<Vec<u64>, MemoryError> {
        self.erase(seqs, reason, |state| {
            let mut wanted = BTreeSet::new();
            for &seq in seqs {
                state.slot(seq).ok_or(MemoryError::UnknownEpisode { seq })?;
                wanted.insert(seq);
                wanted.extend(state.quoting(seq));
            }
            Ok(wanted)
        })
    }

    /// Erases what `select` says of `seqs`, and of rules that repeat them. It is asked under the lock under which the mark
    /// is put on record, so nothing changes in between.
    pub(super) fn erase(
        &self,
        seqs: &[u64],
        reason: &str,
        select: impl FnOnce(&State) -> Result<BTreeSet<u64>, MemoryError>,
    ) -> Result<Vec<u64>, MemoryError> {
        if let (Some(&seq), false) = (seqs.first(), self.ledger().can_erase()) {
            return Err(LedgerError::NotErasable { seq, reason: "the store cannot" }.into());
        }
        let residues = self.residues(seqs)?;
        let mut state = self.state_mut();
        let wanted: Vec<u64> = select(&state)?.into_iter().collect();
        let unmarked: Vec<u64> = wanted
            .iter()
            .copied()
            .filter(|&seq| state.slot(seq).is_some_and(|slot| !slot.is_erased()))
            .collect();
        let mut last = None;
        for seqs in unmarked.chunks(MAX_ERASED) {
            let mut mark = Mark::new(MarkKind::Erased, seqs.to_vec(), reason, self.0.clock.now());
            mark.revisions =
                residues.iter().filter(|one| seqs.binary_search(&one.seq).is_ok()).cloned().collect();
            last = Some(self.put(&mut state, &mark)?);
        }
        drop(state);
        if let Some(mark) = last {
            self.ledger().durable_blocking(mark)?;
        }
        self.erase_bodies(&wanted)?;
        Ok(wanted)
    }

    /// What the episodes at `seqs` did to others.
    fn residues(&self, seqs: &[u64]) -> Result<Vec<Residue>, MemoryError> {
        let mut residues = Vec::new();
        for &seq in seqs {
            let Some(Found::Episode(episode)) = self.inspect(seq)? else { continue };
            if let Some(revision) = episode.revision() {
                residues.push(Residue::new(seq, episode.timestamp(), episode.valid_from(), revision));
            }
        }
        Ok(residues)
    }

    /// Positions of what was erased on record and whose bodies the store still has: the store failed and erasing can be tried
    /// again, or it cannot erase and the marks were made where another one could. They are hidden all the same.
    #[must_use]
    pub fn unerased(&self) -> Vec<u64> {
        self.state().unfinished.clone()
    }

    /// Erases what marks say is erased and a crash left. Where the store cannot, nobody could open the memory ever again if
    /// that were an error.
    pub(super) fn finish_erasures(&self) -> Result<(), MemoryError> {
        let unfinished = self.unerased();
        if !unfinished.is_empty() && !self.ledger().can_erase() {
            let (ledger, count) = (self.ledger().id(), unfinished.len());
            tracing::warn!(%ledger, count, "the store cannot erase what marks say is erased; it is hidden only");
            return Ok(());
        }
        self.erase_bodies(&unfinished)
    }

    fn erase_bodies(&self, seqs: &[u64]) -> Result<(), MemoryError> {
        for seqs in seqs.chunks(MAX_ERASED) {
            self.ledger().erase(seqs)?;
            self.state_mut().finished(seqs);
        }
        Ok(())
    }

    /// Hides the episode or rule at `seq` at once and everywhere, and every rule made from it. It stays in the ledger; see
    /// [`EpisodicMemory::inspect`] and [`EpisodicMemory::release`]. Blocks until that is durable.
    ///
    /// # Errors
    /// `UnknownEpisode`; `Ledger`.
    pub fn quarantine(&self, seq: u64, reason: &str) -> Result<(), MemoryError> {
        self.mark(MarkKind::Quarantined, seq, reason)
    }

    /// Shows again what was hidden.
    ///
    /// # Errors
    /// As [`EpisodicMemory::quarantine`].
    pub fn release(&self, seq: u64, reason: &str) -> Result<(), MemoryError> {
        self.mark(MarkKind::Released, seq, reason)
    }

    /// Keeps sleep from touching the episode at `seq`.
    ///
    /// # Errors
    /// As [`EpisodicMemory::quarantine`].
    pub fn pin(&self, seq: u64, reason: &str) -> Result<(), MemoryError> {
        self.mark(MarkKind::Pinned, seq, reason)
    }

    /// Lets sleep touch it again.
    ///
    /// # Errors
    /// As [`EpisodicMemory::quarantine`].
    pub fn unpin(&self, seq: u64, reason: &str) -> Result<(), MemoryError> {
        self.mark(MarkKind::Unpinned, seq, reason)
    }

    fn mark(&self, kind: MarkKind, seq: u64, reason: &str) -> Result<(), MemoryError> {
        let mut state = self.state_mut();
        state.slot(seq).ok_or(MemoryError::UnknownEpisode { seq })?;
        let mark = Mark::new(kind, vec![seq], reason, self.0.clock.now());
        let at = self.put(&mut state, &mark)?;
        drop(state);
        Ok(self.ledger().durable_blocking(at)?)
    }

    /// Puts a mark on record and does what it says. Answers where it stands.
    pub(super) fn put(&self, state: &mut State, mark: &Mark) -> Result<u64, MemoryError> {
        let appended = self.append_patiently(EntryKind::Tombstone, &mark.encode()?)?;
        state.apply(mark);
        Ok(appended.seq)
    }

    /// Checks the ledger as [`crate::Ledger::verify`] does, and that every body that is gone was erased on record: bodies that
    /// somebody took out of the files are found.
    ///
    /// # Errors
    /// The first finding; `Body` for a body that is gone without a mark, or a mark that cannot be read.
    pub fn verify(
        &self,
        expected: Option<Head>,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let mut unexplained: BTreeSet<u64> = BTreeSet::new();
        let body = |reason: String| Finding::Body { code: UNUSABLE, reason };
        let trust = Trust { head: expected, ..Trust::default() };
        let report = self.ledger().verify_against(
            None,
            &trust,
            |record| {
                if record.erased {
                    unexplained.insert(record.seq);
                } else if record.kind == EntryKind::Tombstone {
                    let mark =
                        Mark::decode(record.seq, record.body).map_err(|error| body(error.to_string()))?;
                    if mark.mark == MarkKind::Erased {
                        for seq in &mark.seqs {
                            unexplained.remove(seq);
                        }
                    }
                }
                Ok(())
            },
            progress,
        )?;
        match unexplained.first() {
            Some(&seq) => {
                let finding = body("its body is gone and no mark says why".to_owned());
                Err(VerifyError { seq, place: None, finding })
            }
            None => Ok(report),
        }
    }
}
