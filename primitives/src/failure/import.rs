//! Reading records: our own, and those of the Python `agent_primitives` package.
//!
//! Fields are `agent_id`, `failure_type` and `error_message`, which must be there, and `id`, `severity`, `timestamp`,
//! `context`, `retry`, `cause`, `stack_trace` and `failure_trace`. Any other is kept in `context.extra`; one inside
//! `failure_trace` or `retry` under that name there. What is read is checked, redacted and cut like what is built.

use std::time::Duration;

use serde_json::{Map, Value};

use super::record::{AgentFailure, FailureTrace, RetryHint, SideEffects};
use super::{FailureError, FailureType};
use crate::json::{self, Limits};
use crate::{AgentId, Clock, IdSource, Timestamp};

/// Largest record read: 256 steps of 8 KiB with every byte escaped, and the rest.
pub const LIMITS: Limits = Limits { bytes: 16 << 20, depth: 64, nodes: 200_000 };

/// How records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import {
    assume_utc: bool,
}

/// Reads records whose timestamps all have an offset.
#[must_use]
pub const fn strict() -> Import {
    Import { assume_utc: false }
}

/// Reads a timestamp without an offset as UTC, which is what old versions of the Python package meant by it.
#[must_use]
pub const fn assume_utc() -> Import {
    Import { assume_utc: true }
}

impl Import {
    /// Reads one record. What it lacks is supplied: an id and a time from the seams, the severity and what is known about
    /// a retry from the type.
    ///
    /// # Errors
    /// See [`FailureError`]; the field at fault is named.
    pub fn read(
        self,
        text: &[u8],
        clock: &dyn Clock,
        ids: &dyn IdSource,
    ) -> Result<AgentFailure, FailureError> {
        let value = json::parse(text, &LIMITS)?;
        let mut fields = Fields::of(value, "")?;
        fields.require(&["agent_id", "failure_type", "error_message"])?;
        let agent: AgentId =
            fields.text("agent_id")?.parse().map_err(|source| FailureError::BadAgentId { source })?;
        let failure_type: FailureType = fields.text("failure_type")?.parse()?;
        let mut builder = AgentFailure::builder(agent, failure_type.clone(), fields.text("error_message")?);
        if let Some(severity) = fields.optional_text("severity")? {
            builder = builder.severity(severity.parse()?);
        }
        if let Some(time) = fields.optional_text("timestamp")? {
            builder = builder.timestamp(self.time(&time, "timestamp")?);
        }
        if let Some(id) = fields.nullable_text("id")? {
            builder = builder.id(reference(&id, "id")?);
        }
        if let Some(cause) = fields.nullable_text("cause")? {
            builder = builder.cause(reference(&cause, "cause")?);
        }
        if let Some(stack_trace) = fields.nullable_text("stack_trace")? {
            builder = builder.stack_trace(stack_trace);
        }
        let mut unknown = Map::new();
        if let Some(retry) = fields.nested("retry")? {
            builder = builder.retry(self::retry(retry, &failure_type, &mut unknown)?);
        }
        if let Some(trace) = fields.nested("failure_trace")? {
            builder = builder.trace(self.trace(trace, clock, &mut unknown)?);
        }
        let context = fields.optional_object("context")?.unwrap_or_default();
        unknown.extend(fields.map);
        builder.context(with_extra(context, unknown)?).build(clock, ids)
    }

    fn time(self, text: &str, field: &str) -> Result<Timestamp, FailureError> {
        let parsed = if self.assume_utc { Timestamp::parse_assuming_utc(text) } else { text.parse() };
        parsed.map_err(|source| FailureError::BadTime { field: field.to_owned(), source })
    }

    fn trace(
        self,
        mut fields: Fields,
        clock: &dyn Clock,
        unknown: &mut Map<String, Value>,
    ) -> Result<FailureTrace, FailureError> {
        fields.require(&["user_prompt", "failed_action", "error_details"])?;
        let timestamp = match fields.optional_text("timestamp")? {
            Some(time) => self.time(&time, "failure_trace.timestamp")?,
            None => clock.now(),
        };
        let mut trace = FailureTrace::new(
            fields.text("user_prompt")?,
            fields.optional_object("failed_action")?.unwrap_or_default(),
            fields.text("error_details")?,
            timestamp,
        );
        trace.chain_of_thought = fields.texts("chain_of_thought")?;
        fields.rest_into(unknown);
        Ok(trace)
    }
}

fn retry(
    mut fields: Fields,
    failure_type: &FailureType,
    unknown: &mut Map<String, Value>,
) -> Result<RetryHint, FailureError> {
    let retryable = match fields.map.remove("retryable") {
        Some(Value::Bool(retryable)) => retryable,
        Some(_) => return Err(fields.wrong("retryable", "true or false")),
        None => failure_type.retryable(),
    };
    let after = match fields.map.remove("after_ms") {
        Some(after) => {
            let millis =
                after.as_u64().ok_or_else(|| fields.wrong("after_ms", "a whole number of milliseconds"))?;
            Some(Duration::from_millis(millis))
        }
        None => None,
    };
    let side_effects = match fields.optional_text("side_effects")?.as_deref() {
        Some("none") => SideEffects::None,
        Some("committed") => SideEffects::Committed,
        Some("possible") | None => SideEffects::Possible,
        Some(_) => return Err(fields.wrong("side_effects", "`none`, `possible` or `committed`")),
    };
    fields.rest_into(unknown);
    Ok(RetryHint { retryable, after, side_effects })
}

fn reference(text: &str, field: &str) -> Result<super::FailureId, FailureError> {
    text.parse().map_err(|source| FailureError::BadReference { field: field.to_owned(), source })
}

/// Puts the unknown fields where they are kept, over nothing that is there already.
fn with_extra(
    mut context: Map<String, Value>,
    unknown: Map<String, Value>,
) -> Result<Map<String, Value>, FailureError> {
    let Some(first) = unknown.keys().next().cloned() else { return Ok(context) };
    let Value::Object(extra) = context.entry("extra").or_insert_with(|| Value::Object(Map::new())) else {
        return Err(FailureError::ExtraTaken { field: first });
    };
    for (field, value) in unknown {
        if extra.contains_key(&field) {
            return Err(FailureError::ExtraTaken { field });
        }
        extra.insert(field, value);
    }
    Ok(context)
}

/// The fields of an object that nobody has read yet.
struct Fields {
    /// Where the object stands; empty for the record itself.
    path: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    fn of(value: Value, path: &'static str) -> Result<Self, FailureError> {
        match value {
            Value::Object(map) => Ok(Self { path, map }),
            _ => {
                let field = if path.is_empty() { "(the record)" } else { path }.to_owned();
                Err(FailureError::WrongType { field, expected: "an object" })
            }
        }
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    fn wrong(&self, field: &str, expected: &'static str) -> FailureError {
        FailureError::WrongType { field: self.path_of(field), expected }
    }

    fn missing(&self, field: &str) -> FailureError {
        FailureError::MissingField { field: self.path_of(field) }
    }

    fn require(&self, fields: &[&str]) -> Result<(), FailureError> {
        match fields.iter().find(|field| !self.map.contains_key(**field)) {
            Some(field) => Err(self.missing(field)),
            None => Ok(()),
        }
    }

    fn text(&mut self, field: &str) -> Result<String, FailureError> {
        self.optional_text(field)?.ok_or_else(|| self.missing(field))
    }

    fn optional_text(&mut self, field: &str) -> Result<Option<String>, FailureError> {
        match self.map.remove(field) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "text")),
            None => Ok(None),
        }
    }

    /// A text that its writer may have left `null`.
    fn nullable_text(&mut self, field: &str) -> Result<Option<String>, FailureError> {
        if self.map.get(field).is_some_and(Value::is_null) {
            self.map.remove(field);
        }
        self.optional_text(field)
    }

    fn optional_object(&mut self, field: &str) -> Result<Option<Map<String, Value>>, FailureError> {
        match self.map.remove(field) {
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.wrong(field, "an object")),
            None => Ok(None),
        }
    }

    fn texts(&mut self, field: &str) -> Result<Vec<String>, FailureError> {
        let wrong = self.wrong(field, "an array of texts");
        let items = match self.map.remove(field) {
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong),
            None => return Ok(Vec::new()),
        };
        let text = |item| if let Value::String(text) = item { Some(text) } else { None };
        items.into_iter().map(text).collect::<Option<_>>().ok_or(wrong)
    }

    /// An object with fields of its own; `null` is none.
    fn nested(&mut self, field: &'static str) -> Result<Option<Self>, FailureError> {
        match self.map.remove(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Self::of(value, field).map(Some),
        }
    }

    fn rest_into(self, unknown: &mut Map<String, Value>) {
        if !self.map.is_empty() {
            unknown.insert(self.path.to_owned(), Value::Object(self.map));
        }
    }
}
