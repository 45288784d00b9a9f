//! An episode as JSON: its fields, their limits, and its canonical bytes.

use std::collections::BTreeSet;

use agent_primitives::json::{self, Limits};
use agent_primitives::{AgentId, Digest, Label, LabelSet, SessionId, Timestamp};
use serde::Deserialize;
#[cfg(test)]
use serde::Serialize;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::{
    Document, EpisodeError, Failure, MAX_CAUSES, MAX_IMPORTANCE, MAX_METADATA_BYTES, MAX_METADATA_DEPTH,
    MAX_NAME_BYTES, MAX_TAG_BYTES, MAX_TAGS, MAX_TEXT_BYTES, Outcome, Revision, Source,
};

/// The version of this form.
pub(super) const SCHEMA: u32 = 1;

/// What a body may be before it is read: six texts that are escaped at worst (six bytes for one), metadata, and the rest.
const BODY_LIMITS: Limits = Limits {
    bytes: 6 * 6 * MAX_TEXT_BYTES + 6 * MAX_METADATA_BYTES + (512 << 10),
    depth: 64,
    nodes: 200_000,
};

/// A time, as RFC 3339 with six digits.
#[derive(Clone, Copy, PartialEq, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(transparent)]
pub(crate) struct Time(#[serde(with = "agent_primitives::timestamp::rfc3339")] pub(crate) Timestamp);

/// The fields. Those from `labels` on came later and are absent where they say nothing, so that an episode without them
/// keeps its id.
#[derive(Clone, Deserialize)]
#[cfg_attr(test, derive(Serialize))]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) schema: u32,
    pub(crate) agent_id: AgentId,
    pub(crate) session_id: Option<SessionId>,
    pub(crate) goal: String,
    pub(crate) action: String,
    pub(crate) result: String,
    pub(crate) reflection: String,
    pub(crate) outcome: Outcome,
    pub(crate) failure: Option<Failure>,
    pub(crate) importance: u8,
    pub(crate) source: Source,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) caused_by: Vec<Digest>,
    pub(crate) metadata: Map<String, Value>,
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub(crate) timestamp: Timestamp,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "LabelSet::is_empty"))]
    pub(crate) labels: LabelSet,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) corrects: Option<Digest>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) supersedes: Option<Digest>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) valid_from: Option<Time>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) valid_to: Option<Time>,
    #[serde(default)]
    #[cfg_attr(test, serde(skip_serializing_if = "Option::is_none"))]
    pub(crate) document: Option<Document>,
}

impl Body {
    /// INVARIANT: who calls compares the canonical form with the bytes, so that a repeated key ends here or there.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, EpisodeError> {
        let text = json::bounded(bytes, &BODY_LIMITS).map_err(EpisodeError::malformed)?;
        // An error of serde may quote a value, so it is not passed on.
        serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => EpisodeError::malformed("its fields are not those of one"),
            _ => EpisodeError::malformed(format_args!("not JSON at column {}", error.column())),
        })
    }

    /// RFC 8785, written without a tree of values in between: it is what opening a memory does most. Fields come in the
    /// order of their names.
    pub(crate) fn canonical(&self) -> Result<Vec<u8>, EpisodeError> {
        let mut out = Writer::with_capacity(1024);
        let id = |id: &Digest| id.to_string();
        out.text("action", &self.action);
        out.text("agent_id", self.agent_id.as_str());
        out.texts("caused_by", self.caused_by.iter().map(id));
        out.optional("corrects", self.corrects.as_ref().map(id));
        if let Some(Document { name, text }) = &self.document {
            out.pair("document", [("name", name), ("text", text)]);
        }
        match &self.failure {
            Some(Failure { kind, reason }) => {
                out.pair("failure", [("kind", kind.as_str()), ("reason", reason)]);
            }
            None => out.plain("failure", "null"),
        }
        out.text("goal", &self.goal);
        out.plain("importance", &self.importance.to_string());
        if !self.labels.is_empty() {
            out.texts("labels", self.labels.iter().map(Label::as_str));
        }
        out.metadata(&self.metadata)?;
        out.text("outcome", self.outcome.as_str());
        out.text("reflection", &self.reflection);
        out.text("result", &self.result);
        out.plain("schema", &self.schema.to_string());
        match &self.session_id {
            Some(session) => out.text("session_id", session.as_str()),
            None => out.plain("session_id", "null"),
        }
        out.text("source", self.source.as_str());
        out.optional("supersedes", self.supersedes.as_ref().map(id));
        out.texts("tags", &self.tags);
        out.text("timestamp", &self.timestamp.to_string());
        out.optional("valid_from", self.valid_from.map(|time| time.0.to_string()));
        out.optional("valid_to", self.valid_to.map(|time| time.0.to_string()));
        Ok(out.end())
    }

    pub(super) fn revision(&self) -> Option<Revision> {
        self.corrects.map(Revision::Corrects).or_else(|| self.supersedes.map(Revision::Supersedes))
    }

    /// Whether it keeps every limit and does not contradict itself.
    pub(super) fn check(&self) -> Result<(), EpisodeError> {
        if self.schema != SCHEMA {
            return Err(EpisodeError::malformed("its schema is not known"));
        }
        self.check_texts()?;
        self.check_outcome()?;
        self.check_lists()?;
        self.check_times()?;
        if self.corrects.is_some() && self.supersedes.is_some() {
            return Err(EpisodeError::malformed("it both corrects and supersedes"));
        }
        check_metadata(&self.metadata)
    }

    fn check_texts(&self) -> Result<(), EpisodeError> {
        let reason = self.failure.as_ref().map_or("", |failure| failure.reason.as_str());
        let document = self.document.as_ref();
        let texts = [
            ("goal", self.goal.as_str()),
            ("action", &self.action),
            ("result", &self.result),
            ("reflection", &self.reflection),
            ("failure.reason", reason),
            ("document.text", document.map_or("", |document| &document.text)),
        ];
        texts.iter().try_for_each(|(field, text)| within(field, text.len(), MAX_TEXT_BYTES))?;
        if let Some(document) = document {
            within("document.name", document.name.len(), MAX_NAME_BYTES)?;
            check_name("document.name", &document.name)?;
        }
        let blank = |text: &str| text.trim().is_empty();
        if blank(&self.goal) && blank(&self.action) { Err(EpisodeError::EmptyEpisode) } else { Ok(()) }
    }

    fn check_outcome(&self) -> Result<(), EpisodeError> {
        let consistent = match self.outcome {
            Outcome::Failure => self.failure.is_some(),
            Outcome::Success => self.failure.is_none(),
            Outcome::Partial | Outcome::Unknown => true,
        };
        if !consistent {
            return Err(EpisodeError::InconsistentOutcome { outcome: self.outcome.as_str() });
        }
        if MAX_IMPORTANCE < self.importance {
            return Err(EpisodeError::InvalidImportance { found: self.importance });
        }
        Ok(())
    }

    fn check_lists(&self) -> Result<(), EpisodeError> {
        at_most("tags", self.tags.len(), MAX_TAGS)?;
        at_most("caused_by", self.caused_by.len(), MAX_CAUSES)?;
        for tag in &self.tags {
            within("tags", tag.len(), MAX_TAG_BYTES)?;
            check_name("tags", tag)?;
        }
        let distinct: BTreeSet<&Digest> = self.caused_by.iter().collect();
        if distinct.len() == self.caused_by.len() {
            Ok(())
        } else {
            Err(EpisodeError::malformed("it names a cause twice"))
        }
    }

    fn check_times(&self) -> Result<(), EpisodeError> {
        let (from, to) = (self.valid_from.map(|time| time.0), self.valid_to.map(|time| time.0));
        let times = [("timestamp", Some(self.timestamp)), ("valid_from", from), ("valid_to", to)];
        if let Some((field, _)) = times.iter().find(|(_, time)| time.is_some_and(|time| !has_text_form(time)))
        {
            return Err(EpisodeError::InvalidTime { field });
        }
        // An interval is half open: one that ends where it begins holds no time.
        match to {
            Some(to) if to <= from.unwrap_or(self.timestamp) => {
                Err(EpisodeError::InvalidTime { field: "valid_to" })
            }
            _ => Ok(()),
        }
    }
}

/// Writes the fields of an object. Their names need no escapes.
struct Writer(Vec<u8>);

impl Writer {
    fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        self.key(name);
    }

    fn key(&mut self, name: &str) {
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn plain(&mut self, name: &str, value: &str) {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        json::canonical_text(text, &mut self.0);
    }

    fn optional(&mut self, name: &str, text: Option<String>) {
        if let Some(text) = text {
            self.text(name, &text);
        }
    }

    fn texts<T: AsRef<str>>(&mut self, name: &str, texts: impl IntoIterator<Item = T>) {
        self.name(name);
        self.0.push(b'[');
        for (place, text) in texts.into_iter().enumerate() {
            if place != 0 {
                self.0.push(b',');
            }
            json::canonical_text(text.as_ref(), &mut self.0);
        }
        self.0.push(b']');
    }

    fn pair(&mut self, name: &str, fields: [(&str, &str); 2]) {
        self.name(name);
        for (before, (name, text)) in (*b"{,").into_iter().zip(fields) {
            self.0.push(before);
            self.key(name);
            json::canonical_text(text, &mut self.0);
        }
        self.0.push(b'}');
    }

    fn metadata(&mut self, metadata: &Map<String, Value>) -> Result<(), EpisodeError> {
        if metadata.is_empty() {
            self.plain("metadata", "{}");
            return Ok(());
        }
        self.name("metadata");
        let metadata = Value::Object(metadata.clone());
        json::canonical_into(&metadata, &mut self.0).map_err(EpisodeError::InvalidMetadata)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// RFC 3339 writes the years 0 to 9999.
fn has_text_form(time: Timestamp) -> bool {
    (-62_167_219_200_000_000..=253_402_300_799_999_999).contains(&time.as_micros())
}

fn within(field: &'static str, len: usize, limit: usize) -> Result<(), EpisodeError> {
    if len <= limit { Ok(()) } else { Err(EpisodeError::FieldTooLarge { field, len, limit }) }
}

fn at_most(field: &'static str, found: usize, limit: usize) -> Result<(), EpisodeError> {
    if found <= limit { Ok(()) } else { Err(EpisodeError::TooMany { field, found, limit }) }
}

pub(super) fn check_name(field: &'static str, name: &str) -> Result<(), EpisodeError> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(EpisodeError::InvalidName { field });
    }
    Ok(())
}

/// The depth counts the metadata itself. Checked before anything walks it recursively.
fn check_metadata(metadata: &Map<String, Value>) -> Result<(), EpisodeError> {
    let limits =
        Limits { bytes: MAX_METADATA_BYTES, depth: MAX_METADATA_DEPTH - 1, nodes: MAX_METADATA_BYTES };
    let mut len = 2;
    for (key, value) in metadata {
        json::check(value, &limits).map_err(EpisodeError::InvalidMetadata)?;
        let bytes = json::canonical(value).map_err(EpisodeError::InvalidMetadata)?;
        // A double beyond 2^53 prints as an integer, which would be refused when the episode is read again.
        if !(value.is_string() || value.is_null() || value.is_boolean()) {
            json::parse(&bytes, &limits).map_err(EpisodeError::InvalidMetadata)?;
        }
        // A key, its quotes, a colon and a comma; what escaping adds to a key is not counted.
        len += bytes.len() + key.len() + 4;
    }
    within("metadata", len, MAX_METADATA_BYTES)
}
