//! Taking in what a memory has got.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use super::table::Shown;
use super::{Recall, RecallError};
use crate::episode::Episode;
use crate::memory::{Found, Mark, MemoryError, Rule, Status};
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
                self.write().add(seq, &found)?;
                // What a mark says of it comes later in the ledger; what it does to others is done now.
                if matches!(&found, Found::Episode(episode) if episode.revision().is_some()) {
                    self.look_again([seq]);
                }
            }
            EntryKind::Tombstone => self.look_again(Mark::decode(seq, &entry.body)?.seqs),
            EntryKind::Checkpoint | EntryKind::Event => {}
        }
        Ok(())
    }

    /// Shows some records, and what depends on them, as the memory says that they stand now.
    fn look_again(&self, seqs: impl IntoIterator<Item = u64>) {
        let touched: BTreeSet<u64> = seqs.into_iter().flat_map(|seq| self.memory.touched_by(seq)).collect();
        let statuses = touched.into_iter().filter_map(|seq| self.memory.status(seq));
        // Asked before the lock is taken: the memory has one of its own.
        for status in statuses.collect::<Vec<Status>>() {
            let mut index = self.write();
            // What comes later in the ledger than what is being read is looked at when it is there.
            let Ok(document) = index.document(status.seq) else { continue };
            if status.erased {
                index.forget(document);
                drop(index);
                self.forget_accesses(status.seq);
                continue;
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
}
