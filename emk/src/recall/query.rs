//! What is asked for, and what is answered.

use agent_primitives::{AgentId, SessionId, Timestamp};

use super::RecallError;
use crate::EntryKind;
use crate::episode::{Outcome, Source};

/// Most episodes of one answer.
pub const MAX_RECALL: usize = 1000;
/// Longest text of a question, in bytes: as long as a text of an episode.
pub const MAX_QUERY_BYTES: usize = 64 << 10;
/// Most names in one part of a filter.
pub const MAX_FILTER_NAMES: usize = 1024;

/// Which episodes count. An empty list asks for nothing, so the default lets everything pass.
///
/// What does not pass is out before anything is ranked: it takes no place, lends nothing to its neighbours, and counts neither for
/// how rare a word is nor for how long texts are. An answer is that of a memory without it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Of one of these agents.
    pub agents: Vec<AgentId>,
    /// In one of these sessions.
    pub sessions: Vec<SessionId>,
    /// With one of these outcomes.
    pub outcomes: Vec<Outcome>,
    /// From one of these sources.
    pub sources: Vec<Source>,
    /// One of these kinds of records.
    pub kinds: Vec<EntryKind>,
    /// With all of these tags.
    pub tags: Vec<String>,
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// Trusted at least so much, 0 to 1, by [`SourceTrust`]; a rule by the least trusted of what it was made from.
    pub min_trust: f64,
    /// Also what a rule stands for, and what was corrected. Without it, only what is remembered now.
    pub past: bool,
}

impl Filter {
    /// The outcomes of one kind.
    #[must_use]
    pub fn outcome(outcome: Outcome) -> Self {
        Self { outcomes: vec![outcome], ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<(), RecallError> {
        let lists = [
            ("agents", self.agents.len()),
            ("sessions", self.sessions.len()),
            ("outcomes", self.outcomes.len()),
            ("sources", self.sources.len()),
            ("kinds", self.kinds.len()),
            ("tags", self.tags.len()),
        ];
        if let Some((what, found)) = lists.into_iter().find(|(_, found)| MAX_FILTER_NAMES < *found) {
            return Err(RecallError::FilterTooLarge { what, found });
        }
        share("min_trust", self.min_trust)
    }

    /// Whether everything passes.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::default()
    }
}

/// How far what a source says is believed, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SourceTrust {
    /// Of the person the agent works for.
    pub user: f64,
    /// Of the agent itself.
    pub agent: f64,
    /// Of a tool.
    pub tool: f64,
    /// Of anybody else.
    pub external: f64,
    /// Of what was recalled and written down again.
    pub recalled: f64,
}

impl SourceTrust {
    /// User 1.0, agent 0.8, tool 0.6, external 0.3, recalled 0.
    pub const DEFAULT: Self = Self { user: 1.0, agent: 0.8, tool: 0.6, external: 0.3, recalled: 0.0 };

    pub(super) fn check(&self) -> Result<(), RecallError> {
        let Self { user, agent, tool, external, recalled } = *self;
        let all = [
            ("user", user),
            ("agent", agent),
            ("tool", tool),
            ("external", external),
            ("recalled", recalled),
        ];
        all.into_iter().try_for_each(|(what, trust)| share(what, trust))
    }

    /// The trust in one source.
    #[must_use]
    pub const fn of(&self, source: Source) -> f64 {
        match source {
            Source::User => self.user,
            Source::Agent => self.agent,
            Source::Tool => self.tool,
            Source::External => self.external,
            Source::Recalled => self.recalled,
        }
    }
}

impl Default for SourceTrust {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the answer is ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Order {
    /// How well an episode fits.
    #[default]
    Relevance,
    /// Fit, age and importance together: [`super::composite`] over the best hundred, or four times as many as asked for.
    Composite,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a question is answered by `Recall::recall`"]
pub struct Query {
    /// In words; may be empty if there is a vector.
    pub text: String,
    /// As a vector, with the name of the model that made it.
    pub vector: Option<(String, Vec<f32>)>,
    /// Which episodes count.
    pub filter: Filter,
    /// How many are wanted, 1 to [`MAX_RECALL`].
    pub k: usize,
    /// What they are ordered by.
    pub order: Order,
    /// If given, what repeats others comes later: maximal marginal relevance with this `lambda`, 0 to 1
    /// ([`super::MMR_LAMBDA`]).
    pub diversity: Option<f64>,
}

impl Query {
    /// A question in words for the ten best.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            vector: None,
            filter: Filter::default(),
            k: 10,
            order: Order::Relevance,
            diversity: None,
        }
    }

    /// Wants another number of episodes.
    pub const fn limit(mut self, k: usize) -> Self {
        self.k = k;
        self
    }

    /// Lets only some episodes count.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Asks with a vector too.
    pub fn vector(mut self, model: impl Into<String>, vector: Vec<f32>) -> Self {
        self.vector = Some((model.into(), vector));
        self
    }

    pub(super) fn check(&self) -> Result<(), RecallError> {
        if !(1..=MAX_RECALL).contains(&self.k) {
            return Err(RecallError::InvalidLimit { k: self.k });
        }
        if MAX_QUERY_BYTES < self.text.len() {
            return Err(RecallError::QueryTooLarge { len: self.text.len(), limit: MAX_QUERY_BYTES });
        }
        if let Some(lambda) = self.diversity {
            share("diversity", lambda)?;
        }
        self.filter.check()
    }
}

fn share(what: &'static str, found: f64) -> Result<(), RecallError> {
    if (0.0..=1.0).contains(&found) { Ok(()) } else { Err(RecallError::OutOfRange { what, found }) }
}

/// An episode that fits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its place in the ledger.
    pub seq: u64,
    /// How well it fits; higher is better. Comparable within one answer only.
    pub score: f64,
    /// What the score was made of.
    pub parts: Parts,
}

/// What a score was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Parts {
    /// From its words, if it or its session has any of those asked for.
    pub lexical: Option<LexicalPart>,
    /// From its vector, if it was among the nearest.
    pub dense: Option<DensePart>,
    /// Under [`Order::Composite`]: its age, and what that leaves of recency, 0 to 1.
    pub recency: Option<f64>,
    /// Under [`Order::Composite`]: its importance, 0 to 100.
    pub importance: Option<u8>,
}

/// The words' part of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LexicalPart {
    /// Its place in the order by words, from 1.
    pub rank: u32,
    /// BM25 of the episode alone.
    pub bm25: f64,
    /// BM25 with what its neighbours lend, as a share of the best.
    pub neighbours: f64,
    /// BM25 of its session as a whole, as a share of the best.
    pub session: f64,
    /// `neighbours + 0.8 * session`.
    pub score: f64,
}

/// The vectors' part of a score.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DensePart {
    /// Its place in the order by vectors, from 1.
    pub rank: u32,
    /// The cosine of the angle to the question, -1 to 1.
    pub cosine: f64,
}
