//! What another policy would have said to what is on record.
//!
//! Every call of a recording that policy was asked about is judged again by a candidate, from what the record says of it:
//! the request, the agent's facts and tenant, the labels and the time it was judged with, the policy of its task. Nothing
//! is executed.
//!
//! A repetition that the kernel answered from memory was not judged, so it is not judged here either, nor by a shadow
//! candidate: both count the first refusal only. What an agent did while no policy looked back is on record, but its kernel
//! does not know it; after a reload to a policy that looks back, a simulation can know more than the kernel did.

use std::collections::{HashMap, VecDeque};

use agent_primitives::{AgentId, Signal, TenantId, Timestamp, ToolId, Verdict};
use agent_tool_registry::EffectSet;
use serde_json::{Map, Value};

use super::set::Standing;
use super::{Decision, Policy, PolicySet};
use crate::flow::Argument;
use crate::history::History;
use crate::question::{CallKind, Caller, Object, Question};
use crate::recorder::{Body, Decided, Event, RecordingError, Request, Stored};
use crate::vfs::VfsPath;

/// Most verdicts that changed which are listed; more are only counted.
pub const MAX_FLIPS: usize = 100_000;

/// A recorded call to which the candidate gives another verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flip {
    /// Sequence number of the record.
    pub seq: u64,
    /// Who called.
    pub agent: String,
    /// The system call.
    pub call: CallKind,
    /// What it touched: a tool, a path, an agent.
    pub what: String,
    /// The verdict on record.
    pub from: Verdict,
    /// The first rule on record that made it; `None` when nothing matched.
    pub from_rule: Option<String>,
    /// The candidate's verdict.
    pub to: Verdict,
    /// The candidate's first rule.
    pub to_rule: Option<String>,
}

/// What a simulation came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Simulation {
    /// How many recorded decisions were made again.
    pub judged: u64,
    /// How many of them were questions that agents only asked.
    pub questions: u64,
    /// The verdicts that changed, in the order of the record; at most [`MAX_FLIPS`].
    pub flips: Vec<Flip>,
    /// How many more changed.
    pub left_out: u64,
}

/// Judges everything in `events` again by `candidate`.
///
/// # Errors
/// A record that cannot be read, or one that says of a call what no agent could have asked.
pub fn run(
    events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
    candidate: &PolicySet,
) -> Result<Simulation, RecordingError> {
    let (mut lives, mut simulation) = (Lives::default(), Simulation::default());
    for stored in events {
        let stored = stored?;
        let event = stored.event()?;
        let not = |reason: &str| RecordingError::NotAnEvent { seq: stored.seq(), reason: reason.to_owned() };
        match &event.body {
            Body::Intent { request, decision, .. }
            | Body::Held { request, decision, .. }
            | Body::Refused { request, decision } => {
                let again = lives.judge(candidate, &event, request, decision).map_err(not)?;
                simulation.take(stored.seq(), &event, request, decision, again);
                lives.fold(&event).map_err(not)?;
            }
            Body::Question { request, decision } => {
                let again = lives.judge(candidate, &event, request, decision).map_err(not)?;
                simulation.questions += u64::from(again.is_some());
                simulation.take(stored.seq(), &event, request, decision, again);
            }
            _ => lives.fold(&event).map_err(not)?,
        }
    }
    Ok(simulation)
}

impl Simulation {
    fn take(
        &mut self,
        seq: u64,
        event: &Event<'_>,
        request: &Request<'_>,
        before: &Decided<'_>,
        again: Option<Decision>,
    ) {
        let Some(again) = again else { return };
        self.judged += 1;
        if again.verdict() == before.verdict {
            return;
        }
        if self.flips.len() == MAX_FLIPS {
            self.left_out += 1;
            return;
        }
        self.flips.push(Flip {
            seq,
            agent: event.agent.to_owned(),
            call: request.call(),
            what: what(request).to_owned(),
            from: before.verdict,
            from_rule: before.rules.first().map(|rule| (*rule).to_owned()),
            to: again.verdict(),
            to_rule: again.deciding_rule().map(str::to_owned),
        });
    }
}

/// Ended lives that are remembered: a call that was being judged when its agent ended stands behind that end.
const MAX_ENDED: usize = 1024;

/// What the record says of the agents that live at one point of it.
#[derive(Default)]
struct Lives {
    by_name: HashMap<(String, u64), Life>,
    ended: VecDeque<(String, u64)>,
}

/// One life of one agent. What conditions look at besides the request and its labels belongs here: it is folded from the
/// events, in their order.
struct Life {
    agent: AgentId,
    tenant: Option<TenantId>,
    facts: Map<String, Value>,
    tasks: Vec<Policy>,
    history: History,
    /// The agents it descends from, its parent first.
    above: Vec<(String, u64)>,
}

impl Lives {
    /// Takes in what an event changes for the calls after it.
    fn fold(&mut self, event: &Event<'_>) -> Result<(), &'static str> {
        let key = || (event.agent.to_owned(), event.generation);
        if let Some(life) = self.by_name.get_mut(&key()) {
            life.history.observe(event);
            // What an agent does, those it descends from have done.
            if matches!(event.body, Body::Intent { .. }) {
                for above in life.above.clone() {
                    if let Some(above) = self.by_name.get_mut(&above) {
                        above.history.observe(event);
                    }
                }
            }
        }
        match &event.body {
            // Agents of a kernel that was not shut down end with it.
            Body::Boot { .. } => *self = Self::default(),
            Body::Spawn { facts, tenant, task, .. } => {
                let agent = event.agent.parse().map_err(|_bad| "its agent has no name")?;
                let tenant = match *tenant {
                    "" => None,
                    name => Some(name.parse().map_err(|_bad| "its tenant has no name")?),
                };
                let facts = serde_json::from_slice(facts).map_err(|_bad| "its facts are no object")?;
                let (history, tasks) = (History::default(), self::task(task)?.into_iter().collect());
                let life = Life { agent, tenant, facts, tasks, history, above: Vec::new() };
                self.by_name.insert(key(), life);
            }
            Body::Child { parent, parent_generation, .. } => {
                let parent = ((*parent).to_owned(), *parent_generation);
                let above = self.by_name.get(&parent).ok_or("its parent was never spawned")?;
                let (mut tasks, further) = (above.tasks.clone(), above.above.clone());
                let life = self.by_name.get_mut(&key()).ok_or("a child was never spawned")?;
                tasks.append(&mut life.tasks);
                life.tasks = tasks;
                life.above = std::iter::once(parent).chain(further).collect();
            }
            Body::Exit { .. } => {
                self.ended.push_back(key());
                if MAX_ENDED < self.ended.len()
                    && let Some(oldest) = self.ended.pop_front()
                {
                    self.by_name.remove(&oldest);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What the candidate says to a recorded call; `None` when it is no call that policies can speak about.
    fn judge(
        &self,
        candidate: &PolicySet,
        event: &Event<'_>,
        request: &Request<'_>,
        decided: &Decided<'_>,
    ) -> Result<Option<Decision>, &'static str> {
        let Some(asked) = Asked::of(request)? else { return Ok(None) };
        let life = self.by_name.get(&(event.agent.to_owned(), event.generation));
        let life = life.ok_or("its agent was never spawned, or the record begins after that")?;
        let standing = Standing::new(0, candidate, None, &life.tasks);
        let above = life.above.iter().filter_map(|above| self.by_name.get(above));
        let above: Vec<Caller<'_>> =
            above.map(|above| above.caller(decided, event.time).acting_through(&life.agent)).collect();
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
}

impl Life {
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

fn task(document: &[u8]) -> Result<Option<Policy>, &'static str> {
    if document.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(document).map_err(|_bad| "the policy of its task is no text")?;
    Policy::from_json("task", text).map(Some).map_err(|_bad| "the policy of its task does not load")
}

/// A recorded request, parsed anew.
enum Asked {
    File { call: CallKind, path: VfsPath, writes: bool },
    Tool { id: ToolId, arguments: Value, effects: EffectSet },
    Agent { id: AgentId, signal: Signal },
}

impl Asked {
    fn of(request: &Request<'_>) -> Result<Option<Self>, &'static str> {
        let file = |path: &str, writes| {
            let path = VfsPath::parse(path).map_err(|_bad| "its path is none")?;
            Ok(Some(Self::File { call: request.call(), path, writes }))
        };
        match request {
            Request::Read { path, .. } | Request::Write { path, .. } => file(path, false),
            Request::Open { path, flags } => file(path, flags.writes()),
            Request::Exec { tool, effects, arguments, .. } => {
                let id = tool.parse().map_err(|_bad| "its tool has no name")?;
                let arguments =
                    serde_json::from_slice(arguments).map_err(|_bad| "its arguments are no JSON")?;
                Ok(Some(Self::Tool { id, arguments, effects: *effects }))
            }
            Request::Signal { to, signal, .. } => {
                let id = to.parse().map_err(|_bad| "its receiver has no name")?;
                let signal = Signal::from_number(*signal).ok_or("its signal is none")?;
                Ok(Some(Self::Agent { id, signal }))
            }
            Request::Close { .. } | Request::Mask { .. } | Request::Await { .. } | Request::Exit { .. } => {
                Ok(None)
            }
        }
    }

    fn question(&self) -> Question<'_> {
        match self {
            Self::File { call, path, .. } => Question::new(*call, Object::File(path)),
            Self::Tool { id, arguments, effects } => {
                Question::new(CallKind::Exec, Object::Tool { id, arguments }).declaring(*effects)
            }
            Self::Agent { id, signal } => {
                Question::new(CallKind::Signal, Object::Agent { id, signal: *signal })
            }
        }
    }

    fn has_no_arguments(&self) -> bool {
        matches!(self, Self::Tool { arguments: Value::Object(named), .. } if named.is_empty())
    }

    fn second_question(&self) -> Option<Question<'_>> {
        match self {
            Self::File { path, writes: true, .. } => Some(Question::new(CallKind::Write, Object::File(path))),
            _ => None,
        }
    }
}

fn what<'r>(request: &Request<'r>) -> &'r str {
    match request {
        Request::Read { path, .. } | Request::Write { path, .. } | Request::Open { path, .. } => path,
        Request::Exec { tool, .. } => tool,
        Request::Signal { to, .. } => to,
        Request::Close { .. } | Request::Mask { .. } | Request::Await { .. } | Request::Exit { .. } => "",
    }
}
