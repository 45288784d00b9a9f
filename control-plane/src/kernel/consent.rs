//! Calls that need a human's consent: asking, waiting, and judging again once there is an answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_primitives::ticket::{Terms, TicketState};
use agent_primitives::{Digest, LabelSet, Monotonic, TicketId, Timestamp, Verdict};

use super::Inner;
use super::charge::Hold;
use super::judge::{Decided, Ruled};
use super::syscall::Passage;
use super::table::Agent;
use crate::approval::{
    Answer, ApprovalError, Ask, Claim, Consent, Desk, MAX_SHOWN, Principal, Word, printable,
};
use crate::denial::Reason;
use crate::error::CallError;
use crate::policy::Decision;
use crate::policy::permit::Judged;
use crate::recorder::{Body, Source};

/// Domain of the digests that tickets are bound to.
const BINDING_DOMAIN: &str = "agent-os approval v1";

/// The same, for calls of the kernel's own tools.
const OWN_TOOL_DOMAIN: &str = "agent-os approval of a kernel's tool v1";

/// What a call that needs an approval does to its caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnAsk {
    /// It waits until a human has answered, or nobody can any more.
    #[default]
    Wait,
    /// It answers [`CallError::Held`] at once. The same call, made again, takes the grant once there is one.
    Return,
}

/// A judgement that waits for a human.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    pub(crate) judged: Judged,
    pub(crate) ticket: TicketId,
    pub(crate) expires: Timestamp,
    /// What the call reserved, if anything limits it. It keeps that while it waits.
    pub(crate) hold: Option<Hold<'a>>,
}

/// The tickets that calls of one agent wait for. Bounded by the calls an agent may have in flight.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Vec<TicketId>>);

impl Waiting {
    /// The ticket that was waited for first, and how many calls wait.
    pub(crate) fn first(&self) -> Option<(TicketId, usize)> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.first().map(|ticket| (*ticket, waiting.len()))
    }

    /// All of them.
    pub(crate) fn tickets(&self) -> Vec<TicketId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn enter(&self, ticket: TicketId) -> Waits<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        Waits(self, ticket)
    }
}

/// A call that waits. It no longer does when this is dropped.
#[must_use = "the call waits only as long as this is held"]
struct Waits<'a>(&'a Waiting, TicketId);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = waiting.iter().position(|ticket| *ticket == self.1) {
            waiting.remove(at);
        }
    }
}

impl Inner {
    /// Whether a human has granted this call and nobody has used that yet.
    pub(crate) fn is_granted(&self, agent: &Agent, readings: u64, judged: &Judged) -> bool {
        let Some(desk) = &self.desk else { return false };
        binding(agent, readings, judged).is_some_and(|binding| desk.is_granted(binding))
    }

    /// What the tickets say to a judgement that asks. Without `take` a granted one is held, for the call to come back with
    /// it. Called under the agent's turn lock.
    pub(crate) fn claim(
        &self,
        agent: &Agent,
        judged: &Judged,
        (labels, readings): (&LabelSet, u64),
        presented: Option<TicketId>,
        take: bool,
    ) -> Claim {
        let Some(desk) = &self.desk else { return Claim::No(Reason::NoApprover) };
        let (terms, timeout) = match terms(judged) {
            (Ok(terms), timeout) => (terms, timeout.unwrap_or(desk.timeout())),
            (Err(_too_many), _) => return Claim::No(Reason::NoApprover),
        };
        let ask = Ask {
            agent: &agent.id,
            generation: agent.generation,
            tenant: agent.tenant.as_ref(),
            labels,
            binding: match binding(agent, readings, judged) {
                Some(binding) => binding,
                None => return Claim::No(Reason::NoApprover),
            },
            terms,
            good_for: i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX),
        };
        let show = || {
            let rules = judged.decision().rules().map(str::to_owned).collect();
            (printable(&judged.display(MAX_SHOWN)), rules)
        };
        desk.claim(ask, presented, take, show)
    }

    /// Asks humans about a call that is held, and waits for what comes of it, unless the agent does not want to wait. Then
    /// the call is judged again: what was an ask may be a deny now, or be satisfied by the ticket.
    ///
    /// Cancel safe: the ticket stays, for the next such call.
    pub(crate) async fn consented<'a>(
        &'a self,
        passage: Passage<'a>,
        held: Held<'a>,
    ) -> Result<(Passage<'a>, Decided<'a>), CallError> {
        let Held { judged, ticket, expires, hold } = held;
        let agent = passage.agent;
        // Held was only answered because there is one.
        let desk = self.desk.as_ref().ok_or_else(|| self.dead(agent))?;
        if let Some(telling) = desk.tell(ticket) {
            let failed = self.ask_humans(desk, ticket).await;
            telling.finish();
            if let Some(reason) = failed {
                return Err(judged.refusal(reason).into());
            }
        }
        self.outlives(desk, agent)?;
        match agent.on_ask {
            OnAsk::Return => {
                self.hear_answers(desk).await;
                if desk.state(ticket) == Some(TicketState::Pending) {
                    return Err(CallError::Held { ticket, expires });
                }
            }
            OnAsk::Wait => self.wait_for_consent(desk, passage, judged.deadline(), ticket, expires).await?,
        }
        self.checkpoint(agent).await?;
        // What the request stands on may have changed while it waited: a descriptor, a file on the host's disk.
        let request = judged.into_request().renewed(&self.tools, &agent.files)?;
        let passage = Passage { started: self.timer.monotonic(), now: self.timer.now(), ..passage };
        match self.judge(passage, request, Some(ticket), hold)? {
            Ruled::Decided(decided) => Ok((passage, decided)),
            Ruled::Held(Held { ticket, expires, .. }) => Err(CallError::Held { ticket, expires }),
        }
    }

    /// Keeps a ticket and tells humans of it; why that failed, if it did.
    async fn ask_humans(&self, desk: &Arc<Desk>, ticket: TicketId) -> Option<Reason> {
        let failed = |reason, why: &str| {
            let _settled_already = desk.revoke(ticket, why);
            self.publish();
            Some(reason)
        };
        if let Err(error) = desk.keep_in_background(ticket).await {
            return failed(Reason::ApprovalUnkept, &error.to_string());
        }
        let request = desk.request(ticket)?;
        if desk.notify(&request).await {
            return None;
        }
        let answer = failed(Reason::ApprovalUnreachable, "no human could be told");
        // Revoked in memory, which is what counts while this process lives; the store hears of it as soon as it can.
        let _later = desk.keep_in_background(ticket).await;
        answer
    }

    /// Waits until a ticket no longer waits for an answer, the caller's own deadline passes, or the agent ends.
    async fn wait_for_consent(
        &self,
        desk: &Arc<Desk>,
        passage: Passage<'_>,
        deadline: Option<Duration>,
        ticket: TicketId,
        expires: Timestamp,
    ) -> Result<(), CallError> {
        let agent = passage.agent;
        let _waits = agent.waiting.enter(ticket);
        let deadline = deadline.map(|wait| passage.called.after(wait));
        loop {
            self.hear_answers(desk).await;
            match desk.state(ticket) {
                Some(TicketState::Pending) => {}
                Some(TicketState::Expired) => {
                    self.publish();
                    // That it is over is for the clock to say in any process; this only spares a clock set back the lie.
                    let _expired_all_the_same = desk.keep_in_background(ticket).await;
                    return Ok(());
                }
                _ => return Ok(()),
            }
            if deadline.is_some_and(|deadline| deadline <= self.timer.monotonic()) {
                return Err(CallError::Timeout);
            }
            let look = desk.interval().map(|interval| self.timer.monotonic().after(interval));
            let wake: Option<Monotonic> =
                [Some(desk.monotonic_at(expires)), deadline, look].into_iter().flatten().min();
            let answered = self.changed(agent, |agent| {
                desk.state(ticket) != Some(TicketState::Pending) || agent.word.load().handler_due()
            });
            if let Some(wake) = wake {
                let _woken = self.until(wake, answered).await;
            }
            if agent.word.load().handler_due() {
                Box::pin(self.run_handlers(agent)).await;
            }
            self.outlives(desk, agent)?;
            self.running()?;
        }
    }

    /// Withdraws what an agent asked for when it ended meanwhile.
    fn outlives(&self, desk: &Desk, agent: &Arc<Agent>) -> Result<(), CallError> {
        if !agent.word.load().closed() {
            return Ok(());
        }
        if self.withdraws() {
            let _ended_before = desk.withdraw_all(&agent.id, Some(agent.generation), "its agent ended");
            self.publish();
        }
        Err(self.dead(agent))
    }

    /// Whether the end of an agent is its own, and not that of the whole host.
    pub(crate) fn withdraws(&self) -> bool {
        !self.closing.has_begun() && self.down.get().is_none()
    }

    /// Looks for answers before a ticket is presented.
    pub(crate) async fn hear(&self) {
        if let Some(desk) = &self.desk {
            self.hear_answers(desk).await;
        }
    }

    /// Applies the answers that approvers brought back.
    async fn hear_answers(&self, desk: &Arc<Desk>) {
        for Answer { ticket, by, word } in desk.collect().await {
            let heard = match word {
                Word::Grant(scope) => {
                    self.may_answer(&by).and_then(|()| desk.grant(ticket, &by, scope).map(drop))
                }
                Word::Refuse(reason) => self.may_answer(&by).and_then(|()| desk.refuse(ticket, &by, &reason)),
            };
            match heard {
                Ok(()) => {
                    if let Err(error) = desk.keep_in_background(ticket).await {
                        let _settled_already = desk.revoke(ticket, &error.to_string());
                    }
                    self.publish();
                }
                Err(error) => tracing::warn!(%ticket, by = %by, %error, "an answer did not count"),
            }
        }
    }

    /// Agents do not approve: not their own calls, and not each other's.
    pub(crate) fn may_answer(&self, by: &Principal) -> Result<(), ApprovalError> {
        let name = by.as_str();
        if self.table.live(name).is_some() || self.table.zombie(name).is_some() {
            return Err(ApprovalError::Agent(by.clone()));
        }
        Ok(())
    }

    /// The principals whose consent was taken, or the ticket where it is forgotten already.
    pub(crate) fn who_agreed(&self, consent: Consent) -> String {
        let ticket = consent.ticket();
        let request = self.desk.as_ref().and_then(|desk| desk.request(ticket));
        let names = request.iter().flat_map(crate::approval::Request::grants).map(|grant| grant.by.as_str());
        let names: Vec<&str> = names.collect();
        if names.is_empty() { format!("ticket {ticket}") } else { names.join(", ") }
    }

    /// Puts what happened to tickets on record and wakes the calls that wait for them. A recorder that fails panics the
    /// kernel.
    pub(crate) fn publish(&self) {
        let Some(desk) = &self.desk else { return };
        let publishing = desk.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed = None;
        for news in desk.take_news() {
            let agent = self.table.live(news.agent.as_str());
            let trail = agent.as_ref().filter(|agent| agent.generation == news.generation);
            let trail = trail.map(|agent| &*agent.trail);
            let source = Source { agent: news.agent.as_str(), generation: news.generation, trail };
            let body = Body::Approval {
                ticket: news.ticket,
                step: news.step,
                by: &news.by,
                binding: news.binding,
                reason: &news.reason,
            };
            if let Err(error) = self.recorder.append(self.timer.now(), source, 0, body) {
                failed = Some(error);
            }
            if let Some(agent) = agent {
                agent.changed.notify_waiters();
            }
        }
        drop(publishing);
        #[cfg(feature = "metrics")]
        super::meters::approvals_pending(desk.pending());
        self.look_at_approvals();
        if let Some(error) = failed {
            self.recorder_failed(&error);
        }
    }
}

/// Everything the rules that ask want together: each one's quorum, the least scope, the shortest time.
fn terms(judged: &Judged) -> (Result<Terms, agent_primitives::ticket::TooManyQuorums>, Option<Duration>) {
    let asks: Vec<_> = judged.decision().obliging().filter_map(|rule| rule.ask.as_ref()).collect();
    let least = asks.iter().map(|ask| ask.scope).min().unwrap_or(agent_primitives::Scope::Once);
    // What a human agrees to here is one moment of one agent.
    let scope = if judged.request().is_own_tool() { agent_primitives::Scope::Once } else { least };
    let timeout = asks.iter().filter_map(|ask| ask.timeout).min();
    (Terms::new(asks.iter().map(|ask| ask.quorum.clone()), scope), timeout)
}

/// Digest of the agent, the call as it is recorded (a tool's contract included) the policy and the rules that ask. Left out is how long the
/// caller would wait, which changes nothing about what is done. `None` when the call has no encoding.
///
/// What an agent reads after a human was asked voids the consent wherever another rule asks because of it.
///
/// Consent to one of the kernel's own tools is about what the agent has read when it asks: having read more, or in another
/// life, it has to ask anew.
fn binding(agent: &Agent, readings: u64, judged: &Judged) -> Option<Digest> {
    let decision = judged.decision();
    let layers = std::iter::once(decision).chain(decision.with()).filter(|one| one.verdict() == Verdict::Ask);
    let named = layers.flat_map(Decision::rules);
    let all = decision.obliging().filter(|rule| rule.ask.is_some()).map(|rule| &*rule.id);
    let rules: Vec<&str> = named.chain(all).collect();
    let bound = (agent.id.as_str(), judged.bound_event(), decision.policy_digest(), rules);
    if judged.request().is_own_tool() {
        let bytes = postcard::to_stdvec(&(bound, agent.generation, readings)).ok()?;
        return Some(Digest::of(OWN_TOOL_DOMAIN, &bytes));
    }
    let bytes = postcard::to_stdvec(&bound).ok()?;
    Some(Digest::of(BINDING_DOMAIN, &bytes))
}
