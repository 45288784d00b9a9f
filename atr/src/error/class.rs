//! What kind of error a call ended with: its code, and what may be done about it.

use std::borrow::Cow;

use agent_primitives::json::JsonError;

use super::ToolError;
use crate::invoke::{DenyReason, Stale};

impl ToolError {
    /// Stable code: `AK0506`, `AK0507`, or `AK0510` and above.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "AK0510",
            Self::ArgsMalformed { source } => match source {
                JsonError::TooLarge { .. } | JsonError::TooManyNodes { .. } => "AK0512",
                JsonError::TooDeep { .. } => "AK0513",
                JsonError::DuplicateKey { .. } => "AK0514",
                _ => "AK0511",
            },
            Self::ArgsInvalid { .. } => "AK0515",
            Self::PathEscapes { .. } => "AK0516",
            Self::PathMissing { .. } => "AK0517",
            Self::Timeout => "AK0520",
            Self::Cancelled => "AK0521",
            Self::Panicked { .. } => "AK0522",
            Self::Failed { .. } => "AK0523",
            Self::OutputTooLarge { .. } => "AK0524",
            Self::OutputInvalid { .. } => "AK0525",
            Self::Spawn { .. } => "AK0530",
            Self::ExitCode { .. } => "AK0531",
            Self::Crashed { .. } => "AK0532",
            Self::IsolationUnavailable { .. } => "AK0533",
            Self::ExecutorUnavailable { .. } => "AK0534",
            Self::CpuExceeded { .. } => "AK0535",
            Self::MemoryExceeded { .. } => "AK0536",
            Self::ProcessesExceeded { .. } => "AK0537",
            Self::FuelExhausted => "AK0538",
            Self::Trapped { .. } => "AK0539",
            Self::SandboxViolation { .. } => "AK0540",
            Self::Killed => "AK0541",
            Self::Stopped => "AK0542",
            Self::VersionReqInvalid { .. } => "AK0507",
            Self::ProgramInvalid { .. } => "AK0543",
            Self::Proposed { .. } => "AK0550",
            Self::Quarantined { .. } => "AK0551",
            Self::NameConfusable { .. } => "AK0506",
            Self::Revoked { .. } => "AK0552",
            Self::DefinitionChanged { .. } => "AK0553",
            Self::VersionUnsatisfied { .. } => "AK0554",
            Self::Ambiguous { .. } => "AK0555",
            Self::AccessDenied { .. } => "AK0556",
            Self::ApprovalRequired { .. } => "AK0557",
            Self::ApprovalStale { .. } => "AK0558",
            Self::RateLimited { .. } => "AK0559",
            Self::BudgetExceeded { .. } => "AK0560",
            Self::ConcurrencyLimit { .. } => "AK0561",
            Self::RecursionLimit { .. } => "AK0562",
            Self::AuditFailed { .. } => "AK0563",
            Self::CircuitOpen { .. } => "AK0564",
            Self::MaybeApplied { .. } => "AK0565",
            Self::Transport { .. } => "AK0590",
            Self::SecretUnavailable { .. } => "AK0566",
            Self::NameInvalid { .. } => "AK0567",
        }
    }

    /// Whether the same call may succeed later. Only an idempotent tool may be called again, whatever this says: the
    /// failed call may have had its effect.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Timeout
            | Self::Spawn { .. }
            | Self::Crashed { .. }
            | Self::ExecutorUnavailable { .. }
            | Self::Transport { .. } => true,
            Self::RateLimited { .. } | Self::ConcurrencyLimit { .. } | Self::CircuitOpen { .. } => true,
            Self::Failed { transient, .. } => *transient,
            _ => false,
        }
    }

    /// Whether the caller, or the tool on its behalf, tried what it is known not to be allowed. A kernel ends the agent.
    #[must_use]
    pub fn is_violation(&self) -> bool {
        matches!(
            self,
            Self::SandboxViolation { .. }
                | Self::DefinitionChanged { .. }
                | Self::AccessDenied { reason: DenyReason::Forbidden }
                | Self::ApprovalStale { reason: Stale::Used }
        )
    }

    /// Whether it is certain that the tool was not run.
    #[must_use]
    pub fn is_without_effect(&self) -> bool {
        self.is_argument_error()
            || matches!(
                self,
                Self::NotFound { .. }
                    | Self::Ambiguous { .. }
                    | Self::VersionUnsatisfied { .. }
                    | Self::Proposed { .. }
                    | Self::Quarantined { .. }
                    | Self::NameConfusable { .. }
                    | Self::VersionReqInvalid { .. }
                    | Self::ProgramInvalid { .. }
                    | Self::DefinitionChanged { .. }
                    | Self::NameInvalid { .. }
                    | Self::IsolationUnavailable { .. }
                    | Self::ExecutorUnavailable { .. }
                    | Self::Stopped
                    | Self::AccessDenied { .. }
                    | Self::ApprovalRequired { .. }
                    | Self::ApprovalStale { .. }
                    | Self::RateLimited { .. }
                    | Self::BudgetExceeded { .. }
                    | Self::ConcurrencyLimit { .. }
                    | Self::RecursionLimit { .. }
                    | Self::CircuitOpen { .. }
                    | Self::SecretUnavailable { .. }
            )
    }

    /// Whether what ran the tool failed, or the way to it, rather than the tool with an answer of its own.
    pub(crate) fn is_of_executor(&self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Panicked { .. }
                | Self::Spawn { .. }
                | Self::Crashed { .. }
                | Self::ExecutorUnavailable { .. }
                | Self::Transport { .. }
                | Self::Trapped { .. }
        )
    }

    /// Whether other arguments could have helped; the tool was not run.
    #[must_use]
    pub fn is_argument_error(&self) -> bool {
        matches!(
            self,
            Self::ArgsMalformed { .. }
                | Self::ArgsInvalid { .. }
                | Self::PathEscapes { .. }
                | Self::PathMissing { .. }
        )
    }

    /// What happened, for the host's eyes and logs only: standard error of a process, why it could not be run, the message
    /// of a panic, what is wrong with an output.
    #[must_use]
    pub fn host_detail(&self) -> Option<Cow<'_, str>> {
        let detail = match self {
            Self::ExitCode { stderr, .. } | Self::Crashed { stderr, .. } => stderr.as_str(),
            Self::Spawn { source } => return Some(source.to_string().into()),
            Self::MaybeApplied { source, .. } => return source.host_detail(),
            Self::Panicked { payload } => payload,
            Self::OutputInvalid { reason }
            | Self::ExecutorUnavailable { reason, .. }
            | Self::ProgramInvalid { reason }
            | Self::Quarantined { reason, .. }
            | Self::AuditFailed { reason } => reason,
            Self::SandboxViolation { what } => what,
            Self::Transport { detail, .. } => detail,
            _ => return None,
        };
        Some(detail.into())
    }
}
