//! Programs as child processes with the host's rights: JSON in, JSON out, and nothing left behind that stays in its group.
//!
//! A program runs in a process group of its own. The whole group is killed when the program has ended, when the call is
//! over for any other reason, and when the future is dropped. A process that moves itself to another group escapes
//! that; keeping it in takes a sandbox.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agent_primitives::Digest;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

use super::choice::without_fuel;
use super::session::{Cause, Control, Exit, Held, Order, Pending, Session, Usage};
use super::{Artefact, Executor, Launch};
use crate::error::ToolError;
use crate::isolation::{Guarantee, GuaranteeSet, Level, Limits, Permissions};

/// A program and what the host gives it. Nothing is inherited from the host: no environment, no working directory, no
/// search path, no terminal.
///
/// [`Process`](super::Process) adds `PATH`, `LANG`, `HOME` and `TMPDIR` where `env` does not name them, and refuses variables
/// that steer a loader or an interpreter, such as `LD_PRELOAD`, when the program is to start.
///
/// `Debug` shows the names of the environment variables only.
#[derive(Clone)]
pub struct Command {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name. They are the host's; an agent's arguments travel on standard
    /// input.
    pub args: Vec<String>,
    /// Its environment; the whole of it for [`Child`].
    pub env: BTreeMap<String, String>,
    /// Its working directory, as an absolute path.
    pub current_dir: PathBuf,
}

impl Command {
    /// A program without arguments and with an empty environment, in the root directory.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let (args, env) = (Vec::new(), BTreeMap::new());
        Self { program: program.into(), args, env, current_dir: PathBuf::from("/") }
    }

    /// The same with one argument more.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Digest of program, arguments, working directory and names of environment variables.
    pub(crate) fn identity(&self) -> Digest {
        let mut bytes = Vec::new();
        let mut list = |parts: &mut dyn ExactSizeIterator<Item = &[u8]>| {
            bytes.extend_from_slice(&(parts.len() as u64).to_le_bytes());
            for part in parts {
                bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
        };
        let places = [self.program.as_os_str().as_bytes(), self.current_dir.as_os_str().as_bytes()];
        list(&mut places.into_iter());
        list(&mut self.args.iter().map(String::as_bytes));
        list(&mut self.env.keys().map(String::as_bytes));
        Digest::of("agent-os atr endpoint v1", &bytes)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.program.is_absolute() || !self.current_dir.is_absolute() {
            return Err("the program and its working directory have to be absolute paths".to_owned());
        }
        let paths = [&self.program, &self.current_dir].map(|path| path.as_os_str().as_bytes());
        let texts = self.args.iter().chain(self.env.keys()).chain(self.env.values()).map(String::as_bytes);
        if texts.chain(paths).any(|text| text.contains(&0)) {
            return Err("the command holds a NUL".to_owned());
        }
        if self.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            return Err("the name of an environment variable is empty or holds `=`".to_owned());
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("current_dir", &self.current_dir)
            .finish()
    }
}

/// Runs programs with the host's rights.
///
/// It guarantees that no environment of the host reaches the program, and nothing else: the program reads and writes what
/// the host may, and a process of it that leaves its group is not reached by any signal. Permissions and limits other
/// than time and output are not enforced, so it is chosen only where the policy says that this will do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Child;

impl Executor for Child {
    fn level(&self) -> Level {
        Level::Child
    }

    fn takes(&self, artefact: &Artefact) -> bool {
        matches!(artefact, Artefact::Command(_))
    }

    fn guarantees(&self, _: &Permissions, limits: &Limits) -> Result<GuaranteeSet, ToolError> {
        without_fuel(Level::Child, limits)?;
        Ok(GuaranteeSet::NONE.with(Guarantee::NoHostEnv))
    }

    fn start(&self, launch: Launch) -> Pending<'_, Result<Session, ToolError>> {
        Box::pin(async move {
            let Artefact::Command(command) = &launch.artefact else {
                return Err(ToolError::unavailable(Level::Child, "it runs commands only"));
            };
            launch.executions.admitted().await?;
            let (leader, pipes) = Leader::start(command).map_err(|source| ToolError::Spawn { source })?;
            let control = Arc::clone(&leader.control);
            let registered = launch.executions.register(Arc::clone(&control) as Arc<dyn Control>)?;
            let exit = async move {
                let exit = leader.exit().await;
                drop(registered);
                exit
            };
            Ok(Session {
                stdin: Box::pin(pipes.stdin),
                stdout: Box::pin(pipes.stdout),
                stderr: Box::pin(pipes.stderr),
                control,
                exit: Box::pin(exit),
                guarantees: GuaranteeSet::NONE.with(Guarantee::NoHostEnv),
            })
        })
    }
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// Reaches the process group of a program.
///
/// INVARIANT: `group` is the number of a group whose leader has not been reaped. Until then the leader, dead or alive,
/// keeps that number from being given to somebody else.
#[derive(Debug)]
struct Group {
    group: Mutex<Option<Pid>>,
    state: watch::Sender<Held>,
    killed: AtomicBool,
}

impl Group {
    fn send(&self, signal: Signal) {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = *group {
            // It fails only for a group that is empty, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }

    fn forget(&self) {
        self.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.state.send_replace(Held::Dead);
    }
}

impl Control for Group {
    fn level(&self) -> Level {
        Level::Child
    }

    fn order(&self, order: Order) {
        let (signal, held) = match order {
            Order::Stop => (Signal::STOP, Some(Held::Cooperative)),
            Order::Continue => (Signal::CONT, Some(Held::Running)),
            Order::Terminate => (Signal::TERM, None),
            Order::Kill => {
                self.killed.store(true, Ordering::Release);
                (Signal::KILL, None)
            }
        };
        self.send(signal);
        if let Some(held) = held {
            self.state
                .send_if_modified(|state| *state != Held::Dead && std::mem::replace(state, held) != held);
        }
    }

    fn held(&self) -> Pending<'_, Held> {
        let mut state = self.state.subscribe();
        Box::pin(async move {
            if !self.killed.load(Ordering::Acquire) {
                return *state.borrow_and_update();
            }
            let dead = state.wait_for(|held| *held == Held::Dead).await;
            dead.map_or(Held::Dead, |held| *held)
        })
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// The program itself, first of its process group. One that is dropped alive is reaped by tokio in the background.
struct Leader {
    child: tokio::process::Child,
    pid: Pid,
    exits: unix::Signal,
    control: Arc<Group>,
}

impl Leader {
    fn start(command: &Command) -> io::Result<(Self, Pipes)> {
        tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        // Listening starts before there is anything to hear, so no exit is missed.
        let exits = unix::signal(SignalKind::child())?;
        let mut child = tokio::process::Command::new(&command.program)
            .args(&command.args)
            .env_clear()
            .envs(&command.env)
            .current_dir(&command.current_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let gone = || io::Error::other("the process has no pipes or no number");
        let number = child.id().and_then(|number| i32::try_from(number).ok());
        let pid = number.and_then(Pid::from_raw).ok_or_else(gone)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let control = Group {
            group: Mutex::new(Some(pid)),
            state: watch::Sender::new(Held::Running),
            killed: AtomicBool::new(false),
        };
        let leader = Self { child, pid, exits, control: Arc::new(control) };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err(gone()) };
        Ok((leader, Pipes { stdin, stdout, stderr }))
    }

    async fn exit(mut self) -> Exit {
        let ended = match self.ended().await {
            Ok(()) => self.reap().await.map(|status| self.cause(status)),
            Err(error) => Err(error),
        };
        Exit::new(ended.unwrap_or_else(|error| Cause::Lost(error.to_string())), Usage::default())
    }

    /// Waits until the program has ended, and leaves it unreaped.
    async fn ended(&mut self) -> io::Result<()> {
        let unreaped = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.pid), unreaped)?.is_none() {
            self.exits.recv().await.ok_or_else(|| io::Error::other("the runtime is shutting down"))?;
        }
        Ok(())
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.control.send(Signal::KILL);
        self.control.forget();
        self.child.wait().await
    }

    fn cause(&self, status: ExitStatus) -> Cause {
        match (status.code(), status.signal()) {
            (Some(code), _) => Cause::Code(code),
            _ if self.control.killed.load(Ordering::Acquire) => Cause::Killed,
            (None, signal) => Cause::Signal(signal.unwrap_or_default()),
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.control.send(Signal::KILL);
        self.control.forget();
    }
}
