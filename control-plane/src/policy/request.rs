//! Requests: calls that passed the border. Each owns exactly what its service will use, so what is judged and recorded
//! is what is executed.

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{AgentId, Digest, LabelSet, Resource, Signal, SignalSet, TooManyLabels, ToolId};
use agent_tool_registry::{Arguments, Effect, EffectSet, Invocation, ToolContract, ToolError};
use bytes::Bytes;

use crate::budget::Amounts;
use crate::call::Change;
use crate::error::InvalidCall;
use crate::flow::{Argument, Sources};
use crate::kernel::FILE_DEADLINE;
use crate::kernel::catalogue::Catalogue;
use crate::kernel::files::Files;
use crate::kernel::own::{self, KernelTool};
use crate::question::{CallKind, Object, Question};
use crate::recorder;
use crate::vfs::{Descriptor, OpenFlags, Query, Version, VfsPath};

/// One request per call; the three forms of `SYS_SIGNAL` apart.
#[derive(Debug)]
pub(crate) enum Request {
    Read(ReadFile),
    Write(WriteFile),
    Open(OpenFile),
    Close(CloseFile),
    Exec(RunTool),
    Signal(SendSignal),
    Mask(ChangeMask),
    Await(AwaitSignal),
    CheckPolicy(Box<Request>),
    Exit(ExitWith),
}

#[derive(Debug)]
pub(crate) struct ReadFile {
    pub(crate) path: VfsPath,
    pub(crate) descriptor: Option<Descriptor>,
    pub(crate) offset: Option<u64>,
    pub(crate) length: u64,
    pub(crate) nonblock: bool,
    /// What to look for below the path, in place of reading it.
    pub(crate) query: Option<Query>,
}

#[derive(Debug)]
pub(crate) struct WriteFile {
    pub(crate) path: VfsPath,
    pub(crate) how: How,
    pub(crate) data: Bytes,
}

#[derive(Debug)]
pub(crate) enum How {
    Path { change: Change, expected: Option<Version>, ttl: Option<Duration> },
    Descriptor { descriptor: Descriptor, offset: Option<u64> },
}

impl How {
    fn name(&self) -> &'static str {
        match self {
            Self::Path { change, .. } => change.name(),
            Self::Descriptor { .. } => "descriptor",
        }
    }

    fn descriptor(&self) -> Option<u32> {
        match self {
            Self::Path { .. } => None,
            Self::Descriptor { descriptor, .. } => Some(descriptor.as_raw()),
        }
    }

    fn offset(&self) -> Option<u64> {
        match self {
            Self::Path { .. } => None,
            Self::Descriptor { offset, .. } => *offset,
        }
    }

    fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Path { ttl, .. } => *ttl,
            Self::Descriptor { .. } => None,
        }
    }

    fn expected(&self) -> Option<u128> {
        match self {
            Self::Path { expected, .. } => expected.map(Version::as_u128),
            Self::Descriptor { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: VfsPath,
    pub(crate) flags: OpenFlags,
}

#[derive(Debug)]
pub(crate) struct CloseFile {
    pub(crate) descriptor: Descriptor,
}

/// What a tool call comes to.
#[derive(Debug)]
pub(super) enum Job {
    Tool(Invocation),
    /// The kernel carries it out itself.
    Kernel(KernelTool),
}

/// The job is private to the policy module: only a permit can run it.
#[derive(Debug)]
pub(crate) struct RunTool {
    id: ToolId,
    arguments: Arguments,
    contract: Arc<ToolContract>,
    effects: EffectSet,
    /// An error when a path argument leads nowhere it may: policy is asked first, so that only who may run the tool
    /// learns what is on the host's disk.
    pub(super) job: Result<Job, ToolError>,
    pub(super) deadline: Option<Duration>,
    /// What the agent says each argument was made from.
    sources: Sources,
    /// What each argument carries, once that was found out.
    carried: Option<Vec<Argument>>,
    /// What the agent carried when it was judged.
    speaker: LabelSet,
}

/// What the arguments of a call carry together.
#[derive(Debug)]
pub(crate) enum Carried {
    /// As was found out of each.
    Found(LabelSet),
    /// No more than the agent did; no policy looked at them one by one.
    AtMost(LabelSet),
}

impl RunTool {
    /// Prepares a tool for arguments that fit its schema.
    pub(crate) fn prepare(
        tools: &Catalogue,
        id: ToolId,
        arguments: Arguments,
        deadline: Option<Duration>,
    ) -> Result<Self, ToolError> {
        let tool = tools.resolve(&id)?;
        let job = match tool.prepare(arguments.clone()) {
            Err(error @ (ToolError::PathEscapes { .. } | ToolError::PathMissing { .. })) => Err(error),
            prepared => Ok(match prepared? {
                _checked if own::is_reserved(&id) => Job::Kernel(KernelTool::parse(&id, arguments.value())?),
                invocation => Job::Tool(invocation),
            }),
        };
        let contract = Arc::clone(tool.contract());
        Ok(Self {
            effects: contract.effects().iter().copied().collect(),
            contract,
            id,
            arguments,
            job,
            deadline,
            sources: Sources::new(),
            carried: None,
            speaker: LabelSet::EMPTY,
        })
    }

    /// The same request, with what the agent says its arguments were made from.
    pub(crate) fn made_from(mut self, sources: Sources) -> Self {
        self.sources = sources;
        self
    }

    pub(crate) fn id(&self) -> &ToolId {
        &self.id
    }

    pub(crate) fn contract(&self) -> &Arc<ToolContract> {
        &self.contract
    }

    pub(crate) fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    pub(crate) fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Keeps what the agent carries now, in place of what was found out before.
    pub(crate) fn spoken_under(&mut self, labels: &LabelSet) {
        self.speaker = labels.clone();
        self.carried = None;
    }

    /// What the arguments carry together.
    pub(crate) fn carried_together(&self) -> Result<Carried, TooManyLabels> {
        let Some(carried) = &self.carried else { return Ok(Carried::AtMost(self.speaker.clone())) };
        let together =
            carried.iter().try_fold(LabelSet::EMPTY, |all, argument| all.join(&argument.labels))?;
        Ok(Carried::Found(together))
    }

    pub(crate) fn carry(&mut self, carried: Vec<Argument>) {
        self.carried = Some(carried);
    }

    /// What the arguments carry, where that was found out.
    pub(crate) fn carried(&self) -> &[Argument] {
        self.carried.as_deref().unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct SendSignal {
    pub(crate) to: AgentId,
    pub(crate) signal: Signal,
    pub(crate) reason: String,
}

#[derive(Debug)]
pub(crate) struct ChangeMask {
    pub(crate) block: SignalSet,
    pub(crate) unblock: SignalSet,
}

#[derive(Debug)]
pub(crate) struct AwaitSignal {
    pub(crate) set: SignalSet,
    pub(crate) deadline: Duration,
}

#[derive(Debug)]
pub(crate) struct ExitWith {
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl Request {
    /// The tool call in it, or in the question it is.
    pub(crate) fn tool_call(&mut self) -> Option<&mut RunTool> {
        match self {
            Self::Exec(run) => Some(run),
            Self::CheckPolicy(asked) => asked.tool_call(),
            _ => None,
        }
    }

    /// Whether it is a call of one of the kernel's own tools.
    pub(crate) fn is_own_tool(&self) -> bool {
        matches!(self, Self::Exec(run) if own::is_reserved(&run.id))
    }

    /// Whether a human has to agree to it, whatever policy says.
    pub(crate) fn needs_consent(&self) -> bool {
        matches!(self, Self::Exec(run) if own::needs_consent(&run.id))
    }

    /// What its arguments carry, where that was found out.
    pub(crate) fn carried(&self) -> &[Argument] {
        match self {
            Self::Exec(run) => run.carried(),
            Self::CheckPolicy(asked) => asked.carried(),
            _ => &[],
        }
    }

    /// What policy is asked besides [`Request::question`]: opening a file to create or change it is also a write.
    pub(crate) fn second_question(&self) -> Option<Question<'_>> {
        match self {
            Self::Open(open) if open.flags.writes() => {
                Some(Question::new(CallKind::Write, Object::File(&open.path)))
            }
            _ => None,
        }
    }

    /// What policy is asked. `None` for what is always the agent's own business: closing its descriptors, its own mask
    /// and mailbox, asking, and ending itself.
    pub(crate) fn question(&self) -> Option<Question<'_>> {
        let (call, object) = match self {
            Self::Read(read) => (CallKind::Read, Object::File(&read.path)),
            Self::Write(write) => (CallKind::Write, Object::File(&write.path)),
            Self::Open(open) => (CallKind::Open, Object::File(&open.path)),
            Self::Exec(run) => {
                (CallKind::Exec, Object::Tool { id: &run.id, arguments: run.arguments.value() })
            }
            Self::Signal(send) => (CallKind::Signal, Object::Agent { id: &send.to, signal: send.signal }),
            Self::Close(_) | Self::Mask(_) | Self::Await(_) | Self::CheckPolicy(_) | Self::Exit(_) => {
                return None;
            }
        };
        let question = Question::new(call, object);
        Some(match self {
            Self::Exec(run) => question.declaring(run.effects).carrying(run.carried.as_deref()),
            _ => question,
        })
    }

    /// The most the call can use; `None` for what is the agent's own business and free.
    pub(crate) fn needs(&self) -> Option<Needs> {
        let mut needs = Needs::default();
        match self {
            Self::Read(read) => (needs.receives, needs.time) = (read.length, FILE_DEADLINE),
            Self::Write(write) => (needs.sends, needs.time) = (write.data.len() as u64, FILE_DEADLINE),
            Self::Open(_) => needs.time = FILE_DEADLINE,
            Self::Exec(run) => {
                needs.sends = run.arguments.canonical().len() as u64;
                let contract = &run.contract;
                needs.receives = contract.limits().output_bytes as u64;
                let allowed = contract.limits().deadline;
                needs.time = run.deadline.map_or(allowed, |own| own.min(allowed));
                needs.cost = contract.cost().iter().map(|(resource, amount)| (*resource, *amount)).collect();
            }
            Self::Signal(_) => {}
            Self::Close(_) | Self::Mask(_) | Self::Await(_) | Self::CheckPolicy(_) | Self::Exit(_) => {
                return None;
            }
        }
        Some(needs)
    }

    /// Whether the effect must not begin before its intent is on disk.
    pub(crate) fn has_side_effects(&self) -> bool {
        match self {
            Self::Write(_) | Self::Signal(_) => true,
            Self::Open(open) => open.flags.create,
            // A tool that declares nothing is taken to change something.
            Self::Exec(run) => {
                run.effects.is_empty() || !run.effects.within(EffectSet::from_iter([Effect::Read]))
            }
            Self::Read(_)
            | Self::Close(_)
            | Self::Mask(_)
            | Self::Await(_)
            | Self::CheckPolicy(_)
            | Self::Exit(_) => false,
        }
    }

    /// The request as the recorder writes it. A question is recorded as the call it asks about.
    pub(crate) fn as_event(&self) -> recorder::Request<'_> {
        match self {
            Self::Read(read) => recorder::Request::Read {
                path: read.path.as_str(),
                descriptor: read.descriptor.map(Descriptor::as_raw),
                offset: read.offset,
                length: read.length,
                nonblock: read.nonblock,
                query: read.query.as_ref().map(|query| (query.text(), query.limit() as u64)),
            },
            Self::Write(write) => recorder::Request::Write {
                path: write.path.as_str(),
                mode: write.how.name(),
                descriptor: write.how.descriptor(),
                offset: write.how.offset(),
                expected: write.how.expected(),
                bytes: write.data.len() as u64,
                digest: Digest::of(CONTENT_DOMAIN, &write.data),
                ttl: write.how.ttl().map(micros),
            },
            Self::Open(open) => recorder::Request::Open { path: open.path.as_str(), flags: open.flags },
            Self::Close(close) => {
                recorder::Request::Close { descriptor: u64::from(close.descriptor.as_raw()) }
            }
            Self::Exec(run) => recorder::Request::Exec {
                tool: run.id.as_str(),
                contract: run.contract.digest(),
                effects: run.effects,
                arguments: run.arguments.canonical(),
                deadline: run.deadline.map(micros),
            },
            Self::Signal(send) => recorder::Request::Signal {
                to: send.to.as_str(),
                signal: send.signal.number(),
                reason: &send.reason,
            },
            Self::Mask(mask) => {
                recorder::Request::Mask { block: mask.block.bits(), unblock: mask.unblock.bits() }
            }
            Self::Await(wait) => {
                recorder::Request::Await { set: wait.set.bits(), deadline: micros(wait.deadline) }
            }
            Self::CheckPolicy(asked) => asked.as_event(),
            Self::Exit(exit) => recorder::Request::Exit { code: exit.code, message: &exit.message },
        }
    }

    /// The request as it is to be judged again after a wait. A descriptor must still be open on what it was judged on, and a
    /// path argument of a tool is resolved anew.
    pub(crate) fn renewed(self, tools: &Catalogue, files: &Files) -> Result<Self, InvalidCall> {
        let (path, descriptor) = match &self {
            Self::Exec(_) => return self.prepared_again(tools),
            Self::Read(read) => (&read.path, read.descriptor),
            Self::Write(write) => match write.how {
                How::Descriptor { descriptor, .. } => (&write.path, Some(descriptor)),
                How::Path { .. } => (&write.path, None),
            },
            _ => return Ok(self),
        };
        if let Some(descriptor) = descriptor {
            let open = files.path_of(descriptor).map_err(InvalidCall::File)?;
            if open != *path {
                return Err(InvalidCall::Moved { path: path.to_string() });
            }
        }
        Ok(self)
    }

    fn prepared_again(self, tools: &Catalogue) -> Result<Self, InvalidCall> {
        let Self::Exec(RunTool { id, arguments, deadline, sources, .. }) = self else { return Ok(self) };
        let again = RunTool::prepare(tools, id, arguments, deadline).map_err(InvalidCall::Tool)?;
        // What the arguments carry is found out anew: the agent may have read more meanwhile.
        Ok(Self::Exec(again.made_from(sources)))
    }

    /// What a human is shown who is to consent: everything that is bound, contents of files aside, of which the beginning
    /// is. Not escaped; about `most` bytes.
    pub(crate) fn display(&self, most: usize) -> String {
        match self {
            Self::Exec(run) => {
                format!("{} {}", self.describe(), String::from_utf8_lossy(run.arguments.canonical()))
            }
            Self::Write(write) => {
                let shown = write.data.get(..most.min(MAX_EXCERPT)).unwrap_or(&write.data);
                let whole = if shown.len() < write.data.len() { "beginning with" } else { "all of it" };
                let digest = Digest::of(CONTENT_DOMAIN, &write.data);
                let lives = write.how.ttl().map_or(String::new(), |ttl| format!(" for {ttl:?}"));
                format!(
                    "{}{lives} ({}, {} bytes, digest {digest}), {whole}: {}",
                    self.describe(),
                    write.how.name(),
                    write.data.len(),
                    String::from_utf8_lossy(shown),
                )
            }
            Self::Open(open) => format!("{} ({:?})", self.describe(), open.flags),
            Self::Signal(send) => format!("{}: {}", self.describe(), send.reason),
            other => other.describe(),
        }
    }

    /// What makes two calls the same: everything that is recorded of them. `None` only if that has no encoding.
    pub(crate) fn identity(&self) -> Option<Digest> {
        let bytes = postcard::to_stdvec(&self.as_event()).ok()?;
        Some(Digest::of("agent-os call identity v1", &bytes))
    }

    /// The identity of a tool call, which its arguments carry with them.
    pub(crate) fn run(&self) -> Option<(ToolId, Digest)> {
        match self {
            Self::Exec(run) => Some((run.id.clone(), run.arguments.digest())),
            _ => None,
        }
    }

    /// A few words for the agent's error message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Read(ReadFile { path, query: Some(query), .. }) => {
                format!("searching `{path}` for `{}`", query.text())
            }
            Self::Read(read) => format!("reading `{}`", read.path),
            Self::Write(write) => format!("writing `{}`", write.path),
            Self::Open(open) => format!("opening `{}`", open.path),
            Self::Exec(run) => format!("tool `{}`", run.id),
            Self::Signal(send) => format!("{} to `{}`", send.signal, send.to),
            Self::Close(_) | Self::Mask(_) | Self::Await(_) | Self::CheckPolicy(_) | Self::Exit(_) => {
                "the call".to_owned()
            }
        }
    }
}

/// The most that one call can use, besides counting as one.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// Bytes that go with the call.
    pub(crate) sends: u64,
    /// Bytes that may come back.
    pub(crate) receives: u64,
    pub(crate) time: Duration,
    /// What the tool's contract declares.
    pub(crate) cost: Vec<(Resource, u64)>,
}

impl Needs {
    pub(crate) fn amounts(&self) -> Amounts {
        let mut amounts = Amounts::default();
        amounts.add(Resource::Calls, 1);
        amounts.add(Resource::Bytes, self.sends.saturating_add(self.receives));
        amounts.add(Resource::WallTime, micros(self.time));
        for (resource, amount) in &self.cost {
            amounts.add(*resource, *amount);
        }
        amounts
    }
}

fn micros(wait: Duration) -> u64 {
    u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)
}

/// Most bytes of a file's new content that a human is shown.
const MAX_EXCERPT: usize = 1024;

/// Domain of the digests of file contents.
pub(crate) const CONTENT_DOMAIN: &str = "agent-os content v1";
