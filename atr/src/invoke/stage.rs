//! The stages of a call, and who watches them.

use std::fmt;

use serde::Serialize;

use super::CallId;

/// One stage of a call, in the order in which they are gone through. None runs after one that failed, but for
/// [`Stage::Settle`], which puts on record what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// The tool is found.
    Resolve,
    /// It is in a state to be called.
    State,
    /// Every principal of the chain is allowed to.
    Authorize,
    /// The arguments are one bounded, unambiguous JSON object.
    Parse,
    /// They fit.
    Validate,
    /// Rates, budgets, and the number of calls at once.
    Quota,
    /// Somebody has agreed, if somebody has to.
    Approval,
    /// Secrets are resolved.
    Inject,
    /// An executor that is isolated enough is found.
    Isolate,
    /// The tool runs.
    Run,
    /// Its answer is no larger than allowed.
    Cap,
    /// Its answer fits its schema.
    ValidateOutput,
    /// Budgets are settled, and the audit record is written.
    Settle,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 13] = [
        Self::Resolve,
        Self::State,
        Self::Authorize,
        Self::Parse,
        Self::Validate,
        Self::Quota,
        Self::Approval,
        Self::Inject,
        Self::Isolate,
        Self::Run,
        Self::Cap,
        Self::ValidateOutput,
        Self::Settle,
    ];
}

/// A stage that a call has been through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StageEvent {
    /// The call.
    pub call: CallId,
    /// The stage.
    pub stage: Stage,
    /// The code of the error that ended the call there.
    pub error: Option<&'static str>,
}

/// Is told of every stage that a call has been through, one after the other, within the call: it must come back soon, and
/// not panic.
pub trait Trace: fmt::Debug + Send + Sync {
    /// A stage is over.
    fn stage(&self, event: StageEvent);
}
