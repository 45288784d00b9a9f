//! Where the records of a ledger are kept.
//!
//! A store takes batches of records that are already numbered and chained, and gives them back in order. It decides
//! nothing: numbering, chaining, waiting and failing are the ledger's. The trait is open, so that a database can be a
//! store. What one must hold:
//!
//! - Each record is given back as it came: position, kind, content id, hash, body, and whether the body was erased.
//! - Records are read in order and without gaps from [`LedgerReader::base`] on; one that cannot be read is an error, never left out.
//! - A reader made at any time sees a batch once its append has returned, durable or not, also from other threads.
//! - After [`LedgerStore::sync`] everything before it survives whatever the store promises to survive, the first record to the last; what
//!   was not synced may be lost at the end only.
//! - Opened again it has the head of what is left, and goes on from there.
//! - It keeps one ledger, under its name, and takes one writer at a time.
//! - A body that was erased is given out no more, and nothing else of any record has changed.

mod erase;
pub(crate) mod frame;
pub mod fs;
mod header;
mod memory;
mod places;
#[cfg(feature = "postgres")]
mod postgres;
mod reader;
mod recover;
pub(crate) mod scan;
mod segment;

use std::sync::Arc;

pub use memory::{MemoryLimits, MemoryStore, WhenFull};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
pub use reader::{SegmentEntries, SegmentReader};
pub use recover::Recovery;
pub use segment::{SegmentOptions, SegmentStore};

use crate::{Entry, Head, LedgerError, LedgerId, Record};

/// Keeps the records of one ledger. Has one owner; reading goes through [`LedgerStore::reader`] at the same time.
pub trait LedgerStore: Send {
    /// The ledger kept here.
    fn ledger(&self) -> &LedgerId;

    /// The head of what is kept, everything of it durable.
    fn head(&self) -> Head;

    /// Writes a batch that follows the last one. May block. Records need not be durable before [`LedgerStore::sync`].
    ///
    /// # Errors
    /// Anything but `StoreFull` ends the store: the ledger drops it, since nobody knows how much was written.
    /// `StoreFull` means that nothing was.
    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError>;

    /// Makes everything appended so far durable. May block.
    ///
    /// # Errors
    /// Ends the store, as in [`LedgerStore::append`]: a sync that failed cannot be tried again.
    fn sync(&mut self) -> Result<(), LedgerError>;

    /// Erases the bodies of the records at `seqs`, durably: from what is kept and from what readers give out after this
    /// returned. Everything else of the records stays. One whose body is gone already is passed over. May block.
    ///
    /// # Errors
    /// `NotErasable` from a store that cannot, which is what this does unless a store does better, or for a record of a
    /// kind that is not; `Missing` or `Dropped` for one that is not there. After any other error every body is either
    /// whole or gone, and erasing can be tried again.
    fn erase(&mut self, seqs: &[u64]) -> Result<(), LedgerError> {
        match seqs.first() {
            Some(&seq) => Err(LedgerError::NotErasable { seq, reason: "the store cannot" }),
            None => Ok(()),
        }
    }

    /// Whether [`LedgerStore::erase`] can erase at all; always the same answer. It is asked once, before an erasure is put on
    /// record: `false`, which is what this says unless a store says otherwise, refuses every erasure beforehand.
    fn can_erase(&self) -> bool {
        false
    }

    /// Whether an append neither blocks nor needs a sync. The ledger then appends in the caller's thread.
    fn is_immediate(&self) -> bool;

    /// A reader that outlives the store and sees every batch once its append has returned.
    fn reader(&self) -> Arc<dyn LedgerReader>;
}

/// Entries in order; ends at the first error.
pub type EntryIter = Box<dyn Iterator<Item = Result<Entry, LedgerError>> + Send>;

/// Reads what a [`LedgerStore`] keeps.
pub trait LedgerReader: Send + Sync {
    /// The head before the oldest record kept: how many records were dropped, and what the next one chains to.
    fn base(&self) -> Head;

    /// The entries from position `from` on, at least those that were appended before this call.
    ///
    /// # Errors
    /// `Dropped` for a position before [`LedgerReader::base`], or whatever the store fails with.
    fn entries(&self, from: u64) -> Result<EntryIter, LedgerError>;
}

/// Consecutive records, encoded.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    first_seq: u64,
    count: u64,
    frames: &'a [u8],
    head: Head,
}

impl<'a> Batch<'a> {
    /// INVARIANT: `frames` holds whole frames of the records from `first_seq` up to `head`.
    pub(crate) const fn new(first_seq: u64, frames: &'a [u8], head: Head) -> Self {
        Self { first_seq, count: head.count - first_seq, frames, head }
    }

    /// Position of the first record.
    #[must_use]
    pub const fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Number of records, at least one.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The head after the last record.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The records as framed bytes, ready for a file.
    #[must_use]
    pub const fn frames(&self) -> &'a [u8] {
        self.frames
    }

    /// The records one by one, for a store that keeps them as rows.
    pub fn records(&self) -> impl Iterator<Item = Record<'a>> + use<'a> {
        frame::records(self.frames)
    }
}
