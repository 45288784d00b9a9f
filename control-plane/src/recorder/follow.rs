//! Following a record while it is written.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use emk::{Entries, LedgerError};
use tokio::sync::Notify;

use super::index::Index;
use super::{FlightRecorder, RecordingError, Stored};

/// What those who read a record while it is written share.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pub(super) index: Mutex<Index>,
    pub(super) followers: Followers,
}

/// Wakes those who follow. An append costs one load where nobody does.
#[derive(Debug, Default)]
pub(super) struct Followers {
    waiting: AtomicUsize,
    closed: AtomicBool,
    news: Notify,
}

impl Followers {
    /// Something was appended.
    pub(super) fn tell(&self) {
        // The append took the ledger's lock, and so did whoever looked at its head after having registered here: either that
        // look saw the record, or this sees who looked.
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.news.notify_waiters();
        }
    }

    /// Nothing will be appended any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.news.notify_waiters();
    }
}

/// The records from a sequence number on, and those to come.
///
/// Nothing is buffered for a reader: each record is read from the store when it is asked for, so a slow reader holds nothing
/// up and misses nothing that the store still has. Reading blocks on the disk where a record has left the memory.
#[derive(Debug)]
pub struct Follow {
    recorder: FlightRecorder,
    next: u64,
    reading: Option<Entries>,
}

/// Counts one who waits, as long as it does.
struct Waits<'f>(&'f Followers);

impl<'f> Waits<'f> {
    fn on(followers: &'f Followers) -> Self {
        followers.waiting.fetch_add(1, Ordering::SeqCst);
        Self(followers)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl FlightRecorder {
    /// Follows the record from sequence number `from` on; [`FlightRecorder::head`] tells where it ends now.
    #[must_use]
    pub fn follow(&self, from: u64) -> Follow {
        Follow { recorder: self.clone(), next: from, reading: None }
    }
}

impl Follow {
    /// The next record, once there is one. `None` when the recorder was closed and all of it was read.
    ///
    /// # Errors
    /// The record cannot be read. Where a store in memory has dropped records before they were read, that is
    /// [`LedgerError::Dropped`] once; after it comes the oldest that is left.
    ///
    /// # Cancel safety
    /// Cancel safe: a record is either returned or still to come.
    pub async fn next(&mut self) -> Option<Result<Stored, RecordingError>> {
        loop {
            if let Some(read) = self.read() {
                return Some(read);
            }
            let readers = Arc::clone(&self.recorder.readers);
            let followers = &readers.followers;
            let _waits = Waits::on(followers);
            let news = followers.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let closed = followers.closed.load(Ordering::SeqCst);
            if self.next < self.recorder.head().count {
                continue;
            }
            if closed {
                return None;
            }
            news.await;
        }
    }

    /// The next record, if there is one now.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub fn try_next(&mut self) -> Option<Result<Stored, RecordingError>> {
        self.read()
    }

    /// The sequence number of the next record.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.next
    }

    fn read(&mut self) -> Option<Result<Stored, RecordingError>> {
        loop {
            let entry = match self.reading.as_mut().and_then(Iterator::next) {
                Some(entry) => entry,
                None => self.reading.insert(self.recorder.ledger.read(self.next)).next()?,
            };
            match entry.map(Stored::new) {
                Ok(stored) => {
                    self.next = stored.seq() + 1;
                    // The record's seals of itself are no events.
                    if !stored.is_seal() {
                        return Some(Ok(stored));
                    }
                }
                Err(error) => {
                    self.reading = None;
                    if let LedgerError::Dropped { first, .. } = error {
                        self.next = self.next.max(first);
                    }
                    return Some(Err(error.into()));
                }
            }
        }
    }
}
