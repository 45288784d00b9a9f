//! How an episode is made.

use std::collections::BTreeSet;

use agent_primitives::json::{self, Limits};
use agent_primitives::redact::{redact, redact_text};
use agent_primitives::{AgentId, Digest, LabelSet, SessionId, Timestamp};
use serde_json::{Map, Value};

use super::body::{Body, SCHEMA, Time};
use super::{
    DEFAULT_IMPORTANCE, Document, Episode, EpisodeError, Failure, MAX_CAUSES, MAX_METADATA_DEPTH, MAX_TAGS,
    MAX_TEXT_BYTES, Outcome, Revision, Source,
};

/// Gathers the fields of an episode. Everything but the agent and the time may be left out.
///
/// Texts, tags and metadata are redacted before they are hashed, so a secret of a known shape is in no id either.
#[derive(Clone)]
#[must_use = "an episode is made by `build`"]
pub struct EpisodeBuilder {
    body: Body,
    redact: bool,
}

impl EpisodeBuilder {
    pub(super) fn new(agent: AgentId, time: Timestamp) -> Self {
        let body = Body {
            schema: SCHEMA,
            agent_id: agent,
            session_id: None,
            goal: String::new(),
            action: String::new(),
            result: String::new(),
            reflection: String::new(),
            outcome: Outcome::Unknown,
            failure: None,
            importance: DEFAULT_IMPORTANCE,
            source: Source::Agent,
            tags: BTreeSet::new(),
            caused_by: Vec::new(),
            metadata: Map::new(),
            timestamp: time,
            labels: LabelSet::EMPTY,
            corrects: None,
            supersedes: None,
            valid_from: None,
            valid_to: None,
            document: None,
        };
        Self { body, redact: true }
    }

    /// The session it belongs to.
    pub fn session(mut self, session: SessionId) -> Self {
        self.body.session_id = Some(session);
        self
    }

    /// What was to be reached.
    pub fn goal(mut self, text: impl Into<String>) -> Self {
        self.body.goal = text.into();
        self
    }

    /// What was done.
    pub fn action(mut self, text: impl Into<String>) -> Self {
        self.body.action = text.into();
        self
    }

    /// What came of it.
    pub fn result(mut self, text: impl Into<String>) -> Self {
        self.body.result = text.into();
        self
    }

    /// What was learned.
    pub fn reflection(mut self, text: impl Into<String>) -> Self {
        self.body.reflection = text.into();
        self
    }

    /// How it ended; [`Outcome::Unknown`] if nothing is said. A failure needs [`EpisodeBuilder::failure`].
    pub const fn outcome(mut self, outcome: Outcome) -> Self {
        self.body.outcome = outcome;
        self
    }

    /// How it failed. Makes an unknown outcome a failure, unless another is stated after this.
    pub fn failure(mut self, failure: Failure) -> Self {
        if self.body.outcome == Outcome::Unknown {
            self.body.outcome = Outcome::Failure;
        }
        self.body.failure = Some(failure);
        self
    }

    /// How much it matters, 0 to 100; 50 if nothing is said.
    pub const fn importance(mut self, importance: u8) -> Self {
        self.body.importance = importance;
        self
    }

    /// Who vouches for it; the agent if nothing is said.
    pub const fn source(mut self, source: Source) -> Self {
        self.body.source = source;
        self
    }

    /// Adds words to find it by. One too many is refused when it is built.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        for tag in tags {
            if MAX_TAGS < self.body.tags.len() {
                break;
            }
            self.body.tags.insert(tag.into());
        }
        self
    }

    /// The labels of what it was made from.
    pub fn labels(mut self, labels: LabelSet) -> Self {
        self.body.labels = labels;
        self
    }

    /// Adds causes, by content id; one that is named already is not added again.
    pub fn caused_by(mut self, causes: impl IntoIterator<Item = Digest>) -> Self {
        for cause in causes {
            if MAX_CAUSES < self.body.caused_by.len() {
                break;
            }
            if !self.body.caused_by.contains(&cause) {
                self.body.caused_by.push(cause);
            }
        }
        self
    }

    /// Whatever else is known about it.
    pub fn metadata(mut self, metadata: Map<String, Value>) -> Self {
        self.body.metadata = metadata;
        self
    }

    /// Which earlier episode it puts right or replaces.
    pub const fn revises(mut self, revision: Revision) -> Self {
        (self.body.corrects, self.body.supersedes) = match revision {
            Revision::Corrects(id) => (Some(id), None),
            Revision::Supersedes(id) => (None, Some(id)),
        };
        self
    }

    /// Since when what it says is true, if not since it happened.
    pub const fn valid_from(mut self, time: Timestamp) -> Self {
        self.body.valid_from = Some(Time(time));
        self
    }

    /// From when on what it says is no longer true.
    pub const fn valid_to(mut self, time: Timestamp) -> Self {
        self.body.valid_to = Some(Time(time));
        self
    }

    /// The text that it was written as, to be given back to the byte.
    pub fn document(mut self, document: Document) -> Self {
        self.body.document = Some(document);
        self
    }

    /// Leaves secrets in. What was written with them cannot be changed, only erased.
    pub const fn dangerous_keep_secrets(mut self) -> Self {
        self.redact = false;
        self
    }

    /// Redacts, checks and hashes it.
    ///
    /// # Errors
    /// `FieldTooLarge`, `EmptyEpisode`, `InvalidImportance`, `InconsistentOutcome`, `TooMany`, `InvalidName`,
    /// `InvalidTime`, `InvalidMetadata`.
    pub fn build(self) -> Result<Episode, EpisodeError> {
        // Sizes first: nothing walks through what is too large or too deep.
        self.body.check()?;
        let body = if self.redact { redacted(self.body) } else { self.body };
        Episode::of(body)
    }
}

impl std::fmt::Debug for EpisodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpisodeBuilder").field("agent", &self.body.agent_id).finish_non_exhaustive()
    }
}

fn redacted(mut body: Body) -> Body {
    for text in [&mut body.goal, &mut body.action, &mut body.result, &mut body.reflection] {
        take_out(text);
    }
    if let Some(failure) = &mut body.failure {
        take_out(&mut failure.reason);
    }
    if body.tags.iter().any(|tag| redact_text(tag) != *tag) {
        body.tags = body.tags.iter().map(|tag| redact_text(tag).into_owned()).collect();
    }
    if let Some(document) = &mut body.document {
        redact_document(document);
    }
    if !body.metadata.is_empty()
        && let Value::Object(metadata) = redact(Value::Object(std::mem::take(&mut body.metadata)))
    {
        body.metadata = metadata;
    }
    body
}

fn take_out(text: &mut String) {
    if let std::borrow::Cow::Owned(clean) = redact_text(text) {
        *text = clean;
    }
}

/// A document of JSON is redacted as a value too, where keys name secrets; one that has none keeps every byte.
fn redact_document(document: &mut Document) {
    let limits = Limits { bytes: MAX_TEXT_BYTES, depth: 2 * MAX_METADATA_DEPTH, nodes: MAX_TEXT_BYTES };
    if let Ok(value) = json::parse(document.text.as_bytes(), &limits) {
        let clean = redact(value.clone());
        if clean != value {
            document.text = clean.to_string();
        }
    }
    take_out(&mut document.text);
}
