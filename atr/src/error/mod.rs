//! Why a tool was not registered, and why a call did not succeed.

mod class;
mod detail;
mod registry;
mod show;

use std::fmt;
use std::io;
use std::time::Duration;

use agent_primitives::json::JsonError;
use agent_primitives::{BadId, Digest, Resource, TicketId, ToolId, suggest};

use crate::invoke::{DenyReason, Stale};
use crate::isolation::{GuaranteeSet, Level};

pub use detail::{ArgumentError, Stderr};
pub use registry::RegistryError;
pub(crate) use show::one_line;
use show::{List, Missing, Names, Ticketed};

/// Why a call did not succeed.
///
/// `Display` is fit for a model to read: it holds no host path, environment value, stack trace or output of the tool.
/// What only the host may see is in [`ToolError::host_detail`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// No tool has this name. The message names the nearest tool there is; a host that hides tools from some callers
    /// has to replace it.
    #[error("no tool is named `{id}`{}", suggest::hint(suggestion.as_ref().map(ToolId::as_str)))]
    #[non_exhaustive]
    NotFound {
        /// The name asked for.
        id: ToolId,
        /// The most similar name, if one is similar enough.
        suggestion: Option<ToolId>,
    },
    /// The name has no namespace, and several tools have it in theirs.
    #[error("`{name}` may be any of {}", Names(candidates))]
    #[non_exhaustive]
    Ambiguous {
        /// The name asked for.
        name: ToolId,
        /// The tools it may mean, in ascending order.
        candidates: Vec<ToolId>,
    },
    /// The tool has no such version, or only pre-releases where none was asked for.
    #[error("no version of `{id}` is {wanted}")]
    #[non_exhaustive]
    VersionUnsatisfied {
        /// The tool.
        id: ToolId,
        /// What was asked for.
        wanted: String,
    },
    /// What was asked for is no requirement of versions, such as `^1.2` or `>=1.0.0, <2.0.0`.
    #[error("`{wanted}` is no requirement of versions: {reason}")]
    #[non_exhaustive]
    VersionReqInvalid {
        /// What was asked for, shortened.
        wanted: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody has agreed to the tool yet. It was not run.
    #[error("the tool `{id}` is not approved yet")]
    #[non_exhaustive]
    Proposed {
        /// The tool.
        id: ToolId,
    },
    /// The tool is kept from being called. It was not run.
    #[error("the tool `{id}` is quarantined")]
    #[non_exhaustive]
    Quarantined {
        /// The tool.
        id: ToolId,
        /// Why, for the host.
        reason: String,
    },
    /// The tool came with a name that can be taken for an approved one of another publisher's, and is kept from being
    /// called. It was not run.
    #[error("the tool `{id}` is quarantined: it can be taken for `{like}`")]
    #[non_exhaustive]
    NameConfusable {
        /// The tool.
        id: ToolId,
        /// The one it can be taken for.
        like: ToolId,
    },
    /// The tool is never called again; a call that ran was ended.
    #[error("the tool `{id}` was revoked")]
    #[non_exhaustive]
    Revoked {
        /// The tool.
        id: ToolId,
    },
    /// The tool is not what was approved, or what somebody is about to approve. It was not run.
    #[error("the definition of `{id}` has changed since it was approved")]
    #[non_exhaustive]
    DefinitionChanged {
        /// The tool.
        id: ToolId,
        /// Digest of what was, or is to be, approved.
        approved: Digest,
        /// Digest of what is there.
        observed: Digest,
    },
    /// No tool can have this name.
    #[error("that is not the name of a tool: {source}")]
    NameInvalid {
        /// What is wrong with it.
        source: BadId,
    },
    /// The arguments are not one bounded, unambiguous JSON text.
    #[error("the arguments are refused: {}", one_line(source, 256))]
    #[non_exhaustive]
    ArgsMalformed {
        /// What is wrong with the text.
        source: JsonError,
    },
    /// The arguments are JSON but not what the tool takes.
    #[error("the arguments do not fit: {}", List(errors))]
    #[non_exhaustive]
    ArgsInvalid {
        /// The first eight findings.
        errors: Vec<ArgumentError>,
    },
    /// A path argument does not stay beneath its root.
    #[error("the path at `{pointer}` is refused: {reason}")]
    #[non_exhaustive]
    PathEscapes {
        /// JSON pointer of the argument.
        pointer: String,
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A path argument names nothing that exists.
    #[error("the path at `{pointer}` does not exist")]
    #[non_exhaustive]
    PathMissing {
        /// JSON pointer of the argument.
        pointer: String,
    },
    /// The deadline passed. The tool was stopped; what it did before stays done.
    #[error("the tool did not finish before its deadline")]
    Timeout,
    /// The caller cancelled. The tool was stopped; what it did before stays done.
    #[error("the call was cancelled")]
    Cancelled,
    /// The tool panicked. The registry keeps working.
    #[error("the tool panicked")]
    #[non_exhaustive]
    Panicked {
        /// The panic message, for the host; empty if it was not text.
        payload: String,
    },
    /// The tool says that it failed.
    #[error("the tool failed: {message}")]
    #[non_exhaustive]
    Failed {
        /// In the tool's own words, at most 1024 characters on one line.
        message: String,
        /// Whether the tool says that trying again may help.
        transient: bool,
    },
    /// The answer is larger than the tool's `output_bytes`.
    #[error("the tool's output is larger than {limit} bytes")]
    #[non_exhaustive]
    OutputTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The answer is not JSON, or has no canonical form.
    #[error("the tool's output is not valid")]
    #[non_exhaustive]
    OutputInvalid {
        /// What is wrong with it, for the host.
        reason: String,
    },
    /// The process could not be started or watched.
    #[error("the tool's process could not be run")]
    #[non_exhaustive]
    Spawn {
        /// What the operating system says.
        source: io::Error,
    },
    /// The process ended with an exit code other than zero.
    #[error("the tool's process ended with exit code {code}")]
    #[non_exhaustive]
    ExitCode {
        /// The exit code.
        code: i32,
        /// What it wrote to standard error, for the host.
        stderr: Stderr,
    },
    /// The process was ended by a signal.
    #[error("the tool's process was ended by signal {signal}")]
    #[non_exhaustive]
    Crashed {
        /// The number of the signal.
        signal: i32,
        /// What it wrote to standard error, for the host.
        stderr: Stderr,
    },
    /// No executor is isolated enough, or none that is guarantees what is required. The tool was not run.
    #[error("the tool cannot be run with the isolation it needs, `{wanted}` or better{}", Missing(*missing))]
    #[non_exhaustive]
    IsolationUnavailable {
        /// The least isolated level that would do.
        wanted: Level,
        /// The required guarantees that the best candidate lacks.
        missing: GuaranteeSet,
    },
    /// The only executor that could run the tool is not there, or cannot confine it. The tool was not run.
    #[error("the executor for `{level}` is not available")]
    #[non_exhaustive]
    ExecutorUnavailable {
        /// Its level.
        level: Level,
        /// Why, for the host.
        reason: String,
    },
    /// The program used up its processor time.
    #[error("the tool used more than {limit:?} of processor time")]
    #[non_exhaustive]
    CpuExceeded {
        /// The limit.
        limit: Duration,
    },
    /// The program went beyond its memory.
    #[error("the tool used more than {limit} bytes of memory")]
    #[non_exhaustive]
    MemoryExceeded {
        /// The limit in bytes.
        limit: u64,
    },
    /// The program went beyond its processes.
    #[error("the tool had more than {limit} processes and threads")]
    #[non_exhaustive]
    ProcessesExceeded {
        /// The limit.
        limit: u32,
    },
    /// The program used up its fuel.
    #[error("the tool used up its fuel")]
    FuelExhausted,
    /// WebAssembly that trapped.
    #[error("the tool trapped: {trap}")]
    #[non_exhaustive]
    Trapped {
        /// The trap, in one word.
        trap: String,
    },
    /// The program tried what no confined program may, and was ended.
    #[error("the tool tried what its sandbox forbids")]
    #[non_exhaustive]
    SandboxViolation {
        /// What it tried, for the host.
        what: String,
    },
    /// The program is not what its executor runs. Trying again does not help.
    #[error("the tool's program cannot be run")]
    #[non_exhaustive]
    ProgramInvalid {
        /// What is wrong with it, for the host.
        reason: String,
    },
    /// What it ran for was killed.
    #[error("the tool was killed")]
    Killed,
    /// The agent is stopped, and too many of its calls wait already.
    #[error("the agent is stopped, and too many of its calls wait")]
    Stopped,
    /// The server of the tool could not be reached, broke off, or sent what is out of bounds. The call may have had its
    /// effect.
    #[error("the server of the tool cannot be used: {reason}")]
    #[non_exhaustive]
    Transport {
        /// What happened, in the host's own words.
        reason: &'static str,
        /// What the server, the operating system or a library said, for the host.
        detail: String,
    },
    /// A principal of the call's chain may not make it. The tool was not run.
    #[error("the call is not allowed: {reason}")]
    #[non_exhaustive]
    AccessDenied {
        /// Why.
        reason: DenyReason,
    },
    /// Somebody has to agree to exactly this call first. The tool was not run.
    #[error("the call needs somebody's consent first{}", Ticketed(*ticket))]
    #[non_exhaustive]
    ApprovalRequired {
        /// What to approve, and to show with the same call afterwards; nothing if nobody can be asked.
        ticket: Option<TicketId>,
    },
    /// The consent that was shown is not good for this call. The tool was not run.
    #[error("the approval is not good for this call: {reason}")]
    #[non_exhaustive]
    ApprovalStale {
        /// Why.
        reason: Stale,
    },
    /// Calls come too often. The tool was not run.
    #[error("there are too many calls; try again in {} ms", retry_after.as_nanos().div_ceil(1_000_000))]
    #[non_exhaustive]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// A principal's budget does not cover what the tool may cost. The tool was not run.
    #[error("the budget of `{resource}` does not cover the call")]
    #[non_exhaustive]
    BudgetExceeded {
        /// What there is not enough of.
        resource: Resource,
    },
    /// Too many calls are under way. The tool was not run.
    #[error("more than {limit} calls at once")]
    #[non_exhaustive]
    ConcurrencyLimit {
        /// The limit.
        limit: usize,
    },
    /// Tools call tools too deep. The tool was not run.
    #[error("tools call tools more than {limit} deep")]
    #[non_exhaustive]
    RecursionLimit {
        /// The limit.
        limit: u32,
    },
    /// The call could not be put on record, so its result is withheld. The tool may have had its effect.
    #[error("the call could not be put on record")]
    #[non_exhaustive]
    AuditFailed {
        /// Why, for the host.
        reason: String,
    },
    /// The tool has failed so often lately that it is left alone for a while. The tool was not run.
    #[error("the tool keeps failing; try again in {} ms", retry_after.as_nanos().div_ceil(1_000_000))]
    #[non_exhaustive]
    CircuitOpen {
        /// When to try again; zero while another call is trying.
        retry_after: Duration,
    },
    /// A step failed that may have had its effect all the same, so nothing was tried in its place.
    #[error("`{id}` failed and may have had its effect all the same, so nothing was tried in its place")]
    #[non_exhaustive]
    MaybeApplied {
        /// The tool of the step.
        id: ToolId,
        /// How it failed.
        source: Box<ToolError>,
    },
    /// A secret that the tool needs is not to be had. The tool was not run.
    #[error("the secret `{name}` that the tool needs is not available")]
    #[non_exhaustive]
    SecretUnavailable {
        /// The name of the secret.
        name: String,
    },
}

impl ToolError {
    /// The same refusal for somebody who may not know of every tool: of other tools it names those only for which `seen`
    /// holds.
    #[must_use]
    pub fn naming_only(self, seen: impl Fn(&ToolId) -> bool) -> Self {
        match self {
            Self::NotFound { id, suggestion } => {
                Self::NotFound { id, suggestion: suggestion.filter(|id| seen(id)) }
            }
            Self::Ambiguous { name, candidates } => {
                let candidates: Vec<ToolId> = candidates.into_iter().filter(|id| seen(id)).collect();
                if candidates.is_empty() {
                    return Self::NotFound { id: name, suggestion: None };
                }
                Self::Ambiguous { name, candidates }
            }
            other => other,
        }
    }

    pub(crate) fn unavailable(level: Level, reason: impl fmt::Display) -> Self {
        Self::ExecutorUnavailable { level, reason: one_line(reason, 256) }
    }

    /// A tool's own failure. `message` goes to the model: say what to do differently, and put no secret into it.
    #[must_use]
    pub fn failed(message: impl fmt::Display) -> Self {
        Self::Failed { message: one_line(message, MAX_MESSAGE), transient: false }
    }

    /// A tool's own failure that may go away by itself, such as a server that does not answer.
    #[must_use]
    pub fn transient(message: impl fmt::Display) -> Self {
        Self::Failed { message: one_line(message, MAX_MESSAGE), transient: true }
    }

    /// The same error with every text in it that is not ours put through `change`.
    pub(crate) fn map_texts(self, change: &dyn Fn(&str) -> String) -> Self {
        let cut = |text: &str| one_line(change(text), MAX_MESSAGE);
        let stderr = |stderr: Stderr| Stderr::new(change(stderr.as_str()).as_bytes());
        match self {
            Self::Failed { message, transient } => Self::Failed { message: cut(&message), transient },
            Self::Panicked { payload } => Self::Panicked { payload: cut(&payload) },
            Self::OutputInvalid { reason } => Self::OutputInvalid { reason: cut(&reason) },
            Self::Spawn { source } => {
                Self::Spawn { source: io::Error::new(source.kind(), cut(&source.to_string())) }
            }
            Self::ExitCode { code, stderr: text } => Self::ExitCode { code, stderr: stderr(text) },
            Self::Crashed { signal, stderr: text } => Self::Crashed { signal, stderr: stderr(text) },
            Self::ExecutorUnavailable { level, reason } => {
                Self::ExecutorUnavailable { level, reason: cut(&reason) }
            }
            Self::Trapped { trap } => Self::Trapped { trap: cut(&trap) },
            Self::Transport { reason, detail } => Self::Transport { reason, detail: cut(&detail) },
            Self::ProgramInvalid { reason } => Self::ProgramInvalid { reason: cut(&reason) },
            Self::SandboxViolation { what } => Self::SandboxViolation { what: cut(&what) },
            // What remains is made of names, numbers and words of this crate.
            other => other,
        }
    }

    /// What a tool returns is its own failure, whatever it says: a tool that calls another one and hands on its error
    /// must not make the caller believe that its own arguments were refused.
    pub(crate) fn by_tool(self) -> Self {
        match self {
            own @ Self::Failed { .. } => own,
            other if other.retryable() => Self::transient(other),
            other => Self::failed(other),
        }
    }
}

impl From<JsonError> for ToolError {
    fn from(source: JsonError) -> Self {
        Self::ArgsMalformed { source }
    }
}

/// Longest message of a tool's own failure, in characters.
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stay_on_one_bounded_line() {
        let error = ToolError::failed(format!("first\nsecond{}", "x".repeat(5000)));
        let text = error.to_string();
        assert!(text.starts_with("the tool failed: first second"));
        assert!(!text.contains('\n'));
        assert!(text.chars().count() < 1100);
    }

    #[test]
    fn what_a_tool_hands_on_becomes_its_own_failure() {
        let inner = ToolError::ArgsInvalid { errors: vec![ArgumentError::new("/a", "type", "wrong")] };
        let outer = inner.by_tool();
        assert_eq!(outer.code(), "AK0523");
        assert!(!outer.is_argument_error());
        assert!(ToolError::Timeout.by_tool().retryable());
    }

    #[test]
    fn a_broken_way_to_a_tool_counts_and_may_follow_its_effect() {
        let error = ToolError::Transport { reason: "it broke off", detail: "key abc".to_owned() };
        assert!(error.is_of_executor() && !error.is_without_effect());
        let clean = error.map_texts(&|text| text.replace("abc", "-"));
        assert_eq!(clean.host_detail().as_deref(), Some("key -"));
    }

    #[test]
    fn standard_error_is_for_the_host_only() {
        let error = ToolError::ExitCode { code: 3, stderr: Stderr::new(b"/root/secret") };
        assert_eq!(error.host_detail().as_deref(), Some("/root/secret"));
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
}
