//! Seals: now and then the ledger says in one of its own records what it is so far, and tells its anchors.
//!
//! Only durable records are sealed, so no anchor ever knows of one that a power cut could take. For a store with a
//! committer all of this is done by the committer's thread, after it has woken those who waited.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{Clock, Digest, Monotonic};

use super::shared::Shared;
use crate::anchor::{Anchor, AnchorError};
use crate::checkpoint::{Checkpoint, Seal};
#[cfg(feature = "sign")]
use crate::key::SigningKey;
use crate::merkle::Accumulator;
use crate::store::LedgerReader;
use crate::{Entry, EntryKind, Head, LedgerError};

/// Most records between a seal and the end of what it seals; more make a seal not worth writing.
pub const MAX_SEAL_LAG: u64 = 1 << 20;
/// Most records that [`Sealing::every`] lets pass before a seal.
pub const MAX_SEAL_RECORDS: u64 = 1 << 16;
/// Most anchors of one ledger.
pub const MAX_ANCHORS: usize = 8;
/// Most checkpoints that wait for one anchor; beyond it the oldest are given up, and counted.
pub const MAX_UNANCHORED: usize = 1024;

/// When a ledger seals itself, who signs and who is told.
pub struct Sealing {
    clock: Arc<dyn Clock>,
    records: u64,
    interval: Duration,
    #[cfg(feature = "sign")]
    key: Option<SigningKey>,
    anchors: Vec<Box<dyn Anchor>>,
}

impl Sealing {
    /// Records between two seals, unless said otherwise.
    pub const RECORDS: u64 = 64;
    /// Time between two seals, unless said otherwise.
    pub const INTERVAL: Duration = Duration::from_secs(600);

    /// A seal after 64 records, or when a record becomes durable 10 minutes after the last seal, and when the ledger is
    /// closed; not signed, not anchored.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            records: Self::RECORDS,
            interval: Self::INTERVAL,
            #[cfg(feature = "sign")]
            key: None,
            anchors: Vec::new(),
        }
    }

    /// A seal after `records` records, from 1 to [`MAX_SEAL_RECORDS`]: what is outside is brought to the nearer end. A
    /// batch that becomes durable together gets one seal, however large it is.
    #[must_use]
    pub fn every(self, records: u64, interval: Duration) -> Self {
        Self { records: records.clamp(1, MAX_SEAL_RECORDS), interval, ..self }
    }

    /// Signs every seal.
    #[cfg(feature = "sign")]
    #[must_use]
    pub fn key(self, key: SigningKey) -> Self {
        Self { key: Some(key), ..self }
    }

    /// Tells `anchor` of every seal.
    ///
    /// # Errors
    /// `TooManyAnchors` beyond [`MAX_ANCHORS`].
    pub fn anchor(mut self, anchor: impl Anchor + 'static) -> Result<Self, LedgerError> {
        if MAX_ANCHORS <= self.anchors.len() {
            return Err(LedgerError::TooManyAnchors);
        }
        self.anchors.push(Box::new(anchor));
        Ok(self)
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anchors: Vec<&str> = self.anchors.iter().map(|anchor| anchor.name()).collect();
        write!(f, "Sealing(every {} records or {:?}, anchors {anchors:?})", self.records, self.interval)
    }
}

/// How far the seals of a ledger have come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SealStatus {
    /// The last checkpoint, of this process or the one before.
    pub checkpoint: Option<Checkpoint>,
    /// Its anchors, in the order they were given.
    pub anchors: Vec<AnchorStatus>,
}

impl SealStatus {
    /// Checkpoints that some anchor should have and has not.
    #[must_use]
    pub fn unanchored(&self) -> u64 {
        self.anchors.iter().map(|anchor| anchor.waiting + anchor.given_up).max().unwrap_or(0)
    }

    /// What an anchor failed with that has not caught up since.
    #[must_use]
    pub fn last_error(&self) -> Option<&str> {
        self.anchors.iter().find_map(|anchor| anchor.error.as_deref())
    }
}

/// How far one anchor has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnchorStatus {
    /// Its name.
    pub name: String,
    /// Records that the last checkpoint it kept stands for.
    pub size: u64,
    /// Checkpoints it failed to keep and will be asked to keep again.
    pub waiting: u64,
    /// Checkpoints given up since it last kept one, because more than [`MAX_UNANCHORED`] waited.
    pub given_up: u64,
    /// Why it failed last, unless it has kept a checkpoint since.
    pub error: Option<String>,
}

/// The seals of one ledger.
pub(super) struct Seals {
    clock: Arc<dyn Clock>,
    records: u64,
    interval: Duration,
    #[cfg(feature = "sign")]
    key: Option<SigningKey>,
    progress: Mutex<Progress>,
    /// Locked after `progress` and while anchors work.
    anchors: Mutex<Vec<Anchored>>,
    status: Mutex<SealStatus>,
}

struct Progress {
    /// Everything durable.
    tree: Accumulator,
    /// Hash of its last leaf.
    head: Digest,
    /// Records in it that are neither sealed nor themselves a seal.
    unsealed: u64,
    sealed_at: Monotonic,
}

struct Anchored {
    anchor: Box<dyn Anchor>,
    waiting: VecDeque<Arc<Checkpoint>>,
}

impl Seals {
    /// Goes on where the seals of the ledger behind `reader` ended.
    pub(super) fn resume(
        sealing: Sealing,
        reader: &dyn LedgerReader,
        head: Head,
    ) -> Result<Self, LedgerError> {
        let Sealing { clock, records, interval, anchors, .. } = sealing;
        let (last, mut progress) = last_seal(reader, head, clock.monotonic())?;
        #[cfg(feature = "sign")]
        check_signature(last.as_ref(), sealing.key.as_ref())?;
        let from = progress.tree.size();
        for entry in if from < head.count { reader.entries(from)? } else { Box::new(std::iter::empty()) } {
            progress.take(&entry?);
        }
        let checkpoint = last.map(|(_, seal)| Arc::new(seal.checkpoint));
        let waiting: VecDeque<_> = checkpoint.iter().cloned().collect();
        let anchors: Vec<Anchored> =
            anchors.into_iter().map(|anchor| Anchored { anchor, waiting: waiting.clone() }).collect();
        let status = SealStatus {
            checkpoint: checkpoint.as_deref().cloned(),
            anchors: anchors
                .iter()
                .map(|anchored| AnchorStatus {
                    name: anchored.anchor.name().to_owned(),
                    ..AnchorStatus::default()
                })
                .collect(),
        };
        let seals = Self {
            clock,
            records,
            interval,
            #[cfg(feature = "sign")]
            key: sealing.key,
            progress: Mutex::new(progress),
            anchors: Mutex::new(anchors),
            status: Mutex::new(status),
        };
        // Nobody knows whether it reached them before the process ended. It stands for those before it too.
        for (index, anchored) in lock(&seals.anchors).iter_mut().enumerate() {
            seals.catch_up(index, anchored);
        }
        Ok(seals)
    }

    /// Takes note of records that are durable now, in order.
    pub(super) fn fold(&self, records: impl Iterator<Item = (EntryKind, Digest)>) {
        let mut progress = lock(&self.progress);
        records.for_each(|(kind, hash)| progress.push(kind, hash));
    }

    /// Whether it is time for a seal, with `more` records on their way to [`Seals::seal`].
    pub(super) fn is_due(&self, more: u64) -> bool {
        let progress = lock(&self.progress);
        let unsealed = progress.unsealed + more;
        unsealed != 0
            && (self.records <= unsealed || self.interval <= self.clock.monotonic().since(progress.sealed_at))
    }

    /// Seals what is durable and not sealed yet; then tells the anchors. A buffer without room puts the seal off.
    pub(super) fn seal(&self, shared: &Shared) -> Result<(), LedgerError> {
        let mut progress = lock(&self.progress);
        shared.take_unfolded().into_iter().for_each(|(kind, hash)| progress.push(kind, hash));
        if progress.unsealed == 0 || MAX_SEAL_LAG <= shared.head().count - progress.tree.size() {
            return Ok(());
        }
        let checkpoint = self.checkpoint(shared, &progress);
        let seal = Seal { checkpoint, peaks: progress.tree.peaks().to_vec() };
        match shared.append_seal(&seal.to_body()) {
            Err(LedgerError::Full { .. } | LedgerError::StoreFull { .. }) => return Ok(()),
            appended => appended?,
        };
        progress.unsealed = 0;
        progress.sealed_at = self.clock.monotonic();
        let mut anchors = lock(&self.anchors);
        drop(progress);
        lock(&self.status).checkpoint = Some(seal.checkpoint.clone());
        let checkpoint = Arc::new(seal.checkpoint);
        for (index, anchored) in anchors.iter_mut().enumerate() {
            anchored.waiting.push_back(Arc::clone(&checkpoint));
            self.catch_up(index, anchored);
        }
        Ok(())
    }

    pub(super) fn status(&self) -> SealStatus {
        lock(&self.status).clone()
    }

    /// Hands an anchor what waits for it, until it fails.
    fn catch_up(&self, index: usize, anchored: &mut Anchored) {
        let mut given_up = 0;
        while MAX_UNANCHORED < anchored.waiting.len() {
            anchored.waiting.pop_front();
            given_up += 1;
        }
        self.report(index, |status| status.given_up += given_up);
        while let Some(next) = anchored.waiting.front().cloned() {
            let kept = catch_unwind(AssertUnwindSafe(|| anchored.anchor.keep(&next)));
            match kept.unwrap_or_else(|_| Err(AnchorError::Failed("the anchor panicked".to_owned()))) {
                Ok(()) => {
                    anchored.waiting.pop_front();
                    self.report(index, |status| {
                        let name = std::mem::take(&mut status.name);
                        *status = AnchorStatus { name, size: next.size, ..AnchorStatus::default() };
                    });
                }
                Err(error) => {
                    tracing::warn!(anchor = anchored.anchor.name(), %error, "a checkpoint could not be anchored");
                    self.report(index, |status| status.error = Some(error.to_string()));
                    break;
                }
            }
        }
        self.report(index, |status| status.waiting = anchored.waiting.len() as u64);
    }

    fn report(&self, index: usize, change: impl FnOnce(&mut AnchorStatus)) {
        if let Some(status) = lock(&self.status).anchors.get_mut(index) {
            change(status);
        }
    }

    fn checkpoint(&self, shared: &Shared, progress: &Progress) -> Checkpoint {
        let time = self.clock.now();
        #[cfg_attr(not(feature = "sign"), expect(unused_mut, reason = "signed in place"))]
        let mut checkpoint = Checkpoint::of(shared.id().clone(), &progress.tree, progress.head, time);
        #[cfg(feature = "sign")]
        if let Some(key) = &self.key {
            checkpoint.sign(key);
        }
        checkpoint
    }
}

impl Progress {
    fn take(&mut self, entry: &Entry) {
        self.push(entry.kind, entry.hash);
    }

    fn push(&mut self, kind: EntryKind, hash: Digest) {
        self.tree.push(hash.as_bytes());
        self.head = hash;
        if kind != EntryKind::Checkpoint {
            self.unsealed += 1;
        }
    }
}

/// The last seal in the ledger with its position, and the progress as of it; that of an empty ledger if there is none.
fn last_seal(
    reader: &dyn LedgerReader,
    head: Head,
    now: Monotonic,
) -> Result<(Option<(u64, Seal)>, Progress), LedgerError> {
    let base = reader.base();
    let bad = |seq, reason: String| LedgerError::BadCheckpoint { seq, reason };
    // Seals are frequent, so nearly always a look at the end is enough.
    let mut distance = 4 * Sealing::RECORDS;
    loop {
        let from = head.count.saturating_sub(distance).max(base.count);
        if head.count <= from {
            break;
        }
        let mut last = None;
        for entry in reader.entries(from)? {
            let entry = entry?;
            if entry.kind == EntryKind::Checkpoint {
                last = Some(entry);
            }
        }
        if let Some(entry) = last {
            let seal = Seal::from_body(&entry.body).map_err(|error| bad(entry.seq, error.to_string()))?;
            let tree = seal.tree().filter(|tree| tree.size() <= entry.seq);
            let tree =
                tree.ok_or_else(|| bad(entry.seq, "it seals records that come after it".to_owned()))?;
            let before = seal.checkpoint.size.checked_sub(1).map(|seq| reader.entries(seq)).transpose()?;
            let sealed = before.and_then(|mut entries| entries.next()).transpose()?;
            if sealed.is_none_or(|sealed| sealed.hash != seal.checkpoint.head) {
                return Err(bad(entry.seq, "it does not seal the records before it".to_owned()));
            }
            let progress = Progress { tree, head: seal.checkpoint.head, unsealed: 0, sealed_at: now };
            return Ok((Some((entry.seq, seal)), progress));
        }
        if from == base.count {
            break;
        }
        distance = distance.saturating_mul(16);
    }
    if base.count != 0 {
        return Err(LedgerError::Dropped { seq: 0, first: base.count });
    }
    Ok((None, Progress { tree: Accumulator::new(), head: base.hash, unsealed: 0, sealed_at: now }))
}

/// Nothing is sealed on top of a seal that claims our key and is not of it. One of an earlier key is for `verify`.
#[cfg(feature = "sign")]
fn check_signature(last: Option<&(u64, Seal)>, key: Option<&SigningKey>) -> Result<(), LedgerError> {
    let (Some((seq, seal)), Some(key)) = (last, key) else { return Ok(()) };
    match seal.checkpoint.verify(&key.public()) {
        Err(error @ crate::CheckpointError::BadSignature) => {
            Err(LedgerError::BadCheckpoint { seq: *seq, reason: error.to_string() })
        }
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: host code runs inside `catch_unwind` only, so nothing under these locks can panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
