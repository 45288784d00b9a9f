//! The state that appenders, waiters, readers and the committer share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use agent_primitives::Digest;

use super::buffer::Buffer;
use super::seals::Seals;
use super::wait::Waiters;
use super::{Durability, LedgerOptions};
use crate::store::frame::{self, Page, Run};
use crate::store::{Batch, LedgerReader, LedgerStore};
use crate::{Appended, EntryKind, Head, LedgerError, LedgerId, Record, chain};

pub(super) struct Shared {
    id: LedgerId,
    durability: Durability,
    /// Whether records are appended to the store in the caller's thread.
    immediate: bool,
    /// Whether the store can erase bodies.
    can_erase: bool,
    reader: Arc<dyn LedgerReader>,
    state: Mutex<State>,
    /// Wakes the committer.
    work: Condvar,
    /// Records before this position are durable. Written before [`Waiters`] are woken, read under their lock.
    durable: AtomicU64,
    /// How often bodies were erased; readers let go of what they have read ahead when it changes.
    erasures: AtomicU64,
    /// Why nothing more becomes durable.
    failure: OnceLock<LedgerError>,
    pub(super) waiters: Waiters,
    pub(super) seals: Option<Seals>,
}

struct State {
    head: Head,
    sink: Sink,
    closed: bool,
    /// What the committer has to erase. Each caller waits for its own, so there are no more than callers.
    erase: Vec<Erasure>,
}

/// Bodies to erase, and who waits for it.
pub(super) struct Erasure {
    pub(super) seqs: Vec<u64>,
    done: SyncSender<Result<(), LedgerError>>,
}

enum Sink {
    /// The store takes records at once; `scratch` is where they are encoded.
    /// `unfolded` are records that no seal knows of yet; empty where nothing is sealed.
    Immediate { store: Box<dyn LedgerStore>, scratch: Vec<u8>, unfolded: Unfolded },
    /// The committer has the store.
    Buffered(Buffer),
}

#[derive(Default)]
struct Unfolded {
    records: Vec<(EntryKind, Digest)>,
    /// How many of them are no seals.
    unsealed: u64,
}

/// Records for the committer to write.
pub(super) struct Work {
    pub(super) run: Arc<Run>,
    /// The head after them.
    pub(super) head: Head,
    /// Bodies to erase once they are written.
    pub(super) erase: Vec<Erasure>,
}

impl Shared {
    /// The state, and the store if a committer has to write to it.
    pub(super) fn new(
        store: Box<dyn LedgerStore>,
        options: LedgerOptions,
        seals: Option<Seals>,
    ) -> (Arc<Self>, Option<Box<dyn LedgerStore>>) {
        let (id, head, reader) = (store.ledger().clone(), store.head(), store.reader());
        let can_erase = store.can_erase();
        let (sink, background) = if store.is_immediate() {
            (Sink::Immediate { store, scratch: Vec::new(), unfolded: Unfolded::default() }, None)
        } else {
            (Sink::Buffered(Buffer::new(head.count, options.max_buffered_bytes)), Some(store))
        };
        let shared = Self {
            id,
            durability: options.durability,
            immediate: background.is_none(),
            can_erase,
            reader,
            state: Mutex::new(State { head, sink, closed: false, erase: Vec::new() }),
            work: Condvar::new(),
            durable: AtomicU64::new(head.count),
            erasures: AtomicU64::new(0),
            failure: OnceLock::new(),
            waiters: Waiters::default(),
            seals,
        };
        (Arc::new(shared), background)
    }

    pub(super) const fn id(&self) -> &LedgerId {
        &self.id
    }

    pub(super) fn reader(&self) -> &dyn LedgerReader {
        self.reader.as_ref()
    }

    pub(super) const fn can_erase(&self) -> bool {
        self.can_erase
    }

    pub(super) const fn durability(&self) -> Durability {
        self.durability
    }

    pub(super) fn head(&self) -> Head {
        self.lock().head
    }

    pub(super) fn append(
        &self,
        kind: EntryKind,
        content_id: Digest,
        body: &[u8],
    ) -> Result<Appended, LedgerError> {
        let state = self.lock();
        if state.closed && self.failure.get().is_none() {
            return Err(LedgerError::Closed);
        }
        let appended = self.append_to(state, kind, content_id, Some(body))?;
        if self.immediate {
            self.seal_if_due()?;
        }
        Ok(appended)
    }

    /// Appends a record whose body was erased elsewhere.
    pub(super) fn append_erased(&self, kind: EntryKind, content_id: Digest) -> Result<Appended, LedgerError> {
        let state = self.lock();
        if state.closed && self.failure.get().is_none() {
            return Err(LedgerError::Closed);
        }
        self.append_to(state, kind, content_id, None)
    }

    /// Appends a seal, also to a ledger that is being closed.
    pub(super) fn append_seal(&self, body: &[u8]) -> Result<Appended, LedgerError> {
        let kind = EntryKind::Checkpoint;
        self.append_to(self.lock(), kind, chain::content_id(kind, body), Some(body))
    }

    fn append_to(
        &self,
        mut guard: MutexGuard<'_, State>,
        kind: EntryKind,
        content_id: Digest,
        body: Option<&[u8]>,
    ) -> Result<Appended, LedgerError> {
        let state = &mut *guard;
        let (erased, body) = (body.is_none(), body.unwrap_or_default());
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        let seq = state.head.count;
        if let Sink::Buffered(buffer) = &state.sink {
            buffer.admit(frame::record_frame_len(body.len()))?;
        }
        let hash = chain::entry_hash(&state.head.hash, seq, kind, &content_id);
        let record = Record { seq, kind, content_id, hash, body, erased };
        let head = Head { count: seq + 1, hash };
        let wake = match &mut state.sink {
            Sink::Immediate { store, scratch, unfolded } => {
                scratch.clear();
                frame::encode_record(scratch, &record);
                if let Err(error) = store.append(&Batch::new(seq, scratch, head)) {
                    // Being full changes nothing; after any other failure nobody knows what was written.
                    if !matches!(error, LedgerError::StoreFull { .. }) {
                        self.fail(&error);
                    }
                    return Err(error);
                }
                self.durable.store(head.count, Ordering::Release);
                if self.seals.is_some() {
                    unfolded.records.push((kind, hash));
                    unfolded.unsealed += u64::from(kind != EntryKind::Checkpoint);
                }
                false
            }
            Sink::Buffered(buffer) => buffer.push(&record),
        };
        state.head = head;
        drop(guard);
        if wake {
            self.work.notify_one();
        }
        Ok(Appended { seq, hash, content_id })
    }

    pub(super) fn durable_count(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Asks the committer to hurry with the record `seq`.
    pub(super) fn request(&self, seq: u64) -> Result<(), LedgerError> {
        if let Some(settled) = self.settled(seq) {
            return settled;
        }
        let mut state = self.lock();
        if state.head.count <= seq {
            return Err(LedgerError::Unknown { seq, count: state.head.count });
        }
        let wake = match &mut state.sink {
            Sink::Immediate { .. } => false,
            Sink::Buffered(buffer) => buffer.want(seq),
        };
        drop(state);
        if wake {
            self.work.notify_one();
        }
        Ok(())
    }

    /// How waiting for the record `seq` has ended, if it has.
    pub(super) fn settled(&self, seq: u64) -> Option<Result<(), LedgerError>> {
        if seq < self.durable.load(Ordering::Acquire) {
            return Some(Ok(()));
        }
        self.failure.get().map(|failure| Err(failure.clone()))
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_one();
        if self.immediate {
            self.seal();
        }
    }

    /// Seals what is durable; a failure ends the ledger.
    pub(super) fn seal(&self) {
        if let Some(seals) = &self.seals
            && let Err(error) = seals.seal(self)
        {
            self.fail(&error);
        }
    }

    pub(super) fn seal_if_due(&self) -> Result<(), LedgerError> {
        match &self.seals {
            Some(seals) if seals.is_due(self.unfolded()) => seals.seal(self),
            _ => Ok(()),
        }
    }

    /// The seal of a ledger that was closed, if there is anything to seal.
    pub(super) fn last_seal(&self) -> Option<Work> {
        self.seal();
        self.next_work()
    }

    /// How many records no seal knows of, seals themselves apart.
    fn unfolded(&self) -> u64 {
        match &self.lock().sink {
            Sink::Immediate { unfolded, .. } => unfolded.unsealed,
            Sink::Buffered(_) => 0,
        }
    }

    /// Hands those records over.
    pub(super) fn take_unfolded(&self) -> Vec<(EntryKind, Digest)> {
        match &mut self.lock().sink {
            Sink::Immediate { unfolded, .. } => std::mem::take(unfolded).records,
            Sink::Buffered(_) => Vec::new(),
        }
    }

    /// Blocks until there is something to write; `None` once the ledger is closed and everything is written.
    pub(super) fn next_work(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            let (closed, has_erasures) = (state.closed, !state.erase.is_empty());
            let Sink::Buffered(buffer) = &mut state.sink else { return None };
            if !buffer.is_empty() || has_erasures {
                break;
            }
            if closed {
                return None;
            }
            buffer.idle();
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let window = self.durability.window();
        if !window.is_zero() && !state.is_due() && state.erase.is_empty() {
            if let Sink::Buffered(buffer) = &mut state.sink {
                buffer.gather();
            }
            let waiting = |state: &mut State| !state.is_due() && state.erase.is_empty();
            let waited = self.work.wait_timeout_while(state, window, waiting);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let (head, erase) = (state.head, std::mem::take(&mut state.erase));
        let Sink::Buffered(buffer) = &mut state.sink else { return None };
        Some(Work { run: buffer.take(), head, erase })
    }

    /// Erases the bodies of records that are durable, and waits for it.
    pub(super) fn erase(&self, seqs: Vec<u64>) -> Result<(), LedgerError> {
        let mut state = self.lock();
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        if state.closed {
            return Err(LedgerError::Closed);
        }
        if let Sink::Immediate { store, scratch, .. } = &mut state.sink {
            *scratch = Vec::new();
            store.erase(&seqs)?;
            self.erasures.fetch_add(1, Ordering::Release);
            return Ok(());
        }
        let (done, erased) = sync_channel(1);
        state.erase.push(Erasure { seqs, done });
        drop(state);
        self.work.notify_one();
        // Nobody answers any more once the committer has ended, which has a reason.
        erased.recv().unwrap_or_else(|_| Err(self.failure.get().cloned().unwrap_or(LedgerError::Stopped)))
    }

    /// Tells who waits how erasing went.
    pub(super) fn erased(&self, erasure: &Erasure, result: Result<(), LedgerError>) {
        if let Sink::Buffered(buffer) = &mut self.lock().sink {
            buffer.forget();
        }
        self.erasures.fetch_add(1, Ordering::Release);
        // Whoever waited may be gone.
        let _ = erasure.done.try_send(result);
    }

    pub(super) fn erasures(&self) -> u64 {
        self.erasures.load(Ordering::Acquire)
    }

    /// Everything in `work` is durable. Gives back what it has to erase.
    pub(super) fn committed(&self, work: Work) -> Vec<Erasure> {
        if let Some(seals) = &self.seals {
            seals.fold(frame::records(&work.run.frames).map(|record| (record.kind, record.hash)));
        }
        // Room first: whoever hears that something is durable may append again. Readers find the records in the store.
        if let Sink::Buffered(buffer) = &mut self.lock().sink {
            buffer.written(work.run);
        }
        self.durable.store(work.head.count, Ordering::Release);
        self.waiters.wake_before(work.head.count);
        work.erase
    }

    /// Refuses everything from now on. The first failure is the cause and stays.
    pub(super) fn fail(&self, error: &LedgerError) {
        if self.failure.set(error.clone()).is_ok() {
            tracing::error!(ledger = %self.id, %error, "the ledger refuses everything until it is opened again");
        }
        self.waiters.wake_before(u64::MAX);
        // Dropping what they wait on tells them. Nothing is added behind this: the failure is looked at under the lock.
        // A store without a committer erases under the lock, and may fail under it.
        if !self.immediate {
            let abandoned = std::mem::take(&mut self.lock().erase);
            drop(abandoned);
        }
    }

    /// Records from position `from` on, if they wait for the disk.
    pub(super) fn buffered_page(&self, from: u64) -> Option<Page> {
        match &self.lock().sink {
            Sink::Immediate { .. } => None,
            Sink::Buffered(buffer) => buffer.page(from),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: the head moves only after a record was taken, so even a poisoned lock holds a whole chain.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&self) -> bool {
        match &self.sink {
            Sink::Immediate { .. } => true,
            Sink::Buffered(buffer) => self.closed || buffer.is_due(),
        }
    }
}
