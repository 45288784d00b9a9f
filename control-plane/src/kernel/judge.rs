//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::LabelSet;

use super::Inner;
use super::syscall::Passage;
use crate::error::CallError;
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
}

impl Turn {
    pub(crate) fn new(labels: LabelSet) -> Self {
        Self(Mutex::new(State { labels }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: each change to the state is one assignment, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A judgement that is on record.
#[derive(Debug)]
#[must_use = "a judgement leads to an intent or to a refusal"]
pub(crate) struct Ruled {
    pub(crate) judged: Judged,
    pub(crate) recorded: Recorded,
}

impl Inner {
    /// Judges a request and writes the decision down before anybody else is judged for this agent.
    pub(crate) fn judge(&self, passage: Passage<'_>, request: Request) -> Result<Ruled, CallError> {
        let agent = passage.agent;
        let turn = agent.turn.lock();
        let caller = Caller {
            agent: &agent.id,
            tenant: agent.tenant.as_ref(),
            facts: &agent.facts,
            labels: &turn.labels,
            now: passage.now,
        };
        let judged = agent.footing.with(|standing| Judged::by(standing, &caller, request));
        self.compare(&agent.footing, passage.number, &caller, &judged);
        let recorded = self.record(passage, judged.as_event(&turn.labels))?;
        Ok(Ruled { judged, recorded })
    }
}
