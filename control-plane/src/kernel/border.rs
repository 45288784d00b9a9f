//! The border: what ring 3 sends becomes a request that cannot hold a bad value, or a typed refusal.
//!
//! A mistake here kills nobody: a malformed path or argument is an honest slip of a model as often as an attack, and
//! either way nothing was done.

use std::mem::{replace, take};
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{AgentId, BadId, Signal, SignalSet, ToolId};
use agent_tool_registry::{Arguments, ToolContract};
use bytes::Bytes;

use super::Inner;
use super::files::Files;
use super::table::Agent;
use crate::call::{Change, FileRef, MAX_MESSAGE, MAX_TRANSFER, MAX_TTL, RawArguments, Syscall, WriteTo};
use crate::error::{CallError, InvalidCall};
use crate::flow::Sources;
use crate::policy::request::{
    AwaitSignal, ChangeMask, CloseFile, ExitWith, How, OpenFile, ReadFile, Request, RunTool, SendSignal,
    WriteFile,
};
use crate::question::CallKind;
use crate::vfs::{Descriptor, Query, VfsPath};

/// A call that did not pass, with what is known of it for the record.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) syscall: CallKind,
    pub(crate) what: String,
    pub(crate) error: Box<CallError>,
}

/// Parses a call.
pub(crate) fn parse(kernel: &Inner, agent: &Agent, mut call: Syscall) -> Result<Request, Refused> {
    let speaker = Speaker { id: &agent.id, files: Some(&agent.files) };
    parse_for(kernel, speaker, &mut call).map_err(|error| Refused {
        syscall: call.kind(),
        what: describe(&call),
        error: Box::new(error.into()),
    })
}

/// Who makes a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) id: &'a AgentId,
    /// `None` for a call that is carried out elsewhere: then it can be on no descriptor, and about nothing but the world.
    pub(crate) files: Option<&'a Files>,
}

/// Parses a call of an agent that this kernel does not hold.
pub(crate) fn request(
    kernel: &Inner,
    speaker: Speaker<'_>,
    mut call: Syscall,
) -> Result<Request, InvalidCall> {
    match call.kind() {
        CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => return Err(InvalidCall::NeedsAgent),
        CallKind::Read | CallKind::Write | CallKind::Open | CallKind::Exec | CallKind::Signal => {}
    }
    if matches!(call, Syscall::Mask { .. } | Syscall::Await { .. }) {
        return Err(InvalidCall::NeedsAgent);
    }
    parse_for(kernel, speaker, &mut call)
}

/// Takes what is large out of the call; names and paths stay, so that a refusal can still say what it was about.
fn parse_for(kernel: &Inner, agent: Speaker<'_>, call: &mut Syscall) -> Result<Request, InvalidCall> {
    Ok(match call {
        Syscall::Read { file, offset, length, nonblock } => {
            bounded("length", *length, MAX_TRANSFER)?;
            let (path, descriptor, query) = match file {
                FileRef::Path(text) => {
                    let (path, query) = searched(text)?;
                    (own_path(agent, path)?, None, query)
                }
                FileRef::Descriptor(descriptor) => (path_of(agent, *descriptor)?, Some(*descriptor), None),
            };
            let (offset, length, nonblock) = (*offset, *length, *nonblock);
            Request::Read(ReadFile { path, descriptor, offset, length, nonblock, query })
        }
        Syscall::Write { to, data } => {
            bounded("data", data.len() as u64, MAX_TRANSFER)?;
            let (path, how) = write_to(agent, to, data)?;
            Request::Write(WriteFile { path, how, data: take(data) })
        }
        Syscall::Open { path, flags } => {
            Request::Open(OpenFile { path: own_path(agent, path)?, flags: *flags })
        }
        Syscall::Close { descriptor } => Request::Close(CloseFile { descriptor: *descriptor }),
        Syscall::Exec { tool, arguments, deadline } => {
            let arguments = replace(arguments, RawArguments::Value(Value::Null));
            exec(kernel, agent, tool, arguments, *deadline)?
        }
        Syscall::Signal { to, signal, reason } => {
            bounded("reason", reason.len() as u64, MAX_MESSAGE)?;
            let to = to.parse::<AgentId>().map_err(|source| bad_name(to, source))?;
            Request::Signal(SendSignal { to, signal: *signal, reason: take(reason) })
        }
        Syscall::Mask { block, unblock } => {
            maskable(block.union(*unblock))?;
            Request::Mask(ChangeMask { block: *block, unblock: *unblock })
        }
        Syscall::Await { set, deadline } => {
            maskable(*set)?;
            Request::Await(AwaitSignal { set: *set, deadline: *deadline })
        }
        Syscall::CheckPolicy(asked) => match &mut **asked {
            Syscall::CheckPolicy(_) | Syscall::Exit { .. } => return Err(InvalidCall::NotAQuestion),
            asked => Request::CheckPolicy(Box::new(parse_for(kernel, agent, asked)?)),
        },
        Syscall::Exit { code, message } => {
            bounded("message", message.len() as u64, MAX_MESSAGE)?;
            Request::Exit(ExitWith { code: *code, message: take(message) })
        }
    })
}

fn write_to(agent: Speaker<'_>, to: &WriteTo, data: &Bytes) -> Result<(VfsPath, How), InvalidCall> {
    match to {
        WriteTo::Path { change: Change::Remove, .. } if !data.is_empty() => {
            Err(InvalidCall::TooLarge { field: "data", limit: 0 })
        }
        WriteTo::Path { path, change, expected, ttl } => {
            living(*change, *ttl)?;
            Ok((own_path(agent, path)?, How::Path { change: *change, expected: *expected, ttl: *ttl }))
        }
        WriteTo::Descriptor { descriptor, offset } => {
            Ok((path_of(agent, *descriptor)?, How::Descriptor { descriptor: *descriptor, offset: *offset }))
        }
    }
}

fn exec(
    kernel: &Inner,
    agent: Speaker<'_>,
    tool: &str,
    arguments: RawArguments,
    deadline: Option<Duration>,
) -> Result<Request, InvalidCall> {
    let id = tool.parse::<ToolId>().map_err(|source| bad_name(tool, source))?;
    let (arguments, sources) = match arguments {
        RawArguments::Sourced(arguments, sources) => (*arguments, sources),
        arguments => (arguments, Sources::new()),
    };
    let arguments = match arguments {
        RawArguments::Value(value) => Arguments::from_value(value),
        RawArguments::Json(text) => Arguments::parse(&text),
        RawArguments::Checked(arguments) => Ok(arguments),
        RawArguments::Sourced(..) => return Err(InvalidCall::SourcedTwice),
    };
    let arguments = arguments.map_err(InvalidCall::Tool)?;
    // Of a tool that is hidden from an agent nothing is told to it: no state, no argument, no likely name.
    let seen = |contract: &ToolContract| kernel.shows(agent.id, contract);
    let run = RunTool::prepare(&kernel.tools, id.clone(), arguments, deadline)
        .map_err(|error| InvalidCall::Tool(kernel.tools.refusal(&id, error, &seen)))?;
    Ok(Request::Exec(run.made_from(sources)))
}

/// The path a call on a descriptor is judged on: the one it was opened with.
fn path_of(agent: Speaker<'_>, descriptor: Descriptor) -> Result<VfsPath, InvalidCall> {
    let files = agent.files.ok_or(InvalidCall::NeedsAgent)?;
    files.path_of(descriptor).map_err(InvalidCall::File)
}

/// A directory and what to look for below it, or a path and nothing.
fn searched(text: &str) -> Result<(&str, Option<Query>), InvalidCall> {
    Query::split(text).map_err(|source| InvalidCall::Path { path: excerpt(text), source })
}

fn living(change: Change, ttl: Option<Duration>) -> Result<(), InvalidCall> {
    let Some(ttl) = ttl else { return Ok(()) };
    // A microsecond is as fine as a file's end is kept.
    if change == Change::Remove || ttl < Duration::from_micros(1) || MAX_TTL < ttl {
        return Err(InvalidCall::Ttl { days: MAX_TTL.as_secs() / (24 * 3600) });
    }
    Ok(())
}

fn own_path(agent: Speaker<'_>, text: &str) -> Result<VfsPath, InvalidCall> {
    let path = VfsPath::parse(text).map_err(|source| InvalidCall::Path { path: excerpt(text), source })?;
    path.seen_by(agent.id).map_err(|_other| InvalidCall::OtherTree { path: excerpt(text) })
}

fn maskable(set: SignalSet) -> Result<(), InvalidCall> {
    let fixed = set.iter().find(|signal: &Signal| !signal.maskable());
    fixed.map_or(Ok(()), |signal| Err(InvalidCall::Unmaskable { signal }))
}

fn bounded(field: &'static str, size: u64, limit: u64) -> Result<(), InvalidCall> {
    if limit < size { Err(InvalidCall::TooLarge { field, limit }) } else { Ok(()) }
}

fn bad_name(name: &str, source: BadId) -> InvalidCall {
    InvalidCall::Name { name: excerpt(name), source }
}

/// What a refused call was about, for the record: cut, so that a flood of nonsense stays small.
pub(crate) fn describe(call: &Syscall) -> String {
    match call {
        Syscall::Read { file: FileRef::Path(path), .. } => excerpt(path),
        Syscall::Write { to: WriteTo::Path { path, .. }, .. } => excerpt(path),
        Syscall::Read { file: FileRef::Descriptor(descriptor), .. }
        | Syscall::Write { to: WriteTo::Descriptor { descriptor, .. }, .. }
        | Syscall::Close { descriptor } => format!("descriptor {}", descriptor.as_raw()),
        Syscall::Open { path, .. } => excerpt(path),
        Syscall::Exec { tool, .. } => excerpt(tool),
        Syscall::Signal { to, signal, .. } => format!("{signal} to {}", excerpt(to)),
        Syscall::Mask { .. } => "mask".to_owned(),
        Syscall::Await { .. } => "await".to_owned(),
        Syscall::CheckPolicy(asked) => describe(asked),
        Syscall::Exit { .. } => String::new(),
    }
}

fn excerpt(text: &str) -> String {
    /// Enough to recognise what was meant.
    const MAX_EXCERPT: usize = 128;
    text.chars().take(MAX_EXCERPT).flat_map(char::escape_debug).collect()
}
