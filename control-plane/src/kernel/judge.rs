//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::{LabelSet, TicketId, Verdict};

use super::Inner;
use super::consent::Held;
use super::syscall::Passage;
use crate::approval::{Claim, Consent};
use crate::error::CallError;
use crate::flow::Origins;
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
pub(crate) struct Decided {
    pub(crate) judged: Judged,
    pub(crate) recorded: Recorded,
    /// The approval that was taken for it.
    pub(crate) consent: Option<Consent>,
}

/// What judging came to, on record in either case.
#[derive(Debug)]
#[must_use = "a judgement leads to an intent, to a refusal or to a wait"]
pub(crate) enum Ruled {
    Decided(Decided),
    Held(Held),
}

impl Inner {
    /// Judges a request and writes the decision down before anybody else is judged for this agent. An ask is satisfied by the
    /// approval that was `presented`, or without one by any granted for this call, which is used up in the same step.
    pub(crate) fn judge(
        &self,
        passage: Passage<'_>,
        mut request: Request,
        presented: Option<TicketId>,
    ) -> Result<Ruled, CallError> {
        let agent = passage.agent;
        let turn = agent.turn.lock();
        self.find_out(agent, &turn, &mut request);
        let caller = Caller {
            agent: &agent.id,
            tenant: agent.tenant.as_ref(),
            facts: &agent.facts,
            labels: &turn.labels,
            now: passage.now,
        };
        let mut judged = Judged::by(&self.policy, &caller, request);
        let mut consent = None;
        if judged.decision().verdict() == Verdict::Ask {
            let claim = self.claim(agent, &judged, &turn.labels, presented);
            self.publish();
            match claim {
                Claim::Taken(taken) => consent = Some(taken),
                Claim::No(reason) => judged.refuse(reason),
                Claim::Held { ticket, expires } => {
                    let _held = self.record(passage, judged.as_held(&turn.labels, ticket))?;
                    return Ok(Ruled::Held(Held { judged, ticket, expires }));
                }
            }
        }
        judged.consent(consent);
        let recorded = self.record(passage, judged.as_event(&turn.labels))?;
        Ok(Ruled::Decided(Decided { judged, recorded, consent }))
    }
}
