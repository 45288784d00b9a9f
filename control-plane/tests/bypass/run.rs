//! Runs one case: its steps in order, then the judgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use agent_control_plane::AgentState;
use agent_control_plane::primitives::{Clock, SystemClock, Verdict};

use crate::call::{self, Call, Ended};
use crate::case::{Case, Step};
use crate::fixture::World;
use crate::group::{self, Task};
use crate::{adapter, host, invariant, record, scan};

/// Real time a case may take.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// Most outcomes within one step that are made up because the ones before them were the same.
const MAX_PARTS: usize = 1 << 20;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Allowed,
    /// Refused by policy, by a schema, by the types, or because the agent may make no call.
    Denied,
    /// A typed error without an effect that is no refusal.
    Failed(String),
    /// Held until a human has agreed.
    Escalated,
    /// Parked, with nothing that would ever wake it.
    Blocked,
    /// A signal ended its target.
    Killed,
    /// A document was refused.
    LoadError,
    /// Verification found something.
    Tampered,
    /// A detector would have somebody look at a text. Advice, no refusal.
    Flagged,
    /// A detector saw nothing.
    Clean,
}

impl Got {
    /// What several come to: the gravest refusal, if any was refused.
    fn worst(all: &[Self]) -> Self {
        let rank = |got: &Self| match got {
            Self::Allowed | Self::Clean => 0,
            Self::Flagged | Self::Killed => 1,
            Self::Escalated => 2,
            Self::Blocked => 3,
            Self::LoadError => 4,
            Self::Tampered => 5,
            Self::Failed(_) => 6,
            Self::Denied => 7,
        };
        all.iter().max_by_key(|got| rank(got)).cloned().unwrap_or(Self::Allowed)
    }
}

/// What a step and the steps within it came to.
pub(crate) struct Outcome {
    pub(crate) got: Got,
    pub(crate) answer: Option<Verdict>,
    pub(crate) parts: Vec<Got>,
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        Self { parts: vec![ended.got.clone()], got: ended.got, answer: ended.answer }
    }
}

impl From<Vec<Ended>> for Outcome {
    fn from(all: Vec<Ended>) -> Self {
        let answer = all.iter().find_map(|ended| ended.answer);
        let parts: Vec<Got> = all.into_iter().map(|ended| ended.got).collect();
        Self { got: Got::worst(&parts), answer, parts }
    }
}

/// A step and what the world looked like around it.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) op: String,
    pub(crate) by: String,
    pub(crate) got: Got,
    /// What each call within the step came to.
    pub(crate) parts: Vec<Got>,
    pub(crate) agent: String,
    pub(crate) answer: Option<Verdict>,
    /// Tool runs, verdicts and violations on record that this step added.
    pub(crate) tool_runs: u64,
    pub(crate) verdicts: u64,
    pub(crate) violations: u64,
    /// Records of any kind that this step added.
    pub(crate) records: u64,
    /// Whether it was allowed to do something and the record says of all of it that it was not done.
    pub(crate) simulated: bool,
    /// Whether files, memory or policy changed.
    pub(crate) changed: bool,
    pub(crate) took: Duration,
    /// Real time it took.
    pub(crate) lasted: Duration,
}

/// Runs a case in a thread of its own, so that neither a hang nor a panic takes the others along.
pub(crate) fn run(case: &Case) -> Result<(), String> {
    let (send, receive) = mpsc::sync_channel(1);
    let (reached, case) = (Arc::new(AtomicUsize::new(0)), case.clone());
    let at = Arc::clone(&reached);
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_all().build().unwrap();
        let result = runtime.block_on(judge(&case, &at));
        runtime.shutdown_background();
        let _ = send.send(result);
    });
    match receive.recv_timeout(CASE_LIMIT) {
        Ok(result) => {
            let _ = thread.join();
            result
        }
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(format!("no end within {CASE_LIMIT:?}, at step {}", reached.load(Ordering::SeqCst)))
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(format!("the harness panicked at step {}", reached.load(Ordering::SeqCst)))
        }
    }
}

async fn judge(case: &Case, reached: &AtomicUsize) -> Result<(), String> {
    let mut world = World::new(&case.input.fixture, case.has_quotas())?;
    let mut done: Vec<Done> = Vec::new();
    for (index, step) in case.input.steps.iter().enumerate() {
        reached.store(index, Ordering::SeqCst);
        world.step = index;
        let taken =
            take(&mut world, step, done.last()).await.map_err(|why| format!("step {index}: {why}"))?;
        done.push(taken);
    }
    finish_tasks(&mut world, &mut done).await;
    let at = case.expected.at.unwrap_or(done.len().saturating_sub(1));
    let judged = done.get(at).ok_or("the judged step does not exist")?;
    verdict(&case.expected.verdict, judged, &world)?;
    for name in &case.expected.invariants {
        invariant::check(name, case, at, &done, &world).await.map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

/// What a step started and nobody awaited comes to its end now, and counts for the step that started it.
async fn finish_tasks(world: &mut World, done: &mut [Done]) {
    let mut tasks = std::mem::take(&mut world.tasks);
    group::drive(world, &mut tasks, 0).await;
    for mut task in tasks {
        if let (Some(ended), Some(done)) = (task.ended.take(), done.get_mut(task.step)) {
            let outcome = Outcome::from(ended);
            (done.got, done.parts, done.answer) = (outcome.got, outcome.parts, outcome.answer);
        }
    }
}

fn verdict(expected: &str, done: &Done, world: &World) -> Result<(), String> {
    let got = &done.got;
    let holds = match expected {
        "allow" => *got == Got::Allowed,
        // A question that is answered with a refusal is one.
        "deny" => *got == Got::Denied || done.answer.is_some_and(|answer| answer != Verdict::Allow),
        "escalate" => *got == Got::Escalated || done.answer == Some(Verdict::Ask),
        "error" => matches!(got, Got::Failed(_) | Got::Denied),
        "blocked" => *got == Got::Blocked,
        "killed" => has_ended(&done.agent, world),
        "load_error" => *got == Got::LoadError,
        "tamper_detected" => *got == Got::Tampered,
        "flag" => *got == Got::Flagged,
        "clean" => *got == Got::Clean,
        "not_allow" => *got != Got::Allowed || done.answer.is_some_and(|answer| answer != Verdict::Allow),
        "any" => true,
        other => return Err(format!("unknown verdict `{other}`")),
    };
    if holds { Ok(()) } else { Err(format!("expected {expected}, got {got:?}")) }
}

pub(crate) fn has_ended(agent: &str, world: &World) -> bool {
    let state = world.agent(agent).and_then(|agent| world.kernel.agent(agent.id()));
    matches!(state, Some(AgentState::Zombie(_)))
}

async fn take(world: &mut World, step: &Step, before: Option<&Done>) -> Result<Done, String> {
    let state = world.state();
    let runs = world.counts.total();
    let tally = record::tally(&world.kernel);
    let records = world.kernel.recorder().head().count;
    let real = SystemClock::new();
    let (began, started) = (world.clock.monotonic(), real.monotonic());
    let outcome = carry_out(world, step).await?;
    let lasted = real.monotonic().since(started);
    let after = record::tally(&world.kernel);
    let named = named(step, world).or_else(|| before.map(|done| done.agent.clone()));
    Ok(Done {
        op: step.op.clone(),
        by: step.text("as").to_owned(),
        got: outcome.got,
        parts: outcome.parts,
        agent: named.unwrap_or_else(|| "w".to_owned()),
        answer: outcome.answer,
        tool_runs: world.counts.total() - runs,
        verdicts: after.verdicts.saturating_sub(tally.verdicts),
        violations: after.violations.saturating_sub(tally.violations),
        records: world.kernel.recorder().head().count.saturating_sub(records),
        simulated: tally.intents < after.intents
            && after.simulated.saturating_sub(tally.simulated) == after.intents - tally.intents,
        changed: world.state() != state,
        took: world.clock.monotonic().since(began),
        lasted,
    })
}

/// The agent a step is about: the target of a signal, else who acts, else that of the steps within it.
fn named(step: &Step, world: &World) -> Option<String> {
    let fields = ["target", "agent", "as"].into_iter().map(|key| step.text(key));
    let name = fields.map(str::to_owned).find(|name| world.agent(name).is_some());
    name.or_else(|| step.inner().iter().rev().find_map(|inner| named(inner, world)))
}

pub(crate) async fn carry_out(world: &mut World, step: &Step) -> Result<Outcome, String> {
    match step.op.as_str() {
        "parallel" => {
            let asleep = world.clock.sleepers();
            let (calls, others): (Vec<Step>, Vec<Step>) = step.inner().into_iter().partition(group::is_calls);
            let mut fields = step.fields.clone();
            fields.remove("step");
            let calls = calls.iter().map(|inner| serde_json::to_value(inner).unwrap()).collect();
            fields.insert("steps".to_owned(), calls);
            let calls = Step { op: step.op.clone(), fields };
            let rows = group::rows(&calls, world).ok_or("a call cannot run in parallel")?;
            let mut tasks: Vec<Task> =
                rows.into_iter().map(|calls| Task::start(calls, "", world.step)).collect();
            let mut parts = Vec::new();
            // What the host does, it does while the calls are on their way.
            for other in others.iter().flat_map(|other| (0..step.times()).map(move |_| other)) {
                parts.push(Box::pin(carry_out(world, other)).await?.got);
            }
            group::drive(world, &mut tasks, asleep).await;
            let mut outcome = Outcome::from(all_ended(&mut tasks));
            if !parts.is_empty() {
                outcome.parts.extend(parts);
                outcome.got = Got::worst(&outcome.parts);
            }
            Ok(outcome)
        }
        "repeat" => {
            let (mut parts, inner) = (Vec::new(), step.inner());
            for time in 0..step.times() {
                let from = parts.len();
                for inner in &inner {
                    parts.push(Box::pin(carry_out(world, inner)).await?.got);
                }
                // Nothing within the step wakes a stopped agent, so that each further time would come to the same.
                let parked = parts[from..].iter().all(|got| *got == Got::Blocked);
                if parked && inner.iter().all(|inner| call::is_call(&inner.op) && inner.op != "signal") {
                    let left = usize::try_from(step.times() - time - 1).unwrap_or(usize::MAX);
                    let left = left.saturating_mul(inner.len()).min(MAX_PARTS.saturating_sub(parts.len()));
                    parts.extend(std::iter::repeat_n(Got::Blocked, left));
                    break;
                }
            }
            Ok(Outcome { got: Got::worst(&parts), answer: None, parts })
        }
        "interleave" => interleave(world, step).await,
        "async" => {
            let inner = step.inner();
            let save = step.first(&["save", "id", "name"]).map_or("", |key| step.text(key));
            let rows: Option<Vec<_>> = inner.iter().map(|inner| group::rows(inner, world)).collect();
            let Some(rows) = rows else {
                // What the host does is done at once, not left.
                let mut parts = Vec::new();
                for inner in &inner {
                    parts.push(Box::pin(carry_out(world, inner)).await?.got);
                }
                return Ok(Outcome { got: Got::worst(&parts), answer: None, parts });
            };
            let calls = rows.into_iter().flatten().flatten();
            start(world, calls.collect(), save).await;
            world.saved.insert(save.to_owned(), save.into());
            Ok(Ended::from(Got::Allowed).into())
        }
        "scan" => Ok(Ended::from(scan::carry_out(step, &world.saved)).into()),
        "adapter" => adapter(world, step).await,
        "await" | "join" => Ok(join(world, step).await.into()),
        op if call::is_call(op) => {
            let ended = one(world, step).await;
            let_tasks_run(world).await;
            Ok(ended.into())
        }
        _ => {
            let Ok(resolved) = step.resolved(&world.saved) else {
                let got = if step.op == "load_policy" { Got::LoadError } else { Got::Denied };
                return Ok(Ended::from(got).into());
            };
            let got = host::carry_out(world, &resolved).await?;
            let_tasks_run(world).await;
            Ok(Ended::from(got).into())
        }
    }
}

/// What an agent's host makes of a message: each call that is in it, in order. What a client has called off is dropped.
async fn adapter(world: &mut World, step: &Step) -> Result<Outcome, String> {
    let resolved = match step.resolved(&world.saved) {
        Ok(resolved) => resolved,
        Err(_not_text) => return Ok(Ended::from(Got::Denied).into()),
    };
    let mut ended = Vec::new();
    for call in adapter::calls(&resolved, world) {
        let asked = call.syscall();
        let made = made(world, call).await;
        if let (Got::Escalated, Some(ticket), Some(asked)) = (&made.got, made.value.as_str(), asked) {
            world.held.insert(ticket.to_owned(), asked);
        }
        if let Some(listed) = adapter::listed(&made.value) {
            world.listed = Some(listed);
        }
        if !step.text("save").is_empty() {
            world.save(step.text("save"), made.value.clone(), step.text("as"));
        }
        ended.push(made);
    }
    for request in world.take_called_off() {
        world.tasks.iter_mut().for_each(|task| task.call_off(request));
    }
    let_tasks_run(world).await;
    Ok(ended.into())
}

/// Gives what was started and left the time to go on with what a step changed.
async fn let_tasks_run(world: &mut World) {
    let mut tasks = std::mem::take(&mut world.tasks);
    group::let_run(&mut tasks).await;
    world.tasks = tasks;
}

fn all_ended(tasks: &mut [Task]) -> Vec<Ended> {
    tasks.iter_mut().filter_map(|task| task.ended.take()).flatten().collect()
}

/// One call, awaited.
async fn one(world: &mut World, step: &Step) -> Ended {
    let call = Call::of(step, world);
    let asked = call.syscall();
    let ended = made(world, call).await;
    if let (Got::Escalated, Some(ticket), Some(asked)) = (&ended.got, ended.value.as_str(), asked) {
        world.held.insert(ticket.to_owned(), asked);
    }
    if matches!(ended.got, Got::Allowed | Got::Escalated) {
        if !step.text("save").is_empty() {
            world.save(step.text("save"), ended.value.clone(), step.text("as"));
        }
        if ended.got == Got::Allowed {
            world.moved(step, &ended.value);
        }
    }
    ended
}

/// Makes a call and drives it to its end.
async fn made(world: &World, call: Call) -> Ended {
    if call.agent().is_none() {
        return call.make().await;
    }
    let asleep = world.clock.sleepers();
    let mut tasks = [Task::start(vec![call], "", world.step)];
    group::drive(world, &mut tasks, asleep).await;
    all_ended(&mut tasks).pop().unwrap_or_else(|| Got::Failed("the call is lost".to_owned()).into())
}

/// Each step starts when the one before it has come as far as it gets by itself.
async fn interleave(world: &mut World, step: &Step) -> Result<Outcome, String> {
    let from = world.tasks.len();
    let mut parts = Vec::new();
    for inner in step.inner() {
        match group::rows(&inner, world) {
            Some(rows) if inner.text("save").is_empty() && inner.text("as") != "op" => {
                for calls in rows {
                    start(world, calls, "").await;
                }
            }
            _ => parts.push(Box::pin(carry_out(world, &inner)).await?.got),
        }
    }
    let mut tasks = world.tasks.split_off(from.min(world.tasks.len()));
    group::drive(world, &mut tasks, 0).await;
    parts.extend(all_ended(&mut tasks).into_iter().map(|ended| ended.got));
    Ok(Outcome { got: Got::worst(&parts), answer: None, parts })
}

async fn start(world: &mut World, calls: Vec<Call>, name: &str) {
    let asleep = world.clock.sleepers();
    let mut task = Task::start(calls, name, world.step);
    group::settle(world, &mut task, asleep).await;
    world.tasks.push(task);
}

/// Awaits the tasks that a step names, or all of them.
async fn join(world: &mut World, step: &Step) -> Vec<Ended> {
    let texts: Vec<String> = step
        .fields
        .values()
        .filter_map(|value| value.as_str())
        .map(|text| text.trim_start_matches('$').to_owned())
        .collect();
    let tasks = std::mem::take(&mut world.tasks);
    let named = |task: &Task| !task.name.is_empty() && texts.contains(&task.name);
    let any = tasks.iter().any(named);
    let (mut wanted, rest): (Vec<Task>, Vec<Task>) = tasks.into_iter().partition(|task| !any || named(task));
    group::drive(world, &mut wanted, 0).await;
    world.tasks = rest;
    all_ended(&mut wanted)
}
