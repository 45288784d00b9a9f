//! The two ends of the road that write: intent before the effect, outcome after it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_primitives::{Digest, Signal, ToolId};

use super::Inner;
use super::border::{self, Refused};
use super::charge::Hold;
use super::inspect::Inspected;
use super::judge::Decided;
use super::refusals::LOOP_AT;
use super::running::Intent;
use super::syscall::Passage;
use super::table::{Agent, ExitStatus};
use crate::call::{Reply, Syscall};
use crate::denial::{Denial, Reason};
use crate::error::{CallError, ErrorClass};
use crate::policy::OnViolation;
use crate::policy::permit::Permitted;
use crate::recorder::{Actor, Body, Outcome, REDACTED, Recorded, RecorderError};

/// Domain of the digests that tell whether two failures are the same.
const FAILURE_DOMAIN: &str = "agent-os failing call v1";

/// An intent that waits for its outcome. Dropped without one (the caller gave up, or its task was ended), it records
/// the call as cancelled, so no intent stays open.
#[derive(Debug)]
#[must_use = "an intent needs an outcome"]
pub(crate) struct OpenIntent<'a> {
    kernel: &'a Inner,
    agent: &'a Arc<Agent>,
    pub(crate) intent: Arc<Intent>,
    /// Dropped after the outcome is recorded, which settles it.
    _hold: Option<Hold<'a>>,
    /// Whether the call is not carried out, because its agent is on a dry run.
    pub(crate) simulated: bool,
    /// Which tool runs on which arguments, if one does.
    run: Option<(ToolId, Digest)>,
}

impl OpenIntent<'_> {
    /// What makes two failures the same; `None` for calls that run no tool.
    fn identity(&self, code: &str) -> Option<Digest> {
        let (tool, arguments) = self.run.as_ref()?;
        let bytes = postcard::to_stdvec(&(tool.as_str(), arguments, code)).ok()?;
        Some(Digest::of(FAILURE_DOMAIN, &bytes))
    }
}

impl Drop for OpenIntent<'_> {
    fn drop(&mut self) {
        let _ = self.kernel.settle(self.agent, &self.intent, Outcome::Cancelled);
    }
}

impl Inner {
    /// Turns a recorded decision into a permit, or into the denial and its consequence.
    pub(crate) async fn intent<'a>(
        &'a self,
        passage: Passage<'a>,
        decided: Decided<'a>,
    ) -> Result<(Permitted, OpenIntent<'a>), CallError> {
        let Decided { judged, recorded, consent, hold } = decided;
        if let Some(denial) = judged.denial() {
            return Err(self.deny(passage, denial));
        }
        // From here on the intent is on record: if the wait for the disk is given up, it is closed as cancelled.
        let intent = Arc::new(Intent::new(passage, hold.is_some()));
        let run = judged.request().run();
        let simulated = passage.agent.dry_run && judged.has_side_effects();
        let open = OpenIntent { kernel: self, agent: passage.agent, intent, _hold: hold, simulated, run };
        if judged.has_side_effects() {
            self.durable(&recorded).await?;
        }
        if let (Some(consent), Some(desk)) = (consent, &self.desk) {
            // What was used up must be so in the next process too, before anything is done on it.
            let kept = desk.keep_in_background(consent.ticket()).await;
            kept.map_err(|_failed| self.deny(passage, judged.refusal(Reason::ApprovalUnkept)))?;
        }
        let permitted = judged.permit(recorded).map_err(|denial| self.deny(passage, denial))?;
        Ok((permitted, open))
    }

    /// Records how a call ended.
    pub(crate) fn outcome(&self, open: &OpenIntent<'_>, inspected: Inspected) -> Result<Reply, CallError> {
        let Inspected { result, digest, bytes, labels } = inspected;
        let text;
        let outcome = match &result {
            Ok(_) => Outcome::Done { result: digest, bytes, labels },
            Err(CallError::Dead(_)) => Outcome::Cancelled,
            Err(CallError::Simulated) => Outcome::Simulated,
            Err(error) => {
                text = self.told(open.run.as_ref().map(|(tool, _)| tool.as_str()), error);
                Outcome::Failed { code: error.code(), error: &text }
            }
        };
        self.settle(open.agent, &open.intent, outcome)?;
        match &result {
            Ok(_) => {
                if open.agent.failing.load(Ordering::SeqCst) {
                    open.agent.failing.store(false, Ordering::SeqCst);
                    open.agent.turn.lock().refusals.went_well();
                }
            }
            Err(error) => {
                let tool = open.run.as_ref().map(|(tool, _)| tool.as_str());
                self.failed(open.agent, || open.identity(error.code()), tool, error);
            }
        }
        result
    }

    /// Records a call that the gate refused, and hands the refusal on.
    pub(crate) fn or_reject<T>(
        &self,
        passage: Passage<'_>,
        call: &Syscall,
        entered: Result<T, CallError>,
    ) -> Result<T, CallError> {
        entered.map_err(|error| {
            let refused =
                Refused { syscall: call.kind(), what: border::describe(call), error: Box::new(error) };
            self.reject(passage, refused)
        })
    }

    /// Records a call that never came to be judged, and hands the refusal on.
    pub(crate) fn reject(&self, passage: Passage<'_>, refused: Refused) -> CallError {
        let Refused { syscall, what, error } = refused;
        let error = *error;
        let wanted = match error {
            // The recorder may be the very reason the kernel is down.
            CallError::KernelDown { .. } => false,
            CallError::Dead(_) => passage.agent.postmortem_record(),
            _ => true,
        };
        if !wanted {
            return error;
        }
        let text = error.to_string();
        let body =
            Body::Rejected { syscall: syscall.number(), what: &what, code: error.code(), error: &text };
        if let Err(down) = self.record(passage, body) {
            return down;
        }
        if let CallError::Invalid(_) = error {
            let identity = || {
                let bytes = postcard::to_stdvec(&(syscall.number(), &what, error.code(), &text)).ok()?;
                Some(Digest::of(FAILURE_DOMAIN, &bytes))
            };
            self.failed(passage.agent, identity, Some(&what), &error);
        }
        error
    }

    /// What follows from a refusal by policy.
    pub(crate) fn deny(&self, passage: Passage<'_>, denial: Denial) -> CallError {
        let agent = passage.agent;
        // An ask that nobody answers is a refusal, but not a violation: the policy foresaw the call.
        if denial.is_violation() {
            match denial.on_violation {
                OnViolation::Kill => {
                    let reason = denial.to_string();
                    let status = ExitStatus::Signaled { signal: Signal::Policy, reason };
                    self.end(agent, status, Actor::Kernel);
                }
                OnViolation::Stop => {
                    self.force_stop(agent, &denial.to_string());
                }
                OnViolation::Deny => {}
            }
        }
        if agent.ended().is_none() && agent.turn.lock().refusals.count(&denial, passage.now) {
            let class = denial.class().name();
            self.raise_loop(agent, &format!("{LOOP_AT} calls were refused as {class}; the last: {denial}"));
        }
        denial.into()
    }

    /// Counts a call that failed, unless trying again is the thing to do; the same failure over and over is a loop.
    fn failed(
        &self,
        agent: &Arc<Agent>,
        identity: impl FnOnce() -> Option<Digest>,
        tool: Option<&str>,
        error: &CallError,
    ) {
        if error.retryable() || matches!(error, CallError::Dead(_)) {
            return;
        }
        let Some(identity) = identity() else { return };
        agent.failing.store(true, Ordering::SeqCst);
        if agent.turn.lock().refusals.failed(identity) {
            let what = if error.class() == ErrorClass::Mistake { "mistake" } else { "failure" };
            let told = self.told(tool, error);
            self.raise_loop(agent, &format!("the same {what} {LOOP_AT} times in a row: {told}"));
        }
    }

    /// What is recorded of an error. That of a tool whose arguments are redacted may quote them.
    fn told(&self, tool: Option<&str>, error: &CallError) -> String {
        if tool.is_some_and(|tool| self.recorder.withholds(tool)) {
            return REDACTED.to_owned();
        }
        error.to_string()
    }

    fn raise_loop(&self, agent: &Arc<Agent>, reason: &str) {
        // Nothing to do for an agent that has just ended.
        let _ = self.raise(agent, Signal::Loop, Actor::Kernel, reason);
    }

    /// Appends an event of a call. If that cannot be done the kernel panics, which is its way of failing closed.
    pub(crate) fn record(&self, passage: Passage<'_>, body: Body<'_>) -> Result<Recorded, CallError> {
        self.append_at(passage.now, passage.agent.source(), passage.number, body)
    }

    pub(crate) async fn durable(&self, recorded: &Recorded) -> Result<(), CallError> {
        match self.recorder.durable(recorded).await {
            Ok(()) => {
                #[cfg(feature = "metrics")]
                super::meters::recorder_lag(self.recorder.lag());
                Ok(())
            }
            Err(error) => Err(self.recorder_failed(&error)),
        }
    }

    pub(crate) fn recorder_failed(&self, error: &RecorderError) -> CallError {
        let reason = format!("the recorder failed: {error}");
        self.panic(&reason);
        CallError::KernelDown { reason }
    }
}
