//! Recorded requests, parsed anew.

use agent_primitives::{AgentId, Signal, ToolId};
use agent_tool_registry::EffectSet;
use serde_json::Value;

use super::{Cause, Stop};
use crate::question::{CallKind, Object, Question};
use crate::recorder::{REDACTED, Request};
use crate::vfs::VfsPath;

/// A recorded request, parsed anew.
pub(super) enum Asked {
    File { call: CallKind, path: VfsPath, writes: bool },
    Tool { id: ToolId, arguments: Value, effects: EffectSet },
    Agent { id: AgentId, signal: Signal },
}

impl Asked {
    /// `None` for a call that policies cannot speak about.
    pub(super) fn of(request: &Request<'_>) -> Result<Option<Self>, Stop> {
        if is_redacted(request) {
            return Err(Stop::Not(Cause::Redacted));
        }
        Self::parse(request).map_err(Stop::Bad)
    }

    fn parse(request: &Request<'_>) -> Result<Option<Self>, &'static str> {
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
            Request::Close { .. }
            | Request::Mask { .. }
            | Request::Await { .. }
            | Request::Exit { .. }
            | Request::ExecRedacted { .. } => Ok(None),
        }
    }

    pub(super) fn question(&self) -> Question<'_> {
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

    pub(super) fn has_no_arguments(&self) -> bool {
        matches!(self, Self::Tool { arguments: Value::Object(named), .. } if named.is_empty())
    }

    pub(super) fn second_question(&self) -> Option<Question<'_>> {
        match self {
            Self::File { path, writes: true, .. } => Some(Question::new(CallKind::Write, Object::File(path))),
            _ => None,
        }
    }
}

/// Whether something policy may have looked at is not on record. An agent that writes the mark itself only makes its own
/// calls count as not judged.
fn is_redacted(request: &Request<'_>) -> bool {
    match request {
        Request::ExecRedacted { .. } => true,
        Request::Read { path, .. } | Request::Write { path, .. } | Request::Open { path, .. } => {
            path.contains(REDACTED)
        }
        Request::Signal { to, .. } => to.contains(REDACTED),
        Request::Exec { .. }
        | Request::Close { .. }
        | Request::Mask { .. }
        | Request::Await { .. }
        | Request::Exit { .. } => false,
    }
}
