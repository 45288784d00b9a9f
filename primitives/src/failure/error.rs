//! Why a failure cannot be recorded.

use super::cause::{BadFailureId, CauseCycle};
use super::kind::InvalidFailureType;
use super::record::MAX_STEPS;
use crate::json::JsonError;
use crate::{BadId, BadTimestamp, NoRandomness, UnknownSeverity};

/// Why a record could not be built or read. Names the field at fault, as in `failure_trace.user_prompt`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FailureError {
    /// The text is not JSON with one meaning.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field that every record has is not there.
    #[error("the field `{field}` is missing")]
    MissingField {
        /// The field.
        field: String,
    },
    /// A field holds another kind of value.
    #[error("the field `{field}` is not {expected}")]
    WrongType {
        /// The field.
        field: String,
        /// What it should have held.
        expected: &'static str,
    },
    /// The agent's name is none.
    #[error("the field `agent_id` is not an agent id: {source}")]
    BadAgentId {
        /// What is wrong with it.
        source: BadId,
    },
    /// The type's name is none.
    #[error("the field `failure_type` is not one: {source}")]
    BadFailureType {
        /// What is wrong with it.
        #[from]
        source: InvalidFailureType,
    },
    /// The severity is none.
    #[error("the field `severity` is not one: {source}")]
    BadSeverity {
        /// What is wrong with it.
        #[from]
        source: UnknownSeverity,
    },
    /// A time is none.
    #[error("the field `{field}` is not a time: {source}")]
    BadTime {
        /// The field.
        field: String,
        /// What is wrong with it.
        source: BadTimestamp,
    },
    /// The id of a failure is none.
    #[error("the field `{field}` is not an id: {source}")]
    BadReference {
        /// The field.
        field: String,
        /// What is wrong with it.
        source: BadFailureId,
    },
    /// More canonical bytes than are kept.
    #[error("the field `{field}` is larger than {limit} bytes")]
    ContextTooLarge {
        /// The field.
        field: String,
        /// Largest size in bytes of canonical JSON.
        limit: usize,
    },
    /// Nested too deep.
    #[error("the field `{field}` is nested deeper than {limit} levels")]
    TooDeep {
        /// The field.
        field: String,
        /// Deepest nesting.
        limit: usize,
    },
    /// A value without a canonical form.
    #[error("the field `{field}` has no canonical form: {source}")]
    Inexact {
        /// The field.
        field: String,
        /// What is wrong with it.
        source: JsonError,
    },
    /// More reasoning than is kept.
    #[error("the field `failure_trace.chain_of_thought` has more than {MAX_STEPS} steps")]
    TooManySteps,
    /// A failure that must not be tried again, said to be worth another try.
    #[error("the field `retry` calls a terminal failure retryable")]
    TerminalRetry,
    /// An unknown field for which `context.extra` has no room.
    #[error("the unknown field `{field}` cannot be kept: `context.extra` already holds something else there")]
    ExtraTaken {
        /// The unknown field.
        field: String,
    },
    /// A failure that is its own cause.
    #[error(transparent)]
    CauseCycle(#[from] CauseCycle),
    /// No id could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}
