//! The services besides files: tools, signals, questions, the end. Each takes its permit by value.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{LabelSet, Signal};
use agent_tool_registry::{CallContext, Output};

use super::own::{self, Declassify, Removed};
use super::running::Intent;
use super::table::{Agent, ExitStatus};
use super::{Inner, Raise};
use crate::call::Reply;
use crate::error::{CallError, SignalError};
use crate::policy::Decision;
use crate::policy::permit::{Consented, Permit};
use crate::policy::request::{AwaitSignal, ChangeMask, ExitWith, RunTool, SendSignal};
use crate::recorder::Actor;
use crate::signal::Raised;

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
        let tool = permit.tool().clone();
        let carried = permit.carried()?;
        let deadline = permit.deadline().map(|wait| intent.called.after(wait));
        let mut context = CallContext::new(agent.id.clone(), Arc::clone(&self.timer));
        if let Some(deadline) = deadline {
            context = context.with_deadline(deadline);
        }
        if intent.held
            && let Some(meter) = agent.charges.meter(intent.call)
        {
            context = context.with_meter(meter);
        }
        let canceller = context.canceller();
        let run = permit.run(context);
        let call = intent.call;
        let service = Box::pin(async move {
            // What the answer carries is added once it is there: see `join_output`.
            Ok(Reply::Output { output: run.await?, labels: LabelSet::EMPTY, call })
        });
        let result = self.watch(agent, intent, deadline, Some(canceller), service).await;
        self.join_output(agent, &tool, carried, result)
    }

    /// Does what one of the kernel's own tools is for, on the consent it was given.
    pub(crate) fn own_tool(
        &self,
        agent: &Agent,
        intent: &Intent,
        permit: Permit<Consented>,
    ) -> Result<Reply, CallError> {
        let Consented { tool: Declassify { labels, reason }, consent } = permit.redeem();
        let by = self.who_agreed(consent);
        let removed = self.take_off(agent, intent.call, &labels, &by, &reason)?;
        let output = Output::of(Removed { removed }, own::MAX_ANSWER)?;
        Ok(Reply::Output { output, labels: LabelSet::EMPTY, call: intent.call })
    }

    pub(crate) fn send_signal(&self, sender: &Agent, permit: Permit<SendSignal>) -> Result<Reply, CallError> {
        let SendSignal { to, signal, reason } = permit.redeem();
        let receiver = self.table.live(to.as_str());
        let receiver = receiver.ok_or_else(|| SignalError::NoSuchAgent(to.to_string()))?;
        self.raise(&receiver, signal, Actor::Agent(sender.id.as_str()), &reason)?;
        Ok(Reply::Done)
    }

    pub(crate) fn change_mask(
        &self,
        agent: &Arc<Agent>,
        permit: Permit<ChangeMask>,
    ) -> Result<Reply, CallError> {
        let ChangeMask { block, unblock } = permit.redeem();
        for due in agent.word.mask(block, unblock).iter() {
            self.raise(agent, due, Actor::Kernel, "unmasked")?;
        }
        Ok(Reply::Done)
    }

    pub(crate) async fn await_signal(
        &self,
        agent: &Arc<Agent>,
        permit: Permit<AwaitSignal>,
    ) -> Result<Reply, CallError> {
        let AwaitSignal { set, deadline } = permit.redeem();
        let deadline = self.timer.monotonic().after(deadline.min(MAX_AWAIT));
        let arrival = async {
            loop {
                if let Some(signal) = agent.word.take(set) {
                    return Ok(Reply::Signal(signal));
                }
                let arrived =
                    |agent: &Agent| agent.word.load().pending().iter().any(|signal| set.contains(signal));
                self.changed(agent, arrived).await;
                if agent.word.load().closed() {
                    return Err(self.dead(agent));
                }
            }
        };
        match self.until(deadline, arrival).await {
            Some(reply) => reply,
            None => Err(CallError::Timeout),
        }
    }

    pub(crate) fn exit(&self, agent: &Arc<Agent>, permit: Permit<ExitWith>) -> Result<Reply, CallError> {
        let ExitWith { code, message } = permit.redeem();
        self.end(agent, ExitStatus::Exited { code, message }, Actor::Agent(agent.id.as_str()));
        Ok(Reply::Done)
    }

    /// Stops an agent because a rule says so, whatever it masks.
    pub(crate) fn force_stop(&self, agent: &Arc<Agent>, reason: &str) {
        let stopped = agent.word.stop();
        agent.changed.notify_waiters();
        if stopped != Raised::Gone {
            self.record_signal(agent, Signal::Stop, Actor::Kernel, reason, stopped == Raised::Delivered);
            self.pass_down(agent, Signal::Stop, Raise::Delivered, reason);
        }
    }

    /// Raises a signal: takes its default action, or leaves it pending when it is masked.
    pub(crate) fn raise(
        &self,
        agent: &Arc<Agent>,
        signal: Signal,
        from: Actor<'_>,
        reason: &str,
    ) -> Result<Raise, SignalError> {
        let raised = if signal.maskable() {
            if signal == Signal::Term {
                // The grace period runs whether or not the signal is masked, so a mask cannot outwait it.
                agent.start_grace(self.timer.monotonic().after(self.grace));
            }
            let raised = agent.word.raise(signal);
            agent.changed.notify_waiters();
            raised
        } else {
            let status = ExitStatus::Signaled { signal, reason: reason.to_owned() };
            return if self.end(agent, status, from).is_some() {
                Ok(Raise::Delivered)
            } else {
                Err(SignalError::NoSuchAgent(agent.id.to_string()))
            };
        };
        let (raise, delivered) = match raised {
            Raised::Delivered => (Raise::Delivered, true),
            Raised::Pending => (Raise::Pending, false),
            Raised::Unchanged => (Raise::Unchanged, false),
            Raised::Gone => return Err(SignalError::NoSuchAgent(agent.id.to_string())),
        };
        self.record_signal(agent, signal, from, reason, delivered);
        self.follow_up(agent, signal, raise, reason);
        Ok(raise)
    }
}
