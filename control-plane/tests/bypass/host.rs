//! Steps of the host, and of agents that try what only the host can do.

use std::time::Duration;

use agent_control_plane::approval::{ApprovalError, Principal, Scope, TicketId};
use agent_control_plane::call::{FileRef, MAX_TRANSFER, Reply, Syscall};
use agent_control_plane::policy::{PolicySet, security_md};
use agent_control_plane::primitives::{AgentId, LabelSet, Signal};
use agent_control_plane::vfs::{Descriptor, VfsPath};
use agent_control_plane::{AgentHandle, AgentSpec, ExitStatus, Kernel, Policy};
use serde_json::Value;

use crate::call::Call;
use crate::case::Step;
use crate::fixture::{self, World};
use crate::run::Got;
use crate::{clock, life, policy, record};

/// Carries out a step whose builders are carried out already.
pub(crate) async fn carry_out(world: &mut World, step: &Step) -> Result<Got, String> {
    let by_host = matches!(step.text("as"), "" | "op");
    Ok(match step.op.as_str() {
        // Nothing in the types lets an agent do these; `tests/compile_fail` shows it.
        "forge_context" | "self_grant" | "reach" => Got::Denied,
        "load_policy" | "compose" | "parse" | "mode" | "destroy" | "mount" | "kernel_shutdown" | "audit"
        | "unmount" | "clock" | "tell" | "declassify" | "topic" | "restore"
            if !by_host =>
        {
            Got::Denied
        }
        "load_policy" => load_policy(world, step),
        "compose" => compose(world, step),
        "parse" => parse(world, step),
        "mode" => mode(world, step),
        "tell" => tell(world, step)?,
        "declassify" => declassify(world, step),
        "spawn" => spawn(world, step).await?,
        "checkpoint" => life::checkpoint(world, step).await?,
        "restore" => life::restore(world, step).await?,
        "exec_as_fresh_child" => exec_as_fresh_child(world, step).await?,
        "destroy" => destroy(world, step).await,
        "mount" => mount(world, step)?,
        "unmount" => unmount(world, step),
        "agent_panic" => agent_panic(world, step).await,
        "kernel_shutdown" => match world.kernel.shutdown(Duration::ZERO).await {
            Ok(_) => Got::Allowed,
            Err(error) => Got::Failed(error.to_string()),
        },
        "clock" => {
            world.clock.change(&clock::Change::of(step).ok_or("the clock moves by a duration or to a time")?);
            Got::Allowed
        }
        "seek" => seek(world, step).await,
        "topic" => topic(world, step),
        "fs_setup" => fs_setup(world, step).map_err(|error| error.to_string())?,
        "crash" => record::crash(world).await?,
        "audit" => record::audit(world, step).await?,
        other => return Err(format!("unknown operation `{other}`")),
    })
}

/// Whether a mode lets nothing be done; `None` for one that is not known.
pub(crate) fn is_dry_run(mode: &str) -> Option<bool> {
    match mode {
        "dry_run" | "dry-run" | "dryrun" | "shadow" | "simulate" => Some(true),
        "live" | "enforce" | "normal" | "off" => Some(false),
        _ => None,
    }
}

/// A dry run or its end; any other word is a mode for policies to look at, and lets nothing through by itself.
fn mode(world: &mut World, step: &Step) -> Got {
    let word = step.first(&["value", "mode", "name"]).map_or("", |key| step.text(key));
    let set = match is_dry_run(word) {
        Some(dry_run) => world.set_dry_run(dry_run),
        None => match word.parse() {
            Ok(mode) => world.kernel.set_mode(mode).map_err(|error| error.to_string()),
            Err(_no_mode) => return Got::Denied,
        },
    };
    set.map_or_else(Got::Failed, |()| Got::Allowed)
}

/// The host says what the messages to a topic have to fit.
fn topic(world: &World, step: &Step) -> Got {
    let name = step.first(&["name", "topic"]).map_or("", |key| step.text(key));
    let schema = step.fields.get("schema").filter(|schema| !schema.is_null());
    match world.kernel.topic(Some(&fixture::owner_id()), name, schema) {
        Ok(()) => Got::Allowed,
        Err(_bad) => Got::LoadError,
    }
}

/// Humans whom the host of the fixture knows. None of them owns an agent.
const PRINCIPALS: [&str; 8] = ["op", "op2", "approver", "approver2", "human", "ann", "bob", "cid"];

/// Somebody's word on a ticket.
#[derive(Clone)]
pub(crate) struct Word {
    ticket: TicketId,
    by: Principal,
    says: Says,
}

#[derive(Clone, Copy)]
enum Says {
    Yes(Scope),
    No,
    NoMore,
}

/// The word that a step is about. An agent's is put to the kernel under the agent's own name; a name that is neither an
/// agent's nor known to the host is nobody's, and an agent cannot revoke at all.
pub(crate) fn word(world: &World, step: &Step) -> Option<Word> {
    let by = match step.text("as") {
        // The host passes on who has spoken.
        "" | "op" => step.first(&["by", "approver"]).map_or("op", |key| step.text(key)),
        _ if step.op == "revoke" => return None,
        agent => agent,
    };
    let by = match world.agent(by) {
        Some(agent) => agent.id().to_string(),
        None if PRINCIPALS.contains(&by) => by.to_owned(),
        None => return None,
    };
    let ticket = step.first(&["request", "ticket", "id"]).map_or("", |key| step.text(key));
    let scope = Scope::ALL.into_iter().find(|scope| scope.name() == step.text("scope"));
    let says = match step.op.as_str() {
        "approve" => Says::Yes(scope.unwrap_or(Scope::Once)),
        "reject" => Says::No,
        _ => Says::NoMore,
    };
    Some(Word { ticket: ticket.parse().ok()?, by: by.parse().ok()?, says })
}

impl Word {
    pub(crate) fn give(self, kernel: &Kernel) -> Got {
        let answered = match self.says {
            Says::Yes(scope) => kernel.approve(self.ticket, &self.by, scope).map(drop),
            Says::No => kernel.refuse(self.ticket, &self.by, "case"),
            Says::NoMore => kernel.revoke(self.ticket, "case"),
        };
        match answered {
            Ok(()) => Got::Allowed,
            Err(error @ (ApprovalError::Store(_) | ApprovalError::Kernel(_))) => {
                Got::Failed(error.to_string())
            }
            Err(_refused) => Got::Denied,
        }
    }
}

fn load_policy(world: &mut World, step: &Step) -> Got {
    let key = step.first(&["doc", "policy", "text"]).unwrap_or("doc");
    let Ok(policy) = Policy::from_yaml("case.yaml", &policy::translate(step.value(key))) else {
        return Got::LoadError;
    };
    match world.reload(policy) {
        Ok(()) => Got::Allowed,
        Err(_error) => Got::LoadError,
    }
}

/// Names for prose that tells a model about a repository, and for the file that says what its agents may do.
pub(crate) const AGENTS_FILES: [&str; 3] = ["agents_md", "agents", "AGENTS.md"];
pub(crate) const SECURITY_FILES: [&str; 3] = ["security_md", "security", "security.md"];

/// A file of an agent's repository. The security file becomes the policy in force; prose for the model is read by nobody
/// here, and changes nothing.
fn parse(world: &mut World, step: &Step) -> Got {
    if AGENTS_FILES.contains(&step.text("format")) {
        return Got::Allowed;
    }
    let Ok(text) = step.bytes("text", &world.saved) else { return Got::LoadError };
    let Ok(text) = String::from_utf8(text) else { return Got::LoadError };
    let read = match step.text("format") {
        format if SECURITY_FILES.contains(&format) => security_md::load("security.md", &text),
        "yaml" | "yml" | "policy" | "policy_yaml" => Policy::from_yaml("case.yaml", &text),
        "json" | "policy_json" => Policy::from_json("case.json", &text),
        "toml" | "policy_toml" => Policy::from_toml("case.toml", &text),
        // What the loader has no reader for, it does not take for something else.
        _ => return Got::LoadError,
    };
    let Ok(policy) = read else { return Got::LoadError };
    match world.reload(policy) {
        Ok(()) => Got::Allowed,
        Err(_error) => Got::LoadError,
    }
}

/// Modes of a composition: everybody's word counts, or a first document and what extends it.
pub(crate) const COMPOSE_ALL: [&str; 6] = ["all", "intersect", "intersection", "and", "strictest", "meet"];
pub(crate) const COMPOSE_EXTEND: [&str; 5] = ["extend", "extends", "chain", "layers", "inherit"];

/// The documents of a composition: a list, or a parent and its child.
fn documents(step: &Step) -> Vec<&Value> {
    match step.first(&["docs", "documents", "policies", "layers"]) {
        Some(key) => step.value(key).as_array().into_iter().flatten().collect(),
        None => ["base", "parent", "child", "extension"]
            .into_iter()
            .filter_map(|key| step.fields.get(key))
            .collect(),
    }
}

/// Several documents in force together: all of them for everybody, or the first and what extends it. Both are layers, and
/// a layer only tightens.
fn compose(world: &mut World, step: &Step) -> Got {
    let mode = step.text("mode");
    if !COMPOSE_ALL.contains(&mode) && !COMPOSE_EXTEND.contains(&mode) && !mode.is_empty() {
        // Documents that widen each other, or of which the last wins, cannot be composed here.
        return Got::LoadError;
    }
    let extends = !COMPOSE_ALL.contains(&step.text("mode"));
    let policies: Result<Vec<Policy>, _> = documents(step)
        .into_iter()
        .enumerate()
        .map(|(index, document)| match index {
            1.. if extends => policy::translate_extension(document),
            _ => policy::translate(document),
        })
        .map(|document| Policy::from_yaml("case.yaml", &document))
        .collect();
    let Ok(set) = policies.and_then(PolicySet::all) else { return Got::LoadError };
    match world.reload(set) {
        Ok(()) => Got::Allowed,
        Err(_error) => Got::LoadError,
    }
}

/// The host tells an agent something, which carries the labels of the step and nothing else.
fn tell(world: &World, step: &Step) -> Result<Got, String> {
    let Some(agent) = subject(world, step) else { return Ok(Got::Denied) };
    let Ok(text) = step.bytes("text", &world.saved) else { return Ok(Got::Denied) };
    let Some(labels) = labels(step.value("labels")) else { return Ok(Got::Denied) };
    world.hand_over(step, agent)?;
    world.tell(agent, &String::from_utf8_lossy(&text), &labels)?;
    Ok(Got::Allowed)
}

/// The host takes labels off an agent.
fn declassify(world: &World, step: &Step) -> Got {
    let (Some(agent), Some(labels)) = (subject(world, step), labels(step.value("labels"))) else {
        return Got::Denied;
    };
    match world.kernel.declassify(agent.id(), &labels, "op", "case") {
        Ok(_) => Got::Allowed,
        Err(error) => Got::Failed(error.to_string()),
    }
}

/// Whom a step of the host is about.
fn subject<'w>(world: &'w World, step: &Step) -> Option<&'w AgentHandle> {
    let key = step.first(&["agent", "target", "to"])?;
    world.agent(step.text(key))
}

/// A list of labels, or one; none when nothing is said.
pub(crate) fn labels(value: &Value) -> Option<LabelSet> {
    let texts = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<_>>()?,
        one => vec![one.as_str()?],
    };
    let labels: Result<Vec<_>, _> = texts.into_iter().map(str::parse).collect();
    LabelSet::new(labels.ok()?).ok()
}

async fn spawn(world: &mut World, step: &Step) -> Result<Got, String> {
    let key = step.first(&["agent", "id", "name", "save"]).ok_or("a spawn names its agent")?;
    let Some(name) = step.value(key).as_str() else { return Ok(Got::Denied) };
    let known = if step.text("save").is_empty() { name } else { step.text("save") };
    life::spawn(world, step, name, known).await
}

/// The host starts an agent for the same owner, under a name that was never used, and it makes one call.
async fn exec_as_fresh_child(world: &mut World, step: &Step) -> Result<Got, String> {
    let name = format!("child-{}", world.kernel.recorder().head().count);
    world.spawn(&name, &name, "worker", LabelSet::EMPTY)?;
    let mut fields = step.fields.clone();
    fields.insert("as".to_owned(), name.into());
    let call = Call::of(&Step { op: "exec".to_owned(), fields }, world);
    Ok(call.make().await.got)
}

/// The host ends an agent and waits for it: an agent that is alive is killed first.
async fn destroy(world: &World, step: &Step) -> Got {
    let name = step.first(&["agent", "target", "id"]).map_or("", |key| step.text(key));
    let Ok(id) = name.parse::<AgentId>() else { return Got::Denied };
    let _already_dead = world.kernel.signal(&id, Signal::Kill, "destroyed");
    match world.kernel.wait(&id).await {
        Some(_) => Got::Allowed,
        None => Got::Failed("no such agent".to_owned()),
    }
}

async fn agent_panic(world: &World, step: &Step) -> Got {
    let panics = AgentSpec::new("panicking-agent");
    let status = world.kernel.run(panics, |_agent| async { panic!("an agent's own fault") }).await;
    if let Some(agent) = world.agent(step.text("as")) {
        let _already_dead = world.kernel.signal(agent.id(), Signal::Kill, "its program panicked");
    }
    match status {
        Ok(ExitStatus::Crashed { .. }) => Got::Allowed,
        other => Got::Failed(format!("{other:?}")),
    }
}

/// Mounts something in an agent's tree.
fn mount(world: &mut World, step: &Step) -> Result<Got, String> {
    let Some((id, at)) = place(step) else { return Ok(Got::Denied) };
    let writable = match step.text("mode") {
        "ro" | "r" | "read" => false,
        "rw" | "" => true,
        _ => return Ok(Got::Denied),
    };
    Ok(world.mount(&id, at, writable))
}

fn unmount(world: &World, step: &Step) -> Got {
    let Some((id, at)) = place(step) else { return Got::Denied };
    match world.kernel.unmount(&id, &at) {
        Ok(()) => Got::Allowed,
        Err(error) => Got::Failed(error.to_string()),
    }
}

/// Whose tree a path of the host's leads into, and where in it.
fn place(step: &Step) -> Option<(AgentId, VfsPath)> {
    let path = VfsPath::parse(step.text("path")).ok()?;
    let mut segments = path.segments();
    let ("agent", agent) = (segments.next()?, segments.next()?) else { return None };
    let rest: Vec<&str> = segments.collect();
    Some((agent.parse().ok()?, VfsPath::parse(&format!("/{}", rest.join("/"))).ok()?))
}

/// There is no call that moves a descriptor: the position is the caller's, and goes with each read and write.
///
/// Where the end is, the agent finds out by reading; where the descriptor is now, it knows.
async fn seek(world: &mut World, step: &Step) -> Got {
    let offset = step.first(&["offset", "pos", "to"]).map_or(Some(0), |key| step.value(key).as_i64());
    let Some((offset, fd)) = offset.zip(step.value("fd").as_u64()) else { return Got::Denied };
    let closed = || Got::Failed("the descriptor is not open".to_owned());
    let from = match step.text("whence") {
        "" | "set" | "start" | "begin" => Some(0),
        "cur" | "current" => world.present(step.text("as"), fd),
        "end" => end_of(world, step.text("as"), fd).await,
        _ => return Got::Denied,
    };
    let Some(from) = from else { return closed() };
    // No file has a place before its beginning.
    let Some(to) = from.checked_add_signed(offset) else { return Got::Denied };
    if world.seek(step.text("as"), fd, to) { Got::Allowed } else { closed() }
}

async fn end_of(world: &World, agent: &str, descriptor: u64) -> Option<u64> {
    let descriptor = Descriptor::from_raw(u32::try_from(descriptor).ok()?);
    let file = FileRef::Descriptor(descriptor);
    let read = Syscall::Read { file, offset: Some(0), length: MAX_TRANSFER, nonblock: true };
    match world.agent(agent)?.syscall(read).await.ok()? {
        Reply::Data { data, .. } => Some(data.len() as u64),
        _ => None,
    }
}

fn fs_setup(world: &World, step: &Step) -> std::io::Result<Got> {
    let pair = |value: &Value| {
        let part = |index: usize| value[index].as_str().unwrap_or_default().to_owned();
        if value.is_string() {
            (value.as_str().unwrap_or_default().to_owned(), String::new())
        } else {
            (part(0), part(1))
        }
    };
    for (key, value) in &step.fields {
        let (path, second) = pair(value);
        let at = world.host_path(&path);
        match key.as_str() {
            "symlink" => {
                if at.symlink_metadata().is_ok() && !at.is_dir() {
                    std::fs::remove_file(&at)?;
                }
                std::os::unix::fs::symlink(world.host_path(&second), at)?;
            }
            "file" | "write" => std::fs::write(at, second)?,
            "touch" => drop(std::fs::OpenOptions::new().append(true).create(true).open(at)?),
            "copy" => drop(std::fs::copy(at, world.host_path(&second))?),
            "append" => {
                let old = std::fs::read(&at).unwrap_or_default();
                std::fs::write(at, [old, second.into_bytes()].concat())?;
            }
            "mkdir" | "dir" => std::fs::create_dir_all(at)?,
            "hardlink" => std::fs::hard_link(world.host_path(&second), at)?,
            "remove" | "unlink" => std::fs::remove_file(at)?,
            "rename" => std::fs::rename(at, world.host_path(&second))?,
            _ => {}
        }
    }
    Ok(Got::Allowed)
}
