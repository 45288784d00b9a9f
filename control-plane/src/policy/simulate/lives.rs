//! What a recording says of the agents in it, folded event by event, and what is said to their calls again.

use std::collections::{HashMap, VecDeque};

use agent_primitives::{AgentId, TenantId, Timestamp};
use serde_json::{Map, Value};

use super::asked::Asked;
use super::sets::Sets;
use super::{Cause, Stop};
use crate::flow::Argument;
use crate::history::History;
use crate::policy::{Decision, Looks, Policy, PolicySet, Standing};
use crate::question::{CallKind, Caller};
use crate::recorder::{Body, Decided, Event, REDACTED, Request};

/// Ended lives that are remembered: a call that was being judged when its agent ended stands behind that end.
const MAX_ENDED: usize = 1024;

/// How the host's acts begin that put a candidate beside the policy in force.
pub(crate) const SHADOWS: &str = "judges by the candidate ";

/// What judges.
pub(crate) enum Judges<'s> {
    /// One set, whatever was in force, as if every agent were spawned under it.
    One(&'s PolicySet),
    /// What was in force, as the record has it.
    Recorded,
}

/// Judges the calls of a recording again, in their order.
pub(crate) struct Judge<'s> {
    judges: Judges<'s>,
    sets: Sets,
    lives: HashMap<(String, u64), Life>,
    ended: VecDeque<(String, u64)>,
    /// Whether a candidate may be judged beside the policy in force.
    shadowed: bool,
}

/// One life of one agent. What conditions look at besides the request and its labels belongs here: it is folded from the
/// events, in their order.
struct Life {
    agent: AgentId,
    tenant: Option<TenantId>,
    facts: Map<String, Value>,
    /// Generation of the set it was spawned under.
    under: u64,
    /// Those of the agents it descends from, and its own.
    tasks: Vec<Policy>,
    history: History,
    /// The agents it descends from, its parent first.
    above: Vec<(String, u64)>,
    /// Why its past is not known, if it is not.
    obscure: Option<Cause>,
}

impl<'s> Judge<'s> {
    pub(crate) fn new(judges: Judges<'s>) -> Self {
        let (sets, lives, ended) = (Sets::default(), HashMap::new(), VecDeque::new());
        Self { judges, sets, lives, ended, shadowed: false }
    }

    /// What is said to a recorded call now; `None` when it is no call that policies can speak about.
    pub(crate) fn again(
        &self,
        event: &Event<'_>,
        request: &Request<'_>,
        decided: &Decided<'_>,
    ) -> Result<Option<Decision>, Stop> {
        let Some(asked) = Asked::of(request)? else { return Ok(None) };
        let alone = Life::alone(event, decided).map_err(Stop::Bad)?;
        let life = alone.as_ref().map_or_else(|| self.life(event), Ok).map_err(Stop::Not)?;
        let standing = self.standing(decided, life).map_err(Stop::Not)?;
        let above: Option<Vec<&Life>> = life.above.iter().map(|above| self.lives.get(above)).collect();
        let above = above.ok_or(Stop::Not(Cause::Dropped))?;
        let obscure = std::iter::once(life).chain(above.iter().copied()).find_map(|life| life.obscure);
        if let Some(cause) = obscure.filter(|_| standing.looks().back) {
            return Err(Stop::Not(cause));
        }
        // What a host that carries calls out elsewhere did not say, its decision did not know either.
        if alone.is_none() && !self.situation_is_known(decided, life, standing.looks()) {
            return Err(Stop::Not(Cause::Unrecorded));
        }
        let above: Vec<Caller<'_>> =
            above.iter().map(|above| above.caller(decided, event.time).acting_through(&life.agent)).collect();
        let caller = life.caller(decided, event.time).below(&above);
        let carried: Vec<Argument> = decided
            .arguments
            .iter()
            .map(|(name, role, labels)| Argument::new(*name, *role, labels.clone()))
            .collect();
        // Of a call whose arguments were not looked at, each is taken to carry all that the agent did; none carry nothing.
        let carried = (!carried.is_empty() || asked.has_no_arguments()).then_some(carried.as_slice());
        let first = standing.decide(&caller, &asked.question().carrying(carried));
        Ok(Some(match asked.second_question() {
            Some(question) => first.meet(standing.decide(&caller, &question)),
            None => first,
        }))
    }

    /// What is said to a call that is always its agent's own business.
    pub(crate) fn own_business(&self, event: &Event<'_>, decided: &Decided<'_>) -> Result<Decision, Cause> {
        Ok(self.standing(decided, self.life(event)?)?.own_business())
    }

    fn life(&self, event: &Event<'_>) -> Result<&Life, Cause> {
        self.lives.get(&(event.agent.to_owned(), event.generation)).ok_or(Cause::Dropped)
    }

    /// Whether the mode and the budgets that policy looks at are on record: a kernel looks up only what its own policy asks
    /// for, and records those of the agent that calls.
    fn situation_is_known(&self, decided: &Decided<'_>, life: &Life, looks: Looks) -> bool {
        if looks.at_budgets && !life.above.is_empty() {
            return false;
        }
        if matches!(self.judges, Judges::Recorded) {
            return true;
        }
        let was = self.sets.standing(decided.generation, life.under, &life.tasks);
        let looked_at_budgets = was.is_ok_and(|standing| standing.looks().at_budgets);
        let knows_budgets = looked_at_budgets || !decided.budgets.is_empty();
        (!looks.at_mode || !decided.mode.is_empty()) && (!looks.at_budgets || knows_budgets)
    }

    fn standing<'a>(&'a self, decided: &Decided<'_>, life: &'a Life) -> Result<Standing<'a>, Cause> {
        match self.judges {
            Judges::One(set) => Ok(Standing::new(decided.generation, set, None, &life.tasks)),
            Judges::Recorded => self.sets.standing(decided.generation, life.under, &life.tasks),
        }
    }

    /// Takes in what an event changes for the calls after it.
    pub(crate) fn fold(&mut self, event: &Event<'_>) -> Result<(), &'static str> {
        self.sets.fold(event);
        self.remember(event);
        let key = || (event.agent.to_owned(), event.generation);
        match &event.body {
            // Agents of a kernel that was not shut down end with it.
            Body::Boot { .. } => {
                self.lives.clear();
                self.ended.clear();
                self.shadowed = false;
            }
            Body::Host { action } if action.starts_with(SHADOWS) => self.shadowed = true,
            Body::Spawn { facts, tenant, task, under, .. } => {
                let tasks = self::task(task)?.into_iter().collect();
                let life = Life { tasks, ..Life::new(event, tenant, facts, *under)? };
                self.lives.insert(key(), life);
            }
            Body::Child { parent, parent_generation, .. } => {
                let parent = ((*parent).to_owned(), *parent_generation);
                // Of a record that begins after the parent: what is above is missed when the child is judged.
                let above = self.lives.get(&parent).map(|above| (above.tasks.clone(), above.above.clone()));
                let (mut tasks, further) = above.unwrap_or_default();
                if let Some(life) = self.lives.get_mut(&key()) {
                    tasks.append(&mut life.tasks);
                    life.tasks = tasks;
                    life.above = std::iter::once(parent).chain(further).collect();
                }
            }
            Body::Exit { .. } => {
                self.ended.push_back(key());
                if MAX_ENDED < self.ended.len()
                    && let Some(oldest) = self.ended.pop_front()
                {
                    self.lives.remove(&oldest);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a call that was let through to its agent's past, as the kernel did.
    fn remember(&mut self, event: &Event<'_>) {
        let Body::Intent { request, decision, .. } = &event.body else { return };
        let Ok(life) = self.life(event) else { return };
        // A policy that does not look back makes its kernel pass the past over; a candidate is shown all of it.
        let looks_back = match self.judges {
            Judges::One(_) => true,
            Judges::Recorded => self.standing(decision, life).is_ok_and(|standing| standing.looks().back),
        };
        let shadowed = self.shadowed;
        // What an agent does, those it descends from have done.
        let own = (event.agent.to_owned(), event.generation);
        for key in std::iter::once(own).chain(life.above.clone()) {
            let Some(life) = self.lives.get_mut(&key) else { continue };
            if hides_numbers(request) {
                life.obscure = Some(Cause::Redacted);
            }
            if looks_back {
                life.history.observe(event);
            } else if request.is_about_something() {
                life.history.pass_over(event.time);
                if shadowed {
                    life.obscure.get_or_insert(Cause::Shadow);
                }
            }
        }
    }
}

impl Life {
    fn new(event: &Event<'_>, tenant: &str, facts: &[u8], under: u64) -> Result<Self, &'static str> {
        let agent = event.agent.parse().map_err(|_bad| "its agent has no name")?;
        let tenant = match tenant {
            "" => None,
            name => Some(name.parse().map_err(|_bad| "its tenant has no name")?),
        };
        let facts = serde_json::from_slice(facts).map_err(|_bad| "its facts are no object")?;
        let (tasks, history, above) = (Vec::new(), History::default(), Vec::new());
        Ok(Self { agent, tenant, facts, under, tasks, history, above, obscure: None })
    }

    /// The life of an agent that a call was judged without, as the event tells it; `None` for other events.
    fn alone(event: &Event<'_>, decided: &Decided<'_>) -> Result<Option<Self>, &'static str> {
        let Body::Judged { facts, tenant, past, .. } = &event.body else { return Ok(None) };
        let mut life = Self::new(event, tenant, facts, decided.generation)?;
        match past {
            None => life.history.pass_over(Timestamp::from_micros(i64::MAX)),
            Some(past) => {
                for deed in past {
                    let call = CallKind::ALL.into_iter().find(|call| call.number() == deed.call);
                    let call = call.ok_or("a deed of its agent is no call")?;
                    let arguments: Option<Value> = serde_json::from_slice(deed.arguments).ok();
                    life.history.add(call, deed.object, arguments.as_ref(), deed.time);
                    if deed.object.contains(REDACTED) || holds_mark(deed.arguments) {
                        life.obscure = Some(Cause::Redacted);
                    }
                }
            }
        }
        Ok(Some(life))
    }

    fn caller<'a>(&'a self, decided: &'a Decided<'_>, now: Timestamp) -> Caller<'a> {
        Caller::new(&self.agent, &self.facts)
            .of_tenant(self.tenant.as_ref())
            .having_read(&decided.labels)
            .having_done(&self.history)
            .in_mode(decided.mode)
            .with_budgets(&decided.budgets)
            .at(now)
    }
}

/// Whether a deed is on record without something that conditions on the past add up or go by.
fn hides_numbers(request: &Request<'_>) -> bool {
    match request {
        Request::ExecRedacted { redacted, arguments, .. } => {
            // Only numbers at the top are added up, and a number that is taken out leaves the mark alone.
            let arguments: Value = serde_json::from_slice(arguments).unwrap_or_default();
            let top = redacted.iter().filter(|place| place.matches('/').count() <= 1);
            top.into_iter().any(|place| arguments.pointer(place).is_none_or(|left| left == REDACTED))
        }
        Request::Read { path, .. } | Request::Write { path, .. } | Request::Open { path, .. } => {
            path.contains(REDACTED)
        }
        _ => false,
    }
}

fn holds_mark(bytes: &[u8]) -> bool {
    bytes.windows(REDACTED.len()).any(|window| window == REDACTED.as_bytes())
}

fn task(document: &[u8]) -> Result<Option<Policy>, &'static str> {
    if document.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(document).map_err(|_bad| "the policy of its task is no text")?;
    Policy::from_json("task", text).map(Some).map_err(|_bad| "the policy of its task does not load")
}
