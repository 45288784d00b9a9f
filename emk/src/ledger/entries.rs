//! Reading a ledger while it is written.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;
use crate::store::EntryIter;
use crate::store::frame::Page;
use crate::{Entry, LedgerError};

/// Entries of a ledger in order, up to the head at the time of [`super::Ledger::read`]. Ends after the first error.
pub struct Entries {
    shared: Arc<Shared>,
    next: u64,
    end: u64,
    /// [`Shared::erasures`] when this last looked.
    erasures: u64,
    buffered: Page,
    stored: Option<EntryIter>,
}

impl Entries {
    pub(super) fn new(shared: Arc<Shared>, from: u64) -> Self {
        let (erasures, end) = (shared.erasures(), shared.head().count);
        Self { shared, next: from, end, erasures, buffered: Page::default(), stored: None }
    }

    /// Records only ever move from the buffer to the store, so one that is not buffered is stored.
    fn step(&mut self) -> Result<Entry, LedgerError> {
        // What was read ahead may hold a body that is gone.
        let erasures = self.shared.erasures();
        if self.erasures != erasures {
            (self.erasures, self.buffered, self.stored) = (erasures, Page::default(), None);
        }
        if let Some(entry) = self.buffered.next() {
            return Ok(entry);
        }
        if let Some(entry) = self.stored.as_mut().and_then(Iterator::next) {
            return entry;
        }
        // The store had no more when it was asked, which may have been before the record got there.
        self.stored = None;
        if let Some(page) = self.shared.buffered_page(self.next) {
            self.buffered = page;
            return self.buffered.next().ok_or_else(|| self.missing());
        }
        let stored = self.stored.insert(self.shared.reader().entries(self.next)?);
        stored.next().unwrap_or_else(|| Err(self.missing()))
    }

    fn missing(&self) -> LedgerError {
        LedgerError::Missing { seq: self.next }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end <= self.next {
            return None;
        }
        let step = self.step();
        self.next = match &step {
            Ok(entry) => entry.seq + 1,
            Err(_) => self.end,
        };
        Some(step)
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entries({}..{})", self.next, self.end)
    }
}
