//! Taking in what a memory has got.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::index::Index;
use super::table::Shown;
use super::{Recall, RecallError};
use crate::episode::Episode;
use crate::memory::{Found, Mark, MarkKind, MemoryError, Rule};
use crate::{Entry, EntryKind};

/// How many records are taken in under one lock.
const BATCH: u64 = 256;

impl Recall {
    /// Takes in what the ledger has got since the last time, and says after every 256 records how many of them are done. Every
    /// question does it by itself; a host that opens a large memory does it first, to show how far it is. Returns how many
    /// records there were.
    ///
    /// # Errors
    /// `IndexFull`; `Memory` for a record that cannot be read: nothing is answered until it can.
    pub fn follow(&self, mut progress: impl FnMut(u64)) -> Result<u64, RecallError> {
        let ledger = self.memory.ledger();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*followed).max(ledger.base().count);
        if ledger.head().count <= from {
            return Ok(0);
        }
        let mut entries = ledger.read(from);
        let mut done = 0;
        loop {
            let batch = entries.by_ref().take(BATCH as usize).collect::<Result<Vec<Entry>, _>>();
            let batch = batch.map_err(MemoryError::from)?;
            if batch.is_empty() {
                return Ok(done);
            }
            for entry in &batch {
                self.take(entry)?;
                *followed = entry.seq + 1;
            }
            done += batch.len() as u64;
            progress(done);
        }
    }

    fn take(&self, entry: &Entry) -> Result<(), RecallError> {
        let seq = entry.seq;
        match entry.kind {
            EntryKind::Episode | EntryKind::Rule => {
                if entry.erased {
                    return Ok(());
                }
                let found = match entry.kind {
                    EntryKind::Episode => {
                        Found::Episode(Box::new(Episode::decode(&entry.body).map_err(MemoryError::from)?))
                    }
                    _ => Found::Rule(Box::new(Rule::decode(seq, &entry.body)?)),
                };
                let mut index = self.write();
                index.add(seq, &found)?;
                let revised = match &found {
                    Found::Episode(episode) => episode.revision().map(|revision| revision.target()),
                    Found::Rule(_) => None,
                };
                let revised = revised.and_then(|target| self.memory.position(&target));
                [Some(seq), revised].into_iter().flatten().for_each(|seq| self.look_again(&mut index, seq));
            }
            EntryKind::Tombstone => {
                let mark = Mark::decode(seq, &entry.body)?;
                // What was revised by an episode that is now hidden is as it was before.
                let mut changed: BTreeSet<u64> = mark.seqs.iter().copied().collect();
                if matches!(mark.mark, MarkKind::Quarantined | MarkKind::Released) {
                    for marked in &mark.seqs {
                        if let Some(Found::Episode(episode)) = self.memory.inspect(*marked)? {
                            let target = episode.revision().map(|revision| revision.target());
                            changed.extend(target.and_then(|target| self.memory.position(&target)));
                        }
                    }
                }
                let mut index = self.write();
                changed.extend(index.rules());
                changed.iter().for_each(|seq| self.look_again(&mut index, *seq));
            }
            EntryKind::Checkpoint | EntryKind::Event => {}
        }
        Ok(())
    }

    /// Shows an episode or rule as the memory says it is now.
    fn look_again(&self, index: &mut Index, seq: u64) {
        let (Some(status), Ok(document)) = (self.memory.status(seq), index.document(seq)) else { return };
        if status.erased {
            index.forget(document);
            self.forget_accesses(seq);
            return;
        }
        let shown = if status.quarantined {
            Shown::Hidden
        } else if status.corrected {
            Shown::Corrected
        } else if status.compacted {
            Shown::Compacted
        } else {
            Shown::Yes
        };
        index.table.show(document, shown);
    }
}
