//! The flight recorder: an append-only, hash-chained record of every decision and what came of it.
//!
//! A call's intent is appended before its effect, and for calls with side effects it is durable before the effect. If
//! an event cannot be appended the call is refused and the kernel stops taking calls.
//!
//! The record is an [`emk`] ledger. Its hash chain shows any edit. That all of it was computed anew shows against a key
//! that signed its seals ([`Sealing`]), that its tail was cut off against an anchor ([`Anchor`]) or a head kept elsewhere
//! ([`FlightRecorder::head`]). What is found with what is in the README of `emk`.
#![doc = include_str!("../docs/recording.md")]

mod chain;
mod delivery;
mod event;
pub mod export;
mod follow;
mod index;
mod json;
mod proof;
mod query;
mod recording;
pub mod redact;
pub mod replay;
mod trail;

use std::path::Path;
use std::sync::Arc;

use agent_primitives::{Clock, Digest, SystemClock, Timestamp};
use emk::{EntryKind, Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, SegmentOptions};
use emk::{SegmentStore, WhenFull};

use self::follow::Readers;

pub use agent_primitives::redact::REDACTED;
pub use chain::MAX_LIVES;
use chain::{Chain, Lives, Whose};
pub use delivery::{Delivery, HandlerStep};
pub use emk::anchor::{Anchor, AnchorError, FileAnchor, LedgerAnchor};
pub use emk::merkle::ProofError;
pub use emk::{
    AnchorStatus, Checkpoint, CheckpointError, ConsistencyProof, Head, InclusionProof, LedgerError,
    SealStatus, Sealing, Trust, VerifyError, VerifyReport,
};
#[cfg(feature = "sign")]
pub use emk::{BadKey, PublicKey, SigningKey};
pub use event::{
    Actor, ApprovalStep, Body, Decided, Deed, EVENT_VERSION, Event, Hold, Outcome, Request, Used,
};
pub use follow::Follow;
pub use index::{MAX_INDEX_BYTES, MAX_INDEX_NAMES, MAX_INDEXED};
pub use proof::{MAX_PROVABLE, Prover};
pub use query::{DEFAULT_PAGE, MAX_PAGE, Page, Query};
pub use recording::{Recording, RecordingError, Stored};
pub use redact::{Redaction, RedactionError};
pub use replay::{Replay, replay, replay_recorded};
pub(crate) use trail::Trail;
pub use trail::{TRAIL_BYTES, TRAIL_EVENTS};

/// Name of the ledger a flight recorder writes; part of its first hash.
pub const LEDGER_NAME: &str = "agent-os flight recorder";
/// Most records [`FlightRecorder::memory`] keeps; the oldest go first.
pub const MEMORY_RECORDS: u64 = 100_000;
/// Most bytes [`FlightRecorder::memory`] keeps.
pub const MEMORY_BYTES: u64 = 64 << 20;

/// Room for a typical event, in bytes.
const TYPICAL_EVENT: usize = 512;

/// Writes the record of one kernel. Clones share it.
#[derive(Clone, Debug)]
pub struct FlightRecorder {
    ledger: Ledger,
    redaction: Option<Arc<Redaction>>,
    readers: Arc<Readers>,
    /// The chain of what the kernel and the host do.
    kernel: Arc<Chain>,
}

/// Why an event could not be recorded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The event has no encoding. This is a bug of the kernel.
    #[error("the event cannot be encoded: {0}")]
    Encoding(String),
}

impl RecorderError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Encoding(_) => "AK9903",
        }
    }
}

impl FlightRecorder {
    /// A recorder that keeps the last [`MEMORY_RECORDS`] events in memory, for tests and for hosts that need no record
    /// beyond their own life. Older events are dropped; the chain still says how many there were.
    ///
    /// # Errors
    /// None in practice: nothing outside memory is touched.
    pub fn memory() -> Result<Self, RecorderError> {
        let limits =
            MemoryLimits { records: MEMORY_RECORDS, bytes: MEMORY_BYTES, when_full: WhenFull::DropOldest };
        let store = MemoryStore::new(LedgerId::new(LEDGER_NAME)?, limits);
        Ok(Self::on(Ledger::open(store, LedgerOptions::default())?))
    }

    /// A recorder that writes segment files into a folder, creating it if need be, and goes on where an earlier one
    /// stopped. A last event that is half-written or damaged is cut off, as after a crash, and that it was is recorded:
    /// [`Body::Recovered`].
    ///
    /// The record seals itself as [`Sealing::new`] says, without signature or anchor: see [`FlightRecorder::open_sealed`].
    ///
    /// # Errors
    /// Another process writes there, the files are damaged, or the disk fails.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, RecorderError> {
        Self::open_sealed(folder, Sealing::new(Arc::new(SystemClock::new())))
    }

    /// As [`FlightRecorder::open`], with seals as the host wants them: how often, signed by whom, anchored where.
    ///
    /// # Errors
    /// As [`FlightRecorder::open`]; the last seal there does not fit the records before it.
    pub fn open_sealed(folder: impl AsRef<Path>, sealing: Sealing) -> Result<Self, RecorderError> {
        let store = SegmentStore::open(folder, LedgerId::new(LEDGER_NAME)?, SegmentOptions::default())?;
        let dropped_bytes = store.recovery().dropped_bytes;
        let recorder = Self::on(Ledger::open_sealed(store, LedgerOptions::default(), sealing)?);
        if dropped_bytes != 0 {
            let time = Clock::now(&SystemClock::new());
            recorder.append(time, Source::KERNEL, 0, Body::Recovered { dropped_bytes })?;
            recorder.flush()?;
        }
        Ok(recorder)
    }

    /// A recorder that writes the ledger `ledger` in the PostgreSQL server at `address` ([`emk::PostgresStore::open`]), and
    /// goes on where an earlier one stopped. Kernels that share a database take ledgers of different names;
    /// [`LEDGER_NAME`] will do for a single one. Blocks.
    ///
    /// # Errors
    /// Another process writes there, the end of the record does not hold, the server cannot be reached, or `ledger` is no
    /// name for one.
    #[cfg(feature = "postgres")]
    pub fn postgres(address: &str, ledger: &str) -> Result<Self, RecorderError> {
        let store = emk::PostgresStore::open(address, LedgerId::new(ledger)?)?;
        Ok(Self::on(Ledger::open(store, LedgerOptions::default())?))
    }

    /// A recorder on a ledger of the host's own making: another store, or another idea of when a record is durable.
    #[must_use]
    pub fn on(ledger: Ledger) -> Self {
        Self { ledger, redaction: None, readers: Arc::default(), kernel: Arc::default() }
    }

    /// The same recorder, which takes out what must not be stored before it encodes an event. Whoever gets a clone of what is
    /// returned redacts too; a clone made before does not.
    #[must_use]
    pub fn redacting(mut self, redaction: Redaction) -> Self {
        self.redaction = Some(Arc::new(redaction));
        self
    }

    /// Whether what goes wrong with a tool is recorded by its code alone.
    pub(crate) fn withholds(&self, tool: &str) -> bool {
        self.redaction.as_ref().is_some_and(|redaction| redaction.withholds(tool))
    }

    /// Whether something of a tool's calls may be taken out of the record.
    pub(crate) fn redacts(&self, tool: &str) -> bool {
        self.redaction.as_ref().is_some_and(|redaction| redaction.applies(tool))
    }

    /// How many events there are and the hash of the last one. Kept elsewhere, it is what a tampered record is held
    /// against.
    #[must_use]
    pub fn head(&self) -> Head {
        self.ledger.head()
    }

    /// How many of the oldest events are no longer kept.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.ledger.base().count
    }

    /// Makes everything recorded so far durable and seals it, if the record seals itself. Blocks, on anchors as well.
    ///
    /// # Errors
    /// The disk failed. An anchor that fails shows in [`FlightRecorder::seals`] only.
    pub fn seal(&self) -> Result<(), RecorderError> {
        Ok(self.ledger.seal()?)
    }

    /// The last checkpoint, and how many of them which anchor lacks and why; `None` if the record does not seal itself,
    /// as one in memory.
    #[must_use]
    pub fn seals(&self) -> Option<SealStatus> {
        self.ledger.seals()
    }

    /// The events from sequence number `from` on, up to the present head, seals left out. Starts at the oldest kept one
    /// when `from` was
    /// dropped already.
    pub fn events(&self, from: u64) -> impl Iterator<Item = Result<Stored, RecordingError>> + use<> {
        let from = from.max(self.ledger.base().count);
        recording::events(self.ledger.read(from))
    }

    /// Recomputes every hash that is kept. Blocks on the disk; `progress` hears the number of records checked.
    ///
    /// # Errors
    /// The first record that does not hold.
    pub fn verify(
        &self,
        expected: Option<Head>,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let trust = expected.into_iter().fold(Trust::default(), Trust::head);
        self.verify_against(&trust, progress)
    }

    /// As [`FlightRecorder::verify`], against everything that is known from elsewhere.
    ///
    /// # Errors
    /// The first record that does not hold.
    pub fn verify_against(
        &self,
        trust: &Trust,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let mut lives = Lives::new(self.ledger.base().count);
        self.ledger.verify_against(None, trust, |record| lives.check(record), progress)
    }

    /// Blocks until everything recorded so far is on disk. Does not seal it: see [`FlightRecorder::seal`].
    ///
    /// # Errors
    /// The disk failed.
    pub fn flush(&self) -> Result<(), RecorderError> {
        Ok(self.ledger.flush()?)
    }

    /// Waits until everything recorded so far is on disk, sealed and handed to the anchors, and closes the files. Later calls of the kernel are refused.
    ///
    /// # Errors
    /// The disk failed.
    pub fn close(&self) -> Result<(), RecorderError> {
        let closed = self.ledger.close();
        self.readers.followers.close();
        Ok(closed?)
    }
}

/// Proof that an event is in the record. Only this module makes one; a permit cannot be had without it.
#[derive(Debug)]
pub(crate) struct Recorded {
    seq: u64,
    bytes: usize,
}

impl Recorded {
    /// Sequence number of the event.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Its encoded size.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Where an event comes from: which agent, which of its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) agent: &'a str,
    pub(crate) generation: u64,
    pub(crate) trail: Option<&'a Trail>,
}

impl Source<'_> {
    /// The kernel or the host.
    pub(crate) const KERNEL: Self = Self { agent: "", generation: 0, trail: None };
}

impl FlightRecorder {
    /// Appends one event. Does not wait for the disk.
    pub(crate) fn append(
        &self,
        time: Timestamp,
        source: Source<'_>,
        call: u64,
        body: Body<'_>,
    ) -> Result<Recorded, RecorderError> {
        let Source { agent, generation, trail } = source;
        let chain = match Whose::of(agent, generation, matches!(body, Body::Approval { .. })) {
            Whose::Life => trail.map(|trail| &trail.chain),
            Whose::Kernel => Some(&*self.kernel),
            Whose::Nobody => None,
        };
        let mut last = chain.map(Chain::lock);
        let prev = last.as_deref().copied().unwrap_or(Digest::ZERO);
        let event = Event { version: EVENT_VERSION, time, agent, generation, call, prev, body };
        // Most events fit; growing byte by byte would cost more than all the rest of the encoding.
        let buffer = Vec::with_capacity(TYPICAL_EVENT);
        let bytes = match &self.redaction {
            None => postcard::to_extend(&event, buffer)
                .map_err(|error| RecorderError::Encoding(error.to_string()))?,
            Some(redaction) => redaction.encode(&event, buffer)?,
        };
        let appended = match self.ledger.append(EntryKind::Event, &bytes) {
            // More waits for the disk than the buffer holds. Whoever adds to it now waits with it.
            Err(LedgerError::Full { .. }) => {
                self.ledger.flush()?;
                self.ledger.append(EntryKind::Event, &bytes)?
            }
            other => other?,
        };
        if let Some(last) = &mut last {
            **last = appended.content_id;
        }
        drop(last);
        self.readers.followers.tell();
        if let Some(trail) = trail {
            trail.push(&bytes);
        }
        Ok(Recorded { seq: appended.seq, bytes: bytes.len() })
    }

    /// How many events are not durable yet.
    #[cfg(feature = "metrics")]
    pub(crate) fn lag(&self) -> u64 {
        self.ledger.head().count.saturating_sub(self.ledger.durable_count())
    }

    /// Waits until the event is durable under the ledger's policy. Cancel safe: dropping it forgets the wait only.
    pub(crate) async fn durable(&self, recorded: &Recorded) -> Result<(), RecorderError> {
        Ok(self.ledger.durable(recorded.seq).await?)
    }
}
