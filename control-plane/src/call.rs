//! The eight system calls as an agent makes them, and what they answer.
//!
//! A [`Syscall`] is what ring 3 sends: plain data, nothing in it is believed. The border turns it into a request that
//! cannot hold a bad value before anything looks at it.

mod anthropic;
pub mod mcp;
mod openai;
pub mod wire;

use std::time::Duration;

use agent_primitives::json::{self, Value};
use agent_primitives::{LabelSet, Signal, SignalSet};
use agent_tool_registry::{Arguments, Output};
use bytes::Bytes;
use serde::Deserialize;

use crate::flow::Sources;
use crate::policy::Decision;
use crate::question::CallKind;
use crate::signal::Notice;
use crate::vfs::{Descriptor, OpenFlags, Version};

pub use self::anthropic::tool_calls_from_anthropic;
pub use self::openai::{MAX_TOOL_CALLS, ToolCall, tool_calls_from_openai};
pub use crate::vfs::MAX_TRANSFER;

/// Longest message of an exit, and longest reason of a signal, in bytes.
pub const MAX_MESSAGE: u64 = 4096;

/// Longest time to live that a write can give a file; longer is for ever.
pub const MAX_TTL: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The file a read is about.
#[derive(Clone, Debug)]
pub enum FileRef {
    /// By path, as the agent sees it or below `/agent/<own id>`.
    ///
    /// `/<directory>/?q=<words>&k=<number>` searches what lies below a directory, if its store can: at most `k` files,
    /// [`DEFAULT_HITS`](crate::vfs::DEFAULT_HITS) unless said, that fit the words, percent-encoded, best. It reads as a line per
    /// file, `{"path":…,"score":…,"text":…}`. Policy is asked about reading the directory, and again about each file:
    /// what it does not allow to be read is left out.
    Path(String),
    /// By a descriptor of the agent's own.
    Descriptor(Descriptor),
}

/// The file a write is about, and how it changes.
#[derive(Clone, Debug)]
pub enum WriteTo {
    /// By path, as the agent sees it or below `/agent/<own id>`.
    Path {
        /// The path.
        path: String,
        /// How the file changes.
        change: Change,
        /// Only when the file is at this version.
        expected: Option<Version>,
        /// How long from now the file exists, at most [`MAX_TTL`]. `None` means for ever, and when appending as long as it
        /// would have anyway.
        ttl: Option<Duration>,
    },
    /// By a descriptor of the agent's own, as it was opened.
    Descriptor {
        /// The descriptor.
        descriptor: Descriptor,
        /// Where; `None` means the descriptor's position.
        offset: Option<u64>,
    },
}

/// How a write by path changes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The data becomes the whole content; the file is created if it is not there.
    Replace,
    /// The data is added at the end; the file is created if it is not there.
    Append,
    /// The file is created with the data; refused when it exists.
    CreateNew,
    /// The file is removed; the data must be empty.
    Remove,
}

impl Change {
    /// The change in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Append => "append",
            Self::CreateNew => "create_new",
            Self::Remove => "remove",
        }
    }
}

/// Arguments of a tool, in whichever form the agent has them. None is believed before the border has read it.
#[derive(Clone, Debug)]
pub enum RawArguments {
    /// A value built in memory.
    Value(Value),
    /// JSON text, as a model writes it.
    Json(Bytes),
    /// Arguments that were read before, to be used again.
    Checked(Arguments),
    /// Arguments of an agent that says what each was made from. What it says counts only if the host has spawned it with
    /// [`Provenance::Declared`](crate::flow::Provenance::Declared).
    Sourced(Box<Self>, Sources),
}

/// One system call.
#[derive(Clone, Debug)]
pub enum Syscall {
    /// Read a file, or a directory's listing.
    Read {
        /// The file.
        file: FileRef,
        /// Where to start; `None` means the descriptor's position, or the start of a path.
        offset: Option<u64>,
        /// Most bytes to return, at most [`MAX_TRANSFER`].
        length: u64,
        /// Whether a read of messages answers `EAGAIN` where it would have to wait. No other read waits for anything.
        nonblock: bool,
    },
    /// Change a file.
    Write {
        /// The file, and how.
        to: WriteTo,
        /// The bytes, at most [`MAX_TRANSFER`].
        data: Bytes,
    },
    /// Open a descriptor.
    Open {
        /// The path.
        path: String,
        /// What for.
        flags: OpenFlags,
    },
    /// Close a descriptor.
    Close {
        /// The descriptor.
        descriptor: Descriptor,
    },
    /// Run a tool.
    Exec {
        /// The tool's id.
        tool: String,
        /// Its arguments.
        arguments: RawArguments,
        /// Give up after this long; the tool's own limit if shorter. Neither runs on while the agent is stopped and the tool
        /// has begun; before it has, this one does.
        deadline: Option<Duration>,
    },
    /// Raise a signal.
    Signal {
        /// The receiver.
        to: String,
        /// The signal.
        signal: Signal,
        /// Why, for the record.
        reason: String,
    },
    /// Change the own signal mask.
    Mask {
        /// Signals to hold back.
        block: SignalSet,
        /// Signals to let through again.
        unblock: SignalSet,
    },
    /// Wait for one of a set of signals that were held back.
    Await {
        /// The signals.
        set: SignalSet,
        /// Give up after this long.
        deadline: Duration,
    },
    /// Ask what a call would get.
    CheckPolicy(Box<Syscall>),
    /// End the agent.
    Exit {
        /// The exit code.
        code: i32,
        /// A last word, at most [`MAX_MESSAGE`] bytes.
        message: String,
    },
}

impl Syscall {
    /// Which of the eight calls this is.
    #[must_use]
    pub const fn kind(&self) -> CallKind {
        match self {
            Self::Read { .. } => CallKind::Read,
            Self::Write { .. } => CallKind::Write,
            Self::Open { .. } => CallKind::Open,
            Self::Close { .. } => CallKind::Close,
            Self::Exec { .. } => CallKind::Exec,
            Self::Signal { .. } | Self::Mask { .. } | Self::Await { .. } => CallKind::Signal,
            Self::CheckPolicy(_) => CallKind::CheckPolicy,
            Self::Exit { .. } => CallKind::Exit,
        }
    }

    /// Reads a tool call from untrusted JSON: `{"tool": …, "arguments": {…}}` and nothing else.
    ///
    /// # Errors
    /// Text that is not such an object, within the limits of [`json::Limits::DEFAULT`]: unknown and repeated keys are
    /// refused, not skipped, so nothing that was not judged can ride along.
    pub fn exec_from_json(text: &[u8]) -> Result<Self, BadCall> {
        let value = json::parse(text, &json::Limits::DEFAULT).map_err(|error| BadCall(error.to_string()))?;
        let call: WireExec = serde_json::from_value(value).map_err(|error| BadCall(error.to_string()))?;
        Ok(Self::Exec { tool: call.tool, arguments: RawArguments::Value(call.arguments), deadline: None })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExec {
    tool: String,
    arguments: Value,
}

/// A text that is not a system call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a system call: {0}")]
pub struct BadCall(String);

impl BadCall {
    pub(crate) fn new(reason: &dyn std::fmt::Display) -> Self {
        Self(reason.to_string())
    }

    /// Stable code of the error.
    pub const CODE: &'static str = "AK0901";
}

/// What a call answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Bytes read, and the version they were read at.
    Data {
        /// The bytes; empty at the end of the file.
        data: Bytes,
        /// The version of the file; a directory and a message have none.
        version: Option<Version>,
        /// What the bytes carry.
        labels: LabelSet,
    },
    /// A file was changed.
    Written {
        /// How many bytes.
        bytes: u64,
        /// The version it has now; `None` when it is gone, or was a message.
        version: Option<Version>,
    },
    /// A descriptor was opened.
    Opened(Descriptor),
    /// A tool answered.
    Output {
        /// The answer.
        output: Output,
        /// What it carries.
        labels: LabelSet,
        /// The number of the call, under which the record has it and by which a later call can name it as a source.
        call: u64,
    },
    /// A signal that was awaited.
    Signal(Notice),
    /// What the call in question would get.
    Decision(Decision),
    /// Done; there is nothing to say.
    Done,
}
