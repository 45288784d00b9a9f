//! What ring 3 holds: a handle with the eight calls, and nothing else.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{AgentId, Signal, SignalSet, TicketId, Timer};
use agent_tool_registry::executor::{Executions, Usage};
use agent_tool_registry::{GuaranteeSet, Level};
use bytes::Bytes;

use crate::call::{BadCall, Change, FileRef, MAX_TRANSFER, RawArguments, Reply, Syscall, WriteTo};
use crate::error::{CallError, InvalidCall};
use crate::ipc::{self, Message};
use crate::kernel::handlers::Run;
use crate::kernel::table::Agent;
use crate::kernel::{ExitStatus, Inner, hosted};
use crate::policy::Decision;
use crate::recorder::{Actor, Body};
use crate::signal::Notice;
use crate::vfs::{Descriptor, OpenFlags, VfsError, encode_query};

/// An agent's way to the world. Each method is one system call and nothing more, but for the handlers of signals, which no
/// call can carry.
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

    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        self.kernel.timer()
    }

    /// What runs for the agent.
    pub(crate) fn executions(&self) -> &Executions {
        self.agent.orders.executions()
    }

    /// Puts on record where the agent's own program runs.
    pub(crate) fn record_program(&self, level: Level, guarantees: GuaranteeSet) -> Result<(), CallError> {
        let action = hosted::runs_at(level, guarantees);
        self.kernel.append(self.agent.source(), 0, Body::Host { action: &action }).map(drop)
    }

    /// Puts on record what the agent's own program has used.
    pub(crate) fn record_usage(
        &self,
        level: Level,
        guarantees: GuaranteeSet,
        usage: Usage,
    ) -> Result<(), CallError> {
        self.kernel.record_run(&self.agent, 0, level, guarantees, usage)
    }

    /// Puts on record how orders to its programs take hold, as long as the agent lives.
    pub(crate) async fn tell_orders(&self) {
        self.kernel.tell_orders(&self.agent).await;
    }

    /// Ends the agent because of how its program ended.
    pub(crate) fn end(&self, status: ExitStatus) {
        self.kernel.end(&self.agent, status, Actor::Kernel);
    }

    /// Why a `SIGTERM` has been delivered to the agent, if one has.
    pub(crate) fn terminated(&self) -> Option<String> {
        let word = &self.agent.word;
        if word.load().masked().contains(Signal::Term) {
            return None;
        }
        let (_, letter) = self.agent.mailbox.take(word, SignalSet::EMPTY.with(Signal::Term))?;
        Some(letter.map(|letter| letter.reason).unwrap_or_default())
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
        let call = Syscall::Read {
            file: FileRef::Path(path.to_owned()),
            offset: None,
            length: MAX_TRANSFER,
            nonblock: false,
        };
        Ok(match self.syscall(call).await? {
            Reply::Data { data, .. } => data,
            _ => Bytes::new(),
        })
    }

    /// Searches what lies below a directory for `words`, and returns the `most` files that fit best as JSON lines; see
    /// [`FileRef::Path`].
    ///
    /// # Errors
    /// See [`CallError`]; a store that cannot search is `EOPNOTSUPP`.
    pub async fn search(&self, directory: &str, words: &str, most: usize) -> Result<Bytes, CallError> {
        self.read(&encode_query(directory, words, most)).await
    }

    /// Replaces a file's content, creating the file if it is not there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn write(&self, path: &str, data: impl Into<Bytes>) -> Result<(), CallError> {
        self.change(path, Change::Replace, data.into(), None).await
    }

    /// Replaces a file's content as [`AgentHandle::write`] does; after `ttl`, at most [`MAX_TTL`](crate::call::MAX_TTL), the
    /// file no longer exists.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn write_for(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        ttl: Duration,
    ) -> Result<(), CallError> {
        self.change(path, Change::Replace, data.into(), Some(ttl)).await
    }

    /// Appends to a file, creating it if it is not there.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn append(&self, path: &str, data: impl Into<Bytes>) -> Result<(), CallError> {
        self.change(path, Change::Append, data.into(), None).await
    }

    /// Removes a file.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn remove(&self, path: &str) -> Result<(), CallError> {
        self.change(path, Change::Remove, Bytes::new(), None).await
    }

    async fn change(
        &self,
        path: &str,
        change: Change,
        data: Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), CallError> {
        let to = WriteTo::Path { path: path.to_owned(), change, expected: None, ttl };
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

    /// Sends a message to an agent of the same tenant, or to all who have subscribed to a topic of that name: a write of
    /// `/ipc/<to>`.
    ///
    /// # Errors
    /// See [`CallError`]; nobody of that name is `ENOENT`, a receiver whose queue is full `EAGAIN`, and then nobody has it.
    pub async fn send(&self, to: &str, body: impl Into<Bytes>) -> Result<(), CallError> {
        self.change(&format!("{}/{to}", ipc::POINT), Change::Append, body.into(), None).await
    }

    /// The next message of the own inbox: a read of `/ipc/inbox`. Waits for one as long as a file operation may take.
    ///
    /// # Errors
    /// See [`CallError`]; `ETIMEDOUT` when none came.
    ///
    /// # Cancel safety
    /// Dropped before it answers, it has taken no message.
    pub async fn recv(&self) -> Result<Message, CallError> {
        self.next_message(false).await
    }

    /// The next message of the own inbox, or `None` when there is none now.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn try_recv(&self) -> Result<Option<Message>, CallError> {
        match self.next_message(true).await {
            Err(CallError::File(error)) if error.error() == VfsError::WouldBlock => Ok(None),
            message => message.map(Some),
        }
    }

    async fn next_message(&self, nonblock: bool) -> Result<Message, CallError> {
        let file = FileRef::Path(format!("{}/{}", ipc::POINT, ipc::INBOX));
        let message =
            match self.syscall(Syscall::Read { file, offset: None, length: MAX_TRANSFER, nonblock }).await? {
                Reply::Data { data, .. } => Message::from_line(&data),
                _ => None,
            };
        message.ok_or_else(|| CallError::Crashed { panic: "a read of the inbox was no message".to_owned() })
    }

    /// Puts on record that something which was to be a call is none, as a refused call of this agent: for hosts that read
    /// calls from texts with an adapter of their own or with one of [`crate::call`].
    pub async fn refuse(&self, error: BadCall) -> CallError {
        self.kernel.refuse_unreadable(&self.agent, error).await
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

    /// Waits until one of these signals is pending and takes it, with who raised it, why and when. A `SIGTERM` can be awaited
    /// whether or not it is masked; any other only while it is. One that is not masked and has a handler is the handler's.
    ///
    /// What the sender carried is joined to what this agent carries, as the reason may say what the sender has read.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::Timeout`] when none came.
    pub async fn await_signal(&self, set: SignalSet, deadline: Duration) -> Result<Notice, CallError> {
        match self.syscall(Syscall::Await { set, deadline }).await? {
            Reply::Signal(notice) => Ok(notice),
            _ => Err(CallError::Timeout),
        }
    }

    /// Registers what is to run in place of a signal's default action, and in place of any handler before: see
    /// [`signal`](crate::signal) for when it runs and what happens when it fails. No system call: it passes the gate and is
    /// recorded, and is the agent's own business as its mask is.
    ///
    /// A handler that holds a handle keeps the agent's cell in memory until the agent ends, not longer.
    ///
    /// # Errors
    /// See [`CallError`]; a signal that cannot be handled is [`CallError::Invalid`].
    pub async fn on_signal<H, R, E>(&self, signal: Signal, handler: H) -> Result<(), CallError>
    where
        H: Fn(Notice) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        let run = move |notice| -> Run {
            let run = handler(notice);
            Box::pin(async move { run.await.map_err(|error| error.to_string()) })
        };
        self.kernel.set_handler(&self.agent, signal, Some(Arc::new(run))).await
    }

    /// Takes the handler of a signal away. If the signal waits for it, its default action is taken.
    ///
    /// # Errors
    /// As for [`AgentHandle::on_signal`].
    pub async fn reset_signal(&self, signal: Signal) -> Result<(), CallError> {
        self.kernel.set_handler(&self.agent, signal, None).await
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
