//! The ledger: numbers and chains records, and says when they are durable.

mod buffer;
mod committer;
mod entries;
mod seals;
mod shared;
mod wait;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use agent_primitives::Digest;

pub use entries::Entries;
pub use seals::{
    AnchorStatus, MAX_ANCHORS, MAX_SEAL_LAG, MAX_SEAL_RECORDS, MAX_UNANCHORED, SealStatus, Sealing,
};

use crate::store::LedgerStore;
use crate::{
    Appended, ChainVerifier, EntryKind, Finding, Head, LedgerError, LedgerId, MAX_BODY_BYTES, Record,
    VerifyError, VerifyReport, chain,
};
use seals::Seals;
use shared::Shared;

use crate::trust::{SealVerifier, Trust};

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced to the disk, starting at once after each append. Records that arrive during a sync share the next one.
    Always,
    /// Synced to the disk, starting as soon as someone waits, and after this window when nobody does.
    Group(Duration),
    /// Handed to the operating system: survives the end of the process, not a power cut. Before bodies are erased everything
    /// is synced, so that the record of why is not lost.
    Os,
}

impl Durability {
    /// The window of [`Durability::default`]: what an append that nobody waits for may lose in a crash.
    pub const DEFAULT_WINDOW: Duration = Duration::from_millis(2);

    const fn window(self) -> Duration {
        match self {
            Self::Always => Duration::ZERO,
            Self::Group(window) => window,
            Self::Os => Self::DEFAULT_WINDOW,
        }
    }
}

impl Default for Durability {
    /// `Group` with 2 ms.
    fn default() -> Self {
        Self::Group(Self::DEFAULT_WINDOW)
    }
}

/// How a [`Ledger`] treats records between their append and the disk. Stores that are immediate ignore it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerOptions {
    /// When a record counts as durable.
    pub durability: Durability,
    /// Most bytes of records that wait for the disk. Beyond it an append is refused with `Full`; a single record is
    /// taken whatever its size as long as nothing else waits.
    pub max_buffered_bytes: usize,
}

impl Default for LedgerOptions {
    /// `Group` with 2 ms, 32 MiB.
    fn default() -> Self {
        Self { durability: Durability::default(), max_buffered_bytes: 32 << 20 }
    }
}

/// Most bodies that one call erases.
pub const MAX_ERASED: usize = 4096;

/// An append-only, hash-chained sequence of records. Clones are handles to one ledger.
///
/// A failed write poisons the ledger: that append, everything not yet durable and everything after it is refused
/// with the same error until the store is opened again.
///
/// Dropping the last handle writes what is buffered and waits for it, like [`Ledger::close`] but without a result.
#[derive(Clone)]
pub struct Ledger(Arc<Owner>);

impl Ledger {
    /// Goes on with the ledger in `store`. Starts a thread that writes, unless the store is immediate.
    ///
    /// # Errors
    /// `Io` if the thread cannot be started.
    pub fn open(store: impl LedgerStore + 'static, options: LedgerOptions) -> Result<Self, LedgerError> {
        Self::open_with(Box::new(store), options, None)
    }

    /// As [`Ledger::open`], with a ledger that seals itself from now on, after the seals that it has. Records without a
    /// seal are sealed with the next ones; where no seal is found all of them are read. The last checkpoint is handed to the
    /// anchors again, whether they have it or not; one that fails shows in [`Ledger::seals`] only. Blocks on them.
    ///
    /// # Errors
    /// As [`Ledger::open`]; `BadCheckpoint` if the last seal does not fit the records; `Dropped` if the store has no seal
    /// and no longer has all records.
    pub fn open_sealed(
        store: impl LedgerStore + 'static,
        options: LedgerOptions,
        sealing: Sealing,
    ) -> Result<Self, LedgerError> {
        let seals = Seals::resume(sealing, store.reader().as_ref(), store.head())?;
        Self::open_with(Box::new(store), options, Some(seals))
    }

    fn open_with(
        store: Box<dyn LedgerStore>,
        options: LedgerOptions,
        seals: Option<Seals>,
    ) -> Result<Self, LedgerError> {
        let (shared, background) = Shared::new(store, options, seals);
        let committer = match background {
            Some(store) => Some(committer::spawn(Arc::clone(&shared), store)?),
            None => None,
        };
        Ok(Self(Arc::new(Owner { shared, committer: Mutex::new(committer) })))
    }

    /// The name of the ledger.
    #[must_use]
    pub fn id(&self) -> &LedgerId {
        self.0.shared.id()
    }

    /// Appends a record and returns its place in the chain. Never blocks on a disk.
    ///
    /// The record can be read at once; it is durable when [`Ledger::durable`] says so.
    ///
    /// A host appends `Event`, or `Episode` where the body may have to be erased. The ledger does not look into bodies: where
    /// a memory is to be opened over it, episodes, rules and tombstones are for the memory to write.
    ///
    /// # Errors
    /// Nothing was appended: `NotAppendable` for a `Checkpoint`, which would have the ledger fail its verification; `TooLarge`, `Full` (try again once something is durable), `StoreFull`, `Closed`, or the
    /// `Io` or `Stopped` that poisoned the ledger.
    pub fn append(&self, kind: EntryKind, body: &[u8]) -> Result<Appended, LedgerError> {
        if kind == EntryKind::Checkpoint {
            return Err(LedgerError::NotAppendable { kind });
        }
        // The body is hashed before the lock is taken; under it only the chain link is computed.
        self.append_hashed(kind, chain::content_id(kind, body), body)
    }

    /// As [`Ledger::append`], for who has the content id already. INVARIANT: it is that of the body and kind.
    pub(crate) fn append_hashed(
        &self,
        kind: EntryKind,
        content_id: Digest,
        body: &[u8],
    ) -> Result<Appended, LedgerError> {
        if MAX_BODY_BYTES < body.len() {
            return Err(LedgerError::TooLarge { len: body.len(), limit: MAX_BODY_BYTES });
        }
        self.0.shared.append(kind, content_id, body)
    }

    /// Erases the bodies of the records at `seqs`, at most [`MAX_ERASED`]: of episodes and rules, no other kind. Their places,
    /// kinds, content ids and hashes stay, so the chain, its seals and its proofs hold, and [`VerifyReport::redacted`] counts
    /// them. Once this returned no reader gives a body out, also one that was at work before; what entries hold that were given
    /// out earlier is for their owners to drop. Blocks, while whole segments are written anew.
    ///
    /// There is no way back, and nothing here says why: [`crate::memory::EpisodicMemory::redact`] puts it on record first.
    ///
    /// # Errors
    /// `NotErasable`, of any record where [`Ledger::can_erase`] says no; `Unknown` or `Dropped`; and nothing was erased.
    /// `Closed`; whatever the store failed with, when some bodies may be gone and erasing can be tried again.
    pub fn erase(&self, seqs: &[u64]) -> Result<(), LedgerError> {
        if let Some(&seq) = seqs.get(MAX_ERASED) {
            return Err(LedgerError::NotErasable { seq, reason: "too many at once" });
        }
        if let (Some(&seq), false) = (seqs.first(), self.can_erase()) {
            return Err(LedgerError::NotErasable { seq, reason: "the store cannot" });
        }
        for &seq in seqs {
            let unknown = || LedgerError::Unknown { seq, count: self.head().count };
            let entry = self.read(seq).next().ok_or_else(unknown)??;
            if !entry.kind.is_erasable() {
                return Err(LedgerError::NotErasable { seq, reason: "records of its kind stay" });
            }
        }
        match seqs.iter().max() {
            Some(&last) => {
                self.durable_blocking(last)?;
                self.0.shared.erase(seqs.to_vec())
            }
            None => Ok(()),
        }
    }

    /// Whether the store can erase bodies: all stores here can, one of a host's need not.
    #[must_use]
    pub fn can_erase(&self) -> bool {
        self.0.shared.can_erase()
    }

    /// Appends a record whose body was erased elsewhere, for a copy of a ledger.
    pub(crate) fn append_erased(&self, kind: EntryKind, content_id: Digest) -> Result<Appended, LedgerError> {
        if !kind.is_erasable() {
            let seq = self.head().count;
            return Err(LedgerError::NotErasable { seq, reason: "records of its kind stay" });
        }
        self.0.shared.append_erased(kind, content_id)
    }

    /// Waits until the record `seq`, and so every record before it, is durable. Needs no runtime.
    ///
    /// # Errors
    /// `Unknown` for a record that was never appended; `Io` or `Stopped` if the ledger was poisoned first.
    ///
    /// # Cancel safety
    /// Dropping the future only forgets the wait. The record stays appended and becomes durable all the same.
    pub async fn durable(&self, seq: u64) -> Result<(), LedgerError> {
        self.0.shared.request(seq)?;
        self.0.shared.wait(seq).await
    }

    /// As [`Ledger::durable`], blocking the thread.
    ///
    /// # Errors
    /// As [`Ledger::durable`].
    pub fn durable_blocking(&self, seq: u64) -> Result<(), LedgerError> {
        self.0.shared.request(seq)?;
        wait::block_on(self.0.shared.wait(seq))
    }

    /// Blocks until everything appended so far is durable.
    ///
    /// # Errors
    /// `Io` or `Stopped` if the ledger was poisoned first.
    pub fn flush(&self) -> Result<(), LedgerError> {
        match self.head().count.checked_sub(1) {
            Some(last) => self.durable_blocking(last),
            None => Ok(()),
        }
    }

    /// Makes everything appended so far durable and seals it, if the ledger seals itself, and the seal durable too. Blocks,
    /// on anchors as well. Does nothing where everything is sealed.
    ///
    /// # Errors
    /// As [`Ledger::flush`]. An anchor that fails shows in [`Ledger::seals`] only.
    pub fn seal(&self) -> Result<(), LedgerError> {
        self.flush()?;
        self.0.shared.seal();
        self.flush()
    }

    /// How far the seals and their anchors have come; `None` if the ledger does not seal itself.
    #[must_use]
    pub fn seals(&self) -> Option<SealStatus> {
        self.0.shared.seals.as_ref().map(Seals::status)
    }

    /// Refuses further appends on every handle, seals what was not sealed, writes what is buffered, ends the thread and with it the store, so that
    /// its directory can be opened again. Blocks meanwhile. Reading still works; closing again does nothing.
    ///
    /// # Errors
    /// `Io` or `Stopped` if something appended did not become durable.
    pub fn close(&self) -> Result<(), LedgerError> {
        self.0.close();
        self.flush()
    }

    /// The head, with every record appended so far, durable or not.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.shared.head()
    }

    /// How many records, from the first one on, are durable. At most the count of [`Ledger::head`].
    #[must_use]
    pub fn durable_count(&self) -> u64 {
        self.0.shared.durable_count()
    }

    /// The head before the oldest record that the store still has. Its count is the number of records dropped.
    #[must_use]
    pub fn base(&self) -> Head {
        self.0.shared.reader().base()
    }

    /// The entries from position `from` up to the head at the time of the call, including those not yet durable.
    ///
    /// Blocks on the disk while iterating; the first entry costs a scan of the segment it lies in. Positions at or beyond the head give nothing; a position that was dropped
    /// gives `Dropped`.
    #[must_use]
    pub fn read(&self, from: u64) -> Entries {
        Entries::new(Arc::clone(&self.0.shared), from)
    }

    /// Checks every record from `from` up to the head at the time of the call. Blocks on the disk.
    ///
    /// Without `from` it starts at [`Ledger::base`]. A `from` is a head that the caller trusts, such as the last one
    /// anchored elsewhere: its record has to be there unchanged, and earlier ones are not read again. `expected` is a
    /// head that must be met at or after the start; records may follow it. `progress` hears the number of records
    /// known to be good every 4096 records and at the end.
    ///
    /// # Errors
    /// The first finding, with the position of the record that broke. What lies on the disk is also checked for
    /// damaged bytes, but [`crate::SegmentReader::verify`] says where in which file.
    pub fn verify(
        &self,
        from: Option<Head>,
        expected: Option<Head>,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let trust = Trust { head: expected, ..Trust::default() };
        self.verify_against(from, &trust, |_| Ok(()), progress)
    }

    /// As [`Ledger::verify`], against everything that is known from elsewhere. Seals are checked if it starts with the
    /// first record. `also` is asked about every record that follows from the one before, and may have a finding of its
    /// own.
    ///
    /// # Errors
    /// As [`Ledger::verify`]; `HeadDropped` if keys or anchored checkpoints are given and it does not start with the first
    /// record.
    pub fn verify_against(
        &self,
        from: Option<Head>,
        trust: &Trust,
        mut also: impl FnMut(&Record<'_>) -> Result<(), Finding>,
        mut progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let base = self.base();
        let start = from.unwrap_or(base);
        self.check_anchor(start, base)?;
        let mut seals = (start.count == 0).then(|| SealVerifier::new(self.id(), trust));
        if seals.is_none() && trust.needs_all() {
            return Err(VerifyError::at(start.count, Finding::HeadDropped));
        }
        let mut verifier = ChainVerifier::new(start, trust.head);
        for entry in self.read(start.count) {
            let seq = verifier.head().count;
            let entry = entry.map_err(|error| VerifyError::at(seq, Finding::Unreadable(error)))?;
            let record = entry.as_record();
            verifier.check(&record)?;
            if let Some(seals) = &mut seals {
                seals.check(&record, || None)?;
            }
            also(&record).map_err(|finding| VerifyError::at(seq, finding))?;
            if (seq + 1).is_multiple_of(crate::verify::PROGRESS_EVERY) {
                progress(seq + 1);
            }
        }
        progress(verifier.head().count);
        let report = verifier.finish()?;
        match seals {
            Some(seals) => seals.finish(report),
            None => Ok(report),
        }
    }

    /// Whether the record of the trusted head `anchor` is there and has its hash.
    fn check_anchor(&self, anchor: Head, base: Head) -> Result<(), VerifyError> {
        let mismatch = |seq| Err(VerifyError::at(seq, Finding::HeadMismatch));
        if anchor.count == base.count {
            return if anchor == base { Ok(()) } else { mismatch(anchor.count.saturating_sub(1)) };
        }
        let Some(seq) = anchor.count.checked_sub(1).filter(|_| base.count < anchor.count) else {
            return Err(VerifyError::at(anchor.count, Finding::HeadDropped));
        };
        match self.read(seq).next() {
            Some(Ok(entry)) if entry.hash == anchor.hash => Ok(()),
            Some(Ok(_)) => mismatch(seq),
            Some(Err(error)) => Err(VerifyError::at(seq, Finding::Unreadable(error))),
            None => Err(VerifyError::at(self.head().count, Finding::Truncated { expected: anchor.count })),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("id", self.id()).field("head", &self.head()).finish_non_exhaustive()
    }
}

/// What all handles share; ends the thread when the last of them goes.
struct Owner {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn close(&self) {
        self.shared.close();
        let mut committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
        // A waker that drops the last handle runs on the thread itself, which cannot wait for its own end.
        let Some(thread) = committer.take_if(|thread| thread.thread().id() != std::thread::current().id())
        else {
            return;
        };
        // A thread that panicked has poisoned the ledger, so its result says nothing new.
        let _ = thread.join();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}
