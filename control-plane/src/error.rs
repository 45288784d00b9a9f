//! What can go wrong with a system call, as the agent sees it.

use agent_primitives::{BadId, TicketId, Timestamp, TooManyLabels};
use agent_tool_registry::ToolError;
use serde_json::{Value, json};

use crate::call::BadCall;
use crate::denial::{Denial, DenialClass};
use crate::kernel::{ExitStatus, SpawnError};
use crate::vfs::{BadPath, PathError, VfsError};

/// Why a call did not do what it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Policy refused. Nothing was done.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The call waits for a human, and the agent asked not to wait with it. Nothing was done and nobody is killed for it.
    /// Made again once the ticket is granted, byte for byte the same, the call is let through.
    #[error("held for approval under ticket {ticket} until {expires}")]
    Held {
        /// The ticket to be granted.
        ticket: TicketId,
        /// From when on it is worth nothing.
        expires: Timestamp,
    },
    /// The call is malformed: a mistake, not a violation. Nothing was done and nobody is killed for it.
    #[error(transparent)]
    Invalid(#[from] InvalidCall),
    /// The agent is gone, or was ended while the call was in flight.
    #[error("the agent is gone: {0}")]
    Dead(ExitStatus),
    /// A `SIGINT` was delivered instead of taking this call. The next call is taken.
    #[error("interrupted by SIGINT")]
    Interrupted,
    /// The call is allowed and was not carried out: the agent is on a dry run.
    #[error("the call is allowed, and was not done: this is a dry run")]
    Simulated,
    /// The call did not end in time.
    #[error("the call did not end within its deadline")]
    Timeout,
    /// The file system refused or failed.
    #[error(transparent)]
    File(#[from] PathError),
    /// The tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The receiver of a signal does not exist, or the signal does nothing yet.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// What came back carries more labels than one value or agent can hold, so it is withheld.
    #[error("the reply is withheld: {0}")]
    Labels(#[from] TooManyLabels),
    /// A service panicked. The call is over; the kernel and everybody else go on.
    #[error("the service panicked: {panic}")]
    Crashed {
        /// What the panic said.
        panic: String,
    },
    /// The kernel keeps no further account.
    #[error("the kernel keeps {limit} accounts, its limit")]
    TooManyAccounts {
        /// The limit.
        limit: usize,
    },
    /// The kernel takes no calls: it was shut down, or panicked because it could not keep a promise.
    #[error("the kernel takes no calls: {reason}")]
    KernelDown {
        /// Why.
        reason: String,
    },
    /// A child agent could not be started.
    #[error(transparent)]
    Spawn(Box<SpawnError>),
}

impl From<SpawnError> for CallError {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::Kernel(error) => error,
            error => Self::Spawn(Box::new(error)),
        }
    }
}

impl CallError {
    /// The name POSIX gave the error and the number programs know it by on Linux; `None` for what POSIX has no word for.
    #[must_use]
    pub const fn posix(&self) -> Option<(&'static str, i32)> {
        match self {
            Self::File(error) => Some((error.name(), error.errno())),
            Self::Dead(_) => Some(("ESRCH", 3)),
            Self::Interrupted => Some(("EINTR", 4)),
            Self::Timeout => Some(("ETIMEDOUT", 110)),
            _ => None,
        }
    }

    /// Stable code, one per kind of failure.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.code(),
            Self::Held { .. } => "AK0211",
            Self::Invalid(error) => error.code(),
            Self::Dead(_) => "AK0902",
            Self::Interrupted => "AK0903",
            Self::Timeout => "AK0904",
            Self::Simulated => "AK0921",
            Self::File(error) => error.code(),
            Self::Tool(error) => error.code(),
            Self::Signal(error) => error.code(),
            Self::Labels(_) => "AK0916",
            Self::TooManyAccounts { .. } => "AK0305",
            Self::Crashed { .. } => "AK9902",
            Self::KernelDown { .. } => "AK9901",
            Self::Spawn(error) => error.code(),
        }
    }
}

/// What kind of failure a call ended in: what the agent can do about it depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The call itself is wrong. Nothing was done; a corrected call may do.
    Mistake,
    /// Policy forbids it. Nothing was done.
    Forbidden,
    /// It needs a human's consent. Nothing was done.
    Approval,
    /// It is allowed, but not so often or so much. Nothing was done.
    Limit,
    /// The file system refused or failed.
    File,
    /// The tool failed. It may have had an effect.
    Tool,
    /// The call could not be given to its receiver.
    Signal,
    /// The call was called off, or took too long. It may have had an effect.
    Interrupted,
    /// The agent has ended.
    Gone,
    /// The kernel or one of its services failed.
    Kernel,
}

impl ErrorClass {
    /// The class in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mistake => "mistake",
            Self::Forbidden => DenialClass::Forbidden.name(),
            Self::Approval => DenialClass::Approval.name(),
            Self::Limit => DenialClass::Limit.name(),
            Self::File => "file",
            Self::Tool => "tool",
            Self::Signal => "signal",
            Self::Interrupted => "interrupted",
            Self::Gone => "gone",
            Self::Kernel => "kernel",
        }
    }
}

impl CallError {
    /// What kind of failure this is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Denied(denial) => match denial.class() {
                DenialClass::Forbidden => ErrorClass::Forbidden,
                DenialClass::Approval => ErrorClass::Approval,
                DenialClass::Limit => ErrorClass::Limit,
            },
            Self::Held { .. } => ErrorClass::Approval,
            Self::Simulated => ErrorClass::Interrupted,
            Self::TooManyAccounts { .. } => ErrorClass::Limit,
            Self::Invalid(_) => ErrorClass::Mistake,
            Self::Dead(_) => ErrorClass::Gone,
            Self::Interrupted | Self::Timeout => ErrorClass::Interrupted,
            Self::File(_) => ErrorClass::File,
            Self::Tool(_) => ErrorClass::Tool,
            Self::Signal(_) => ErrorClass::Signal,
            Self::Spawn(error) => match **error {
                SpawnError::Full { .. } | SpawnError::TooManyChildren { .. } | SpawnError::TooDeep { .. } => {
                    ErrorClass::Limit
                }
                SpawnError::Mount(_) | SpawnError::Tree(_) => ErrorClass::Kernel,
                _ => ErrorClass::Mistake,
            },
            Self::Labels(_) | Self::Crashed { .. } | Self::KernelDown { .. } => ErrorClass::Kernel,
        }
    }

    /// Whether the same call, made again later without anything else having changed, may do what it asks for. What timed
    /// out or failed may have had its effect all the same.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Denied(denial) => denial.retryable(),
            Self::Invalid(error) => matches!(error, InvalidCall::TooMany { .. }),
            Self::Held { .. } | Self::Interrupted | Self::Timeout => true,
            Self::File(error) => matches!(
                error.error(),
                VfsError::Interrupted | VfsError::WouldBlock | VfsError::Timeout | VfsError::Backend
            ),
            Self::Tool(error) => error.retryable(),
            Self::Dead(_)
            | Self::Simulated
            | Self::Signal(_)
            | Self::Spawn(_)
            | Self::Labels(_)
            | Self::TooManyAccounts { .. }
            | Self::Crashed { .. }
            | Self::KernelDown { .. } => false,
        }
    }

    /// The error as a JSON object, to be handed to a model. A stable shape, to which fields may be added: `code`, `class`,
    /// `retryable` and `message`; for a refusal by policy all that [`Denial::to_json`] says.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Denied(denial) => denial.to_json(),
            other => json!({
                "code": other.code(),
                "class": other.class().name(),
                "retryable": other.retryable(),
                "message": other.to_string(),
            }),
        }
    }
}

/// A call that is malformed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCall {
    /// A path that cannot be.
    #[error("`{path}` is not a path: {source}")]
    Path {
        /// The text, cut to 128 characters.
        path: String,
        /// What is wrong with it.
        source: BadPath,
    },
    /// The name of a tool or agent that cannot be.
    #[error("`{name}` is not a name: {source}")]
    Name {
        /// The text, cut to 128 characters.
        name: String,
        /// What is wrong with it.
        source: BadId,
    },
    /// The path leads into the tree of another agent.
    #[error("`{path}` lies in the tree of another agent")]
    OtherTree {
        /// The path.
        path: String,
    },
    /// No such tool, or arguments that do not fit it.
    #[error(transparent)]
    Tool(ToolError),
    /// A descriptor that is not open.
    #[error(transparent)]
    File(PathError),
    /// A descriptor that was closed while the call waited for an approval, and is another file's now.
    #[error("the descriptor no longer leads to `{path}`")]
    Moved {
        /// What it led to when the call was judged.
        path: String,
    },
    /// Text that is not a call.
    #[error(transparent)]
    Wire(#[from] BadCall),
    /// A field beyond its bound.
    #[error("`{field}` is larger than {limit} bytes")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its bound.
        limit: u64,
    },
    /// A time to live that is none: zero, too long, or of a file that is removed.
    #[error("a file that is written lives longer than nothing and at most {days} days")]
    Ttl {
        /// The bound.
        days: u64,
    },
    /// A signal that cannot be held back.
    #[error("{signal} cannot be masked, awaited or handled")]
    Unmaskable {
        /// The signal.
        signal: agent_primitives::Signal,
    },
    /// More calls in flight than one agent may have.
    #[error("more than {limit} calls in flight")]
    TooMany {
        /// The bound.
        limit: u64,
    },
    /// Arguments that say twice what they were made from.
    #[error("the arguments say twice what they were made from")]
    SourcedTwice,
    /// A call that only an agent of this kernel can make: on a descriptor, on its own signals, or its end.
    #[error("only calls on paths, tools and signals to others can be judged without their agent")]
    NeedsAgent,
    /// What a host says of an agent that this kernel does not hold is no context to judge in.
    #[error("the context cannot be judged in: {reason}")]
    Context {
        /// What is wrong with it.
        reason: String,
    },
    /// A question about a question, or about an exit.
    #[error("only calls 1 to 6 can be asked about")]
    NotAQuestion,
}

impl InvalidCall {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path { .. } => "AK0430",
            Self::OtherTree { .. } => "AK0431",
            Self::Ttl { .. } => "AK0432",
            Self::Name { .. } => "AK0905",
            Self::Tool(error) => error.code(),
            Self::File(error) => error.code(),
            Self::Moved { .. } => "AK0915",
            Self::Wire(_) => BadCall::CODE,
            Self::TooLarge { .. } => "AK0906",
            Self::Unmaskable { .. } => "AK0907",
            Self::TooMany { .. } => "AK0908",
            Self::NotAQuestion => "AK0909",
            Self::SourcedTwice => "AK0917",
            Self::NeedsAgent => "AK0947",
            Self::Context { .. } => "AK0948",
        }
    }
}

/// Why a signal could not be raised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// No live agent of that name.
    #[error("there is no live agent `{0}`")]
    NoSuchAgent(String),
}

impl SignalError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAgent(_) => "AK0910",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_tells_its_class_and_whether_to_try_again() {
        let tool = |transient| {
            CallError::Tool(if transient { ToolError::transient("busy") } else { ToolError::failed("no") })
        };
        let dead = ExitStatus::Exited { code: 0, message: String::new() };
        let cases = [
            (InvalidCall::NotAQuestion.into(), "mistake", false),
            (InvalidCall::TooMany { limit: 1 }.into(), "mistake", true),
            (CallError::Dead(dead), "gone", false),
            (CallError::Interrupted, "interrupted", true),
            (CallError::Timeout, "interrupted", true),
            (tool(true), "tool", true),
            (tool(false), "tool", false),
            (SignalError::NoSuchAgent("b".into()).into(), "signal", false),
            (CallError::Crashed { panic: "x".into() }, "kernel", false),
            (CallError::KernelDown { reason: "x".into() }, "kernel", false),
        ];
        for (error, class, retryable) in cases {
            let told = json!({"code": error.code(), "class": class, "retryable": retryable,
                "message": error.to_string()});
            assert_eq!(error.to_json(), told);
        }
    }
}
