//! The record of a failure: bounded, redacted, and fixed once it is built.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::cause::CauseCycle;
use super::classify::{Classification, MAX_RETRY_AFTER};
use super::{FailureClass, FailureError, FailureId, FailureType, Fingerprint};
use crate::json::{self, JsonError, Limits};
use crate::redact::{redact, redact_text};
use crate::timestamp::rfc3339;
use crate::truncate::within;
use crate::{AgentId, Clock, IdSource, Severity, Timestamp};

/// Longest message, reasoning step and error detail in bytes, the mark of a cut included.
pub const MAX_MESSAGE: usize = 8 << 10;
/// Longest stack trace and prompt in bytes, the mark of a cut included.
pub const MAX_STACK_TRACE: usize = 64 << 10;
/// Largest context, and largest failed action, in bytes of canonical JSON.
pub const MAX_CONTEXT: usize = 64 << 10;
/// Deepest nesting of either.
pub const MAX_CONTEXT_DEPTH: usize = 32;
/// Most steps of reasoning.
pub const MAX_STEPS: usize = 256;

/// Whether the failed call may have changed something before it failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SideEffects {
    /// Nothing has happened.
    None,
    /// Nobody knows. What a record says unless told otherwise.
    #[default]
    Possible,
    /// Something has.
    Committed,
}

/// What is known about trying again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct RetryHint {
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// How long to wait first: whole milliseconds, at most [`MAX_RETRY_AFTER`]. A builder cuts it to that.
    #[serde(rename = "after_ms", skip_serializing_if = "Option::is_none", serialize_with = "as_millis")]
    pub after: Option<Duration>,
    /// Whether the failed call may have changed something.
    pub side_effects: SideEffects,
}

impl RetryHint {
    /// Whether to try again: it is worth it, and either nothing has happened yet or doing it twice does no harm.
    #[must_use]
    pub const fn may_retry(&self, idempotent: bool) -> bool {
        self.retryable && (idempotent || matches!(self.side_effects, SideEffects::None))
    }
}

fn as_millis<S: Serializer>(after: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
}

/// What the agent was about when it failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FailureTrace {
    /// What it had been asked for; cut to [`MAX_STACK_TRACE`].
    pub user_prompt: String,
    /// Its steps of reasoning, oldest first; each cut to [`MAX_MESSAGE`].
    pub chain_of_thought: Vec<String>,
    /// The action that failed.
    pub failed_action: Map<String, Value>,
    /// What was wrong with it; cut to [`MAX_MESSAGE`].
    pub error_details: String,
    /// When it failed.
    #[serde(with = "rfc3339")]
    pub timestamp: Timestamp,
}

impl FailureTrace {
    /// A trace without reasoning.
    #[must_use]
    pub fn new(
        user_prompt: impl Into<String>,
        failed_action: Map<String, Value>,
        error_details: impl Into<String>,
        timestamp: Timestamp,
    ) -> Self {
        Self {
            user_prompt: user_prompt.into(),
            chain_of_thought: Vec::new(),
            failed_action,
            error_details: error_details.into(),
            timestamp,
        }
    }

    fn clean(self) -> Result<Self, FailureError> {
        if MAX_STEPS < self.chain_of_thought.len() {
            return Err(FailureError::TooManySteps);
        }
        Ok(Self {
            user_prompt: clean_text(&self.user_prompt, MAX_STACK_TRACE),
            chain_of_thought: self
                .chain_of_thought
                .iter()
                .map(|step| clean_text(step, MAX_MESSAGE))
                .collect(),
            failed_action: clean_object(self.failed_action, "failure_trace.failed_action")?,
            error_details: clean_text(&self.error_details, MAX_MESSAGE),
            timestamp: self.timestamp,
        })
    }
}

/// One failure of one agent. Nothing in it changes once it is built: a record whose severity could be lowered afterwards
/// is no record.
///
/// Secrets were taken out and long texts cut before anything was stored. In serde it has the field names of
/// [`import`](super::import), which also reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentFailure {
    id: FailureId,
    agent_id: AgentId,
    failure_type: FailureType,
    severity: Severity,
    #[serde(with = "rfc3339")]
    timestamp: Timestamp,
    #[serde(rename = "error_message")]
    message: String,
    context: Map<String, Value>,
    retry: RetryHint,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<FailureId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack_trace: Option<String>,
    #[serde(rename = "failure_trace", skip_serializing_if = "Option::is_none")]
    trace: Option<FailureTrace>,
}

impl AgentFailure {
    /// Begins a record of what a type says: its severity and retryability are those of the type.
    pub fn builder(agent: AgentId, failure_type: FailureType, message: impl Into<String>) -> FailureBuilder {
        Self::classified(agent, failure_type.into(), message)
    }

    /// Begins a record of what a classifier found.
    pub fn classified(agent: AgentId, found: Classification, message: impl Into<String>) -> FailureBuilder {
        FailureBuilder {
            severity: found.failure_type.default_severity(),
            retry: RetryHint {
                retryable: found.retryable,
                after: found.after,
                side_effects: SideEffects::default(),
            },
            agent,
            failure_type: found.failure_type,
            message: message.into(),
            context: Map::new(),
            id: None,
            timestamp: None,
            cause: None,
            stack_trace: None,
            trace: None,
        }
    }

    /// Names this record.
    #[must_use]
    pub const fn id(&self) -> FailureId {
        self.id
    }

    /// Whose failure it is.
    #[must_use]
    pub const fn agent_id(&self) -> &AgentId {
        &self.agent_id
    }

    /// What kind of failure.
    #[must_use]
    pub const fn failure_type(&self) -> &FailureType {
        &self.failure_type
    }

    /// What can be done about it.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        self.failure_type.class()
    }

    /// How bad it is.
    #[must_use]
    pub const fn severity(&self) -> Severity {
        self.severity
    }

    /// When it was noticed.
    #[must_use]
    pub const fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// What was reported, for people. Nothing is decided by it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What else is known.
    #[must_use]
    pub const fn context(&self) -> &Map<String, Value> {
        &self.context
    }

    /// What is known about trying again.
    #[must_use]
    pub const fn retry(&self) -> RetryHint {
        self.retry
    }

    /// The failure that led to this one; see [`causes`](super::causes).
    #[must_use]
    pub const fn cause(&self) -> Option<FailureId> {
        self.cause
    }

    /// Where in the program.
    #[must_use]
    pub fn stack_trace(&self) -> Option<&str> {
        self.stack_trace.as_deref()
    }

    /// What the agent was about.
    #[must_use]
    pub const fn trace(&self) -> Option<&FailureTrace> {
        self.trace.as_ref()
    }

    /// What it has in common with failures of the same kind and cause.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.failure_type, &self.message)
    }
}

/// A record in the making. Nothing is checked before [`FailureBuilder::build`].
#[derive(Clone, Debug)]
#[must_use = "nothing is recorded before `build`"]
pub struct FailureBuilder {
    agent: AgentId,
    failure_type: FailureType,
    severity: Severity,
    message: String,
    context: Map<String, Value>,
    retry: RetryHint,
    id: Option<FailureId>,
    timestamp: Option<Timestamp>,
    cause: Option<FailureId>,
    stack_trace: Option<String>,
    trace: Option<FailureTrace>,
}

impl FailureBuilder {
    /// Another severity than the type's own.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// What else is known: at most [`MAX_CONTEXT`] bytes and [`MAX_CONTEXT_DEPTH`] levels.
    pub fn context(mut self, context: Map<String, Value>) -> Self {
        self.context = context;
        self
    }

    /// What is known about trying again.
    pub fn retry(mut self, retry: RetryHint) -> Self {
        self.retry = retry;
        self
    }

    /// Whether the failed call may have changed something.
    pub fn side_effects(mut self, side_effects: SideEffects) -> Self {
        self.retry.side_effects = side_effects;
        self
    }

    /// The failure that led to this one.
    pub fn cause(mut self, cause: FailureId) -> Self {
        self.cause = Some(cause);
        self
    }

    /// Where in the program; cut to [`MAX_STACK_TRACE`].
    pub fn stack_trace(mut self, stack_trace: impl Into<String>) -> Self {
        self.stack_trace = Some(stack_trace.into());
        self
    }

    /// What the agent was about.
    pub fn trace(mut self, trace: FailureTrace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The id of a record that had one before.
    pub fn id(mut self, id: FailureId) -> Self {
        self.id = Some(id);
        self
    }

    /// When it was noticed, if not now.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Checks, redacts, cuts, and fixes the record. `clock` and `ids` are asked only for what was not set.
    ///
    /// # Errors
    /// `ContextTooLarge`, `TooDeep` or `Inexact` for a context or failed action beyond its bounds, `TooManySteps`,
    /// `TerminalRetry`, `CauseCycle` for a record that is its own cause, `NoRandomness`. Texts that are too long are cut
    /// instead, and say so.
    pub fn build(self, clock: &dyn Clock, ids: &dyn IdSource) -> Result<AgentFailure, FailureError> {
        if self.retry.retryable && self.failure_type.class() == FailureClass::Terminal {
            return Err(FailureError::TerminalRetry);
        }
        let context = clean_object(self.context, "context")?;
        let trace = self.trace.map(FailureTrace::clean).transpose()?;
        let timestamp = self.timestamp.unwrap_or_else(|| clock.now());
        let id = match self.id {
            Some(id) => id,
            None => FailureId::new(timestamp, ids)?,
        };
        if self.cause == Some(id) {
            return Err(CauseCycle::at(id).into());
        }
        let after = self.retry.after.map(|after| after.min(MAX_RETRY_AFTER));
        let after =
            after.map(|after| after - Duration::from_nanos(u64::from(after.subsec_nanos() % 1_000_000)));
        Ok(AgentFailure {
            id,
            agent_id: self.agent,
            failure_type: self.failure_type,
            severity: self.severity,
            timestamp,
            message: clean_text(&self.message, MAX_MESSAGE),
            context,
            retry: RetryHint { after, ..self.retry },
            cause: self.cause,
            stack_trace: self.stack_trace.map(|text| clean_text(&text, MAX_STACK_TRACE)),
            trace,
        })
    }
}

/// Redacted first: half a secret has no shape to be known by.
fn clean_text(text: &str, limit: usize) -> String {
    within(&redact_text(text), limit).into_owned()
}

fn clean_object(object: Map<String, Value>, field: &str) -> Result<Map<String, Value>, FailureError> {
    let field = || field.to_owned();
    let too_large = || FailureError::ContextTooLarge { field: field(), limit: MAX_CONTEXT };
    let explain = |source| match source {
        JsonError::TooDeep { limit } => FailureError::TooDeep { field: field(), limit },
        // A value takes a byte at least.
        JsonError::TooManyNodes { .. } => too_large(),
        source => FailureError::Inexact { field: field(), source },
    };
    let value = Value::Object(object);
    let limits = Limits { bytes: MAX_CONTEXT, depth: MAX_CONTEXT_DEPTH, nodes: MAX_CONTEXT };
    json::check(&value, &limits).map_err(explain)?;
    let value = redact(value);
    if MAX_CONTEXT < json::canonical(&value).map_err(explain)?.len() {
        return Err(too_large());
    }
    match value {
        Value::Object(object) => Ok(object),
        // Redaction keeps the outermost object; if it ever does not, nothing is better than everything.
        _ => Ok(Map::new()),
    }
}
