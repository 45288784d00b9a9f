//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::LabelSet;

use super::Inner;
use super::refusals::{Recalled, Refusals};
use super::syscall::Passage;
use crate::error::CallError;
use crate::history::History;
use crate::policy::permit::Judged;
use crate::policy::request::Request;
use crate::question::Caller;
use crate::recorder::{Body, Recorded};

/// What decisions about one agent depend on and change.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<State>);

/// See [`Turn`].
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is known of everything the agent has read so far.
    pub(crate) labels: LabelSet,
    /// What the agent has done so far.
    pub(crate) history: History,
    /// What it was refused.
    pub(crate) refusals: Refusals,
}

impl Turn {
    pub(crate) fn new(labels: LabelSet) -> Self {
        Self(Mutex::new(State { labels, ..State::default() }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: nothing that can panic runs between two changes that belong together, so a poisoned state is whole.
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
    ///
    /// A call that was refused before and would be again is answered from memory, which is recorded too.
    pub(crate) fn judge(&self, passage: Passage<'_>, request: Request) -> Result<Ruled, CallError> {
        let agent = passage.agent;
        let mut turn = agent.turn.lock();
        let state = &mut *turn;
        if let Some(recalled) = state.refusals.recall(&self.policy, &request) {
            let repeated = self.repeated(passage, &request, &recalled);
            drop(turn);
            repeated?;
            return Err(self.deny(passage, recalled.denial));
        }
        let caller = Caller {
            agent: &agent.id,
            tenant: agent.tenant.as_ref(),
            facts: &agent.facts,
            labels: &state.labels,
            history: &state.history,
            now: passage.now,
        };
        let judged = Judged::by(&self.policy, &caller, request);
        let recorded = self.record(passage, judged.as_event(&state.labels))?;
        self.take_in(passage, state, &judged);
        Ok(Ruled { judged, recorded })
    }

    /// What a decision that is on record changes for the next one.
    fn take_in(&self, passage: Passage<'_>, state: &mut State, judged: &Judged) {
        let request = judged.request();
        let questions = || request.question().into_iter().chain(request.second_question());
        match judged.denial() {
            None if self.policy.looks_back() => {
                for deed in questions() {
                    state.history.note(&deed, passage.now);
                }
            }
            None => {
                if request.question().is_some() {
                    state.history.pass_over(passage.now);
                }
            }
            Some(denial) => {
                let agent = &passage.agent.id;
                if questions().all(|question| self.policy.is_timeless(agent, &question)) {
                    state.refusals.remember(&self.policy, request, &denial, passage.number);
                }
            }
        }
    }

    /// Records a call that was refused before and is again.
    fn repeated(
        &self,
        passage: Passage<'_>,
        request: &Request,
        recalled: &Recalled,
    ) -> Result<Recorded, CallError> {
        let Recalled { denial, of } = recalled;
        let call = request.as_event().call();
        let body =
            Body::Repeated { syscall: call.number(), what: &denial.what, of: *of, code: denial.code() };
        self.record(passage, body)
    }
}
