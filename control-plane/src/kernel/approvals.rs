//! What the host does with approvals: list, grant, refuse, revoke.

use agent_primitives::TicketId;
use agent_primitives::ticket::{Scope, TicketState};

use super::{Inner, Kernel};
use crate::approval::{ApprovalError, Desk, Principal, Request};
use std::sync::Arc;

impl Kernel {
    /// The tickets that are not settled, pending and granted ones, the oldest first. Empty for a kernel that cannot ask.
    #[must_use]
    pub fn approvals(&self) -> Vec<Request> {
        let open = self.inner.desk.as_ref().map(|desk| desk.open_requests());
        self.inner.publish();
        open.unwrap_or_default()
    }

    /// One ticket, settled or not; `None` when it is unknown or was forgotten.
    #[must_use]
    pub fn approval(&self, ticket: TicketId) -> Option<Request> {
        self.inner.desk.as_ref().and_then(|desk| desk.request(ticket))
    }

    /// Grants a ticket in the name of a principal, and says whether that was enough. The host vouches for the principal: the
    /// kernel checks no identity. Blocks on the store.
    ///
    /// # Errors
    /// The principal is an agent or none of the rule's approvers, has agreed already, or agrees to more than the rule lets
    /// it; the ticket does not wait for an answer; or it could not be kept, which revokes it.
    pub fn approve(
        &self,
        ticket: TicketId,
        by: &Principal,
        scope: Scope,
    ) -> Result<TicketState, ApprovalError> {
        let inner = &self.inner;
        inner.answer(ticket, Some(by), |desk| desk.grant(ticket, by, scope))
    }

    /// Refuses a ticket in the name of a principal who could have granted it. What becomes of the agent is what the rule's
    /// `on_violation` says, once its call hears of it. Blocks on the store.
    ///
    /// # Errors
    /// As [`Kernel::approve`].
    pub fn refuse(&self, ticket: TicketId, by: &Principal, reason: &str) -> Result<(), ApprovalError> {
        self.inner.answer(ticket, Some(by), |desk| desk.refuse(ticket, by, reason))
    }

    /// Withdraws a ticket, granted or not. Nobody's fault: the call is refused and the agent goes on. Blocks on the store.
    ///
    /// # Errors
    /// No such ticket, one that is settled, or a store that fails: then it is revoked in this process only.
    pub fn revoke(&self, ticket: TicketId, reason: &str) -> Result<(), ApprovalError> {
        self.inner.answer(ticket, None, |desk| desk.revoke(ticket, reason))
    }
}

impl Inner {
    /// Takes an answer, keeps what came of it and puts it on record.
    fn answer<T>(
        &self,
        ticket: TicketId,
        by: Option<&Principal>,
        answer: impl FnOnce(&Arc<Desk>) -> Result<T, ApprovalError>,
    ) -> Result<T, ApprovalError> {
        let desk = self.desk.as_ref().ok_or(ApprovalError::NotConfigured)?;
        self.up()?;
        by.map_or(Ok(()), |by| self.may_answer(by))?;
        let answered = answer(desk);
        self.publish();
        let answered = answered?;
        if let Err(error) = desk.keep(ticket) {
            let _settled_already = desk.revoke(ticket, "it could not be kept");
            self.publish();
            return Err(error.into());
        }
        Ok(answered)
    }
}
