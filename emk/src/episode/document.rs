//! Episodes that somebody wrote as a file of JSON.

use agent_primitives::json::{self, Limits};
use agent_primitives::{AgentId, FailureType, Timestamp};
use serde_json::{Map, Value};

use super::body::check_name;
use super::{
    Document, Episode, EpisodeBuilder, EpisodeError, Failure, MAX_IMPORTANCE, MAX_TAG_BYTES, MAX_TAGS,
    MAX_TEXT_BYTES, Outcome,
};

const LIMITS: Limits = Limits { bytes: MAX_TEXT_BYTES, ..Limits::DEFAULT };

impl Episode {
    /// Begins an episode of `agent` from a document: one object of JSON with the texts `goal`, `action`, `result` and
    /// `reflection`, and whatever else. The document is kept to the byte.
    ///
    /// Its `outcome`, `failure`, `importance` and `tags` count where they are what an episode has; what is something else
    /// is only in the document. A failure that does not say how is one of the type `unknown`.
    ///
    /// # Errors
    /// `FieldTooLarge` for a longer document, `Malformed` for one of another form.
    pub fn from_document(
        agent: AgentId,
        time: Timestamp,
        document: Document,
    ) -> Result<EpisodeBuilder, EpisodeError> {
        let len = document.text.len();
        if MAX_TEXT_BYTES < len {
            return Err(EpisodeError::FieldTooLarge { field: "document.text", len, limit: MAX_TEXT_BYTES });
        }
        let value = json::parse(document.text.as_bytes(), &LIMITS).map_err(EpisodeError::malformed)?;
        let Value::Object(object) = value else {
            return Err(EpisodeError::malformed("the document is no object"));
        };
        let text = |field: &str| {
            let found = object.get(field).and_then(Value::as_str);
            found.ok_or_else(|| EpisodeError::malformed(format_args!("the document has no text `{field}`")))
        };
        let builder = Self::builder(agent, time)
            .goal(text("goal")?)
            .action(text("action")?)
            .result(text("result")?)
            .reflection(text("reflection")?)
            .tags(tags(&object));
        let builder = match importance(&object) {
            Some(importance) => builder.importance(importance),
            None => builder,
        };
        Ok(outcome(builder, &object).document(document))
    }
}

fn tags(object: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let tags = object.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    tags.filter(|tag| tag.len() <= MAX_TAG_BYTES && check_name("tags", tag).is_ok()).take(MAX_TAGS)
}

fn importance(object: &Map<String, Value>) -> Option<u8> {
    let importance = u8::try_from(object.get("importance")?.as_u64()?).ok()?;
    (importance <= MAX_IMPORTANCE).then_some(importance)
}

fn outcome(builder: EpisodeBuilder, object: &Map<String, Value>) -> EpisodeBuilder {
    let outcome = object.get("outcome").and_then(Value::as_str).and_then(|name| name.parse().ok());
    let failure = object.get("failure").and_then(|failure| serde_json::from_value(failure.clone()).ok());
    match (outcome, failure) {
        (None, None) => builder,
        (Some(Outcome::Success), _) => builder.outcome(Outcome::Success),
        (None | Some(Outcome::Failure), failure) => {
            let unsaid = || Failure { kind: FailureType::Unknown, reason: String::new() };
            builder.outcome(Outcome::Failure).failure(failure.unwrap_or_else(unsaid))
        }
        (Some(outcome), None) => builder.outcome(outcome),
        (Some(outcome), Some(failure)) => builder.outcome(outcome).failure(failure),
    }
}
