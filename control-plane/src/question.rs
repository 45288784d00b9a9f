//! What policy is asked: who wants to do what to which object.

use agent_primitives::{AgentId, LabelSet, Signal, TenantId, Timestamp, ToolId};
use agent_tool_registry::EffectSet;
use serde_json::{Map, Value};

use crate::budget::BudgetState;
use crate::flow::Argument;
use crate::history::History;
use crate::mode::Mode;
use crate::vfs::VfsPath;

/// The eight system calls. Numbers are ABI and never change; the set is exhaustive on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum CallKind {
    /// Read a file or a directory's listing.
    Read = 1,
    /// Write, append to, create or remove a file.
    Write = 2,
    /// Open a descriptor.
    Open = 3,
    /// Close a descriptor.
    Close = 4,
    /// Run a tool.
    Exec = 5,
    /// Raise a signal, change the own mask, or await a signal.
    Signal = 6,
    /// Ask what a call would get, without making it.
    CheckPolicy = 7,
    /// End.
    Exit = 8,
}

impl CallKind {
    /// Every call, in ascending number.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Open,
        Self::Close,
        Self::Exec,
        Self::Signal,
        Self::CheckPolicy,
        Self::Exit,
    ];

    /// The ABI number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The word policies use for the call.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Open => "open",
            Self::Close => "close",
            Self::Exec => "exec",
            Self::Signal => "signal",
            Self::CheckPolicy => "check_policy",
            Self::Exit => "exit",
        }
    }
}

impl std::fmt::Display for CallKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks and in what situation, as the kernel's own tables know it. Nothing in here comes from the request.
///
/// Everything a decision depends on besides policy and question is in here, the time included, so that equal inputs give
/// equal answers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Caller<'a> {
    /// The agent that made the call.
    pub agent: &'a AgentId,
    /// Whose agent it is, if the host said so.
    pub tenant: Option<&'a TenantId>,
    /// What the host said about the agent when it was spawned; policies read it as `context.<key>`.
    pub facts: &'a Map<String, Value>,
    /// What is known of everything the agent has read so far.
    pub labels: &'a LabelSet,
    /// What the agent has done in its life so far.
    pub history: &'a History,
    /// When the call is judged; the record carries the same time.
    pub now: Timestamp,
    /// What the host has put the kernel in. Empty where the policy does not ask for it.
    pub mode: &'a str,
    /// How much of the budgets above the agent is used. Empty where the policy does not ask for it.
    pub budgets: &'a [BudgetState],
    /// The agents it descends from, its parent first, each in its own situation. What one of them may not do, the agent may
    /// not do either.
    pub above: &'a [Caller<'a>],
    /// The descendant that makes the call, where the question is whether this agent could.
    pub acting: Option<&'a AgentId>,
}

impl<'a> Caller<'a> {
    /// An agent of no tenant that has read and done nothing, at the beginning of 1970.
    #[must_use]
    pub const fn new(agent: &'a AgentId, facts: &'a Map<String, Value>) -> Self {
        let (labels, history, now) = (&LabelSet::EMPTY, &History::EMPTY, Timestamp::from_micros(0));
        let (mode, above, acting) = (Mode::NORMAL, &[], None);
        Self { agent, tenant: None, facts, labels, history, now, mode, budgets: &[], above, acting }
    }

    /// The same agent, of this tenant.
    #[must_use]
    pub const fn of_tenant(mut self, tenant: Option<&'a TenantId>) -> Self {
        self.tenant = tenant;
        self
    }

    /// The same agent, having read what carries these labels.
    #[must_use]
    pub const fn having_read(mut self, labels: &'a LabelSet) -> Self {
        self.labels = labels;
        self
    }

    /// The same agent, with the kernel in this mode.
    #[must_use]
    pub const fn in_mode(mut self, mode: &'a str) -> Self {
        self.mode = mode;
        self
    }

    /// The same agent, with these budgets above it.
    #[must_use]
    pub const fn with_budgets(mut self, budgets: &'a [BudgetState]) -> Self {
        self.budgets = budgets;
        self
    }

    /// The same agent, having done this.
    #[must_use]
    pub const fn having_done(mut self, history: &'a History) -> Self {
        self.history = history;
        self
    }

    /// The same agent, as a descendant of these.
    #[must_use]
    pub const fn below(mut self, above: &'a [Caller<'a>]) -> Self {
        self.above = above;
        self
    }

    /// The same agent, asked about a call that its descendant makes.
    #[must_use]
    pub const fn acting_through(mut self, descendant: &'a AgentId) -> Self {
        self.acting = Some(descendant);
        self
    }

    /// The same agent at another time.
    #[must_use]
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }
}

/// What is asked for. Borrowed from the parsed request, so what is judged is what is executed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Question<'a> {
    /// Which system call.
    pub call: CallKind,
    /// What it touches.
    pub object: Object<'a>,
    /// What its arguments carry, where that was found out; otherwise they are taken to carry all that the caller does.
    pub arguments: Option<&'a [Argument]>,
    /// What the tool's contract says it may do to the world, if it says so.
    pub effects: Option<EffectSet>,
}

impl<'a> Question<'a> {
    /// Whether `call` may touch `object`.
    #[must_use]
    pub const fn new(call: CallKind, object: Object<'a>) -> Self {
        Self { call, object, arguments: None, effects: None }
    }

    /// The same question, about a tool that declares these effects; none at all is a tool that does not say.
    #[must_use]
    pub const fn declaring(mut self, effects: EffectSet) -> Self {
        self.effects = if effects.is_empty() { None } else { Some(effects) };
        self
    }

    /// The same question, knowing what the arguments carry.
    #[must_use]
    pub const fn carrying(mut self, arguments: Option<&'a [Argument]>) -> Self {
        self.arguments = arguments;
        self
    }
}

/// What a call touches.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A file or directory, as the agent sees it. For a call on a descriptor, the path it was opened with.
    File(&'a VfsPath),
    /// A tool and the arguments it would get.
    Tool {
        /// The tool.
        id: &'a ToolId,
        /// The arguments: always an object.
        arguments: &'a Value,
    },
    /// An agent that would receive a signal.
    Agent {
        /// The receiver.
        id: &'a AgentId,
        /// The signal.
        signal: Signal,
    },
}
