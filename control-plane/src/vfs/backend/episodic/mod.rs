//! What an agent has lived through.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use agent_primitives::search::Embedder;
use agent_primitives::{AgentId, Clock, LabelSet, SystemClock};
use bytes::Bytes;
use emk::memory::{EpisodicMemory, Found, MemoryError, MemoryOptions};
use emk::recall::{Filter, Query, Recall, RecallError};
use emk::{Ledger, LedgerError};

use super::{
    Answer, Content, Entry, Hit, Listing, MemoryBackend, Page, RelPath, Search, Stat, Usage, Version,
    VfsError, Write, WriteMode, Written,
};
use file::File;

pub use file::MAX_EPISODE_BYTES;

/// Most episodes of one store.
pub const MAX_EPISODES: usize = 1 << 20;

/// Episodes of one agent over the [memory](EpisodicMemory) in a ledger: written once, never changed, never removed.
///
/// An episode is a file `<name>.json` that holds one JSON object with the texts `goal`, `action`, `result` and `reflection`, of which
/// one of the first two says something, and whatever else it likes, in at most [`MAX_EPISODE_BYTES`]; anything else is refused
/// as `InvalidPath`. Its `outcome`, `failure`, `importance` and `tags` count as those of the episode. It is written whole, by creating
/// it or by appending to a name that is not there, and is one record of the ledger from then on, with its name and labels; secrets of
/// known shapes are taken out first. Writing over it, adding to it and removing it are `AccessDenied`, an end is
/// `NotSupported`. There are no directories.
///
/// What the host erases or quarantines in [`Episodic::memory`] is gone for the agent.
///
/// A write answers once its record is durable. When the ledger fails, everything that follows is refused with `Backend`
/// until it is opened again. Dropping a write leaves the episode there or not; a record that was appended stays.
///
/// A search is that of [`Recall`]: by words and, with an embedder, by meaning; of two that fit equally the newer comes first. Texts stay
/// in the ledger; names and the index are in memory.
pub struct Episodic {
    recall: Arc<Recall>,
    embeds: bool,
    agent: AgentId,
    clock: Arc<dyn Clock>,
    state: RwLock<State>,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EpisodicError {
    /// The memory in the ledger cannot be read.
    #[error("the ledger of episodes cannot be read")]
    Memory(#[from] MemoryError),
    /// A record is no file of this store, or its name is taken.
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
            Self::Memory(_) => "AK0425",
            Self::Record { .. } => "AK0426",
        }
    }
}

/// INVARIANT: `names` has the name of each of `files` by its position.
#[derive(Default)]
struct State {
    files: BTreeMap<Box<str>, File>,
    names: BTreeMap<u64, Box<str>>,
    usage: Usage,
    /// The ledger has failed: what is in here may not be in there.
    failed: bool,
}

impl Episodic {
    /// The episodes of `agent` in `ledger`, blocking while it is read. Those of other agents, and episodes that were not written as
    /// files, are passed over.
    ///
    /// # Errors
    /// [`EpisodicError`].
    pub fn open(ledger: Ledger, agent: AgentId) -> Result<Self, EpisodicError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let options = MemoryOptions::default().max_records(MAX_EPISODES);
        let memory = EpisodicMemory::open(ledger, options, Arc::clone(&clock))?;
        let mut state = State::default();
        for found in memory.episodes(0) {
            let (seq, Found::Episode(episode)) = found? else { continue };
            let Some(document) = episode.document().filter(|_| *episode.agent() == agent) else { continue };
            let file = File::of(seq, &episode);
            if !file::is_name(&document.name) || state.files.contains_key(&*document.name) {
                return Err(EpisodicError::Record { seq });
            }
            state.take_in(&document.name, file);
        }
        let recall = Arc::new(Recall::new(memory, Arc::clone(&clock)));
        Ok(Self { recall, embeds: false, agent, clock, state: RwLock::new(state) })
    }

    /// By another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.recall = Arc::new(Recall::new(self.memory().clone(), Arc::clone(&clock)));
        self.embeds = false;
        self.clock = clock;
        self
    }

    /// Searched by meaning too. What has no vector gets one at the next search, which waits for it.
    #[must_use]
    pub fn with_embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        let recall = Recall::new(self.memory().clone(), Arc::clone(&self.clock));
        self.recall = Arc::new(recall.with_embedder(embedder));
        self.embeds = true;
        self
    }

    /// The memory, for the host: to erase, to quarantine, to verify, to sleep.
    #[must_use]
    pub fn memory(&self) -> &EpisodicMemory {
        self.recall.memory()
    }

    /// What finds the episodes, for the host: to ask for failures before an attempt.
    #[must_use]
    pub fn recall(&self) -> &Recall {
        &self.recall
    }

    fn look<T>(&self, look: impl FnOnce(&State) -> Result<T, VfsError>) -> Result<T, VfsError> {
        let state = self.state.read().map_err(|_| VfsError::Backend)?;
        if state.failed { Err(VfsError::Backend) } else { look(&state) }
    }

    fn find(&self, state: &State, path: RelPath<'_>) -> Result<File, VfsError> {
        let mut segments = path.segments();
        let name = segments.next().ok_or(VfsError::IsDirectory)?;
        let found = state.files.get(name).filter(|file| self.shows(file)).cloned();
        let found = found.ok_or(VfsError::NotFound)?;
        if segments.next().is_some() { Err(VfsError::NotDirectory) } else { Ok(found) }
    }

    /// Whether the memory still shows it.
    fn shows(&self, file: &File) -> bool {
        self.memory().status(file.seq).is_some_and(|status| status.is_visible())
    }

    /// Appends the record and takes the file in.
    fn append(&self, path: RelPath<'_>, write: &Write) -> Result<File, VfsError> {
        let mut state = self.state.write().map_err(|_| VfsError::Backend)?;
        if state.failed {
            return Err(VfsError::Backend);
        }
        let mut segments = path.segments();
        let current = segments.next().and_then(|name| state.files.get(name)).map(|file| file.version);
        if current.is_some() && segments.next().is_some() {
            return Err(VfsError::NotDirectory);
        }
        write.admit(current)?;
        if current.is_some() || write.mode == WriteMode::Replace {
            return Err(VfsError::AccessDenied);
        }
        if write.expires.is_some() {
            return Err(VfsError::NotSupported);
        }
        let episode = file::episode(path, write, self.agent.clone(), self.clock.now())?;
        let size = write.size_after(0)?;
        write.quota.admit(state.usage, None, size)?;
        let stored = self.memory().append(&episode).map_err(|error| failed(&error))?;
        let file = File::of(stored.seq, &episode);
        state.take_in(path.as_str(), file.clone());
        Ok(file)
    }

    async fn write_durably(&self, path: RelPath<'_>, write: Write) -> Result<Written, VfsError> {
        let file = self.append(path, &write)?;
        if let Err(error) = self.memory().durable(file.seq).await {
            self.state.write().unwrap_or_else(PoisonError::into_inner).failed = true;
            return Err(failed(&error));
        }
        Ok(Written::new(file.version, file.size, file.labels))
    }

    /// The text of an episode, from the ledger.
    async fn text(&self, seq: u64) -> Result<Option<String>, VfsError> {
        let memory = self.memory().clone();
        let episode = blocking(move || memory.get(seq)).await?.map_err(|error| failed(&error))?;
        Ok(episode.and_then(|episode| episode.document().map(|document| document.text.clone())))
    }

    async fn search_text(&self, search: Search<'_>) -> Result<Vec<Hit>, VfsError> {
        let mine = Filter { agents: vec![self.agent.clone()], ..Filter::default() };
        let query = Query::new(search.text).limit(search.limit).filter(mine);
        let mut found = if self.embeds {
            self.recall.embed_missing(|_| {}).await.map_err(|error| lost(&error))?;
            self.recall.recall(&query).await
        } else {
            let recall = Arc::clone(&self.recall);
            blocking(move || recall.search(&query)).await?
        }
        .map_err(|error| lost(&error))?;
        found.sort_by(|one, other| other.score.total_cmp(&one.score).then(other.seq.cmp(&one.seq)));
        let mut hits = Vec::new();
        for hit in found {
            let named = self.look(|state| {
                let name = state.names.get(&hit.seq).cloned();
                Ok(name.and_then(|name| Some((state.files.get(&name)?.clone(), name))))
            })?;
            let Some((file, name)) = named else { continue };
            // Gone since it was found.
            let Some(text) = self.text(hit.seq).await? else { continue };
            hits.push(Hit::new(name.into_string(), hit.score, text, file.labels));
        }
        Ok(hits)
    }

    fn list(&self, state: &State, page: Page<'_>) -> Listing {
        let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let all = state.files.range::<str, _>((from, Bound::Unbounded));
        let mut rest = all.filter(|(_, file)| self.shows(file));
        let shown = rest.by_ref().take(page.limit);
        let entries: Vec<Entry> =
            shown.map(|(name, file)| Entry::new(name.to_string(), file.stat())).collect();
        let next = rest.next().and_then(|_| entries.last().map(|entry| entry.name.clone()));
        Listing::new(entries, next)
    }
}

impl State {
    fn take_in(&mut self, name: &str, file: File) {
        self.usage.bytes = self.usage.bytes.saturating_add(file.size);
        self.usage.files = self.usage.files.saturating_add(1);
        self.names.insert(file.seq, name.into());
        self.files.insert(name.into(), file);
    }
}

/// Runs what waits for a disk where that may be done.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, VfsError> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| VfsError::Backend)?;
    runtime.spawn_blocking(work).await.map_err(|_| VfsError::Backend)
}

/// The class of an error, for the agent. The host's log has the rest.
fn failed(error: &MemoryError) -> VfsError {
    match error {
        MemoryError::Full { .. } | MemoryError::Ledger(LedgerError::StoreFull { .. }) => VfsError::NoSpace,
        MemoryError::Ledger(LedgerError::TooLarge { .. }) => VfsError::TooLarge,
        error => {
            tracing::warn!(code = error.code(), %error, "a memory of episodes failed");
            VfsError::Backend
        }
    }
}

fn lost(error: &RecallError) -> VfsError {
    tracing::warn!(code = error.code(), %error, "a search among episodes failed");
    VfsError::Backend
}

impl MemoryBackend for Episodic {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let file = self.look(|state| self.find(state, path))?;
            let text = Bytes::from(self.text(file.seq).await?.ok_or(VfsError::NotFound)?);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
            let end = start.saturating_add(length).min(text.len());
            Ok(Content::new(text.slice(start..end), file.version, file.labels))
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(self.write_durably(path, write))
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move { self.look(|state| self.find(state, path).and(Err(VfsError::AccessDenied))) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            self.look(|state| match self.find(state, path) {
                Err(VfsError::IsDirectory) => Ok(self.list(state, page)),
                found => found.and(Err(VfsError::NotDirectory)),
            })
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move {
            self.look(|state| match self.find(state, path) {
                Err(VfsError::IsDirectory) => Ok(Stat::directory(LabelSet::EMPTY)),
                found => found.map(|file| file.stat()),
            })
        })
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(async move {
            match self.look(|state| self.find(state, path)) {
                Err(VfsError::IsDirectory) => self.search_text(query).await,
                found => found.and(Err(VfsError::NotDirectory)),
            }
        })
    }
}

impl fmt::Debug for Episodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usage = self.state.read().unwrap_or_else(PoisonError::into_inner).usage;
        f.debug_struct("Episodic").field("agent", &self.agent).field("usage", &usage).finish_non_exhaustive()
    }
}
