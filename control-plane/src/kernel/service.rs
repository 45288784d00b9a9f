//! The services besides files: tools, signals, questions, the end. Each takes its permit by value.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{LabelSet, Signal};
use agent_tool_registry::{CallContext, Output};
use tracing::Instrument;

use super::children;
use super::own::{self, Declassify, Removed};
use super::running::Intent;
use super::table::{Agent, ExitStatus};
use super::{Inner, Raise};
use crate::call::Reply;
use crate::error::{CallError, SignalError};
use crate::observe::spans::Executing;
use crate::policy::Decision;
use crate::policy::permit::{Consented, Permit};
use crate::policy::request::{AwaitSignal, ChangeMask, ExitWith, RunTool, SendSignal};
use crate::recorder::{Actor, Delivery};
use crate::signal::{Raised, cut};

/// Longest a file operation may take: stores may be remote.
pub const FILE_DEADLINE: Duration = Duration::from_secs(30);
/// Longest an agent may wait for a signal in one call; a longer wait is cut to it.
pub const MAX_AWAIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn answer(permit: Permit<Decision>) -> Reply {
    Reply::Decision(permit.redeem())
}

impl Inner {
    /// Runs a file operation under the kernel's deadline for them.
    pub(crate) async fn on_files<F>(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        operation: impl FnOnce(Arc<Agent>) -> F,
    ) -> Result<Reply, CallError>
    where
        F: Future<Output = Result<Reply, CallError>> + Send + 'static,
    {
        let service = Box::pin(operation(Arc::clone(agent)));
        self.watch(agent, intent, Some(intent.started.after(FILE_DEADLINE)), None, service).await
    }

    /// The tool's own limit is enforced by the registry; the caller's, which the tool sees too, by the watch.
    pub(crate) async fn exec(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        permit: Permit<RunTool>,
    ) -> Result<Reply, CallError> {
        let executing = Executing::begin(agent, intent.call, permit.tool().as_str());
        let result = self.run_tool(agent, intent, permit).instrument(executing.span()).await;
        executing.finish(&result);
        result
    }

    async fn run_tool(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        permit: Permit<RunTool>,
    ) -> Result<Reply, CallError> {
        let contract = Arc::clone(permit.contract());
        let carried = permit.carried()?;
        // Counts while the call waits at the gate, so that nothing begins that nobody waits for any more.
        let deadline = permit.deadline().map(|wait| intent.called.after(wait));
        let context = CallContext::new(agent.id.clone(), Arc::clone(&self.timer));
        let mut context = context.with_executions(agent.orders.executions().clone());
        if let Some(deadline) = deadline {
            context = context.with_deadline(deadline);
        }
        if intent.held
            && let Some(meter) = agent.charges.meter(intent.call)
        {
            context = context.with_meter(meter);
        }
        let canceller = context.canceller();
        let started = context.clone();
        let run = permit.run(context);
        let call = intent.call;
        let service = Box::pin(async move {
            // What the answer carries is added once it is there: see `join_output`.
            Ok(Reply::Output { output: run.await?, labels: LabelSet::EMPTY, call })
        });
        let result = self.watch(agent, intent, deadline, Some(canceller), service).await;
        if let Some(ran) = started.ran() {
            self.record_run(agent, call, ran.level, ran.guarantees, ran.usage)?;
        }
        self.join_output(agent, &contract, carried, result)
    }

    /// Does what one of the kernel's own tools is for, on the consent it was given.
    pub(crate) fn own_tool(
        &self,
        agent: &Agent,
        intent: &Intent,
        permit: Permit<Consented>,
    ) -> Result<Reply, CallError> {
        let Consented { tool: Declassify { labels, reason }, consent } = permit.redeem();
        let executing = Executing::begin(agent, intent.call, own::DECLASSIFY);
        let result = executing.span().in_scope(|| {
            let by = self.who_agreed(consent);
            let removed = self.take_off(agent, intent.call, &labels, &by, &reason)?;
            let output = Output::of(Removed { removed }, own::MAX_ANSWER)?;
            Ok(Reply::Output { output, labels: LabelSet::EMPTY, call: intent.call })
        });
        executing.finish(&result);
        result
    }

    pub(crate) fn send_signal(
        &self,
        sender: &Arc<Agent>,
        permit: Permit<SendSignal>,
    ) -> Result<Reply, CallError> {
        let SendSignal { to, signal, reason } = permit.redeem();
        // Another tenant's agent is like one that does not exist.
        let receiver = self.table.live(to.as_str()).filter(|receiver| receiver.tenant == sender.tenant);
        let receiver = receiver.ok_or_else(|| SignalError::NoSuchAgent(to.to_string()))?;
        self.enforce_grace(&receiver);
        self.raise_from(&receiver, signal, Raiser::Agent(sender), &reason)?;
        Ok(Reply::Done)
    }

    pub(crate) fn change_mask(
        &self,
        agent: &Arc<Agent>,
        call: u64,
        permit: Permit<ChangeMask>,
    ) -> Result<Reply, CallError> {
        let ChangeMask { block, unblock } = permit.redeem();
        let due = agent.mailbox.mask(&agent.word, block, unblock);
        self.delivered(agent, call, due)?;
        Ok(Reply::Done)
    }

    /// Waits for a signal, at the gate all the while: it parks while the agent is stopped, and runs the handlers that are due.
    pub(crate) async fn await_signal(
        &self,
        agent: &Arc<Agent>,
        call: u64,
        permit: Permit<AwaitSignal>,
    ) -> Result<Reply, CallError> {
        let AwaitSignal { set, deadline } = permit.redeem();
        let deadline = self.timer.monotonic().after(deadline.min(MAX_AWAIT));
        loop {
            self.checkpoint(agent).await?;
            if let Some((signal, letter)) = agent.mailbox.take(&agent.word, set) {
                let letter = letter.unwrap_or_else(|| self.lost_letter());
                self.record_delivery(agent, call, signal, Delivery::Awaited, &letter)?;
                return Ok(Reply::Signal(self.notice(agent, signal, letter)));
            }
            if deadline <= self.timer.monotonic() {
                return Err(CallError::Timeout);
            }
            let arrived = self.changed(agent, |agent| {
                let seen = agent.word.load();
                seen.awaited(set) || seen.stopped() || seen.handler_due()
            });
            let _woken = self.until(deadline, arrived).await;
        }
    }

    pub(crate) fn exit(&self, agent: &Arc<Agent>, permit: Permit<ExitWith>) -> Result<Reply, CallError> {
        let ExitWith { code, message } = permit.redeem();
        self.end(agent, ExitStatus::Exited { code, message }, Actor::Agent(agent.id.as_str()));
        Ok(Reply::Done)
    }

    /// Stops an agent because a rule says so, whatever it masks or handles.
    pub(crate) fn force_stop(&self, agent: &Arc<Agent>, reason: &str) {
        let stopped = agent.word.stop();
        agent.orders.follow(&agent.word);
        if stopped != Raised::Gone {
            let delivered = stopped == Raised::Delivered;
            self.record_signal(agent, Signal::Stop, Actor::Kernel, cut(reason), delivered);
            agent.changed.notify_waiters();
            self.pass_down(agent, Signal::Stop, Raise::Delivered, reason);
        }
    }

    /// Raises a signal as the host or the kernel: see [`Inner::raise_from`].
    pub(crate) fn raise(
        &self,
        agent: &Arc<Agent>,
        signal: Signal,
        from: Actor<'_>,
        reason: &str,
    ) -> Result<Raise, SignalError> {
        let from = if from == Actor::Host { Raiser::Host } else { Raiser::Kernel };
        self.raise_from(agent, signal, from, reason)
    }

    /// Raises a signal: takes its default action, or leaves it in the mailbox when it is masked or has a handler.
    pub(crate) fn raise_from(
        &self,
        agent: &Arc<Agent>,
        signal: Signal,
        from: Raiser<'_>,
        reason: &str,
    ) -> Result<Raise, SignalError> {
        let reason = cut(reason);
        if !signal.maskable() {
            let status = ExitStatus::Signaled { signal, reason: reason.to_owned() };
            let ended = self.end(agent, status, from.as_actor());
            return if ended.is_some() { Ok(Raise::Delivered) } else { Err(gone(agent)) };
        }
        if signal == Signal::Term {
            // The grace period runs whether the signal is masked or handled, so that neither outwaits it.
            children::start_grace(agent, self.timer.monotonic().after(self.grace));
        }
        let letter = || self.letter(from, reason);
        let raised = agent.mailbox.raise(&agent.word, signal, from.is(agent), letter);
        agent.orders.follow(&agent.word);
        let raise = match raised {
            Raised::Delivered => Raise::Delivered,
            Raised::Pending => Raise::Pending,
            Raised::Unchanged => Raise::Unchanged,
            Raised::Gone => return Err(gone(agent)),
        };
        // Whoever waits for a change is woken when it is on record, so that what follows from it is so after it.
        self.record_signal(agent, signal, from.as_actor(), reason, raised == Raised::Delivered);
        agent.changed.notify_waiters();
        self.follow_up(agent, signal, raise, reason);
        Ok(raise)
    }
}

/// Who raises a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raiser<'a> {
    Host,
    Kernel,
    Agent(&'a Arc<Agent>),
}

impl<'a> Raiser<'a> {
    pub(crate) fn as_actor(self) -> Actor<'a> {
        match self {
            Self::Host => Actor::Host,
            Self::Kernel => Actor::Kernel,
            Self::Agent(agent) => Actor::Agent(agent.id.as_str()),
        }
    }

    fn is(self, agent: &Arc<Agent>) -> bool {
        matches!(self, Self::Agent(raiser) if Arc::ptr_eq(raiser, agent))
    }
}

fn gone(agent: &Agent) -> SignalError {
    SignalError::NoSuchAgent(agent.id.to_string())
}
