//! Records in memory: for tests, for programs that need no audit beyond their own life, and as the yardstick.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::{self, Page, Run};
use super::{Batch, EntryIter, LedgerReader, LedgerStore};
use crate::{Entry, Head, LedgerError, LedgerId, chain};

/// Records are kept in runs of about this size, so that dropping old ones frees memory and growing never copies.
const RUN_BYTES: usize = 1 << 20;
/// How much a reader copies under the lock, and how much at first: who wants one record pays for no more than a few.
const PAGE_BYTES: usize = 64 << 10;
const FIRST_PAGE_BYTES: usize = 2 << 10;

/// What a full [`MemoryStore`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// Refuses to append.
    Refuse,
    /// Forgets the oldest records. [`LedgerReader::base`] tells how many, and what the rest chains to.
    DropOldest,
}

/// The bounds of a [`MemoryStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Most records.
    pub records: u64,
    /// Most bytes of encoded records: 81 a record, and its body. Memory in use exceeds it by at most 2 MiB, or by the
    /// largest record where that is larger.
    pub bytes: u64,
    /// What happens beyond them.
    pub when_full: WhenFull,
}

impl Default for MemoryLimits {
    /// A million records or 256 MiB, then refuse.
    fn default() -> Self {
        Self { records: 1_000_000, bytes: 256 << 20, when_full: WhenFull::Refuse }
    }
}

/// Keeps records in memory, within bounds. Clones of its reader see the same records.
#[derive(Debug)]
pub struct MemoryStore {
    ledger: LedgerId,
    limits: MemoryLimits,
    kept: Arc<Mutex<Kept>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(ledger: LedgerId, limits: MemoryLimits) -> Self {
        let genesis = Head { count: 0, hash: chain::genesis(&ledger) };
        let kept =
            Kept { base: genesis, head: genesis, bytes: 0, dropped_from_first: 0, runs: VecDeque::new() };
        Self { ledger, limits, kept: Arc::new(Mutex::new(kept)) }
    }
}

impl LedgerStore for MemoryStore {
    fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    fn head(&self) -> Head {
        lock(&self.kept).head
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        let mut kept = lock(&self.kept);
        let added = batch.frames().len() as u64;
        let fits = |records: u64, bytes: u64| {
            records + batch.count() <= self.limits.records && bytes + added <= self.limits.bytes
        };
        // A batch that an empty store could not hold must not cost the records that are there.
        let possible = match self.limits.when_full {
            WhenFull::Refuse => fits(kept.records(), kept.bytes),
            WhenFull::DropOldest => fits(0, 0),
        };
        if !possible {
            return Err(LedgerError::StoreFull { records: kept.records(), bytes: kept.bytes });
        }
        while !fits(kept.records(), kept.bytes) && kept.drop_oldest() {}
        kept.push(batch);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn erase(&mut self, seqs: &[u64]) -> Result<(), LedgerError> {
        let mut kept = lock(&self.kept);
        seqs.iter().try_for_each(|&seq| kept.check_erasable(seq))?;
        kept.erase(&seqs.iter().copied().collect());
        Ok(())
    }

    fn can_erase(&self) -> bool {
        true
    }

    fn is_immediate(&self) -> bool {
        true
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        Arc::new(MemoryReader(Arc::clone(&self.kept)))
    }
}

struct Kept {
    /// The head before the oldest record kept.
    base: Head,
    head: Head,
    /// Encoded bytes of the records kept.
    bytes: u64,
    /// Bytes at the start of the first run whose records were dropped.
    dropped_from_first: usize,
    runs: VecDeque<Run>,
}

impl Kept {
    const fn records(&self) -> u64 {
        self.head.count - self.base.count
    }

    fn push(&mut self, batch: &Batch<'_>) {
        let room = |run: &Run| run.frames.len() + batch.frames().len() <= RUN_BYTES;
        match self.runs.back_mut().filter(|run| room(run)) {
            Some(run) => run.extend(batch.frames()),
            None => {
                let room = Vec::with_capacity(batch.frames().len().max(self.next_run_bytes()));
                let mut run = Run::new(batch.first_seq(), room);
                run.extend(batch.frames());
                self.runs.push_back(run);
            }
        }
        self.bytes += batch.frames().len() as u64;
        self.head = batch.head();
    }

    /// A ledger of a few records stays small; a long one fills whole runs.
    fn next_run_bytes(&self) -> usize {
        if self.runs.is_empty() { 0 } else { RUN_BYTES }
    }

    /// Forgets the oldest record; `false` if there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(run) = self.runs.front() else { return false };
        let rest = run.frames.get(self.dropped_from_first..).unwrap_or_default();
        let Some((oldest, rest)) = frame::split_frame(rest) else { return false };
        let Some(record) = frame::records(oldest).next() else { return false };
        self.base = Head { count: record.seq + 1, hash: record.hash };
        self.bytes -= oldest.len() as u64;
        self.dropped_from_first += oldest.len();
        if rest.is_empty() {
            self.runs.pop_front();
            self.dropped_from_first = 0;
        }
        true
    }

    fn check_erasable(&self, seq: u64) -> Result<(), LedgerError> {
        if seq < self.base.count {
            return Err(LedgerError::Dropped { seq, first: self.base.count });
        }
        let entry = self
            .page(seq, FIRST_PAGE_BYTES)
            .and_then(|mut page| page.next())
            .ok_or(LedgerError::Missing { seq })?;
        if entry.kind.is_erasable() {
            return Ok(());
        }
        Err(LedgerError::NotErasable { seq, reason: "records of its kind stay" })
    }

    /// Copies the runs of the records without their bodies, so that the bytes are in no buffer of this store any more.
    fn erase(&mut self, seqs: &BTreeSet<u64>) {
        let runs = self.runs.iter_mut().filter(|run| seqs.range(run.first_seq..run.end()).next().is_some());
        for run in runs {
            let before = run.frames.len();
            run.erase(seqs);
            self.bytes -= (before - run.frames.len()) as u64;
        }
    }

    fn page(&self, from: u64, limit: usize) -> Option<Page> {
        let index = self.runs.partition_point(|run| run.end() <= from);
        self.runs.get(index)?.page(from, limit)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {} bytes, {} dropped", self.records(), self.bytes, self.base.count)
    }
}

struct MemoryReader(Arc<Mutex<Kept>>);

impl LedgerReader for MemoryReader {
    fn base(&self) -> Head {
        lock(&self.0).base
    }

    fn entries(&self, from: u64) -> Result<EntryIter, LedgerError> {
        let first = self.base().count;
        if from < first {
            return Err(LedgerError::Dropped { seq: from, first });
        }
        let (kept, page) = (Arc::clone(&self.0), Page::default());
        let entries = MemoryEntries { kept, next: from, page, page_bytes: FIRST_PAGE_BYTES };
        Ok(Box::new(entries))
    }
}

struct MemoryEntries {
    kept: Arc<Mutex<Kept>>,
    next: u64,
    page: Page,
    page_bytes: usize,
}

impl Iterator for MemoryEntries {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = match self.page.next() {
            Some(entry) => entry,
            None => {
                let kept = lock(&self.kept);
                if self.next < kept.base.count {
                    return Some(Err(LedgerError::Dropped { seq: self.next, first: kept.base.count }));
                }
                self.page = kept.page(self.next, self.page_bytes)?;
                drop(kept);
                self.page_bytes = PAGE_BYTES;
                self.page.next()?
            }
        };
        self.next = entry.seq + 1;
        Some(Ok(entry))
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    // INVARIANT: no code that can panic runs under this lock, so a poisoned one still holds whole records.
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
