//! Agents that are programs: they run where an executor of `atr` runs them, and make their calls over a pair of pipes.
//!
//! Whatever such an agent does between its calls, it does in a place of its own, so a signal reaches it there: `SIGSTOP`
//! stops it in the middle of a computation, and what ends the agent ends every process of the program, awaiting or not.
//!
//! Each way goes one frame after the other: a length of four bytes, most significant first, at most [`MAX_FRAME`], and a JSON
//! object of that length. The kernel begins with `{"agent": <name>, "input": <what it was given>}`. After that the program
//! sends calls, and each is answered once, in the order in which they come to their end:
//!
//! ```text
//! → {"id": 1, "call": {"exec": {"tool": "echo", "arguments": {"text": "hi"}}}}
//! ← {"id": 1, "ok": {"output": "hi", "labels": [], "call": 1}}
//! → {"id": 2, "call": {"read": {"path": "/etc/passwd"}}}
//! ← {"id": 2, "error": {"code": "AK0102", "class": "forbidden", "message": "…", …}}
//! ```
//!
//! The calls are those of [`wire`](crate::call::wire). Standard output carries frames and nothing else; what the program
//! complains of it writes to standard error. At most [`MAX_CALLS`] of its calls are under way at once; it is not read
//! from beyond that. A frame that is no call is refused, recorded and answered, with its `id` or `null`. A length of zero or
//! beyond the bound, or an end in the middle of a frame, leaves no way to find the next frame: it ends the agent.
//!
//! A `SIGTERM` that is raised against the agent and takes its default action is sent to the program as the operating
//! system's, which ends it unless it is caught. A program that wants to know why masks `SIGTERM` by the call `mask` and waits
//! for it by `await`; so it does with any other signal that it wants to hear of. The grace period runs in either case.
//!
//! The program ends by itself with an exit code, which is the agent's, or by the call `exit`, which is not answered. Calls
//! that are under way then are cancelled: a program waits for its answers.

mod channel;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{AgentId, Signal};
use agent_tool_registry::executor::{Cause, Launch, Order, Session};
use agent_tool_registry::{
    Artefact, Executor, Executors, GuaranteeSet, Level, Limits, Permissions, SandboxPolicy, ToolError,
};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use self::channel::{Broken, Channel};
pub use self::channel::{MAX_CALLS, MAX_FRAME};
use super::Kernel;
use super::programs::{Program, Run};
use super::spec::{AgentSpec, SpawnError};
use super::table::ExitStatus;
use crate::agent::AgentHandle;

/// How long standard error of a program that has ended may stay open before it is given up.
const LINGER: Duration = Duration::from_millis(100);
/// The number that the operating system gives `SIGTERM`.
const SIGTERM: i32 = 15;
/// How much of standard error is read at once.
const CHUNK: usize = 4 << 10;

/// Hears what a program writes to standard error.
type Complaints = Arc<dyn Fn(&AgentId, &[u8]) + Send + Sync>;

/// A program of its own that is an agent: what is run, where, and with what. See [the module](self).
///
/// Given to [`Programs::program`](super::Programs::program) it is started for children of agents, given to [`Kernel::host`] for
/// the host.
#[derive(Clone)]
pub struct Hosted {
    executors: Executors,
    artefacts: Vec<Artefact>,
    sandbox: SandboxPolicy,
    permissions: Permissions,
    limits: Limits,
    complaints: Option<Complaints>,
}

impl Hosted {
    /// A program in the forms in which there is one, run by whichever of the executors is isolated enough:
    /// [`SandboxPolicy::CONFINED`] unless said. It is granted nothing, and may use [`Limits::DEFAULT`].
    #[must_use]
    pub fn new(executors: Executors, artefacts: impl IntoIterator<Item = Artefact>) -> Self {
        Self {
            executors,
            artefacts: artefacts.into_iter().collect(),
            sandbox: SandboxPolicy::CONFINED,
            permissions: Permissions::none(),
            limits: Limits::DEFAULT,
            complaints: None,
        }
    }

    /// What must hold where it runs. Where it does not, the agent is not started.
    #[must_use]
    pub fn sandbox(mut self, policy: SandboxPolicy) -> Self {
        self.sandbox = policy;
        self
    }

    /// What of the host it is let have.
    #[must_use]
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// How much it may use in its whole life, where the executor holds it to that. `deadline` and `output_bytes` are for calls
    /// of tools and count for nothing here: what limits the life of an agent is its budget.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Hears what the program writes to standard error, piece by piece, up to `stderr_bytes` of its limits. It is never on
    /// record. Unless said, it is read and forgotten.
    #[must_use]
    pub fn on_stderr(mut self, hear: impl Fn(&AgentId, &[u8]) + Send + Sync + 'static) -> Self {
        self.complaints = Some(Arc::new(hear));
        self
    }

    fn choose(&self) -> Result<(Arc<dyn Executor>, Artefact), ToolError> {
        self.executors.choose(&self.artefacts, self.sandbox, &self.permissions, &self.limits)
    }

    /// Runs the program until it ends; its exit code, or in what other way it ended.
    async fn drive(self, agent: &AgentHandle, input: Value) -> Result<i32, ExitStatus> {
        let unstarted = |error: ToolError| crash(format!("its program could not be started: {error}"));
        let (executor, artefact) = self.choose().map_err(unstarted)?;
        let launch = Launch {
            artefact,
            permissions: self.permissions.clone(),
            limits: self.limits,
            agent: agent.id().clone(),
            timer: Arc::clone(agent.timer()),
            executions: agent.executions().clone(),
        };
        let session = executor.start(launch).await.map_err(unstarted)?;
        let (level, guarantees) = (executor.level(), session.guarantees);
        agent.record_program(level, guarantees).map_err(|error| crash(error.to_string()))?;
        let (cause, usage) = self.converse(agent, session, input).await;
        // A recorder that fails has ended the agent already.
        let _ = agent.record_usage(level, guarantees, usage);
        match (&cause, agent.terminated()) {
            (Ok(Cause::Signal(SIGTERM) | Cause::Killed), Some(reason)) => {
                Err(ExitStatus::Signaled { signal: Signal::Term, reason })
            }
            _ => self.judge(cause).map_err(crash),
        }
    }

    /// Answers the program until it has ended.
    async fn converse(
        &self,
        agent: &AgentHandle,
        session: Session,
        input: Value,
    ) -> (Result<Cause, Broken>, agent_tool_registry::executor::Usage) {
        let Session { stdin, stdout, stderr, control, mut exit, .. } = session;
        let mut complaints = pin!(self.hear(agent.id(), stderr));
        let mut channel = Channel::new(agent, stdin, stdout);
        let greeted = channel.send(&json!({"agent": agent.id(), "input": input}));
        // A program that makes no call is stopped and resumed too.
        let mut told = pin!(agent.tell_orders());
        let (mut heard, mut over) = (false, false);
        let talked = {
            let mut talk = pin!(async {
                greeted?;
                channel.talk().await
            });
            loop {
                tokio::select! {
                    biased;
                    ended = &mut exit => break Ok(ended),
                    Err(broken) = &mut talk => break Err(broken),
                    () = &mut complaints, if !heard => heard = true,
                    () = &mut told, if !over => over = true,
                }
            }
        };
        let (cause, ended) = match talked {
            Ok(ended) => (Ok(ended.cause.clone()), ended),
            Err(broken) => {
                // Nothing of it runs any more when the refusal is on record.
                control.order(Order::Kill);
                let ended = exit.await;
                let _refused = agent.refuse(broken.as_bad_call()).await;
                (Err(broken), ended)
            }
        };
        if !heard {
            let until = agent.timer().monotonic().after(LINGER);
            tokio::select! {
                biased;
                () = &mut complaints => {}
                () = agent.timer().sleep_until(until) => {}
            }
        }
        (cause, ended.usage)
    }

    /// Reads all of standard error, and passes the first of it on: a program must not stop because nobody reads.
    async fn hear(&self, agent: &AgentId, mut stderr: Pin<Box<dyn AsyncRead + Send>>) {
        let mut chunk = vec![0; CHUNK];
        let mut room = self.limits.stderr_bytes;
        loop {
            let Ok(length @ 1..) = stderr.read(&mut chunk).await else { return };
            let kept = chunk.get(..length.min(room)).unwrap_or_default();
            room -= kept.len();
            if let Some(hear) = self.complaints.as_ref().filter(|_| !kept.is_empty()) {
                hear(agent, kept);
            }
        }
    }

    /// What the end of the program is for its agent: its exit code, or what went wrong.
    fn judge(&self, ended: Result<Cause, Broken>) -> Result<i32, String> {
        let limits = &self.limits;
        Err(match ended {
            Ok(Cause::Code(code)) => return Ok(code),
            Ok(Cause::Signal(signal)) => format!("its program was ended by signal {signal}"),
            Ok(Cause::Killed) => "its program was killed".to_owned(),
            Ok(Cause::Cpu) => format!("its program used more than {:?} of processor time", limits.cpu),
            Ok(Cause::Memory) => {
                format!("its program used more than {} bytes of memory", limits.memory_bytes)
            }
            Ok(Cause::Processes) => {
                format!("its program had more than {} processes and threads", limits.processes)
            }
            Ok(Cause::Fuel) => "its program used up its fuel".to_owned(),
            Ok(Cause::Trap(trap)) => format!("its program trapped: {trap}"),
            Ok(Cause::Violation(_)) => "its program tried what its sandbox forbids".to_owned(),
            Ok(_) => "its program was lost".to_owned(),
            Err(broken) => format!("its program broke the framing of its calls: {broken}"),
        })
    }
}

impl Program for Hosted {
    fn start(&self, agent: AgentHandle, input: Value) -> Run {
        let hosted = self.clone();
        Box::pin(async move {
            match hosted.drive(&agent, input).await {
                Ok(code) => code,
                Err(end) => {
                    agent.end(end);
                    -1
                }
            }
        })
    }

    fn check(&self) -> Result<(), ToolError> {
        self.choose().map(drop)
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hosted")
            .field("artefacts", &self.artefacts)
            .field("sandbox", &self.sandbox)
            .field("permissions", &self.permissions)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Starts an agent that is a program of its own, runs it to its end and returns how it ended: with the program's exit
    /// code, or as [`ExitStatus::Crashed`] if it came to another end that no signal of the kernel's brought about.
    ///
    /// # Cancel safety
    /// Dropped, it ends the agent by `SIGKILL`, and with it every process of the program.
    ///
    /// # Errors
    /// See [`SpawnError`]. [`SpawnError::Unrunnable`]: nothing that is isolated enough can run the program; it is not run with
    /// less.
    pub async fn host(
        &self,
        spec: AgentSpec,
        program: Hosted,
        input: Value,
    ) -> Result<ExitStatus, SpawnError> {
        program.check().map_err(SpawnError::Unrunnable)?;
        self.run(spec, |agent| program.start(agent, input)).await
    }
}

fn crash(panic: String) -> ExitStatus {
    ExitStatus::Crashed { panic }
}

/// In what words the record says where a program runs.
pub(crate) fn runs_at(level: Level, guarantees: GuaranteeSet) -> String {
    format!("runs its program at level {level} with [{guarantees}]")
}
