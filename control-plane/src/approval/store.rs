//! Where tickets outlive the process.

use std::fmt;

use agent_primitives::TicketId;

use super::Request;
use super::error::StoreError;

/// Keeps tickets. The kernel holds all of them in memory as well: a store is read once, when the kernel is built, and then
/// written only. One kernel writes at a time; the kernel makes one call at a time.
pub trait ApprovalStore: fmt::Debug + Send + Sync {
    /// Every ticket that is kept, in any order.
    ///
    /// # Errors
    /// The store cannot be read. The kernel is not built then.
    fn load(&self) -> Result<Vec<Request>, StoreError>;

    /// Keeps a ticket, in place of what was kept under its id. When this returns it outlives the process, if anything does.
    ///
    /// # Errors
    /// It is not sure to. Nothing is let through on such a ticket.
    fn save(&self, request: &Request) -> Result<(), StoreError>;

    /// Forgets a ticket that nothing can change any more. One that is unknown is forgotten already.
    ///
    /// # Errors
    /// It may come back when the store is read again.
    fn remove(&self, ticket: TicketId) -> Result<(), StoreError>;

    /// Whether calls return without waiting for anything. Others are made on a thread that may block.
    fn is_immediate(&self) -> bool {
        false
    }
}

/// Tickets that end with the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forgetful;

impl ApprovalStore for Forgetful {
    fn load(&self) -> Result<Vec<Request>, StoreError> {
        Ok(Vec::new())
    }

    fn save(&self, _: &Request) -> Result<(), StoreError> {
        Ok(())
    }

    fn remove(&self, _: TicketId) -> Result<(), StoreError> {
        Ok(())
    }

    fn is_immediate(&self) -> bool {
        true
    }
}
