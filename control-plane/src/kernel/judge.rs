//! Policy and the record of what it said, as one step for each agent.
//!
//! What a decision depends on besides policy and request, the agent's turn, is changed by the calls that are allowed. So
//! decisions about one agent are taken one at a time, and each sees what those before it used up. Decisions about different
//! agents do not wait for each other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::{AgentId, LabelSet, TicketId, Timestamp, TooManyLabels, Verdict};
use tracing::Span;

use super::Inner;
use super::charge::Hold;
use super::consent::{Held, OnAsk};
use super::refusals::{Recalled, Refusals};
use super::syscall::Passage;
use super::table::Agent;
use crate::approval::{Claim, Consent};
use crate::budget::BudgetState;
use crate::error::CallError;
use crate::flow::Origins;
use crate::history::History;
use crate::mode::Mode;
use crate::observe::spans;
use crate::policy::permit::Judged;
use crate::policy::request::{ReadFile, Request};
use crate::policy::{Looks, Standing};
use crate::question::{Caller, Question};
use crate::recorder::{Body, Recorded};
use crate::vfs::VfsPath;

/// What decisions about one agent depend on and change.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<State>);

/// See [`Turn`].
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is known of everything the agent has read so far.
    pub(crate) labels: LabelSet,
    /// How often it has read something that carries a label.
    pub(crate) readings: u64,
    /// What it has read, to trace values to.
    pub(crate) origins: Origins,
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
        // INVARIANT: nothing that can panic runs between two changes that belong together, so a poisoned state is whole; and
        // labels change by one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What a decision that is on record changes for the next one.
    fn take_in(
        &mut self,
        above: &mut [MutexGuard<'_, Self>],
        passage: Passage<'_>,
        standing: &Standing<'_>,
        judged: &Judged,
        looks_back: bool,
    ) {
        let request = judged.request();
        let questions = || request.question().into_iter().chain(request.second_question());
        match judged.denial() {
            // What an agent does, those it descends from have done.
            None => {
                let above = above.iter_mut().map(|state| &mut state.history);
                for history in std::iter::once(&mut self.history).chain(above) {
                    if looks_back {
                        questions().for_each(|deed| history.note(&deed, passage.now));
                    } else if request.question().is_some() {
                        history.pass_over(passage.now);
                    }
                }
            }
            Some(denial) => {
                let agent = passage.agent;
                let timeless = |question: Question<'_>| {
                    let ids = std::iter::once(&agent.id).chain(agent.lineage.iter().map(|above| &above.id));
                    ids.into_iter().all(|id| standing.is_timeless(id, agent.tenant.as_ref(), &question))
                };
                if questions().all(timeless) {
                    let policy = judged.decision().policy_digest();
                    self.refusals.remember(policy, request, &denial, passage.number);
                }
            }
        }
    }

    /// Joins the labels of what was read to what the agent carries.
    ///
    /// # Errors
    /// More labels than an agent can carry; nothing changes then.
    pub(crate) fn take_up(&mut self, labels: &LabelSet) -> Result<(), TooManyLabels> {
        if !labels.is_empty() {
            self.labels = self.labels.join(labels)?;
            self.readings += 1;
        }
        Ok(())
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

/// What a decision depends on that is neither the agent's own past nor its nature.
struct Situation {
    mode: Option<Mode>,
    budgets: Vec<BudgetState>,
    /// Those of the agents above it, the nearest first.
    above: Vec<Vec<BudgetState>>,
}

impl Situation {
    fn of<'a>(&'a self, agent: &'a Agent, state: &'a State, now: Timestamp) -> Caller<'a> {
        Caller {
            agent: &agent.id,
            tenant: agent.tenant.as_ref(),
            facts: &agent.facts,
            labels: &state.labels,
            history: &state.history,
            now,
            mode: self.mode.as_ref().map_or("", Mode::as_str),
            budgets: &self.budgets,
            above: &[],
            acting: None,
        }
    }

    /// The agents above it, as callers of the same call.
    fn above<'a>(
        &'a self,
        agent: &'a Agent,
        caller: &Caller<'a>,
        turns: &'a [MutexGuard<'_, State>],
    ) -> Vec<Caller<'a>> {
        let lineage = agent.lineage.iter().zip(turns).enumerate();
        lineage
            .map(|(at, (above, turn))| Caller {
                agent: &above.id,
                facts: &above.facts,
                history: &turn.history,
                budgets: self.above.get(at).map_or(&[], Vec::as_slice),
                acting: Some(&agent.id),
                ..*caller
            })
            .collect()
    }
}

impl Inner {
    /// Judges a request and writes the decision down before anybody else is judged for this agent.
    ///
    /// A call that was refused before and would be again is answered from memory, which is recorded too.
    ///
    /// What an allowed call could use is reserved in the same step, before the record and before a human is asked; `hold` is
    /// what it holds from being judged before. An ask is satisfied by the approval that was `presented`, or without one by
    /// any granted for this call, which is used up in the same step.
    pub(crate) fn judge<'a>(
        &'a self,
        passage: Passage<'a>,
        request: Request,
        presented: Option<TicketId>,
        hold: Option<Hold<'a>>,
    ) -> Result<Ruled<'a>, CallError> {
        let agent = passage.agent;
        let span = self.guarding(&agent.id, agent.generation, passage.number, &request);
        // Made and told of outside of the agent's turn, so that no subscriber holds that up.
        let ruled = span.in_scope(|| self.rule(passage, request, presented, hold));
        match &ruled {
            Ok(Ruled::Decided(decided)) => spans::judged(&span, &decided.judged, false),
            Ok(Ruled::Held(held)) => spans::judged(&span, &held.judged, true),
            Err(error) => spans::not_judged(&span, error),
        }
        ruled
    }

    /// The span of one judgement.
    pub(super) fn guarding(&self, agent: &AgentId, generation: u64, call: u64, request: &Request) -> Span {
        let content = || {
            let run = request.run();
            let shown = run.as_ref().is_some_and(|(tool, _)| !self.recorder.redacts(tool.as_str()));
            (run, shown)
        };
        let syscall = || request.as_event().call().name();
        spans::guarding(agent, generation, call, syscall, content)
    }

    /// See [`Inner::judge`].
    fn rule<'a>(
        &'a self,
        passage: Passage<'a>,
        mut request: Request,
        presented: Option<TicketId>,
        hold: Option<Hold<'a>>,
    ) -> Result<Ruled<'a>, CallError> {
        let agent = passage.agent;
        // From the agent upwards, so that nobody waits in a circle.
        let mut turn = agent.turn.lock();
        let mut turns_above: Vec<MutexGuard<'_, State>> =
            agent.lineage.iter().map(|above| above.turn.lock()).collect();
        let state = &mut *turn;
        // One and the same: what is looked up below is what the policy that judges asks for.
        let era = agent.footing.era();
        let standing = agent.footing.standing(&era);
        if let Some(recalled) = state.refusals.recall(standing.digest(), &request) {
            let repeated = self.repeated(passage, &request, &recalled);
            drop((turn, turns_above));
            repeated?;
            return Err(self.deny(passage, recalled.denial));
        }
        let looks = standing.looks().and(self.candidate_looks());
        self.find_out(agent, state, &mut request, looks.at_arguments);
        let situation = self.situation(agent, looks);
        let caller = situation.of(agent, state, passage.now);
        let above = situation.above(agent, &caller, &turns_above);
        let caller = caller.below(&above);
        #[cfg(feature = "metrics")]
        let began = self.timer.monotonic();
        let mut judged = Judged::by(&standing, &caller, request);
        #[cfg(feature = "metrics")]
        super::meters::decided(self.timer.monotonic().since(began));
        self.compare(&agent.footing, passage.number, &caller, &judged);
        // An agent that does not wait holds nothing meanwhile: its call is counted once it can be let through.
        let only_asks = agent.on_ask == OnAsk::Return
            && presented.is_none()
            && judged.asks()
            && !self.is_granted(agent, state.readings, &judged);
        let hold = match hold.filter(|hold| hold.counts(&judged)) {
            Some(hold) => Some(hold),
            None => self.reserve(agent, passage.number, &judged, !only_asks).unwrap_or_else(|no_room| {
                judged.crowd_out(no_room);
                None
            }),
        };
        let mut consent = None;
        if judged.asks() {
            let claim = self.claim(agent, &judged, (caller.labels, state.readings), presented, !only_asks);
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
        state.take_in(&mut turns_above, passage, &standing, &judged, looks.back);
        Ok(Ruled::Decided(Decided { judged, recorded, consent, hold }))
    }

    /// What policies ask for besides the agent's own past.
    fn situation(&self, agent: &Agent, looks: Looks) -> Situation {
        let states = |agent: &Agent| if looks.at_budgets { agent.accounts.states() } else { Vec::new() };
        Situation {
            mode: looks.at_mode.then(|| self.mode()),
            budgets: states(agent),
            above: agent.lineage.iter().map(|above| states(above)).collect(),
        }
    }

    /// Whether policy lets the agent read the file at `path` as things stand, without anybody being asked: for what a call
    /// brings along besides what it named.
    pub(crate) fn lets_read(&self, agent: &Agent, path: &VfsPath) -> bool {
        let turn = agent.turn.lock();
        let turns_above: Vec<MutexGuard<'_, State>> =
            agent.lineage.iter().map(|above| above.turn.lock()).collect();
        let era = agent.footing.era();
        let standing = agent.footing.standing(&era);
        let situation = self.situation(agent, standing.looks());
        let caller = situation.of(agent, &turn, self.timer.now());
        let above = situation.above(agent, &caller, &turns_above);
        let caller = caller.below(&above);
        let read = ReadFile {
            path: path.clone(),
            descriptor: None,
            offset: None,
            length: 0,
            nonblock: false,
            query: None,
        };
        Judged::by(&standing, &caller, Request::Read(read)).decision().verdict() == Verdict::Allow
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
