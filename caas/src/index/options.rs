//! How an index searches, and what is asked of it.

use std::time::Duration;

use agent_primitives::Timestamp;

use super::IndexError;
use crate::decay::Decay;
use crate::filter::Filter;
use crate::fuse::Fusion;
use crate::lexical::Feedback;

/// What happens when search by meaning fails or takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The search fails.
    #[default]
    Fail,
    /// The search goes on by words, and says so in [`Findings::degraded`](super::Findings::degraded).
    Degrade,
}

/// How an index searches.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexOptions {
    /// How words and meaning become one score.
    pub fusion: Fusion,
    /// What age makes of it.
    pub decay: Decay,
    /// Whether questions are asked again with words of the best hits. It needs some fifty documents to be of use.
    pub feedback: Option<Feedback>,
    /// Hits of each leg that are fused, 1 to [`Query::MAX_K`], and at least as many as are asked for. What one leg alone has within
    /// its depth counts as if the other had found nothing in it. A store that compares all vectors answers a thousand nearly as soon
    /// as ten; a graph or a server takes longer for each. Of words or meaning alone a hundred are looked at, or as many as are asked for.
    pub depth: usize,
    /// Hits that a reranker looks at.
    pub reranked: usize,
    /// Whether chunks that say nearly the same as a better one are left out.
    pub collapse: bool,
    /// How long search by meaning may take, the question's own vector included.
    pub patience: Duration,
    /// What happens when it does not come.
    pub on_failure: OnFailure,
}

impl Default for IndexOptions {
    /// Half words and half meaning of the best thousand each, no age, no feedback, two seconds.
    fn default() -> Self {
        Self {
            fusion: Fusion::PROSE,
            decay: Decay::NONE,
            feedback: None,
            depth: Query::MAX_K,
            reranked: 50,
            collapse: true,
            patience: Duration::from_secs(2),
            on_failure: OnFailure::Fail,
        }
    }
}

impl IndexOptions {
    pub(super) fn check(&self) -> Result<(), IndexError> {
        self.decay.check()?;
        if !self.fusion.is_valid() {
            return Err(IndexError::BadOptions("a fusion whose parameter is in range"));
        }
        if !(1..=Query::MAX_K).contains(&self.depth) || !(1..=Query::MAX_K).contains(&self.reranked) {
            return Err(IndexError::BadOptions("a depth, and a number of reranked hits, of 1 to 1000"));
        }
        Ok(())
    }
}

/// What is searched by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Words, and meaning where the index has an embedder.
    #[default]
    All,
    /// Words alone.
    Words,
    /// Meaning alone.
    Meaning,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What is looked for.
    pub text: String,
    /// Most hits.
    pub k: usize,
    /// What may be found.
    pub filter: Filter,
    /// What is searched by.
    pub mode: Mode,
    /// The moment whose documents are searched: those in force then. Now, where there is none.
    pub as_of: Option<Timestamp>,
    /// Whether documents whose place others took are found too.
    pub include_superseded: bool,
}

impl Query {
    /// Most hits of one search.
    pub const MAX_K: usize = 1000;
    /// Longest question in bytes.
    pub const MAX_BYTES: usize = 64 << 10;

    /// The best `k` of everything that is in force now.
    #[must_use]
    pub fn new(text: impl Into<String>, k: usize) -> Self {
        Self {
            text: text.into(),
            k,
            filter: Filter::All,
            mode: Mode::All,
            as_of: None,
            include_superseded: false,
        }
    }

    /// With another condition.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = self.filter.and(filter);
        self
    }

    pub(super) fn check(&self) -> Result<(), IndexError> {
        self.filter.check()?;
        if self.text.trim().is_empty() {
            return Err(IndexError::EmptyQuery);
        }
        if Self::MAX_BYTES < self.text.len() {
            return Err(IndexError::QueryTooLong { limit: Self::MAX_BYTES });
        }
        if !(1..=Self::MAX_K).contains(&self.k) {
            return Err(IndexError::BadK { k: self.k, limit: Self::MAX_K });
        }
        Ok(())
    }
}
