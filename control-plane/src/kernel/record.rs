//! The two ends of the road that write: intent before the effect, outcome after it.

use std::sync::Arc;

use agent_primitives::Signal;

use super::Inner;
use super::border::{self, Refused};
use super::charge::Hold;
use super::inspect::Inspected;
use super::judge::Decided;
use super::running::Intent;
use super::syscall::Passage;
use super::table::{Agent, ExitStatus};
use crate::call::{Reply, Syscall};
use crate::denial::{Denial, Reason};
use crate::error::CallError;
use crate::policy::OnViolation;
use crate::policy::permit::Permitted;
use crate::recorder::{Actor, Body, Outcome, Recorded, RecorderError};

/// An intent that waits for its outcome. Dropped without one (the caller gave up, or its task was ended), it records
/// the call as cancelled, so no intent stays open.
#[derive(Debug)]
#[must_use = "an intent needs an outcome"]
pub(crate) struct OpenIntent<'a> {
    kernel: &'a Inner,
    agent: &'a Agent,
    pub(crate) intent: Arc<Intent>,
    /// Dropped after the outcome is recorded, which settles it.
    _hold: Option<Hold<'a>>,
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
        let intent = Arc::new(Intent::new(passage.number, passage.called, passage.started, hold.is_some()));
        let open = OpenIntent { kernel: self, agent: passage.agent, intent, _hold: hold };
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
            Err(error) => {
                text = error.to_string();
                Outcome::Failed { code: error.code(), error: &text }
            }
        };
        self.settle(open.agent, &open.intent, outcome)?;
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
            let refused = Refused { syscall: call.kind(), what: border::describe(call), error };
            self.reject(passage, refused)
        })
    }

    /// Records a call that never came to be judged, and hands the refusal on.
    pub(crate) fn reject(&self, passage: Passage<'_>, refused: Refused) -> CallError {
        let Refused { syscall, what, error } = refused;
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
        match self.record(passage, body) {
            Ok(_) => error,
            Err(down) => down,
        }
    }

    /// What follows from a refusal by policy.
    fn deny(&self, passage: Passage<'_>, denial: Denial) -> CallError {
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
        denial.into()
    }

    /// Appends an event of a call. If that cannot be done the kernel panics, which is its way of failing closed.
    pub(crate) fn record(&self, passage: Passage<'_>, body: Body<'_>) -> Result<Recorded, CallError> {
        self.append_at(passage.now, passage.agent.source(), passage.number, body)
    }

    async fn durable(&self, recorded: &Recorded) -> Result<(), CallError> {
        match self.recorder.durable(recorded).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.recorder_failed(&error)),
        }
    }

    pub(crate) fn recorder_failed(&self, error: &RecorderError) -> CallError {
        let reason = format!("the recorder failed: {error}");
        self.panic(&reason);
        CallError::KernelDown { reason }
    }
}
