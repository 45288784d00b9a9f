//! The permit: proof that a request was judged, allowed and recorded.
//!
//! A [`Permit`] owns the request it was given for, has no public constructor, cannot be cloned and is consumed by the
//! service, so a service cannot run twice on one decision, nor on another request than the one that was judged. Only
//! [`Judged::permit`] makes one, and it asks for the recorder's receipt.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{TicketId, TooManyLabels, ToolId, Verdict};
use agent_tool_registry::{CallContext, Output, ToolContract, ToolError};

use super::request::{
    AwaitSignal, Carried, ChangeMask, CloseFile, ExitWith, Job, Needs, OpenFile, ReadFile, Request, RunTool,
    SendSignal, WriteFile,
};
use super::{Decision, OnViolation, RuleLimit, Standing};
use crate::approval::Consent;
use crate::budget::NoRoom;
use crate::denial::{Denial, Reason};
use crate::error::{CallError, InvalidCall};
use crate::kernel::Counted;
use crate::kernel::own::{Declassify, KernelTool, Spawn};
use crate::question::Caller;
use crate::recorder::{self, Body, Decided, Recorded};

/// A request and the decision on it.
#[derive(Debug)]
#[must_use = "a judgement has to be recorded"]
pub(crate) struct Judged {
    request: Request,
    decision: Decision,
    /// What a question's call would get; `None` for calls that are not questions.
    answer: Option<Box<Decision>>,
    /// The approval that was taken for what the decision asks.
    consent: Option<Consent>,
    /// Why there is none, when it asks.
    refused: Reason,
    /// Why there is no room for it, though policy allows it or would ask.
    no_room: Option<NoRoom>,
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

    /// What is permitted, for whoever finds the service for it.
    pub(crate) const fn request(&self) -> &R {
        &self.request
    }
}

impl Permit<ReadFile> {
    /// Whether it looks for something below the path.
    pub(crate) fn is_search(&self) -> bool {
        self.request.query.is_some()
    }

    /// Whether it reads what is on record of the agent itself.
    pub(crate) fn is_of_own_past(&self) -> bool {
        crate::tree::tells_own_past(&self.request.path)
    }
}

impl Permit<RunTool> {
    /// The tool.
    pub(crate) fn tool(&self) -> &ToolId {
        self.request.id()
    }

    /// The contract that it was judged by.
    pub(crate) fn contract(&self) -> &Arc<ToolContract> {
        self.request.contract()
    }

    /// What its arguments carry together.
    pub(crate) fn carried(&self) -> Result<Carried, TooManyLabels> {
        self.request.carried_together()
    }

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
            match job.map_err(|error| CallError::Invalid(InvalidCall::Tool(error)))? {
                Job::Tool(job) => Ok(job.run(context).await?),
                // `Judged::permit` gives these to the kernel; the registry knows no way to carry them out.
                Job::Kernel(_) => Err(ToolError::failed("only the kernel carries this out").into()),
            }
        }
    }
}

/// A declassification and the human consent it is carried out on. Nothing else makes one.
#[derive(Debug)]
pub(crate) struct Consented {
    pub(crate) tool: Declassify,
    pub(crate) consent: Consent,
}

/// The permit of each call. Twelve variants, because `SYS_SIGNAL` and `SYS_EXEC` have three forms each.
#[derive(Debug)]
pub(crate) enum Permitted {
    Read(Permit<ReadFile>),
    Write(Permit<WriteFile>),
    Open(Permit<OpenFile>),
    Close(Permit<CloseFile>),
    Exec(Permit<RunTool>),
    Own(Permit<Consented>),
    Spawn(Permit<Spawn>),
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
            Request::CheckPolicy(asked) => Some(Box::new(judge(asked))),
            _ => None,
        };
        let (consent, refused, no_room) = (None, Reason::NoApprover, None);
        Self { request, decision, answer, consent, refused, no_room }
    }

    /// The limits that an allowed call, or one that a human may allow, has to keep.
    pub(crate) fn limits(&self) -> impl Iterator<Item = &RuleLimit> + Clone {
        self.decision.obliging().flat_map(|rule| &rule.limits)
    }

    /// The most the call can use; `None` when it is free or refused.
    pub(crate) fn needs(&self) -> Option<Needs> {
        (self.decision.verdict() != Verdict::Deny).then(|| self.request.needs()).flatten()
    }

    /// Refuses what policy let through, because there is no room for it.
    pub(crate) fn crowd_out(&mut self, no_room: NoRoom) {
        self.no_room = Some(no_room);
    }

    /// What was judged.
    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// What another policy says to the same call; `None` when it is no call that policies can speak about.
    pub(crate) fn as_judged_by(&self, standing: &Standing<'_>, caller: &Caller<'_>) -> Option<Decision> {
        judge(standing, caller, &self.request)
    }

    pub(crate) fn describe(&self) -> String {
        self.request.describe()
    }

    pub(crate) fn has_side_effects(&self) -> bool {
        self.request.has_side_effects()
    }

    pub(crate) fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Whether a human has to agree, and it is of use to ask one.
    pub(crate) fn asks(&self) -> bool {
        self.decision.verdict() == Verdict::Ask && self.no_room.is_none()
    }

    /// How long the caller gives the call, if it said so.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.request {
            Request::Exec(run) => run.deadline,
            _ => None,
        }
    }

    /// What a human is shown, about `most` bytes of it.
    pub(crate) fn display(&self, most: usize) -> String {
        self.request.display(most)
    }

    /// The call as an approval is bound to it.
    pub(crate) fn bound_event(&self) -> recorder::Request<'_> {
        match self.request.as_event() {
            recorder::Request::Exec { tool, contract, effects, arguments, deadline: _ } => {
                recorder::Request::Exec { tool, contract, effects, arguments, deadline: None }
            }
            event => event,
        }
    }

    /// Says why an ask is refused.
    pub(crate) fn refuse(&mut self, reason: Reason) {
        self.refused = reason;
    }

    /// Satisfies an ask by an approval that was taken.
    pub(crate) fn consent(&mut self, consent: Option<Consent>) {
        self.consent = consent;
    }

    /// The decision on the call, or on the call in question.
    pub(crate) fn answered(&self) -> &Decision {
        self.answer.as_deref().unwrap_or(&self.decision)
    }

    /// What became of the call, or would of the call in question, in the words of the metrics.
    pub(crate) fn counted(&self) -> Counted {
        if let Some(answer) = &self.answer {
            return match answer.verdict() {
                Verdict::Allow => Counted::Allow,
                Verdict::Ask => Counted::Ask,
                Verdict::Deny => Counted::Deny,
            };
        }
        match (self.reason(), &self.no_room) {
            (None, _) => Counted::Allow,
            (Some(_), Some(_)) => Counted::Limit,
            (Some(_), None) => Counted::Deny,
        }
    }

    /// The rule that decided, or that there is no room under, if one did.
    pub(crate) fn ruled_by(&self) -> Option<&str> {
        match &self.no_room {
            Some(no_room) => no_room.rule.as_deref(),
            None => self.answered().deciding_rule(),
        }
    }

    /// The request alone, to be judged anew.
    pub(crate) fn into_request(self) -> Request {
        self.request
    }

    /// What to do: what the decision says, with an ask that was satisfied being an allow.
    fn verdict(&self) -> Verdict {
        match (self.decision.verdict(), self.consent) {
            (Verdict::Ask, Some(_)) => Verdict::Allow,
            (verdict, _) => verdict,
        }
    }

    /// The judgement as the recorder writes it while it waits for a ticket, with what it was made with of the caller.
    pub(crate) fn as_held<'a>(&'a self, caller: &Caller<'a>, ticket: TicketId) -> Body<'a> {
        Body::Held { request: self.request.as_event(), decision: self.decided(caller, None), ticket }
    }

    /// The judgement as the recorder writes it, with what it was made with of the caller.
    pub(crate) fn as_event<'a>(&'a self, caller: &Caller<'a>) -> Body<'a> {
        let request = self.request.as_event();
        let reason = self.reason();
        let decision = self.decided(caller, reason.as_ref().map(Reason::code));
        let ticket = self.consent.map(Consent::ticket);
        match (&self.answer, reason) {
            (Some(_), _) => Body::Question { request, decision },
            (None, None) => Body::Intent { request, decision, ticket },
            (None, Some(_)) => Body::Refused { request, decision },
        }
    }

    /// The judgement on a call that is carried out elsewhere.
    pub(crate) fn as_judged_alone<'a>(
        &'a self,
        caller: &Caller<'a>,
        tenant: &'a str,
        facts: &'a [u8],
        past: Option<Vec<recorder::Deed<'a>>>,
    ) -> Body<'a> {
        let decision = self.decided(caller, self.reason().as_ref().map(Reason::code));
        Body::Judged { request: self.request.as_event(), decision, facts, tenant, past }
    }

    /// The decision on the call, or on the call in question, with what it was made on.
    fn decided<'a>(&'a self, caller: &Caller<'a>, reason: Option<&'static str>) -> Decided<'a> {
        let decision = self.answered();
        let carried = self.request.carried().iter();
        Decided {
            verdict: decision.verdict(),
            rules: decision.rules().collect(),
            policy: decision.policy_digest(),
            generation: decision.generation(),
            labels: caller.labels.clone(),
            arguments: carried
                .map(|argument| (argument.name.as_str(), argument.role, argument.labels.clone()))
                .collect(),
            reason,
            mode: caller.mode,
            budgets: caller.budgets.to_vec(),
        }
    }

    /// What the judgement says to the agent, unless it allows.
    pub(crate) fn denial(&self) -> Option<Denial> {
        let reason = self.reason()?;
        if let Some(NoRoom { rule, .. }) = &self.no_room {
            return Some(Denial {
                reason,
                verdict: Verdict::Deny,
                rule: rule.as_deref().map(str::to_owned),
                // Doing too much of what is allowed is no violation.
                on_violation: OnViolation::Deny,
                what: self.request.describe(),
                repeats: 0,
            });
        }
        Some(self.refusal(reason))
    }

    /// Why the call is refused; `None` when it is not.
    fn reason(&self) -> Option<Reason> {
        if let Some(no_room) = &self.no_room {
            return Some(no_room.reason.clone());
        }
        match (self.verdict(), self.decision.rule_count()) {
            (Verdict::Allow, _) => None,
            (Verdict::Ask, _) => Some(self.refused.clone()),
            (Verdict::Deny, _) if self.decision.is_withheld() => Some(Reason::Withheld),
            (Verdict::Deny, 0) => Some(Reason::Unmatched),
            (Verdict::Deny, _) => Some(Reason::Rule),
        }
    }

    /// A refusal of this request.
    pub(crate) fn refusal(&self, reason: Reason) -> Denial {
        Denial {
            reason,
            verdict: self.decision.verdict(),
            rule: self.decision.deciding_rule().map(str::to_owned),
            on_violation: self.decision.on_violation(),
            what: self.request.describe(),
            repeats: 0,
        }
    }

    /// Turns a recorded judgement into a permit, or into the denial it is.
    pub(crate) fn permit(self, _proof: Recorded) -> Result<Permitted, Denial> {
        if let Some(denial) = self.denial() {
            return Err(denial);
        }
        if self.request.needs_consent() && self.consent.is_none() {
            return Err(self.refusal(Reason::Withheld));
        }
        Ok(match (self.request, self.consent) {
            (Request::Read(request), _) => Permitted::Read(Permit { request }),
            (Request::Write(request), _) => Permitted::Write(Permit { request }),
            (Request::Open(request), _) => Permitted::Open(Permit { request }),
            (Request::Close(request), _) => Permitted::Close(Permit { request }),
            (
                Request::Exec(RunTool { job: Ok(Job::Kernel(KernelTool::Declassify(tool))), .. }),
                Some(consent),
            ) => Permitted::Own(Permit { request: Consented { tool, consent } }),
            (Request::Exec(RunTool { job: Ok(Job::Kernel(KernelTool::Spawn(request))), .. }), _) => {
                Permitted::Spawn(Permit { request: *request })
            }
            (Request::Exec(request), _) => Permitted::Exec(Permit { request }),
            (Request::Signal(request), _) => Permitted::Signal(Permit { request }),
            (Request::Mask(request), _) => Permitted::Mask(Permit { request }),
            (Request::Await(request), _) => Permitted::Await(Permit { request }),
            (Request::CheckPolicy(_), _) => {
                let request = self.answer.map_or(self.decision, |answer| *answer);
                Permitted::CheckPolicy(Permit { request })
            }
            (Request::Exit(request), _) => Permitted::Exit(Permit { request }),
        })
    }
}

/// The stricter of the answers to what a request asks; `None` when it asks nothing. What either obliges to has to be met.
fn judge(standing: &Standing<'_>, caller: &Caller<'_>, request: &Request) -> Option<Decision> {
    let first = standing.decide(caller, &request.question()?);
    Some(match request.second_question() {
        Some(question) => first.meet(standing.decide(caller, &question)),
        None => first,
    })
}
