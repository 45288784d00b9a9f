//! Records between their append and the disk.

use std::sync::Arc;

use crate::store::frame::{self, Page, Run};
use crate::{LedgerError, Record};

/// Beyond this many bytes nobody waits for the window to end.
const EAGER_BYTES: usize = 1 << 20;
/// A buffer larger than this is given back after use.
const SPARE_BYTES: usize = 1 << 20;
/// How much a reader copies under the lock.
const PAGE_BYTES: usize = 64 << 10;

/// What the committer is doing, so that an append wakes it only when it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for a first record.
    Idle,
    /// Has records and waits for the window to end or for someone to want them.
    Gathering,
    /// Is writing, or has been woken.
    Busy,
}

/// Two runs: one that grows and one that is being written.
#[derive(Debug)]
pub(super) struct Buffer {
    filling: Run,
    writing: Option<Arc<Run>>,
    spare: Vec<u8>,
    /// Someone waits for the records before this position.
    wanted: u64,
    phase: Phase,
    limit: usize,
}

impl Buffer {
    pub(super) fn new(next_seq: u64, limit: usize) -> Self {
        let filling = Run::new(next_seq, Vec::new());
        Self { filling, writing: None, spare: Vec::new(), wanted: 0, phase: Phase::Busy, limit }
    }

    /// Whether a frame of `len` bytes has room.
    pub(super) fn admit(&self, len: usize) -> Result<(), LedgerError> {
        let writing = self.writing.as_ref().map_or(0, |run| run.frames.len());
        let buffered = self.filling.frames.len() + writing;
        if buffered != 0 && self.limit < buffered.saturating_add(len) {
            return Err(LedgerError::Full { buffered, limit: self.limit });
        }
        Ok(())
    }

    /// Takes a record; `true` if the committer has to be woken.
    pub(super) fn push(&mut self, record: &Record<'_>) -> bool {
        self.filling.push(|frames| frame::encode_record(frames, record));
        match self.phase {
            Phase::Busy => false,
            Phase::Gathering => EAGER_BYTES <= self.filling.frames.len() && self.make_busy(),
            Phase::Idle => self.make_busy(),
        }
    }

    /// Notes that someone waits for `seq`; `true` if the committer has to be woken.
    pub(super) fn want(&mut self, seq: u64) -> bool {
        self.wanted = self.wanted.max(seq + 1);
        self.phase == Phase::Gathering && self.make_busy()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.filling.count == 0
    }

    /// Whether the committer should write now rather than wait for the window to end.
    pub(super) const fn is_due(&self) -> bool {
        self.filling.first_seq < self.wanted || EAGER_BYTES <= self.filling.frames.len()
    }

    pub(super) const fn idle(&mut self) {
        self.phase = Phase::Idle;
    }

    pub(super) const fn gather(&mut self) {
        self.phase = Phase::Gathering;
    }

    /// Hands everything gathered to the committer. It stays readable until [`Buffer::written`].
    pub(super) fn take(&mut self) -> Arc<Run> {
        self.phase = Phase::Busy;
        let next = Run::new(self.filling.end(), std::mem::take(&mut self.spare));
        let run = Arc::new(std::mem::replace(&mut self.filling, next));
        self.writing = Some(Arc::clone(&run));
        run
    }

    /// The run that was taken is in the store now.
    pub(super) fn written(&mut self, run: Arc<Run>) {
        self.writing = None;
        if let Ok(Run { mut frames, .. }) = Arc::try_unwrap(run)
            && frames.capacity() <= SPARE_BYTES
        {
            frames.clear();
            self.spare = frames;
        }
    }

    /// Gives back the memory that written records lay in.
    pub(super) fn forget(&mut self) {
        self.spare = Vec::new();
    }

    /// Records from position `from` on, if they are here.
    pub(super) fn page(&self, from: u64) -> Option<Page> {
        let writing = self.writing.as_ref().and_then(|run| run.page(from, PAGE_BYTES));
        writing.or_else(|| self.filling.page(from, PAGE_BYTES))
    }

    const fn make_busy(&mut self) -> bool {
        self.phase = Phase::Busy;
        true
    }
}
