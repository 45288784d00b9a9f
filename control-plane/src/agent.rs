//! What ring 3 holds: a handle with the eight calls, and nothing else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{AgentId, Signal, SignalSet, TicketId};
use bytes::Bytes;

use crate::call::{Change, FileRef, MAX_TRANSFER, RawArguments, Reply, Syscall, WriteTo};
use crate::error::{CallError, InvalidCall};
use crate::kernel::Inner;
use crate::kernel::table::Agent;
use crate::policy::Decision;
use crate::vfs::{Descriptor, OpenFlags};

/// An agent's way to the world. Each method is one system call and nothing more.
///
/// Cloning it gives another handle to the same life of the same agent. Once that life is over every call answers
/// [`CallError::Dead`], also when a new agent of the same name is alive. No method gives out the kernel, the tools or
/// the policy.
///
/// # Cancel safety
/// Every call may be dropped. Before its decision is recorded nothing has happened; after that the record says
/// `cancelled`, and the tool or file operation ends where it stood.
#[derive(Clone)]
pub struct AgentHandle {
    kernel: Arc<Inner>,
    agent: Arc<Agent>,
}

impl AgentHandle {
    pub(crate) fn new(kernel: Arc<Inner>, agent: Arc<Agent>) -> Self {
        Self { kernel, agent }
    }

    pub(crate) fn cell(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// The agent's name.
    #[must_use]
    pub fn id(&self) -> &AgentId {
        &self.agent.id
    }

    /// Makes any of the eight calls.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn syscall(&self, call: Syscall) -> Result<Reply, CallError> {
        self.kernel.syscall(&self.agent, call, None).await
    }

    /// Makes a call that was held, on the ticket it was held under. It never waits: unless the ticket is granted, and for
    /// exactly this call, it is refused. Whether the ticket is needed is for policy to say, which is asked again.
    ///
    /// # Errors
    /// See [`CallError`]; a ticket that does not help is [`CallError::Denied`] with the codes `AK0202` to `AK0207`.
    pub async fn resume(&self, ticket: TicketId, call: Syscall) -> Result<Reply, CallError> {
        self.kernel.syscall(&self.agent, call, Some(ticket)).await
    }

    /// Reads a file from the start, at most 16 MiB; a directory reads as its listing.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn read(&self, path: &str) -> Result<Bytes, CallError> {
        let call = Syscall::Read { file: FileRef::Path(path.to_owned()), offset: None, length: MAX_TRANSFER };
        Ok(match self.syscall(call).await? {
            Reply::Data { data, .. } => data,
            _ => Bytes::new(),
        })
    }

    /// Replaces a file's content, creating the file if it is not there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn write(&self, path: &str, data: impl Into<Bytes>) -> Result<(), CallError> {
        self.change(path, Change::Replace, data.into()).await
    }

    /// Appends to a file, creating it if it is not there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn append(&self, path: &str, data: impl Into<Bytes>) -> Result<(), CallError> {
        self.change(path, Change::Append, data.into()).await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn remove(&self, path: &str) -> Result<(), CallError> {
        self.change(path, Change::Remove, Bytes::new()).await
    }

    async fn change(&self, path: &str, change: Change, data: Bytes) -> Result<(), CallError> {
        let to = WriteTo::Path { path: path.to_owned(), change, expected: None };
        self.syscall(Syscall::Write { to, data }).await.map(drop)
    }

    /// Opens a descriptor. It is closed when the agent ends.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn open(&self, path: &str, flags: OpenFlags) -> Result<Descriptor, CallError> {
        match self.syscall(Syscall::Open { path: path.to_owned(), flags }).await? {
            Reply::Opened(descriptor) => Ok(descriptor),
            _ => Err(CallError::Crashed { panic: "an open answered something else".to_owned() }),
        }
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn close(&self, descriptor: Descriptor) -> Result<(), CallError> {
        self.syscall(Syscall::Close { descriptor }).await.map(drop)
    }

    /// Runs a tool with these arguments and returns what it answered.
    ///
    /// # Errors
    /// See [`CallError`]; arguments that do not fit the tool's schema are [`CallError::Invalid`].
    pub async fn exec(&self, tool: &str, arguments: Value) -> Result<Value, CallError> {
        let arguments = RawArguments::Value(arguments);
        match self.syscall(Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None }).await? {
            Reply::Output { output, .. } => Ok(output.into_value()),
            _ => Ok(Value::Null),
        }
    }

    /// Runs a tool as [`AgentHandle::exec`] does, from `{"tool": …, "arguments": {…}}` as untrusted text. Text that is
    /// anything else is refused and recorded like any malformed call.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn exec_json(&self, text: &[u8]) -> Result<Reply, CallError> {
        match Syscall::exec_from_json(text) {
            Ok(call) => self.syscall(call).await,
            Err(error) => Err(self.kernel.refuse_unreadable(&self.agent, error).await),
        }
    }

    /// Raises a signal against an agent, if policy allows.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn signal(&self, to: &str, signal: Signal, reason: &str) -> Result<(), CallError> {
        self.syscall(Syscall::Signal { to: to.to_owned(), signal, reason: reason.to_owned() }).await.map(drop)
    }

    /// Changes the own signal mask: holds `block` back, lets `unblock` through.
    ///
    /// # Errors
    /// See [`CallError`]; naming an unmaskable signal changes nothing and is [`CallError::Invalid`].
    pub async fn mask(&self, block: SignalSet, unblock: SignalSet) -> Result<(), CallError> {
        self.syscall(Syscall::Mask { block, unblock }).await.map(drop)
    }

    /// Waits until one of these signals is pending and takes it. A `SIGTERM` can be awaited whether or not it is
    /// masked; any other only while it is.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Timeout`] when none came.
    pub async fn await_signal(&self, set: SignalSet, deadline: Duration) -> Result<Signal, CallError> {
        match self.syscall(Syscall::Await { set, deadline }).await? {
            Reply::Signal(signal) => Ok(signal),
            _ => Err(CallError::Timeout),
        }
    }

    /// Asks what a call would get, without making it. Costs nothing and harms nobody.
    ///
    /// # Errors
    /// The call in question is malformed, or the agent may make none.
    pub async fn check(&self, call: Syscall) -> Result<Decision, CallError> {
        match self.syscall(Syscall::CheckPolicy(Box::new(call))).await? {
            Reply::Decision(decision) => Ok(decision),
            _ => Err(InvalidCall::NotAQuestion.into()),
        }
    }

    /// Starts a child that runs one of the host's programs on `input`, and returns the name it has: see
    /// [`SPAWN`](crate::kernel::SPAWN).
    ///
    /// # Errors
    /// See [`CallError`]; a name, program or policy that does not fit is [`CallError::Spawn`].
    pub async fn spawn(&self, name: &str, program: &str, input: Value) -> Result<AgentId, CallError> {
        let arguments = serde_json::json!({"name": name, "program": program, "input": input});
        let answer = self.exec(crate::kernel::SPAWN, arguments).await?;
        let started = answer.get("agent").and_then(Value::as_str).and_then(|id| id.parse().ok());
        started.ok_or_else(|| CallError::Crashed { panic: "a spawn answered something else".to_owned() })
    }

    /// Ends the agent.
    ///
    /// # Errors
    /// It had ended already.
    pub async fn exit(&self, code: i32, message: &str) -> Result<(), CallError> {
        self.syscall(Syscall::Exit { code, message: message.to_owned() }).await.map(drop)
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentHandle({}, generation {})", self.agent.id, self.agent.generation)
    }
}
