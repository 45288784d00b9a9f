//! Child agents and checkpoints.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use agent_control_plane::budget::Budget;
use agent_control_plane::kernel::{Checkpoint, Programs, SPAWN};
use agent_control_plane::primitives::{AgentId, LabelSet, Resource, Signal};
use agent_control_plane::recorder::Body;
use agent_control_plane::{AgentHandle, AgentSpec, Policy};
use serde_json::{Value, json};

use crate::case::Step;
use crate::fixture::{World, owner_id};
use crate::run::Got;

/// Real time an agent's call may take that nothing but the kernel has to answer.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Where a checkpoint's text can stand in a step.
const TEXT: [&str; 5] = ["checkpoint", "data", "from", "id", "name"];

/// The handles of children that agents started.
pub(crate) type Nursery = Arc<Mutex<BTreeMap<AgentId, AgentHandle>>>;

/// One program: it hands over its handle and lives until it is ended.
pub(crate) fn programs(nursery: &Nursery) -> Programs {
    let nursery = Arc::clone(nursery);
    let spawner = |mut task: agent_control_plane::kernel::Task| {
        // Polled once at once, so that the handle is there when the call that started it returns.
        if task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(task);
        }
    };
    Programs::new(spawner).program("child", move |agent: AgentHandle, _input: Value| {
        nursery.lock().unwrap().insert(agent.id().clone(), agent);
        std::future::pending()
    })
}

/// A spawn with a parent, or with what the child is to have.
pub(crate) async fn spawn(world: &mut World, step: &Step, name: &str, known: &str) -> Result<Got, String> {
    // There is one ring for agents, and no way to name another.
    if !step.value("ring").is_null() && step.value("ring").as_u64() != Some(3) {
        return Ok(Got::Denied);
    }
    let Some(task) = task(step) else { return Ok(Got::Denied) };
    if !matches!(step.text("as"), "" | "op") {
        return spawn_by_agent(world, step, name, known, task.as_ref()).await;
    }
    let role = if step.text("role").is_empty() { "worker" } else { step.text("role") };
    let mut spec = AgentSpec::new(name);
    if let Some(task) = task {
        let Ok(task) = Policy::from_json("tools", &task.to_string()) else { return Ok(Got::Denied) };
        spec = spec.task_policy(task);
    }
    if let Some(calls) = quota(step.value("quota")) {
        spec = spec.task_budget(Budget::new().limit(Resource::Calls, calls));
    }
    if !step.text("parent").is_empty() {
        let Some(parent) = world.agent(step.text("parent")) else { return Ok(Got::Denied) };
        spec = spec.parent(parent.id().clone());
    }
    let owner = step.first(&["tenant", "owner"]).map(|key| step.text(key).parse());
    let Ok(owner) = owner.unwrap_or_else(|| Ok(owner_id())) else { return Ok(Got::Denied) };
    Ok(match world.start(owner, spec, known, role, LabelSet::EMPTY) {
        Ok(()) => Got::Allowed,
        Err(_refused) => Got::Denied,
    })
}

/// An agent starts a child of its own: whose child, and with what role or budget, is not for it to say.
async fn spawn_by_agent(
    world: &mut World,
    step: &Step,
    name: &str,
    known: &str,
    task: Option<&Value>,
) -> Result<Got, String> {
    let Some(agent) = world.agent(step.text("as")).cloned() else { return Ok(Got::Denied) };
    let other = world.agent(step.text("parent")).is_none_or(|parent| parent.id() != agent.id());
    if !step.text("parent").is_empty() && other {
        return Ok(Got::Denied);
    }
    if ["role", "quota"].iter().any(|key| !step.value(key).is_null()) {
        return Ok(Got::Denied);
    }
    let arguments = json!({"name": name, "program": "child", "task_policy": task});
    let Ok(started) = tokio::time::timeout(AT_ONCE, agent.exec(SPAWN, arguments)).await else {
        return Ok(Got::Blocked);
    };
    let Ok(started) = started else { return Ok(Got::Denied) };
    let id: AgentId = started["agent"].as_str().unwrap().parse().unwrap();
    let child = world.nursery.lock().unwrap().get(&id).cloned();
    world.agents.insert(known.to_owned(), child.ok_or("the program did not begin")?);
    Ok(Got::Allowed)
}

/// The policy of a child that is to have these tools and no others; `None` inside when nothing is said of tools, and
/// outside when what is said makes no sense.
#[expect(clippy::option_option, reason = "absent and malformed are two things")]
fn task(step: &Step) -> Option<Option<Value>> {
    let Some(key) = step.first(&["tools", "grants"]) else { return Some(None) };
    let name = |value: &Value| value.as_str().or_else(|| value["tool"].as_str()).map(str::to_owned);
    let tools: Option<Vec<String>> = match step.value(key) {
        Value::Array(tools) => tools.iter().map(name).collect(),
        Value::Object(tools) => Some(tools.keys().cloned().collect()),
        other => name(other).map(|tool| vec![tool]),
    };
    let mut rules =
        vec![json!({"id": "files", "effect": "allow", "calls": ["read", "write", "open"], "paths": ["/**"]})];
    let tools = tools?;
    if !tools.is_empty() {
        rules.push(json!({"id": "tools", "effect": "allow", "calls": ["exec"], "tools": tools}));
    }
    Some(Some(json!({"version": 1, "name": "tools", "rules": rules})))
}

fn quota(value: &Value) -> Option<u64> {
    let within = || value.as_object().and_then(|fields| fields.values().find_map(Value::as_u64));
    value.as_u64().or_else(within)
}

/// A checkpoint: an agent asks for one of itself by `SIGUSR1`, the host takes one. No name can be given to it; a plain one is
/// what the case calls it afterwards.
pub(crate) async fn checkpoint(world: &mut World, step: &Step) -> Result<Got, String> {
    let called = step.first(&["save", "id", "name"]).map_or("", |key| step.text(key)).to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !called.bytes().all(plain) {
        return Ok(Got::Denied);
    }
    let by_host = matches!(step.text("as"), "" | "op");
    let key = step.first(&["agent", "target"]).map_or("", |key| step.text(key));
    let of = if by_host { key } else { step.text("as") };
    let Some(agent) = world.agent(of).cloned() else { return Ok(Got::Denied) };
    if !by_host {
        if !key.is_empty() && key != of {
            return Ok(Got::Denied);
        }
        let taken = agent.signal(agent.id().as_str(), Signal::Usr1, "case");
        match tokio::time::timeout(AT_ONCE, taken).await {
            Ok(Ok(())) => {}
            Ok(Err(_refused)) => return Ok(Got::Denied),
            Err(_parked) => return Ok(Got::Blocked),
        }
    }
    let latest = match by_host {
        true => world.kernel.checkpoint(agent.id()).await.map(Some),
        false => world.kernel.checkpoints(agent.id()).await.map(|kept| kept.into_iter().next_back()),
    };
    match latest {
        Ok(Some(latest)) => {
            let text = String::from_utf8(latest.to_bytes().map_err(|error| error.to_string())?.to_vec());
            world.saved.insert(called, text.map_err(|error| error.to_string())?.into());
            Ok(Got::Allowed)
        }
        Ok(None) => Ok(Got::Failed("no checkpoint was kept".to_owned())),
        Err(error) => Ok(Got::Failed(error.to_string())),
    }
}

/// The host restores an agent from the text of a checkpoint.
pub(crate) async fn restore(world: &mut World, step: &Step) -> Result<Got, String> {
    let given = step.first(&TEXT).map_or(&Value::Null, |key| step.value(key));
    let text = match given {
        // By the name the case gave it, or as it is.
        Value::String(text) => world.saved.get(text).and_then(Value::as_str).unwrap_or(text).to_owned(),
        other => other.to_string(),
    };
    let Ok(checkpoint) = Checkpoint::from_bytes(text.as_bytes()) else {
        return Ok(Got::Failed("this is no checkpoint".to_owned()));
    };
    let name = step.first(&["agent", "target"]).map_or("w", |key| step.text(key)).to_owned();
    Ok(match world.restore(&name, &checkpoint).await {
        Ok(()) => Got::Allowed,
        Err(error) => Got::Failed(error),
    })
}

/// What a step about the life of an agent has that this harness does not know.
pub(crate) fn unknown_field(step: &Step) -> Option<String> {
    let known: &[&str] = match step.op.as_str() {
        "spawn" => &[
            "as", "agent", "id", "name", "save", "role", "parent", "tools", "grants", "quota", "ring",
            "tenant", "owner",
        ],
        "checkpoint" => &["as", "agent", "target", "save", "id", "name"],
        _ => &["as", "agent", "target", "checkpoint", "data", "from", "id", "name"],
    };
    step.fields.keys().find(|key| !known.contains(&key.as_str())).cloned()
}

/// Whether a checkpoint of an agent is on record and can be read back.
pub(crate) async fn was_created(world: &World, agent: &str) -> Result<(), String> {
    let agent = world.agent(agent).ok_or("nobody holds the agent")?;
    let on_record = world.kernel.recorder().events(0).filter_map(Result::ok).any(|stored| {
        let event = stored.event();
        event.is_ok_and(|event| {
            event.agent == agent.id().as_str() && matches!(event.body, Body::Checkpoint { .. })
        })
    });
    let kept = world.kernel.checkpoints(agent.id()).await.map_err(|error| error.to_string())?;
    if on_record && !kept.is_empty() {
        Ok(())
    } else {
        Err(format!("on record: {on_record}, kept: {}", kept.len()))
    }
}
