//! Calls, as policy saw them.

use agent_primitives::Digest;
use agent_tool_registry::EffectSet;
use serde::{Deserialize, Serialize};

use crate::question::CallKind;
use crate::vfs::OpenFlags;

/// A call, as policy saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Request<'a> {
    /// Read.
    Read {
        /// Path as the agent sees it.
        path: &'a str,
        /// The descriptor read through.
        descriptor: Option<u32>,
        /// Where it starts; `None` is the descriptor's position.
        offset: Option<u64>,
        /// Most bytes.
        length: u64,
        /// Whether it does not wait for a message.
        nonblock: bool,
        /// The words that were looked for below the path, and how many hits were asked for at most.
        query: Option<(&'a str, u64)>,
    },
    /// Write.
    Write {
        /// Path as the agent sees it.
        path: &'a str,
        /// `replace`, `append`, `create_new` or `remove`; `descriptor` for a write through one.
        mode: &'a str,
        /// The descriptor written through.
        descriptor: Option<u32>,
        /// Where, if said; otherwise at the descriptor's position.
        offset: Option<u64>,
        /// The version the file had to be in, if said.
        expected: Option<u128>,
        /// How many bytes.
        bytes: u64,
        /// Digest of the bytes.
        digest: Digest,
        /// How long the file was to exist, in microseconds, if said.
        ttl: Option<u64>,
    },
    /// Open.
    Open {
        /// Path as the agent sees it.
        path: &'a str,
        /// What for.
        flags: OpenFlags,
    },
    /// Close.
    Close {
        /// Number of the descriptor.
        descriptor: u64,
    },
    /// Exec.
    Exec {
        /// The tool.
        tool: &'a str,
        /// Digest of the tool's contract.
        contract: Digest,
        /// What the contract says it may do to the world.
        effects: EffectSet,
        /// The arguments that were judged, in canonical form; these bytes are what the tool gets.
        arguments: &'a [u8],
        /// The caller's own limit, in microseconds, if it set one.
        deadline: Option<u64>,
    },
    /// Signal.
    Signal {
        /// The receiver.
        to: &'a str,
        /// The signal's number.
        signal: u8,
        /// Why.
        reason: &'a str,
    },
    /// Change of the own mask.
    Mask {
        /// Bits to block.
        block: u16,
        /// Bits to unblock.
        unblock: u16,
    },
    /// Wait for a signal.
    Await {
        /// Bits waited for.
        set: u16,
        /// How long at most, in microseconds.
        deadline: u64,
    },
    /// Exit.
    Exit {
        /// Code.
        code: i32,
        /// Last word.
        message: &'a str,
    },
    /// Exec, with arguments of which not all may be kept: see [`crate::recorder::Redaction`].
    ExecRedacted {
        /// The tool.
        tool: &'a str,
        /// Digest of the tool's contract.
        contract: Digest,
        /// What the contract says it may do to the world.
        effects: EffectSet,
        /// The arguments in canonical form, with [`crate::recorder::REDACTED`] where something was taken out.
        arguments: &'a [u8],
        /// Digest of the arguments that were judged and that the tool gets, as
        /// [`Arguments::digest`](agent_tool_registry::Arguments::digest) takes it.
        digest: Digest,
        /// Where something was taken out: JSON pointers, in ascending order.
        #[serde(borrow)]
        redacted: Vec<&'a str>,
        /// The caller's own limit, in microseconds, if it set one.
        deadline: Option<u64>,
    },
}

impl Request<'_> {
    /// Which of the eight calls this is.
    #[must_use]
    pub fn call(&self) -> CallKind {
        match self {
            Self::Read { .. } => CallKind::Read,
            Self::Write { .. } => CallKind::Write,
            Self::Open { .. } => CallKind::Open,
            Self::Close { .. } => CallKind::Close,
            Self::Exec { .. } | Self::ExecRedacted { .. } => CallKind::Exec,
            Self::Signal { .. } | Self::Mask { .. } | Self::Await { .. } => CallKind::Signal,
            Self::Exit { .. } => CallKind::Exit,
        }
    }

    /// Whether it touches something that policies speak about, rather than being always the agent's own business.
    #[must_use]
    pub fn is_about_something(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Write { .. }
            | Self::Open { .. }
            | Self::Exec { .. }
            | Self::ExecRedacted { .. }
            | Self::Signal { .. } => true,
            Self::Close { .. } | Self::Mask { .. } | Self::Await { .. } | Self::Exit { .. } => false,
        }
    }

    /// The tool it runs, if it runs one.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        match self {
            Self::Exec { tool, .. } | Self::ExecRedacted { tool, .. } => Some(tool),
            _ => None,
        }
    }
}
