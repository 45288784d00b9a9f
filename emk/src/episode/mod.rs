//! Episodes: what an agent tried, what came of it, and what it made of that.
//!
//! An [`Episode`] never changes after it was built. What turns out to be wrong or no longer true is said by a later one
//! that points back ([`Revision`]). Its bytes are canonical JSON (RFC 8785) and its id is the digest of all of them, so
//! two episodes that differ in anything have different ids, and nobody can choose one.

mod body;
mod builder;
mod document;
mod error;
mod parts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;

use agent_primitives::{AgentId, Digest, LabelSet, SessionId, Timestamp};
use serde_json::{Map, Value};

use crate::{EntryKind, chain};
pub(crate) use body::Body;

pub use builder::EpisodeBuilder;
pub use error::EpisodeError;
pub use parts::{Document, Failure, Outcome, Revision, Source, UnknownName};

/// Longest text of an episode (goal, action, result, reflection, reason of a failure, text of a document) in bytes.
pub const MAX_TEXT_BYTES: usize = 64 << 10;
/// Largest metadata in canonical bytes.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
/// Deepest nesting of metadata.
pub const MAX_METADATA_DEPTH: usize = 32;
/// Most tags.
pub const MAX_TAGS: usize = 64;
/// Longest tag in bytes.
pub const MAX_TAG_BYTES: usize = 128;
/// Most causes.
pub const MAX_CAUSES: usize = 32;
/// Longest name of a document in bytes.
pub const MAX_NAME_BYTES: usize = 1024;
/// Highest importance.
pub const MAX_IMPORTANCE: u8 = 100;
/// Importance where nothing was said.
pub const DEFAULT_IMPORTANCE: u8 = 50;

/// One experience of an agent.
///
/// ```
/// use agent_primitives::Timestamp;
/// use emk::episode::{Episode, Outcome};
///
/// let time: Timestamp = "2026-01-21T20:49:00Z".parse()?;
/// let episode = Episode::builder("agent-1".parse()?, time)
///     .goal("List overdue invoices")
///     .action("SELECT invoices past due")
///     .result("37 rows")
///     .outcome(Outcome::Success)
///     .tags(["billing", "db"])
///     .build()?;
/// assert_eq!(Episode::decode(&episode.encode())?, episode);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Episode {
    body: Body,
    /// The canonical bytes of the body.
    bytes: Box<[u8]>,
    content_id: Digest,
}

impl Episode {
    /// Begins an episode of `agent` that happened at `time`.
    pub fn builder(agent: AgentId, time: Timestamp) -> EpisodeBuilder {
        EpisodeBuilder::new(agent, time)
    }

    /// Checks a body and takes its id.
    fn of(body: Body) -> Result<Self, EpisodeError> {
        body.check()?;
        let bytes: Box<[u8]> = body.canonical()?.into();
        let content_id = chain::content_id(EntryKind::Episode, &bytes);
        Ok(Self { body, bytes, content_id })
    }

    /// Reads [`Episode::encode`].
    ///
    /// # Errors
    /// `Malformed` for bytes that are not the canonical JSON of an episode of this version, and whatever
    /// [`EpisodeBuilder::build`] refuses.
    pub fn decode(bytes: &[u8]) -> Result<Self, EpisodeError> {
        let body = Body::parse(bytes)?;
        body.check()?;
        if body.canonical()? != bytes {
            return Err(EpisodeError::malformed("it is not in canonical form"));
        }
        let content_id = chain::content_id(EntryKind::Episode, bytes);
        Ok(Self { body, bytes: bytes.into(), content_id })
    }

    /// The canonical JSON of the episode: the body of its record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }

    /// As [`Episode::encode`], borrowed.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of [`Episode::encode`] in the domain of episodes: what causes and corrections name.
    #[must_use]
    pub const fn content_id(&self) -> Digest {
        self.content_id
    }

    /// Whose experience it is.
    #[must_use]
    pub const fn agent(&self) -> &AgentId {
        &self.body.agent_id
    }

    /// The session it belongs to.
    #[must_use]
    pub const fn session(&self) -> Option<&SessionId> {
        self.body.session_id.as_ref()
    }

    /// What was to be reached.
    #[must_use]
    pub fn goal(&self) -> &str {
        &self.body.goal
    }

    /// What was done.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.body.action
    }

    /// What came of it.
    #[must_use]
    pub fn result(&self) -> &str {
        &self.body.result
    }

    /// What was learned.
    #[must_use]
    pub fn reflection(&self) -> &str {
        &self.body.reflection
    }

    /// How it ended.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.body.outcome
    }

    /// How it failed. There whenever the outcome is [`Outcome::Failure`], never on a success.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        self.body.failure.as_ref()
    }

    /// How much it matters, 0 to 100.
    #[must_use]
    pub const fn importance(&self) -> u8 {
        self.body.importance
    }

    /// Who says so.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.body.source
    }

    /// Words to find it by, in ascending order.
    #[must_use]
    pub const fn tags(&self) -> &BTreeSet<String> {
        &self.body.tags
    }

    /// The labels of what it was made from.
    #[must_use]
    pub const fn labels(&self) -> &LabelSet {
        &self.body.labels
    }

    /// The content ids of the episodes that led to it.
    #[must_use]
    pub fn caused_by(&self) -> &[Digest] {
        &self.body.caused_by
    }

    /// Whatever else is known about it.
    #[must_use]
    pub const fn metadata(&self) -> &Map<String, Value> {
        &self.body.metadata
    }

    /// When it happened.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.body.timestamp
    }

    /// Which earlier episode it puts right or replaces.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.body.revision()
    }

    /// Since when what it says is true: as stated, or when it happened.
    #[must_use]
    pub fn valid_from(&self) -> Timestamp {
        self.body.valid_from.map_or(self.body.timestamp, |time| time.0)
    }

    /// From when on what it says is no longer true, if that is known.
    #[must_use]
    pub fn valid_to(&self) -> Option<Timestamp> {
        self.body.valid_to.map(|time| time.0)
    }

    /// The text that it was written as, if that is kept.
    #[must_use]
    pub const fn document(&self) -> Option<&Document> {
        self.body.document.as_ref()
    }

    /// The four texts: goal, action, result, reflection.
    #[must_use]
    pub fn texts(&self) -> [&str; 4] {
        [self.goal(), self.action(), self.result(), self.reflection()]
    }
}

impl PartialEq for Episode {
    fn eq(&self, other: &Self) -> bool {
        self.content_id == other.content_id
    }
}

impl Eq for Episode {}

impl fmt::Debug for Episode {
    /// Texts may hold prompts and personal data, so none is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Episode({} of {}, {}, {})",
            self.content_id,
            self.agent(),
            self.outcome(),
            self.timestamp()
        )
    }
}
