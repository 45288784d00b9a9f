//! What an agent has lived through.

mod episode;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use agent_primitives::LabelSet;
use agent_primitives::search::{Bm25, Parameters, tokenise};
use bytes::Bytes;
use emk::{EntryKind, Ledger, LedgerError};

use super::{
    Answer, Content, Entry, Hit, Listing, MemoryBackend, Page, RelPath, Search, Stat, Usage, Version,
    VfsError, Write, WriteMode, Written,
};
use episode::Stored;

pub use episode::MAX_EPISODE_BYTES;

/// Most episodes of one store.
pub const MAX_EPISODES: usize = 100_000;

/// Episodes over a ledger: written once, never changed, never removed.
///
/// An episode is a file `<name>.json` that holds one JSON object with the texts `goal`, `action`, `result` and `reflection`,
/// and whatever else it likes, in at most [`MAX_EPISODE_BYTES`]; anything else is refused as `InvalidPath`. It is written
/// whole, by creating it or by appending to a name that is not there, and is one record of the ledger from then on, with its
/// name and labels. Writing over it, adding to it and removing it are `AccessDenied`, an end is `NotSupported`. There are no
/// directories.
///
/// A write answers once its record is durable. When the ledger fails, everything that follows is refused with `Backend`
/// until it is opened again. Dropping a write leaves the episode there or not; a record that was appended stays.
///
/// A search weighs the four texts by BM25; of two that fit equally the newer comes first. All episodes are in memory,
/// read from the ledger when it is opened.
pub struct Episodic {
    ledger: Ledger,
    state: RwLock<State>,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodicError {
    /// The ledger cannot be read.
    #[error("the ledger of episodes cannot be read")]
    Ledger(#[from] LedgerError),
    /// A record is no episode of this store, or there are too many.
    #[error("record {seq} of the ledger of episodes cannot be used")]
    Record {
        /// Its position.
        seq: u64,
    },
}

impl EpisodicError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => "AK0425",
            Self::Record { .. } => "AK0426",
        }
    }
}

/// INVARIANT: `order` has the names of `episodes` in the order of their records, which is that of `words`.
struct State {
    episodes: BTreeMap<Box<str>, Episode>,
    order: Vec<Box<str>>,
    words: Bm25,
    usage: Usage,
    /// The ledger has failed: what is in here may not be in there.
    failed: bool,
}

#[derive(Clone)]
struct Episode {
    text: Bytes,
    version: Version,
    labels: LabelSet,
}

impl Episodic {
    /// The episodes in `ledger`, blocking while it is read. Records of other kinds are passed over.
    ///
    /// # Errors
    /// [`EpisodicError`].
    pub fn open(ledger: Ledger) -> Result<Self, EpisodicError> {
        let words = Bm25::new(Parameters::DEFAULT).map_err(|_| EpisodicError::Record { seq: 0 })?;
        let (episodes, order, usage) = (BTreeMap::new(), Vec::new(), Usage::default());
        let mut state = State { episodes, order, words, usage, failed: false };
        for entry in ledger.read(ledger.base().count) {
            let entry = entry?;
            if entry.kind != EntryKind::Episode {
                continue;
            }
            let unusable = EpisodicError::Record { seq: entry.seq };
            let Ok(stored) = Stored::decode(&entry.body) else { return Err(unusable) };
            let version = Version::of_digest(entry.hash);
            if state.episodes.contains_key(stored.name) || state.take_in(&stored, version).is_err() {
                return Err(unusable);
            }
        }
        Ok(Self { ledger, state: RwLock::new(state) })
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> Result<T, VfsError>) -> Result<T, VfsError> {
        let state = self.state.read().map_err(|_| VfsError::Backend)?;
        if state.failed { Err(VfsError::Backend) } else { look(&state) }
    }

    /// Appends the record and takes the episode in; answers the record's position as well.
    fn append(&self, path: RelPath<'_>, write: &Write) -> Result<(u64, Written), VfsError> {
        let mut state = self.state.write().map_err(|_| VfsError::Backend)?;
        if state.failed {
            return Err(VfsError::Backend);
        }
        let current = match state.find(path) {
            Err(VfsError::NotFound) => None,
            found => Some(found?.version),
        };
        write.admit(current)?;
        if current.is_some() || write.mode == WriteMode::Replace {
            return Err(VfsError::AccessDenied);
        }
        if write.expires.is_some() {
            return Err(VfsError::NotSupported);
        }
        let stored = Stored::new(path, &write.data, &write.labels)?;
        let size = write.size_after(0)?;
        write.quota.admit(state.usage, None, size)?;
        let body = stored.encode()?;
        state.has_room(&stored)?;
        let appended = self.ledger.append(EntryKind::Episode, &body).map_err(|error| failed(&error))?;
        let version = Version::of_digest(appended.hash);
        state.take_in(&stored, version)?;
        Ok((appended.seq, Written::new(version, size, write.labels.clone())))
    }

    async fn write_durably(&self, path: RelPath<'_>, write: Write) -> Result<Written, VfsError> {
        let (seq, written) = self.append(path, &write)?;
        if let Err(error) = self.ledger.durable(seq).await {
            self.state.write().unwrap_or_else(PoisonError::into_inner).failed = true;
            return Err(failed(&error));
        }
        Ok(written)
    }
}

impl State {
    fn find(&self, path: RelPath<'_>) -> Result<&Episode, VfsError> {
        let mut segments = path.segments();
        let name = segments.next().ok_or(VfsError::IsDirectory)?;
        let found = self.episodes.get(name).ok_or(VfsError::NotFound)?;
        if segments.next().is_some() { Err(VfsError::NotDirectory) } else { Ok(found) }
    }

    fn has_room(&self, stored: &Stored<'_>) -> Result<(), VfsError> {
        let room = self.order.len() < MAX_EPISODES && self.episodes.len() < MAX_EPISODES;
        if room && stored.words()?.len() <= Bm25::MAX_TOKENS { Ok(()) } else { Err(VfsError::NoSpace) }
    }

    fn take_in(&mut self, stored: &Stored<'_>, version: Version) -> Result<(), VfsError> {
        self.has_room(stored)?;
        self.words.push(&stored.words()?).map_err(|_| VfsError::NoSpace)?;
        let text = Bytes::copy_from_slice(stored.text.as_bytes());
        self.usage.bytes = self.usage.bytes.saturating_add(text.len() as u64);
        self.usage.files = self.usage.files.saturating_add(1);
        self.order.push(stored.name.into());
        self.episodes.insert(stored.name.into(), Episode { text, version, labels: stored.labels.clone() });
        Ok(())
    }

    fn list(&self, page: Page<'_>) -> Listing {
        let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.episodes.range::<str, _>((from, Bound::Unbounded));
        let shown = rest.by_ref().take(page.limit);
        let entries: Vec<Entry> =
            shown.map(|(name, episode)| Entry::new(name.to_string(), episode.stat())).collect();
        let next = rest.next().and_then(|_| entries.last().map(|entry| entry.name.clone()));
        Listing::new(entries, next)
    }

    fn search(&self, query: Search<'_>) -> Vec<Hit> {
        let mut found = self.words.search(&tokenise(query.text), self.order.len());
        found.sort_by(|one, other| other.score.total_cmp(&one.score).then(other.seq.cmp(&one.seq)));
        let named = found.into_iter().filter_map(|hit| {
            let name = self.order.get(hit.seq)?;
            let episode = self.episodes.get(name)?;
            let text = String::from_utf8_lossy(&episode.text).into_owned();
            Some(Hit::new(name.to_string(), hit.score, text, episode.labels.clone()))
        });
        named.take(query.limit).collect()
    }
}

impl Episode {
    fn stat(&self) -> Stat {
        Stat::file(self.text.len() as u64, self.version, self.labels.clone())
    }
}

/// The class of an error, for the agent. The host's log has the rest.
fn failed(error: &LedgerError) -> VfsError {
    match error {
        LedgerError::StoreFull { .. } => VfsError::NoSpace,
        LedgerError::TooLarge { .. } => VfsError::TooLarge,
        error => {
            tracing::warn!(%error, "a ledger of episodes failed");
            VfsError::Backend
        }
    }
}

impl MemoryBackend for Episodic {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            self.look(|state| {
                let episode = state.find(path)?;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(episode.text.len());
                let end = start.saturating_add(length).min(episode.text.len());
                Ok(Content::new(episode.text.slice(start..end), episode.version, episode.labels.clone()))
            })
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(self.write_durably(path, write))
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move { self.look(|state| state.find(path).and(Err(VfsError::AccessDenied))) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            self.look(|state| match state.find(path) {
                Err(VfsError::IsDirectory) => Ok(state.list(page)),
                found => found.and(Err(VfsError::NotDirectory)),
            })
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move {
            self.look(|state| match state.find(path) {
                Err(VfsError::IsDirectory) => Ok(Stat::directory(LabelSet::EMPTY)),
                found => found.map(Episode::stat),
            })
        })
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(async move {
            self.look(|state| match state.find(path) {
                Err(VfsError::IsDirectory) => Ok(state.search(query)),
                found => found.and(Err(VfsError::NotDirectory)),
            })
        })
    }
}

impl fmt::Debug for Episodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = self.state.read().unwrap_or_else(PoisonError::into_inner).usage;
        f.debug_struct("Episodic").field("usage", &usage).finish_non_exhaustive()
    }
}
