//! Steps that are one call of one agent.

use std::time::Duration;

use agent_control_plane::approval::TicketId;
use agent_control_plane::call::{
    BadCall, Change, FileRef, MAX_TRANSFER, RawArguments, Reply, Syscall, WriteTo, mcp,
};
use agent_control_plane::primitives::{AgentId, Signal, SignalSet, Verdict};
use agent_control_plane::vfs::{Descriptor, OpenFlags};
use agent_control_plane::{AgentHandle, AgentState, CallError, Kernel};
use serde_json::{Value, json};

use crate::adapter::Shared;
use crate::case::Step;
use crate::fixture::World;
use crate::handler::Behaviour;
use crate::host;
use crate::run::Got;

/// A call that is ready to be made, from whichever task.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a handful at a time")]
pub(crate) enum Call {
    Agent(AgentHandle, What),
    /// The host raises a signal.
    Host(Kernel, AgentId, Signal, String),
    /// Somebody's word on a ticket.
    Word(Kernel, host::Word),
    /// What the types do not let anybody say.
    Inexpressible,
    /// What the harness could not prepare.
    Broken(String),
}

#[derive(Clone)]
pub(crate) enum What {
    Syscall(Syscall),
    /// Text that is to be a tool call.
    Text(Vec<u8>, Option<Duration>),
    Check(Syscall),
    /// A call that was held, or one that pretends to be.
    Resume(TicketId, Syscall),
    /// A request of a client, and the call it comes to.
    Request(Shared, mcp::Request, Syscall),
    /// A message that is no call, and what its sender is told.
    Unreadable(BadCall, Value),
    /// What was answered without a call.
    Answered(Value),
    /// A handler to be registered.
    Handle(Signal, Behaviour),
}

/// What came of a call.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) got: Got,
    pub(crate) value: Value,
    pub(crate) answer: Option<Verdict>,
}

impl From<Got> for Ended {
    fn from(got: Got) -> Self {
        Self { got, value: Value::Null, answer: None }
    }
}

/// Whether an operation is one call.
pub(crate) fn is_call(op: &str) -> bool {
    matches!(
        op,
        "exec"
            | "exec_raw"
            | "exec_json"
            | "read"
            | "write"
            | "open"
            | "close"
            | "mask"
            | "unmask"
            | "handler"
            | "signal"
            | "exit"
            | "checkpolicy"
            | "resume"
            | "approve"
            | "reject"
            | "revoke"
            | "send"
            | "publish"
            | "recv"
            | "subscribe"
            | "list"
            | "append"
            | "remove"
            | "await_signal"
    )
}

impl Call {
    /// The call a step asks for. `step` is as written; its builders are carried out here.
    pub(crate) fn of(step: &Step, world: &World) -> Self {
        let Ok(resolved) = step.resolved(&world.saved) else { return Self::Inexpressible };
        if step.op == "signal" && matches!(resolved.text("as"), "op" | "") {
            return Self::by_host(&resolved, world);
        }
        if matches!(step.op.as_str(), "approve" | "reject" | "revoke") {
            let word = host::word(world, &resolved);
            return word.map_or(Self::Inexpressible, |word| Self::Word(world.kernel.clone(), word));
        }
        let Some(what) = What::of(&resolved, world) else { return Self::Inexpressible };
        let forged = resolved.text("as") == "forged";
        let name = if forged { "w" } else { resolved.text("as") };
        match world.agent(name) {
            Some(agent) => {
                let agent = agent.clone();
                let told = world.hand_over(step, &agent).and_then(|()| annotated(&resolved, &agent, world));
                if let Err(why) = told {
                    return Self::Broken(why);
                }
                if forged { Self::forged(agent, what) } else { Self::Agent(agent, what) }
            }
            // Nobody holds a handle of that name, and the operator's has no such call.
            None => Self::Inexpressible,
        }
    }

    fn by_host(step: &Step, world: &World) -> Self {
        match (signal(step.value("signal")), step.text("target").parse()) {
            (Some(signal), Ok(target)) => {
                let reason = if step.text("reason").is_empty() { "case" } else { step.text("reason") };
                Self::Host(world.kernel.clone(), target, signal, reason.to_owned())
            }
            _ => Self::Inexpressible,
        }
    }

    /// No context can be made, so no call can be made under another name: whatever the own handle may do is not what
    /// was asked for. What an attacker can do is to make the call with its own handle; where that would be refused it is
    /// made, so that the refusal and its record are measured.
    fn forged(agent: AgentHandle, what: What) -> Self {
        let question = match &what {
            What::Syscall(call) | What::Check(call) | What::Resume(_, call) | What::Request(_, _, call) => {
                Some(call.clone())
            }
            What::Text(text, _) => Syscall::exec_from_json(text).ok(),
            What::Unreadable(..) | What::Answered(_) => None,
            What::Handle(..) => None,
        };
        let allowed = question.is_some_and(|call| {
            // A stopped agent gets no answer.
            let asked = tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current()
                    .block_on(async { tokio::time::timeout(Duration::from_secs(1), agent.check(call)).await })
            });
            asked.is_ok_and(|asked| asked.is_ok_and(|decision| decision.verdict() == Verdict::Allow))
        });
        if allowed { Self::Inexpressible } else { Self::Agent(agent, what) }
    }

    /// The call itself, if it is one that can be held.
    pub(crate) fn syscall(&self) -> Option<Syscall> {
        match self {
            Self::Agent(_, What::Syscall(call) | What::Request(_, _, call)) => Some(call.clone()),
            Self::Agent(_, What::Text(text, _)) => Syscall::exec_from_json(text).ok(),
            _ => None,
        }
    }

    /// The number of the client's request that it answers.
    pub(crate) fn request(&self) -> Option<u64> {
        match self {
            Self::Agent(_, What::Request(_, request, _)) => Some(request.number()),
            _ => None,
        }
    }

    pub(crate) fn agent(&self) -> Option<&AgentHandle> {
        match self {
            Self::Agent(agent, _) => Some(agent),
            Self::Host(..) | Self::Word(..) | Self::Inexpressible | Self::Broken(_) => None,
        }
    }

    pub(crate) async fn make(self) -> Ended {
        match self {
            Self::Inexpressible => Got::Denied.into(),
            Self::Broken(why) => Got::Failed(why).into(),
            Self::Host(kernel, target, signal, reason) => match kernel.signal(&target, signal, &reason) {
                Ok(_) if matches!(kernel.agent(&target), Some(AgentState::Zombie(_))) => Got::Killed.into(),
                Ok(_) => Got::Allowed.into(),
                Err(error) => Got::Failed(error.to_string()).into(),
            },
            Self::Word(kernel, word) => word.give(&kernel).into(),
            Self::Agent(agent, what) => what.make(&agent).await,
        }
    }
}

impl What {
    /// `None` when the types cannot say it.
    fn of(step: &Step, world: &World) -> Option<Self> {
        match step.op.as_str() {
            "exec_raw" | "exec_json" => {
                let key = step.first(&["json", "text", "raw", "envelope", "args_json", "body"])?;
                let bytes = step.bytes(key, &world.saved).ok()?;
                if step.fields.contains_key("tool") && step.op == "exec_json" {
                    let arguments = RawArguments::Json(bytes.into());
                    let tool = step.value("tool").as_str()?.to_owned();
                    return Some(Self::Syscall(Syscall::Exec { tool, arguments, deadline: deadline(step) }));
                }
                Some(Self::Text(rename_arguments(bytes), deadline(step)))
            }
            "resume" => resume(step, world),
            "handler" => Some(Self::Handle(signal(step.value("signal"))?, Behaviour::of(step)?)),
            "checkpolicy" => {
                let asked = step.first(&["call", "syscall"]).map_or("exec", |key| step.text(key));
                let asked = Step { op: asked.to_owned(), fields: step.fields.clone() };
                syscall(&asked, world).map(Self::Check)
            }
            _ => syscall(step, world).map(Self::Syscall),
        }
    }

    async fn make(self, agent: &AgentHandle) -> Ended {
        let reply = match self {
            Self::Syscall(call) => agent.syscall(call).await,
            Self::Text(text, None) => agent.exec_json(&text).await,
            Self::Text(text, limit) => match Syscall::exec_from_json(&text) {
                Ok(Syscall::Exec { tool, arguments, .. }) => {
                    agent.syscall(Syscall::Exec { tool, arguments, deadline: limit }).await
                }
                _ => agent.exec_json(&text).await,
            },
            Self::Resume(ticket, call) => agent.resume(ticket, call).await,
            Self::Request(session, request, call) => {
                let result = agent.syscall(call).await;
                let answer = session.lock().unwrap().answer(request, &result).unwrap_or_default();
                if let Err(CallError::Held { ticket, .. }) = result {
                    return Ended { got: Got::Escalated, value: ticket.to_string().into(), answer: None };
                }
                let got = result.map_or_else(|error| refused(&error), |_| Got::Allowed);
                return Ended { got, value: answer, answer: None };
            }
            Self::Unreadable(error, answer) => {
                let got = refused(&agent.refuse(error).await);
                return Ended { got, value: answer, answer: None };
            }
            Self::Answered(answer) => return Ended { got: Got::Allowed, value: answer, answer: None },
            Self::Handle(signal, behaviour) => behaviour.register(agent, signal).await,
            Self::Check(call) => {
                return match agent.check(call).await {
                    Ok(decision) => {
                        let answer = Some(decision.verdict());
                        let value = decision.verdict().to_string().into();
                        Ended { got: Got::Allowed, value, answer }
                    }
                    Err(error) => refused(&error).into(),
                };
            }
        };
        match reply {
            Ok(reply) => Ended { got: Got::Allowed, value: value_of(&reply), answer: None },
            Err(CallError::Held { ticket, .. }) => {
                Ended { got: Got::Escalated, value: ticket.to_string().into(), answer: None }
            }
            Err(error) => refused(&error).into(),
        }
    }
}

/// The ticket a step names and the call it was asked for, with whatever the step changes about it.
fn resume(step: &Step, world: &World) -> Option<What> {
    let ticket = step.first(&["request", "ticket", "id"]).map(|key| step.text(key))?;
    let held = world.held.get(ticket).cloned();
    let call = match held {
        Some(Syscall::Exec { tool, arguments, deadline }) => {
            let tool = step.value("tool").as_str().map_or(tool, str::to_owned);
            let changed = step.first(&["args", "arguments"]).map(|key| step.value(key).clone());
            Syscall::Exec { tool, arguments: changed.map_or(arguments, RawArguments::Value), deadline }
        }
        Some(call) => call,
        // No such call was held: what somebody makes up takes some call along.
        None => syscall(&Step { op: "exec".to_owned(), fields: step.fields.clone() }, world)?,
    };
    Some(What::Resume(ticket.parse().ok()?, call))
}

/// The neutral envelope says `args` where ours says `arguments`. Only that key of the outermost object is renamed and
/// everything else is left as it is, so what was repeated stays repeated and what was broken stays broken.
fn rename_arguments(bytes: Vec<u8>) -> Vec<u8> {
    const NEUTRAL: &[u8] = b"\"args\"";
    let (mut out, mut depth, mut at) = (Vec::with_capacity(bytes.len() + 8), 0_i64, 0);
    while at < bytes.len() {
        let mut end = at + 1;
        match bytes[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                while end < bytes.len() && bytes[end] != b'"' {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                end = (end + 1).min(bytes.len());
            }
            _ => {}
        }
        let is_key = bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':');
        if depth == 1 && is_key && &bytes[at..end] == NEUTRAL {
            out.extend_from_slice(b"\"arguments\"");
        } else {
            out.extend_from_slice(&bytes[at..end]);
        }
        at = end;
    }
    out
}

/// The labels that a step says its values carry: the agent has them from somebody whose word carries as much.
fn annotated(step: &Step, agent: &AgentHandle, world: &World) -> Result<(), String> {
    let Some(key) = step.first(&["labels", "arg_labels"]) else { return Ok(()) };
    let all = match step.value(key) {
        Value::Object(by_argument) => by_argument.values().collect(),
        all => vec![all],
    };
    for value in all {
        let labels = host::labels(value).ok_or("a label that is none")?;
        world.tell(agent, "", &labels)?;
    }
    Ok(())
}

fn syscall(step: &Step, world: &World) -> Option<Syscall> {
    let path = || step.value("path").as_str().map(str::to_owned);
    let descriptor = || match step.value("fd") {
        Value::Null => None,
        // A number that no descriptor has is one that is not open.
        fd => {
            Some(Descriptor::from_raw(fd.as_u64().and_then(|fd| u32::try_from(fd).ok()).unwrap_or(u32::MAX)))
        }
    };
    let number = |key: Option<&str>, default: Option<u64>| match key.map(|key| step.value(key)) {
        None | Some(Value::Null) => Some(default),
        Some(value) => value.as_u64().map(Some),
    };
    let offset = || match number(step.first(&["offset", "pos"]), None)? {
        None => Some(world.position(step)),
        given => Some(given),
    };
    Some(match step.op.as_str() {
        "exec" => Syscall::Exec {
            tool: step.value("tool").as_str()?.to_owned(),
            arguments: RawArguments::Value(
                step.value(step.first(&["args", "arguments"]).unwrap_or("args")).clone(),
            ),
            deadline: deadline(step),
        },
        "read" => {
            let file = match descriptor() {
                Some(descriptor) => FileRef::Descriptor(descriptor),
                None => FileRef::Path(path()?),
            };
            let length = number(step.first(&["length", "len", "n", "size"]), Some(1 << 20))?;
            let nonblock = step.value("nonblock").as_bool().unwrap_or(false);
            Syscall::Read { file, offset: offset()?, length: length.unwrap_or(1 << 20), nonblock }
        }
        "list" => {
            let file = FileRef::Path(path()?);
            Syscall::Read { file, offset: None, length: MAX_TRANSFER, nonblock: true }
        }
        "recv" => {
            let file = match descriptor() {
                Some(descriptor) => FileRef::Descriptor(descriptor),
                None => FileRef::Path("/ipc/inbox".to_owned()),
            };
            Syscall::Read {
                file,
                offset: None,
                length: MAX_TRANSFER,
                nonblock: step.value("wait") != &json!(true),
            }
        }
        "subscribe" => {
            let flags = OpenFlags { read: true, ..OpenFlags::default() };
            Syscall::Open { path: format!("/ipc/{}", step.value("topic").as_str()?), flags }
        }
        "send" | "publish" => {
            let to = step.value(step.first(&["to", "topic", "target"])?).as_str()?;
            let data = step.bytes("data", &world.saved).ok()?.into();
            let to = WriteTo::Path {
                path: format!("/ipc/{to}"),
                change: Change::Append,
                expected: None,
                ttl: None,
            };
            Syscall::Write { to, data }
        }
        "append" | "remove" => {
            let change = if step.op == "append" { Change::Append } else { Change::Remove };
            let data = step.bytes("data", &world.saved).ok()?.into();
            Syscall::Write { to: WriteTo::Path { path: path()?, change, expected: None, ttl: None }, data }
        }
        "await_signal" => {
            let deadline = deadline(step).unwrap_or(Duration::from_secs(1));
            Syscall::Await { set: signals(step)?, deadline }
        }
        "write" => {
            let key = step.first(&["data", "content", "text"]).unwrap_or("data");
            let data = step.bytes(key, &world.saved).ok()?.into();
            let to = match descriptor() {
                Some(descriptor) => WriteTo::Descriptor { descriptor, offset: offset()? },
                // A write by path has no position.
                None if step.first(&["offset", "pos"]).is_some() => return None,
                None => WriteTo::Path {
                    path: path()?,
                    change: change(step.value("mode"))?,
                    expected: None,
                    ttl: None,
                },
            };
            Syscall::Write { to, data }
        }
        "open" => Syscall::Open { path: path()?, flags: flags(step.value("mode"))? },
        "close" => Syscall::Close { descriptor: descriptor()? },
        "mask" => Syscall::Mask { block: signals(step)?, unblock: SignalSet::EMPTY },
        "unmask" => Syscall::Mask { block: SignalSet::EMPTY, unblock: signals(step)? },
        "signal" => Syscall::Signal {
            to: step.value("target").as_str()?.to_owned(),
            signal: signal(step.value("signal"))?,
            reason: if step.text("reason").is_empty() { "case" } else { step.text("reason") }.to_owned(),
        },
        "exit" => Syscall::Exit {
            code: step.value("code").as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(0),
            message: step.text("message").to_owned(),
        },
        "checkpolicy" => Syscall::CheckPolicy(Box::new(Syscall::Exec {
            tool: step.value("tool").as_str()?.to_owned(),
            arguments: RawArguments::Value(step.value("args").clone()),
            deadline: None,
        })),
        _ => return None,
    })
}

fn change(mode: &Value) -> Option<Change> {
    match mode {
        Value::Null => Some(Change::Replace),
        mode => match mode.as_str()? {
            "replace" | "write" | "w" | "overwrite" => Some(Change::Replace),
            "append" | "a" => Some(Change::Append),
            "create_new" | "create" | "x" => Some(Change::CreateNew),
            "remove" | "delete" => Some(Change::Remove),
            _ => None,
        },
    }
}

fn flags(mode: &Value) -> Option<OpenFlags> {
    let none = OpenFlags::default();
    match mode {
        Value::Null => Some(OpenFlags { read: true, ..none }),
        Value::Array(words) => words.iter().try_fold(none, |flags, word| {
            let more = match word.as_str()?.to_ascii_lowercase().as_str() {
                "read" => OpenFlags { read: true, ..none },
                "write" => OpenFlags { write: true, ..none },
                "append" => OpenFlags { append: true, ..none },
                "create" => OpenFlags { create: true, ..none },
                "exclusive" | "create_new" => OpenFlags { create: true, exclusive: true, ..none },
                _ => return None,
            };
            Some(OpenFlags {
                read: flags.read | more.read,
                write: flags.write | more.write,
                append: flags.append | more.append,
                create: flags.create | more.create,
                exclusive: flags.exclusive | more.exclusive,
            })
        }),
        Value::Object(_) => serde_json::from_value(mode.clone()).ok(),
        mode => match mode.as_str()? {
            "r" | "read" | "ro" => Some(OpenFlags { read: true, ..none }),
            "w" | "write" | "wo" => Some(OpenFlags { write: true, create: true, ..none }),
            "r+" => Some(OpenFlags { read: true, write: true, ..none }),
            "rw" | "w+" | "read_write" => Some(OpenFlags { read: true, write: true, create: true, ..none }),
            "a" | "append" => Some(OpenFlags { append: true, create: true, ..none }),
            "a+" => Some(OpenFlags { read: true, append: true, create: true, ..none }),
            "x" | "create_new" => Some(OpenFlags { write: true, create: true, exclusive: true, ..none }),
            _ => None,
        },
    }
}

fn signal(name: &Value) -> Option<Signal> {
    match name {
        Value::Number(number) => Signal::from_number(u8::try_from(number.as_u64()?).ok()?),
        name => name.as_str()?.parse().ok(),
    }
}

fn signals(step: &Step) -> Option<SignalSet> {
    match step.value(step.first(&["signals", "signal"])?) {
        Value::Array(names) => names.iter().map(signal).collect(),
        one => signal(one).map(|one| SignalSet::EMPTY.with(one)),
    }
}

fn deadline(step: &Step) -> Option<Duration> {
    let key = step.first(&["deadline_ms", "timeout_ms", "deadline_s", "timeout_s"])?;
    step.duration(key)
}

fn value_of(reply: &Reply) -> Value {
    match reply {
        Reply::Output { output, .. } => output.value().clone(),
        Reply::Data { data, .. } => String::from_utf8_lossy(data).into_owned().into(),
        Reply::Opened(descriptor) => json!(descriptor.as_raw()),
        _ => Value::Null,
    }
}

fn refused(error: &CallError) -> Got {
    match error {
        CallError::Denied(_) | CallError::Invalid(_) | CallError::Dead(_) | CallError::KernelDown { .. } => {
            Got::Denied
        }
        // Allowed, and said to be not done: `marked_simulated` looks at the record.
        CallError::Simulated => Got::Allowed,
        CallError::File(error) if matches!(error.name(), "EROFS" | "EACCES") => Got::Denied,
        other => Got::Failed(other.to_string()),
    }
}
