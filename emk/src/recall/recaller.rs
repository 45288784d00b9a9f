//! The index as others use it: shared, with a clock, and with an embedder if there is one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use agent_primitives::search::{EMBED_BATCH, Embedder, TextKind, embed};
use agent_primitives::{Clock, Timestamp};

use super::advice::Advice;
use super::index::Index;
use super::lexical::Scratch;
use super::query::{Filter, Hit, MAX_RECALL, Query, SourceTrust};
use super::table::Shown;
use super::{RecallError, Retention, retention, text};
use crate::episode::Outcome;
use crate::memory::{EpisodicMemory, Found};

/// Searches that run at once and find their working memory ready; more make their own.
const KEPT_SCRATCH: usize = 4;

/// An index over the episodes and rules of a memory, in the memory of this process.
///
/// Every question first takes in what the ledger has got since the one before: an episode is found from the moment it is
/// remembered, and one that was hidden or erased is not. It holds no text, only what finds it. Everything in it can be made
/// anew from the ledger, but for the vectors, which cost their model's time, and the times of recalls, which are kept
/// nowhere else.
pub struct Recall {
    pub(super) memory: EpisodicMemory,
    pub(super) index: RwLock<Index>,
    /// The position up to which the ledger was taken in.
    pub(super) followed: Mutex<u64>,
    scratch: Mutex<Vec<Scratch>>,
    accesses: Mutex<HashMap<u64, Access>>,
    embedder: Option<Arc<dyn Embedder>>,
    clock: Arc<dyn Clock>,
}

/// How often an episode was recalled, and when for the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// How often.
    pub count: u32,
    /// When for the last time.
    pub last: Timestamp,
}

/// Earlier attempts that resemble what is asked, those that worked apart from those that did not: neither takes the other's
/// place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Precedents {
    /// Those that worked.
    pub successes: Vec<Hit>,
    /// Those that did not.
    pub failures: Vec<Hit>,
}

impl Recall {
    /// An index over a memory. It is empty until the first question, or [`Recall::follow`].
    #[must_use]
    pub fn new(memory: EpisodicMemory, clock: Arc<dyn Clock>) -> Self {
        Self {
            memory,
            index: RwLock::new(Index::new(SourceTrust::DEFAULT)),
            followed: Mutex::default(),
            scratch: Mutex::default(),
            accesses: Mutex::default(),
            embedder: None,
            clock,
        }
    }

    /// The memory that is searched.
    #[must_use]
    pub const fn memory(&self) -> &EpisodicMemory {
        &self.memory
    }

    /// Searches by the vectors of a model too, under [`Recall::recall`].
    #[must_use]
    pub fn with_embedder(mut self, embedder: Arc<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// Trusts sources differently.
    ///
    /// # Errors
    /// `OutOfRange` for a trust that is not 0 to 1: a filter by trust would let the wrong ones pass.
    pub fn with_trust(self, trust: SourceTrust) -> Result<Self, RecallError> {
        trust.check()?;
        self.write().trust = trust;
        Ok(self)
    }

    /// Sets the vector of an episode, made of [`Recall::passage`] by a model with this name. The first vector fixes model and
    /// dimension for all.
    ///
    /// # Errors
    /// `NotIndexed`, `ModelMismatch`, `DimensionMismatch`, `ZeroVector`, `NonFinite`, `Memory`; nothing is changed.
    pub fn set_vector(&self, seq: u64, model: &str, vector: &[f32]) -> Result<(), RecallError> {
        self.catch_up()?;
        let mut index = self.write();
        let document = index.document(seq)?;
        if index.table.row(document).is_some_and(|row| row.shown == Shown::Gone) {
            return Err(RecallError::NotIndexed { seq });
        }
        index.vectors.insert(document, model, vector)
    }

    /// The text of an episode or rule that is given to a model.
    #[must_use]
    pub fn passage(found: &Found) -> String {
        text::passage(found)
    }

    /// Embeds the episodes that have no vector, oldest first, and says after each batch how many of them are done. Returns how
    /// many got one. Without an embedder there is nothing to do.
    ///
    /// # Errors
    /// `Embed`, and those of [`Recall::set_vector`]. The vectors of the batches before stay.
    ///
    /// # Cancel safety
    /// Dropping the future keeps what is embedded and loses at most one batch.
    pub async fn embed_missing(&self, mut progress: impl FnMut(usize)) -> Result<usize, RecallError> {
        let Some(embedder) = &self.embedder else { return Ok(0) };
        self.catch_up()?;
        self.read().vectors.check_model(embedder.model())?;
        let missing = self.without_vector();
        let mut done = 0;
        for batch in missing.chunks(EMBED_BATCH) {
            let mut passages = Vec::with_capacity(batch.len());
            for seq in batch {
                if let Some(found) = self.memory.inspect(*seq)? {
                    passages.push((*seq, text::passage(&found)));
                }
            }
            let texts: Vec<&str> = passages.iter().map(|(_, text)| text.as_str()).collect();
            let vectors = embed(&**embedder, TextKind::Passage, &texts).await?;
            for ((seq, _), vector) in passages.iter().zip(&vectors) {
                match self.set_vector(*seq, embedder.model(), vector) {
                    // It was forgotten while the model was busy.
                    Err(RecallError::NotIndexed { .. }) => {}
                    other => {
                        other?;
                        done += 1;
                    }
                }
            }
            progress(done);
        }
        Ok(done)
    }

    fn without_vector(&self) -> Vec<u64> {
        let index = self.read();
        let documents = 0..index.table.len() as u32;
        let missing = documents.filter(|document| !index.vectors.contains(*document));
        let rows = missing.filter_map(|document| index.table.row(document));
        rows.filter(|row| row.shown != Shown::Gone).map(|row| row.seq).collect()
    }

    /// The best episodes by words, and by the vector that the question brings. Counts what it answers as recalled.
    ///
    /// A question without a word to look for, and an empty memory, are answered with nothing. Blocks on the store where there
    /// is news, and where [`Query::diversity`] needs words.
    ///
    /// # Errors
    /// `InvalidLimit`, `QueryTooLarge`, `FilterTooLarge`, `OutOfRange`, those of a vector, `IndexFull`, `Memory`.
    pub fn search(&self, query: &Query) -> Result<Vec<Hit>, RecallError> {
        query.check()?;
        self.catch_up()?;
        let now = self.clock.now();
        let mut scratch = self.scratches().pop().unwrap_or_default();
        let hits = self.read().search(query, &mut scratch, now, &|seq| self.fetch(seq));
        let mut kept = self.scratches();
        if kept.len() < KEPT_SCRATCH {
            kept.push(scratch);
        }
        drop(kept);
        let hits = hits?;
        self.memory.touch(hits.iter().map(|hit| hit.seq));
        let mut accesses = self.accesses();
        for hit in &hits {
            let access = accesses.entry(hit.seq).or_insert(Access { count: 0, last: now });
            *access = Access { count: access.count.saturating_add(1), last: now };
        }
        Ok(hits)
    }

    /// As [`Recall::search`], after the embedder, if there is one, has made a vector of the words, unless the question brings
    /// its own.
    ///
    /// # Errors
    /// Those of [`Recall::search`], and `Embed`: who wants an answer by words alone asks for it by `search`.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn recall(&self, query: &Query) -> Result<Vec<Hit>, RecallError> {
        query.check()?;
        let embedder =
            self.embedder.as_ref().filter(|_| query.vector.is_none() && !query.text.trim().is_empty());
        let Some(embedder) = embedder else { return self.search(query) };
        let vectors = embed(&**embedder, TextKind::Query, &[&query.text]).await?;
        let vector = vectors.into_iter().next().unwrap_or_default();
        self.search(&query.clone().vector(embedder.model(), vector))
    }

    /// The best of those that worked and of those that did not, as many of each as asked for.
    ///
    /// # Errors
    /// Those of [`Recall::search`].
    pub fn precedents(&self, query: &Query) -> Result<Precedents, RecallError> {
        let of = |outcome| {
            let filter = Filter { outcomes: vec![outcome], ..query.filter.clone() };
            self.search(&Query { filter, ..query.clone() })
        };
        Ok(Precedents { successes: of(Outcome::Success)?, failures: of(Outcome::Failure)? })
    }

    /// The newest failures that pass, newest first; successes take none of their places.
    ///
    /// # Errors
    /// `InvalidLimit`, `FilterTooLarge`, `OutOfRange`, `IndexFull`, `Memory`.
    pub fn failures(&self, k: usize, filter: &Filter) -> Result<Vec<u64>, RecallError> {
        self.newest(Outcome::Failure, k, filter)
    }

    /// The newest successes that pass, newest first; failures take none of their places.
    ///
    /// # Errors
    /// `InvalidLimit`, `FilterTooLarge`, `OutOfRange`, `IndexFull`, `Memory`.
    pub fn successes(&self, k: usize, filter: &Filter) -> Result<Vec<u64>, RecallError> {
        self.newest(Outcome::Success, k, filter)
    }

    fn newest(&self, outcome: Outcome, k: usize, filter: &Filter) -> Result<Vec<u64>, RecallError> {
        filter.check()?;
        if !(1..=MAX_RECALL).contains(&k) {
            return Err(RecallError::InvalidLimit { k });
        }
        self.catch_up()?;
        let index = self.read();
        Ok(index.table.newest(outcome, k, filter, &index.trust, index.lexical.session_of()))
    }

    /// What earlier attempts at the same thing say about one that is about to be made. Attempts that a rule stands for count
    /// too; those that were corrected do not.
    ///
    /// # Errors
    /// `QueryTooLarge`, `FilterTooLarge`, `OutOfRange`, `IndexFull`, `Memory`.
    pub fn advise(&self, goal: &str, action: &str, filter: &Filter) -> Result<Advice, RecallError> {
        filter.check()?;
        self.catch_up()?;
        self.read().advise(goal, action, filter, &|seq| self.fetch(seq))
    }

    /// How often an episode was recalled.
    #[must_use]
    pub fn access(&self, seq: u64) -> Option<Access> {
        self.accesses().get(&seq).copied()
    }

    /// Every count of recalls, by place; for who wants to keep them over a restart.
    #[must_use]
    pub fn all_accesses(&self) -> Vec<(u64, Access)> {
        let mut all: Vec<(u64, Access)> =
            self.accesses().iter().map(|(seq, access)| (*seq, *access)).collect();
        all.sort_unstable_by_key(|(seq, _)| *seq);
        all
    }

    /// Takes counts of recalls up again. What is not in the memory is left out.
    ///
    /// # Errors
    /// `IndexFull`, `Memory`.
    pub fn restore_accesses(
        &self,
        counts: impl IntoIterator<Item = (u64, Access)>,
    ) -> Result<(), RecallError> {
        self.catch_up()?;
        let index = self.read();
        let known = counts.into_iter().filter(|(seq, _)| index.table.document(*seq).is_some());
        self.accesses().extend(known);
        Ok(())
    }

    /// How well an episode is remembered now, from when it was last recalled, or else happened.
    ///
    /// # Errors
    /// `NotIndexed`, `IndexFull`, `Memory`.
    pub fn retention(&self, seq: u64) -> Result<Retention, RecallError> {
        self.catch_up()?;
        let index = self.read();
        let row = index.table.row(index.document(seq)?).copied().ok_or(RecallError::NotIndexed { seq })?;
        let access = self.access(seq);
        let last = access.map_or(row.time, |access| access.last.max(row.time));
        let days = super::decay::hours_between(last, self.clock.now()) / 24.0;
        Ok(retention(days, access.map_or(0, |access| access.count)))
    }

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> RecallSize {
        let index = self.read();
        RecallSize {
            episodes: index.table.len(),
            text_bytes: index.text_bytes,
            index_bytes: index.heap_bytes(),
            vectors: index.vectors.len(),
            vector_bytes: index.vectors.heap_bytes(),
        }
    }

    fn catch_up(&self) -> Result<(), RecallError> {
        self.follow(|_| {}).map(drop)
    }

    fn fetch(&self, seq: u64) -> Result<Option<Found>, RecallError> {
        Ok(self.memory.inspect(seq)?)
    }

    pub(super) fn forget_accesses(&self, seq: u64) {
        self.accesses().remove(&seq);
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn scratches(&self) -> MutexGuard<'_, Vec<Scratch>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accesses(&self) -> MutexGuard<'_, HashMap<u64, Access>> {
        self.accesses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How much an index holds. Bytes are of the heap, as far as the types tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecallSize {
    /// Episodes indexed.
    pub episodes: usize,
    /// Bytes of text indexed.
    pub text_bytes: u64,
    /// Bytes of words, filters and attempts.
    pub index_bytes: usize,
    /// Episodes with a vector.
    pub vectors: usize,
    /// Bytes of vectors.
    pub vector_bytes: usize,
}

impl fmt::Debug for Recall {
    /// Words may be of prompts and personal data, so only the size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recall({:?})", self.size())
    }
}
