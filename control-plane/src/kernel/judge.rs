//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::{LabelSet, TicketId};

use super::Inner;
use super::charge::Hold;
use super::consent::Held;
use super::syscall::Passage;
use crate::approval::{Claim, Consent};
use crate::error::CallError;
use crate::flow::Origins;
use crate::mode::Mode;
use crate::policy::permit::Judged;
use crate::policy::request::Request;
use crate::question::Caller;
use crate::recorder::Recorded;

/// What decisions about one agent depend on and change.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<State>);

/// See [`Turn`].
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is known of everything the agent has read so far.
    pub(crate) labels: LabelSet,
    /// What it has read, to trace values to.
    pub(crate) origins: Origins,
}

impl Turn {
    pub(crate) fn new(labels: LabelSet) -> Self {
        Self(Mutex::new(State { labels, origins: Origins::default() }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: a change that is interrupted leaves labels as they were and forgets origins, so a poisoned state says
        // at least what is known.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A judgement that is on record.
#[derive(Debug)]
#[must_use = "a judgement leads to an intent or to a refusal"]
pub(crate) struct Decided<'a> {
    pub(crate) judged: Judged,
    pub(crate) recorded: Recorded,
    /// The approval that was taken for it.
    pub(crate) consent: Option<Consent>,
    /// What the call reserved, if anything limits it.
    pub(crate) hold: Option<Hold<'a>>,
}

/// What judging came to, on record in either case.
#[derive(Debug)]
#[must_use = "a judgement leads to an intent, to a refusal or to a wait"]
pub(crate) enum Ruled<'a> {
    Decided(Decided<'a>),
    Held(Held<'a>),
}

impl Inner {
    /// Judges a request and writes the decision down before anybody else is judged for this agent.
    ///
    /// What an allowed call could use is reserved in the same step, before the record and before a human is asked; `hold` is
    /// what it holds from being judged before. An ask is satisfied by the approval that was `presented`, or without one by
    /// any granted for this call, which is used up in the same step.
    pub(crate) fn judge<'a>(
        &'a self,
        passage: Passage<'a>,
        mut request: Request,
        presented: Option<TicketId>,
        hold: Option<Hold<'a>>,
    ) -> Result<Ruled<'a>, CallError> {
        let agent = passage.agent;
        let turn = agent.turn.lock();
        self.find_out(agent, &turn, &mut request);
        let policy = &self.policy;
        let mode = policy.looks_at_mode().then(|| self.mode());
        let budgets = if policy.looks_at_budgets() { agent.accounts.states() } else { Vec::new() };
        let caller = Caller {
            agent: &agent.id,
            tenant: agent.tenant.as_ref(),
            facts: &agent.facts,
            labels: &turn.labels,
            now: passage.now,
            mode: mode.as_ref().map_or("", Mode::as_str),
            budgets: &budgets,
        };
        let mut judged = Judged::by(policy, &caller, request);
        let hold = match hold {
            Some(hold) => Some(hold),
            None => self.reserve(agent, passage.number, &judged).unwrap_or_else(|no_room| {
                judged.crowd_out(no_room);
                None
            }),
        };
        let mut consent = None;
        if judged.asks() {
            let claim = self.claim(agent, &judged, &turn.labels, presented);
            self.publish();
            match claim {
                Claim::Taken(taken) => consent = Some(taken),
                Claim::No(reason) => judged.refuse(reason),
                Claim::Held { ticket, expires } => {
                    let _held = self.record(passage, judged.as_held(&caller, ticket))?;
                    return Ok(Ruled::Held(Held { judged, ticket, expires, hold }));
                }
            }
        }
        judged.consent(consent);
        let recorded = self.record(passage, judged.as_event(&caller))?;
        Ok(Ruled::Decided(Decided { judged, recorded, consent, hold }))
    }
}
