//! Episodic memory: what agents have lived through, on a ledger.
//!
//! Everything an [`EpisodicMemory`] knows it reads from its ledger when it is opened, and what it decides it puts on
//! record there first: episodes, rules made from them, and marks. Texts stay in the store; some 200 bytes are kept for
//! each episode. An episode is never changed. One that was wrong is corrected by a later one, one that must go is
//! erased, one that may be poisoned is hidden, and many that are old are summed up in a rule.

mod append;
mod audit;
mod erase;
mod error;
pub(crate) mod graph;
mod mark;
mod near;
mod read;
mod rule;
pub mod sleep;
mod state;
mod tokens;
pub mod transfer;
pub(crate) mod valid;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use agent_primitives::Clock;

pub use append::Stored;
pub use audit::Audit;
pub use error::MemoryError;
pub use graph::{Direction, Link};
pub use mark::{MAX_REASON_BYTES, Mark, MarkKind, Residue};
pub use near::{NEAR_THRESHOLD, NEAR_WINDOW, near_duplicate};
pub use read::{Episodes, Found};
pub use rule::{MAX_RULE_SOURCES, Rule};
pub use state::Status;
pub(crate) use tokens::Tokens;

use crate::episode::Episode;
use crate::{Entry, EntryKind, Ledger};
use state::State;

/// How often progress is told, in records.
const PROGRESS_EVERY: u64 = 4096;

/// What happens to an episode that says nearly what an earlier one of its agent says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DedupPolicy {
    /// It is kept, and [`Stored::near_duplicate_of`] says of which.
    #[default]
    Note,
    /// It is refused.
    Refuse,
}

/// What a memory takes in.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// What happens to near duplicates among the last [`NEAR_WINDOW`] episodes of an agent.
    pub dedup: DedupPolicy,
    /// Share of tokens from which two episodes are near duplicates, 0 to 1; [`NEAR_THRESHOLD`].
    pub near_threshold: f64,
    /// Whether an episode whose source is `recalled` is taken. What was recalled and is stored as news is recalled again,
    /// and so on.
    pub accept_recalled: bool,
    /// Most episodes and rules; each takes some 200 bytes of memory.
    pub max_records: usize,
}

impl Default for MemoryOptions {
    /// Near duplicates are noted, nothing recalled is taken, 4 Mi episodes.
    fn default() -> Self {
        Self {
            dedup: DedupPolicy::Note,
            near_threshold: NEAR_THRESHOLD,
            accept_recalled: false,
            max_records: 4 << 20,
        }
    }
}

impl MemoryOptions {
    /// With another treatment of near duplicates.
    #[must_use]
    pub const fn dedup(self, dedup: DedupPolicy) -> Self {
        Self { dedup, ..self }
    }

    /// With another share of tokens that makes near duplicates, 0 to 1; a memory is not opened with any other.
    #[must_use]
    pub const fn near_threshold(self, near_threshold: f64) -> Self {
        Self { near_threshold, ..self }
    }

    /// Takes what was recalled as well.
    #[must_use]
    pub const fn accept_recalled(self) -> Self {
        Self { accept_recalled: true, ..self }
    }

    /// With another bound.
    #[must_use]
    pub const fn max_records(self, max_records: usize) -> Self {
        Self { max_records, ..self }
    }
}

/// What is seen while a memory is opened, in the order of the ledger.
#[derive(Debug)]
#[non_exhaustive]
pub enum Opening<'a> {
    /// An episode whose body is there. A later mark may hide it.
    Episode {
        /// Its position.
        seq: u64,
        /// The episode.
        episode: &'a Episode,
    },
    /// A rule whose body is there.
    Rule {
        /// Its position.
        seq: u64,
        /// The rule.
        rule: &'a Rule,
    },
    /// Every 4096 records, and at the end.
    Progress {
        /// Records read.
        done: u64,
        /// Records to read.
        total: u64,
    },
}

/// Episodic memory over a ledger, which may be in any store. Clones are handles to one memory.
///
/// An episode is remembered at once and durable when [`EpisodicMemory::durable`] says so. When the ledger fails,
/// everything that writes fails the same way until it is opened again; what is remembered then may be more than what is
/// on the disk.
#[derive(Clone)]
pub struct EpisodicMemory(Arc<Inner>);

struct Inner {
    ledger: Ledger,
    options: MemoryOptions,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
}

impl EpisodicMemory {
    /// The memory in `ledger`. Reads all of it, in constant space but for what is kept of each episode, and ends erasures
    /// that a crash interrupted; where the store cannot erase, see [`EpisodicMemory::unerased`]. Events in the ledger are passed
    /// over. Blocks.
    ///
    /// # Errors
    /// `OutOfRange` for a threshold; `Unusable` for an episode, rule or mark that cannot be read; `Full`; whatever the ledger fails with.
    pub fn open(ledger: Ledger, options: MemoryOptions, clock: Arc<dyn Clock>) -> Result<Self, MemoryError> {
        Self::open_with(ledger, options, clock, |_| {})
    }

    /// As [`EpisodicMemory::open`]; `see` is told what is read, to index it or to show how far it is.
    ///
    /// # Errors
    /// As [`EpisodicMemory::open`].
    pub fn open_with(
        ledger: Ledger,
        options: MemoryOptions,
        clock: Arc<dyn Clock>,
        mut see: impl FnMut(Opening<'_>),
    ) -> Result<Self, MemoryError> {
        // Nothing is near a threshold that is no number, and duplicates would pass.
        if !(0.0..=1.0).contains(&options.near_threshold) {
            return Err(MemoryError::OutOfRange { what: "near_threshold", found: options.near_threshold });
        }
        let mut state = State::default();
        let (base, total) = (ledger.base().count, ledger.head().count);
        for entry in ledger.read(base) {
            let entry = entry?;
            replay(&mut state, &options, &entry, base != 0, &mut see)?;
            if (entry.seq + 1).is_multiple_of(PROGRESS_EVERY) {
                see(Opening::Progress { done: entry.seq + 1 - base, total: total - base });
            }
        }
        see(Opening::Progress { done: total - base, total: total - base });
        let memory = Self(Arc::new(Inner { ledger, options, clock, state: RwLock::new(state) }));
        memory.finish_erasures()?;
        Ok(memory)
    }

    /// The ledger: its head, its verification, its seals, and waiting for what is durable.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        // INVARIANT: no code of a host runs under this lock, and nothing under it panics half-way.
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EpisodicMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpisodicMemory")
            .field("ledger", self.ledger())
            .field("records", &self.state().slots.len())
            .finish_non_exhaustive()
    }
}

/// Takes one record in. `shortened`: the store has dropped older records, so what is pointed to may be gone.
fn replay(
    state: &mut State,
    options: &MemoryOptions,
    entry: &Entry,
    shortened: bool,
    see: &mut impl FnMut(Opening<'_>),
) -> Result<(), MemoryError> {
    let seq = entry.seq;
    if entry.kind.is_erasable() {
        state.admit(options)?;
    }
    match entry.kind {
        EntryKind::Episode | EntryKind::Rule if entry.erased => {
            state.take_erased(seq, entry.kind, entry.content_id);
        }
        EntryKind::Episode => {
            let unusable = |error| MemoryError::unusable(seq, error);
            let episode = Episode::decode(&entry.body).map_err(unusable)?;
            let pointers = match state.pointers(seq, &episode) {
                Err(_) if shortened => state::Pointers { causes: Vec::new(), revised: None },
                found => found.map_err(|error| MemoryError::unusable(seq, error))?,
            };
            state.take_episode(seq, entry.body.len(), &episode, pointers, None);
            see(Opening::Episode { seq, episode: &episode });
        }
        EntryKind::Rule => {
            let rule = Rule::decode(seq, &entry.body)?;
            state.take_rule(seq, entry.body.len(), entry.content_id, &rule);
            see(Opening::Rule { seq, rule: &rule });
        }
        EntryKind::Tombstone => state.apply(&Mark::decode(seq, &entry.body)?),
        EntryKind::Checkpoint | EntryKind::Event => {}
    }
    Ok(())
}
