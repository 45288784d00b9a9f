//! Approvals: calls that wait for a human.
//!
//! A rule whose effect is `ask` holds a call until somebody has agreed. What they agree to is a *ticket*
//! ([`agent_primitives::ticket`]): a kernel object bound to a digest of the agent, the call with its arguments, the contract
//! of the tool and the policy. Change one of them and the ticket is worth nothing; its name alone is worth nothing ever.
//!
//! ```text
//! schema → policy says ask → Held, on record → humans are told → granted, refused, expired or revoked
//!        → policy again: a deny stands, an ask is satisfied by the ticket, which is used up in the step that records
//!          the intent → the store has it as used → the effect
//! ```
//!
//! Without [`crate::kernel::KernelBuilder::approvals`] nobody can be asked, and an `ask` is a refusal (`AK0201`).
//!
//! Who may answer: a [`Principal`] the host vouches for, that no agent is named like, and that each rule's `approvers` name
//! or a group of theirs, where a rule names any. A scope wider than once, which a rule has to permit and an approver to say,
//! lets the *same* call through repeatedly; there is no consent to a kind of calls, which is what rules are for.
//!
//! A human's no stands until the ticket would have expired: the same call is refused without asking again.
//!
//! When an agent ends, what it was promised goes with it, unless the whole host ends: a ticket in a [`FileStore`] waits for
//! the same agent to make the same call in the next process. A call that is dropped leaves its ticket to the next such call.

mod approver;
mod book;
mod desk;
mod error;
mod file_approver;
mod file_store;
mod request;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use agent_primitives::ticket::{
    Grant, MAX_QUORUM, Principal, Quorum, Scope, Terms, Ticket, TicketId, TicketState,
};

pub use approver::{Answer, Answering, Approver, ChannelApprover, Requests, Word};
pub use error::{ApprovalError, StoreError, Unreachable};
pub use file_approver::{FILE_INTERVAL, FileApprover};
pub use file_store::FileStore;
pub use request::{MAX_SHOWN, Request};
pub use store::ApprovalStore;

pub(crate) use book::{Ask, Claim, Consent};
pub(crate) use desk::Desk;
pub(crate) use request::printable;

use store::Forgetful;

/// How long a question stands, and a consent holds, unless the rule or the host says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Most tickets of a kernel that are not settled; a call that would need one more is refused.
pub const MAX_TICKETS: usize = 1024;
/// Most tickets of one agent that are not settled: a human's patience is not the agent's to spend.
pub const MAX_TICKETS_PER_AGENT: usize = 16;
/// Most settled tickets that are remembered; the oldest are forgotten.
pub const MAX_SETTLED: usize = 1024;
/// Most approvers of a kernel.
pub const MAX_APPROVERS: usize = 16;
/// Longest an approver may take to tell a human, or to bring answers back.
pub const NOTIFY_DEADLINE: Duration = Duration::from_secs(10);
/// Longest text of a reason that is kept, in characters.
pub const MAX_REASON: usize = 512;

/// Lets a kernel ask humans. For [`crate::kernel::KernelBuilder::approvals`].
///
/// As it is, tickets end with the process, and the host asks and answers by itself, with [`crate::Kernel::approvals`] and
/// [`crate::Kernel::approve`].
#[derive(Debug)]
#[must_use = "nothing is asked until a kernel is built with it"]
pub struct Approvals {
    store: Box<dyn ApprovalStore>,
    approvers: Vec<Box<dyn Approver>>,
    groups: BTreeMap<Principal, BTreeSet<Principal>>,
    timeout: Duration,
}

impl Default for Approvals {
    fn default() -> Self {
        Self::new()
    }
}

impl Approvals {
    /// Approvals in memory, with no group, answered by the host.
    pub fn new() -> Self {
        let (approvers, groups) = (Vec::new(), BTreeMap::new());
        Self { store: Box::new(Forgetful), approvers, groups, timeout: DEFAULT_TIMEOUT }
    }

    /// Where tickets are kept beyond the process.
    pub fn store(mut self, store: impl ApprovalStore + 'static) -> Self {
        self.store = Box::new(store);
        self
    }

    /// One more way to tell humans, of at most [`MAX_APPROVERS`]; one that succeeds is enough.
    pub fn approver(mut self, approver: impl Approver + 'static) -> Self {
        self.approvers.push(Box::new(approver));
        self
    }

    /// A group, which rules can name where they name approvers. A second one of the same name adds its members.
    pub fn group(mut self, name: Principal, members: impl IntoIterator<Item = Principal>) -> Self {
        self.groups.entry(name).or_default().extend(members);
        self
    }

    /// How long a question stands, and a consent holds, where the rule says nothing. Default [`DEFAULT_TIMEOUT`], at most
    /// [`crate::policy::MAX_ASK_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.min(crate::policy::MAX_ASK_TIMEOUT);
        self
    }
}

impl Approvals {
    pub(crate) fn open(self, timer: Arc<dyn agent_primitives::Timer>) -> Result<Desk, StoreError> {
        let Self { store, approvers, groups, timeout } = self;
        if MAX_APPROVERS < approvers.len() {
            return Err(StoreError::new(format!("more than {MAX_APPROVERS} approvers")));
        }
        Desk::open(store.into(), approvers, groups, timeout, timer)
    }
}
