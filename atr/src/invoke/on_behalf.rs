//! Calls made for somebody.

use std::time::Duration;

use agent_primitives::{Monotonic, TicketId};
use bytes::Bytes;

use super::passage::Passage;
use super::{CallChain, CallId, Caller, ChainTooLong, Invoker};
use crate::context::Ran;
use crate::executor::Executions;
use crate::{CallContext, Output, ToolError};

/// How deep tools may call tools: a call from outside is the first.
pub const MAX_CALL_DEPTH: u32 = 8;

/// One call that is asked for.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) tool: String,
    pub(super) arguments: Bytes,
    pub(super) ticket: Option<TicketId>,
    pub(super) deadline: Option<Monotonic>,
}

impl Call {
    /// The name of a tool, and its arguments as JSON text.
    #[must_use]
    pub fn new(tool: &str, arguments: &[u8]) -> Self {
        let arguments = Bytes::copy_from_slice(arguments);
        Self { tool: tool.to_owned(), arguments, ticket: None, deadline: None }
    }

    /// Shows the consent to exactly this call that [`ToolError::ApprovalRequired`] asked for.
    #[must_use]
    pub fn with_ticket(mut self, ticket: TicketId) -> Self {
        self.ticket = Some(ticket);
        self
    }

    /// Ends the call at `deadline` if that is sooner than the tool's own limit.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Monotonic) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What a call answered, and that it did is on record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The call, as in its audit record.
    pub call: CallId,
    /// The answer.
    pub output: Output,
    /// How often the tool was called.
    pub attempts: u32,
    /// Where it was run; nothing for a function of the host.
    pub ran: Option<Ran>,
}

/// How a tool is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Health {
    /// It answered within this time.
    Healthy(Duration),
    /// It did not, after this time.
    Unhealthy(Duration, ToolError),
}

/// Makes calls for the principals of one chain. Cloning is a few reference counts.
#[derive(Clone, Debug)]
pub struct OnBehalf {
    pub(super) invoker: Invoker,
    pub(super) chain: CallChain,
    pub(super) depth: u32,
    /// The call within which these are made.
    pub(super) within: Option<(CallId, CallContext)>,
    pub(super) executions: Option<Executions>,
}

impl OnBehalf {
    pub(super) fn of(invoker: Invoker, chain: CallChain) -> Self {
        Self { invoker, chain, depth: 1, within: None, executions: None }
    }

    pub(super) fn within(
        invoker: Invoker,
        chain: CallChain,
        depth: u32,
        call: CallId,
        cx: CallContext,
    ) -> Self {
        let executions = Some(cx.executions().clone());
        Self { invoker, chain, depth, within: Some((call, cx)), executions }
    }

    /// Registers what the calls start with `executions`, so that orders to them reach it.
    #[must_use]
    pub fn with_executions(mut self, executions: Executions) -> Self {
        self.executions = Some(executions);
        self
    }

    /// The same with one more principal, which acts for those so far and makes the calls.
    ///
    /// # Errors
    /// [`ChainTooLong`].
    pub fn joined_by(mut self, caller: Caller) -> Result<Self, ChainTooLong> {
        self.chain = self.chain.then(caller)?;
        Ok(self)
    }

    /// The principals.
    #[must_use]
    pub fn chain(&self) -> &CallChain {
        &self.chain
    }

    /// Makes one call: the name of a tool, and its arguments as JSON text.
    ///
    /// # Errors
    /// Any [`ToolError`].
    ///
    /// # Cancel safety
    /// As for [`OnBehalf::send`].
    pub async fn invoke(&self, tool: &str, arguments: &[u8]) -> Result<Answer, ToolError> {
        self.send(Call::new(tool, arguments)).await
    }

    /// Makes one call. Within a tool it ends when the tool's own call does.
    ///
    /// # Errors
    /// Any [`ToolError`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call, as for [`Invocation::run`](crate::Invocation::run), and it is put on record.
    pub async fn send(&self, call: Call) -> Result<Answer, ToolError> {
        let passage = Passage::begin(self, &call)?;
        // Boxed: it is long, and tools that call tools hold one within the other.
        let answer = Box::pin(passage.carry_out(call));
        let Some((_, cx)) = &self.within else { return answer.await };
        tokio::select! {
            biased;
            () = cx.cancelled() => Err(ToolError::Cancelled),
            answer = answer => answer,
        }
    }

    /// Asks a tool how it is, by a call like any other: by the same stages, executor and permissions.
    pub async fn health(&self, tool: &str, arguments: &[u8]) -> Health {
        let timer = &self.invoker.0.timer;
        let begun = timer.monotonic();
        let answer = self.invoke(tool, arguments).await;
        let took = timer.monotonic().since(begun);
        match answer {
            Ok(_) => Health::Healthy(took),
            Err(error) => Health::Unhealthy(took, error),
        }
    }
}
