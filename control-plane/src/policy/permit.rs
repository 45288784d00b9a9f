//! The permit: proof that a request was judged, allowed and recorded.
//!
//! A [`Permit`] owns the request it was given for, has no public constructor, cannot be cloned and is consumed by the
//! service, so a service cannot run twice on one decision, nor on another request than the one that was judged. Only
//! [`Judged::permit`] makes one, and it asks for the recorder's receipt.

use std::future::Future;
use std::time::Duration;

use agent_primitives::{LabelSet, Verdict};
use agent_tool_registry::{CallContext, Output};

use super::request::{
    AwaitSignal, ChangeMask, CloseFile, ExitWith, OpenFile, ReadFile, Request, RunTool, SendSignal, WriteFile,
};
use super::{Decision, Standing};
use crate::denial::{Denial, Reason};
use crate::error::{CallError, InvalidCall};
use crate::question::Caller;
use crate::recorder::{Body, Decided, Recorded};

/// A request and the decision on it.
#[derive(Debug)]
#[must_use = "a judgement has to be recorded"]
pub(crate) struct Judged {
    request: Request,
    decision: Decision,
    /// What a question's call would get; `None` for calls that are not questions.
    answer: Option<Decision>,
}

/// Proof that `R` may be carried out, once.
#[derive(Debug)]
#[must_use = "a permit is there to be consumed by its service"]
pub(crate) struct Permit<R> {
    request: R,
}

impl<R> Permit<R> {
    /// What was permitted. Consumes the permit: this is for the service, as its first act.
    pub(crate) fn redeem(self) -> R {
        self.request
    }
}

impl Permit<RunTool> {
    /// How long the caller gives the tool, if less than the tool's own limit.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.request.deadline
    }

    /// Runs the tool, which nothing but its permit can do.
    pub(crate) fn run(
        self,
        context: CallContext,
    ) -> impl Future<Output = Result<Output, CallError>> + Send + 'static {
        let job = self.request.job;
        async move {
            let job = job.map_err(|error| CallError::Invalid(InvalidCall::Tool(error)))?;
            Ok(job.run(context).await?)
        }
    }
}

/// The permit of each call. Ten variants, because `SYS_SIGNAL` has three forms.
#[derive(Debug)]
pub(crate) enum Permitted {
    Read(Permit<ReadFile>),
    Write(Permit<WriteFile>),
    Open(Permit<OpenFile>),
    Close(Permit<CloseFile>),
    Exec(Permit<RunTool>),
    Signal(Permit<SendSignal>),
    Mask(Permit<ChangeMask>),
    Await(Permit<AwaitSignal>),
    CheckPolicy(Permit<Decision>),
    Exit(Permit<ExitWith>),
}

impl Judged {
    /// Judges a request.
    pub(crate) fn by(standing: &Standing<'_>, caller: &Caller<'_>, request: Request) -> Self {
        let judge =
            |request: &Request| judge(standing, caller, request).unwrap_or_else(|| standing.own_business());
        let decision = judge(&request);
        let answer = match &request {
            Request::CheckPolicy(asked) => Some(judge(asked)),
            _ => None,
        };
        Self { request, decision, answer }
    }

    /// What another policy says to the same call; `None` when it is no call that policies can speak about.
    pub(crate) fn as_judged_by(&self, standing: &Standing<'_>, caller: &Caller<'_>) -> Option<Decision> {
        judge(standing, caller, &self.request)
    }

    pub(crate) fn decision(&self) -> &Decision {
        &self.decision
    }

    pub(crate) fn describe(&self) -> String {
        self.request.describe()
    }

    pub(crate) fn has_side_effects(&self) -> bool {
        self.request.has_side_effects()
    }

    /// The judgement as the recorder writes it. `labels` are those it was made with.
    pub(crate) fn as_event(&self, labels: &LabelSet) -> Body<'_> {
        let request = self.request.as_event();
        let decision = decided(self.answer.as_ref().unwrap_or(&self.decision), labels);
        match (&self.answer, self.decision.verdict()) {
            (Some(_), _) => Body::Question { request, decision },
            (None, Verdict::Allow) => Body::Intent { request, decision },
            (None, Verdict::Ask | Verdict::Deny) => Body::Refused { request, decision },
        }
    }

    /// What the judgement says to the agent, unless it allows.
    pub(crate) fn denial(&self) -> Option<Denial> {
        let reason = match (self.decision.verdict(), self.decision.rule_count()) {
            (Verdict::Allow, _) => return None,
            (Verdict::Ask, _) => Reason::NoApprover,
            (Verdict::Deny, 0) => Reason::Unmatched,
            (Verdict::Deny, _) => Reason::Rule,
        };
        Some(Denial {
            reason,
            verdict: self.decision.verdict(),
            rule: self.decision.deciding_rule().map(str::to_owned),
            on_violation: self.decision.on_violation(),
            what: self.request.describe(),
        })
    }

    /// Turns a recorded judgement into a permit, or into the denial it is.
    pub(crate) fn permit(self, _proof: Recorded) -> Result<Permitted, Denial> {
        if let Some(denial) = self.denial() {
            return Err(denial);
        }
        Ok(match self.request {
            Request::Read(request) => Permitted::Read(Permit { request }),
            Request::Write(request) => Permitted::Write(Permit { request }),
            Request::Open(request) => Permitted::Open(Permit { request }),
            Request::Close(request) => Permitted::Close(Permit { request }),
            Request::Exec(request) => Permitted::Exec(Permit { request }),
            Request::Signal(request) => Permitted::Signal(Permit { request }),
            Request::Mask(request) => Permitted::Mask(Permit { request }),
            Request::Await(request) => Permitted::Await(Permit { request }),
            Request::CheckPolicy(_) => {
                Permitted::CheckPolicy(Permit { request: self.answer.unwrap_or(self.decision) })
            }
            Request::Exit(request) => Permitted::Exit(Permit { request }),
        })
    }
}

/// The stricter of the answers to what a request asks; `None` when it asks nothing.
fn judge(standing: &Standing<'_>, caller: &Caller<'_>, request: &Request) -> Option<Decision> {
    let first = standing.decide(caller, &request.question()?);
    Some(match request.second_question().map(|question| standing.decide(caller, &question)) {
        Some(second) if first.verdict() < second.verdict() => second,
        _ => first,
    })
}

fn decided<'a>(decision: &'a Decision, labels: &LabelSet) -> Decided<'a> {
    Decided {
        verdict: decision.verdict(),
        rules: decision.rules().collect(),
        policy: decision.policy_digest(),
        generation: decision.generation(),
        labels: labels.clone(),
    }
}
