//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::LabelSet;

use super::Inner;
use super::charge::Hold;
use super::syscall::Passage;
use crate::error::CallError;
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
pub(crate) struct Ruled<'a> {
    pub(crate) judged: Judged,
    pub(crate) recorded: Recorded,
    /// What the call reserved, if anything limits it.
    pub(crate) hold: Option<Hold<'a>>,
}

impl Inner {
    /// Judges a request and writes the decision down before anybody else is judged for this agent.
    ///
    /// What an allowed call could use is reserved in the same step, before the record and before a human is asked.
    pub(crate) fn judge<'a>(
        &'a self,
        passage: Passage<'a>,
        request: Request,
    ) -> Result<Ruled<'a>, CallError> {
        let agent = passage.agent;
        let turn = agent.turn.lock();
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
        let hold = self.reserve(agent, passage.number, &judged);
        let hold = hold.unwrap_or_else(|no_room| {
            judged.refuse(no_room);
            None
        });
        let recorded = self.record(passage, judged.as_event(&caller))?;
        Ok(Ruled { judged, recorded, hold })
    }
}
