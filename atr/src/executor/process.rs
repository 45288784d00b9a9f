//! Tools that are programs: JSON in, JSON out, and nothing left behind.
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
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::Digest;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::signal::unix::{self, SignalKind};

use super::Prepare;
use crate::contract::Limits;
use crate::error::{Stderr, ToolError};
use crate::{Arguments, CallContext, Output};

/// How long the pipes of a program that has ended may stay open before they are given up: only a process that left the
/// group can hold them, and what the program itself wrote has long arrived.
const LINGER: Duration = Duration::from_millis(100);
/// How much of standard error is read at once.
const CHUNK: usize = 8 << 10;

/// A program and everything it is given. Nothing is inherited from the host: no environment, no working directory, no
/// search path, no terminal.
///
/// `Debug` shows the names of the environment variables only.
#[derive(Clone)]
pub struct Command {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Its arguments, without the program's own name. They are the host's; an agent's arguments travel on standard
    /// input.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory, as an absolute path.
    pub current_dir: PathBuf,
}

impl Command {
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

pub(crate) fn prepare(command: Command, limits: Limits) -> Prepare {
    let command = Arc::new(command);
    Box::new(move |arguments| {
        let (command, arguments) = (Arc::clone(&command), arguments.clone());
        Ok(Box::new(move |cx| Box::pin(async move { call(&command, &limits, &arguments, &cx).await })))
    })
}

async fn call(
    command: &Command,
    limits: &Limits,
    arguments: &Arguments,
    cx: &CallContext,
) -> Result<Output, ToolError> {
    let (mut leader, pipes) = Leader::start(command).map_err(spawn)?;
    let (mut answer, mut complaint) = (Vec::new(), Vec::new());
    {
        let mut streams = pin!(async {
            tokio::try_join!(
                feed(pipes.stdin, arguments.canonical()),
                read(pipes.stdout, limits.output_bytes, &mut answer),
                keep(pipes.stderr, limits.stderr_bytes, &mut complaint),
            )
        });
        tokio::select! {
            done = &mut streams => {
                done?;
                leader.ended().await.map_err(spawn)?;
                leader.kill_group();
            }
            ended = leader.ended() => {
                ended.map_err(spawn)?;
                leader.kill_group();
                let until = cx.timer().monotonic().after(LINGER);
                tokio::select! {
                    done = &mut streams => { done?; }
                    () = cx.timer().sleep_until(until) => {}
                }
            }
        }
    }
    let status = leader.reap().await.map_err(spawn)?;
    judge(status, &complaint)?;
    if limits.output_bytes < answer.len() {
        return Err(ToolError::OutputTooLarge { limit: limits.output_bytes });
    }
    Output::parse(&answer, limits.output_bytes)
}

fn judge(status: ExitStatus, complaint: &[u8]) -> Result<(), ToolError> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(ToolError::ExitCode { code, stderr: Stderr::new(complaint) }),
        (None, signal) => {
            Err(ToolError::Crashed { signal: signal.unwrap_or_default(), stderr: Stderr::new(complaint) })
        }
    }
}

fn spawn(source: io::Error) -> ToolError {
    ToolError::Spawn { source }
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// The program itself, first of its process group.
///
/// INVARIANT: the group is killed before the leader is reaped. Until then the leader, dead or alive, keeps the group's
/// number from being given to somebody else. A leader that is dropped alive is reaped by tokio in the background.
struct Leader {
    child: Child,
    group: Pid,
    exits: unix::Signal,
    group_killed: bool,
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
        let group = number.and_then(Pid::from_raw).ok_or_else(gone)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let leader = Self { child, group, exits, group_killed: false };
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err(gone()) };
        Ok((leader, Pipes { stdin, stdout, stderr }))
    }

    /// Waits until the program has ended, and leaves it unreaped. Cancel safe.
    async fn ended(&mut self) -> io::Result<()> {
        let unreaped = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(self.group), unreaped)?.is_none() {
            self.exits.recv().await.ok_or_else(|| io::Error::other("the runtime is shutting down"))?;
        }
        Ok(())
    }

    fn kill_group(&mut self) {
        if !self.group_killed {
            self.group_killed = true;
            // It fails only for a group that is empty, which is what is wanted.
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }

    async fn reap(&mut self) -> io::Result<ExitStatus> {
        self.kill_group();
        self.child.wait().await
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// Writes the arguments and closes. A program may end, or close its end, without reading them.
async fn feed(mut stdin: ChildStdin, arguments: &[u8]) -> Result<(), ToolError> {
    match stdin.write_all(arguments).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(spawn(error)),
        _ => Ok(()),
    }
}

/// Reads the answer up to `limit`.
async fn read(stdout: ChildStdout, limit: usize, into: &mut Vec<u8>) -> Result<(), ToolError> {
    stdout.take(limit as u64 + 1).read_to_end(into).await.map_err(spawn)?;
    if limit < into.len() {
        return Err(ToolError::OutputTooLarge { limit });
    }
    Ok(())
}

/// Reads all, and keeps the first `limit` bytes: a program must not stop because nobody reads its complaints.
async fn keep(mut stderr: ChildStderr, limit: usize, into: &mut Vec<u8>) -> Result<(), ToolError> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = stderr.read(&mut chunk).await.map_err(spawn)?;
        if length == 0 {
            return Ok(());
        }
        let room = limit.saturating_sub(into.len());
        into.extend(chunk.iter().take(length.min(room)));
    }
}
