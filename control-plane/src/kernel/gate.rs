//! The gate: is this agent alive and running?
//!
//! Every call passes here twice: when it comes in, and again between the decision and the effect. While its service
//! runs it is watched: see `running`.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use agent_primitives::Signal;

use super::Inner;
use super::table::{Agent, ExitStatus};
use crate::error::{CallError, InvalidCall};
use crate::question::CallKind;
use crate::recorder::Actor;
use crate::signal::{Entry, MAX_IN_FLIGHT};

/// A call that is in. Leaves when dropped.
#[derive(Debug)]
#[must_use = "the call is in only as long as this is held"]
pub(crate) struct InFlight<'a>(&'a Agent);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.word.leave();
    }
}

/// A call that waits for `SIGCONT`. Bounded like those in flight.
#[derive(Debug)]
struct Parked<'a>(&'a Agent);

impl<'a> Parked<'a> {
    fn one_more(agent: &'a Agent) -> Result<Self, InvalidCall> {
        let parked = Self(agent);
        if MAX_IN_FLIGHT <= agent.parked.fetch_add(1, Ordering::SeqCst) {
            return Err(InvalidCall::TooMany { limit: MAX_IN_FLIGHT });
        }
        Ok(parked)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.0.parked.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Inner {
    /// Lets a call in, or parks it while the agent is stopped; handlers that are due run before. Cancel safe. An exit enters
    /// however many are in flight.
    pub(crate) async fn enter<'a>(
        &self,
        agent: &'a Arc<Agent>,
        kind: CallKind,
    ) -> Result<InFlight<'a>, CallError> {
        let mut parked = None;
        let mut handled = false;
        loop {
            self.running()?;
            self.enforce_grace(agent);
            let seen = agent.word.load();
            if parked.is_none() && seen.stopped() {
                parked = Some(Parked::one_more(agent)?);
            }
            if seen.handler_due() && !handled {
                Box::pin(self.run_handlers(agent)).await;
                handled = true;
                continue;
            }
            match agent.word.enter(kind == CallKind::Exit) {
                Entry::Entered => return Ok(InFlight(agent)),
                Entry::Stopped => {
                    self.changed(agent, |agent| !agent.word.load().stopped()).await;
                    handled = false;
                }
                Entry::Interrupted => return Err(CallError::Interrupted),
                Entry::Full => return Err(InvalidCall::TooMany { limit: MAX_IN_FLIGHT }.into()),
                Entry::Closed => return Err(self.dead(agent)),
            }
        }
    }

    /// Between decision and effect: parks a call whose agent was stopped meanwhile, refuses one whose agent was ended, and
    /// runs the handlers that are due.
    pub(crate) async fn checkpoint(&self, agent: &Arc<Agent>) -> Result<(), CallError> {
        let mut handled = false;
        loop {
            self.running()?;
            self.enforce_grace(agent);
            let seen = agent.word.load();
            if seen.closed() {
                return Err(self.dead(agent));
            }
            if seen.stopped() {
                self.changed(agent, |agent| !agent.word.load().stopped()).await;
                handled = false;
            } else if seen.handler_due() && !handled {
                Box::pin(self.run_handlers(agent)).await;
                handled = true;
            } else {
                return Ok(());
            }
        }
    }

    /// Resolves once `enough` holds or the agent has ended; kills it when its grace period runs out meanwhile.
    pub(crate) async fn changed(&self, agent: &Arc<Agent>, enough: impl Fn(&Agent) -> bool) {
        loop {
            let mut notified = pin!(agent.changed.notified());
            // Registered before the look, so that a change between the look and the wait is not missed.
            notified.as_mut().enable();
            self.enforce_grace(agent);
            if agent.word.load().closed() || enough(agent) {
                return;
            }
            match agent.grace_ends() {
                None => notified.await,
                Some(ends) => {
                    let mut sleep = self.timer.sleep_until(ends);
                    poll_fn(|context| match notified.as_mut().poll(context) {
                        Poll::Ready(()) => Poll::Ready(()),
                        Poll::Pending => sleep.as_mut().poll(context),
                    })
                    .await;
                }
            }
        }
    }

    /// Ends an agent whose grace period is over. Called wherever the agent is looked at, so nothing has to run in the
    /// background for `SIGTERM` to become `SIGKILL`.
    pub(crate) fn enforce_grace(&self, agent: &Arc<Agent>) {
        let Some(ends) = agent.grace_ends() else { return };
        if ends <= self.timer.monotonic() && agent.ended().is_none() {
            let reason = "the grace period of SIGTERM is over".to_owned();
            self.end(agent, ExitStatus::Signaled { signal: Signal::Kill, reason }, Actor::Kernel);
        }
    }

    pub(crate) fn dead(&self, agent: &Agent) -> CallError {
        match agent.ended() {
            Some(status) => CallError::Dead(status.clone()),
            // The gate is closed and the status is set before it closes, so this cannot be reached; it is a refusal
            // all the same.
            None => CallError::KernelDown { reason: "an agent ended without a status".to_owned() },
        }
    }
}
