//! Why a word on a ticket did not count, as the host sees it.

use agent_primitives::TicketId;
use agent_primitives::ticket::{Principal, Scope, TicketError, TicketState};

use crate::error::CallError;

/// Why a ticket was not granted, refused or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// The kernel was built without approvals.
    #[error("the kernel was built without approvals")]
    NotConfigured,
    /// No such ticket is kept.
    #[error("there is no ticket `{0}`")]
    Unknown(TicketId),
    /// The ticket does not wait for an answer.
    #[error("the ticket is {0}")]
    State(TicketState),
    /// The principal has the name of an agent; the requester's is one.
    #[error("`{0}` is an agent, and agents do not approve")]
    Agent(Principal),
    /// The rule does not count the principal's word.
    #[error("`{0}` is none of the approvers that the rule names")]
    NotAnApprover(Principal),
    /// The principal has agreed already, or every quorum it counts for is met.
    #[error("`{0}` has agreed already, or is not needed any more")]
    NothingToAdd(Principal),
    /// The grant is for more than the rule lets anybody grant.
    #[error("the rule lets nobody grant more than {0}")]
    ScopeTooWide(Scope),
    /// The ticket could not be kept. It is revoked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The answer could not be recorded.
    #[error(transparent)]
    Kernel(#[from] CallError),
}

impl ApprovalError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "AK0220",
            Self::Unknown(_) => "AK0221",
            Self::State(_) => "AK0222",
            Self::Agent(_) => "AK0223",
            Self::NotAnApprover(_) => "AK0224",
            Self::NothingToAdd(_) => "AK0225",
            Self::ScopeTooWide(_) => "AK0226",
            Self::Store(_) => StoreError::CODE,
            Self::Kernel(error) => error.code(),
        }
    }

    pub(super) fn of(error: TicketError, by: &Principal) -> Self {
        match error {
            TicketError::State(state) => Self::State(state),
            TicketError::OwnRequest => Self::Agent(by.clone()),
            TicketError::NothingToAdd => Self::NothingToAdd(by.clone()),
            TicketError::ScopeTooWide(scope) => Self::ScopeTooWide(scope),
            // What taking a ticket answers does not come up here, and is a no all the same.
            _ => Self::NotAnApprover(by.clone()),
        }
    }
}

/// A store of tickets that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the approvals cannot be kept: {0}")]
pub struct StoreError(String);

impl StoreError {
    /// Stable code.
    pub const CODE: &'static str = "AK0227";

    /// A failure, in words.
    #[must_use]
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

/// An approver that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the approver cannot be reached: {0}")]
pub struct Unreachable(String);

impl Unreachable {
    /// A failure, in words.
    #[must_use]
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}
