//! A program from its start to its end, as the host sees it.

use std::io;
use std::os::fd::OwnedFd;
use std::process as std_process;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use super::cgroup::Cgroup;
use super::control::{Alive, Overrun, Sandbox};
use super::plan::{Ends, Plan, unavailable};
use super::report::{self, Report, Stage};
use super::{Host, sys, users};
use crate::error::ToolError;
use crate::executor::{Artefact, Cause, Command, Control, Exit, Launch, Order, Session};
use crate::isolation::Limits;

/// Starts a program, and comes back when it has been executed.
pub(super) async fn start(host: &Host, launch: Launch) -> Result<Session, ToolError> {
    let Artefact::Command(command) = &launch.artefact else {
        return Err(unavailable("it runs commands only"));
    };
    launch.executions.admitted().await?;
    let (mut running, pipes) = split(host, command, &launch)?;
    // Until then it holds the program's ends of pipes twice, and must not be stopped with them.
    running.expect(Report::Ready).await?;
    let control = Arc::clone(&running.alive.sandbox) as Arc<dyn Control>;
    running.alive.registered = Some(launch.executions.register(Arc::clone(&control))?);
    running.alive.sandbox.go();
    running.expect(Report::Started).await?;
    Ok(Session {
        stdin: Box::pin(pipes.stdin),
        stdout: Box::pin(pipes.stdout),
        stderr: Box::pin(pipes.stderr),
        control,
        exit: Box::pin(running.exit(launch.limits)),
        guarantees: host.guarantees(),
    })
}

fn failed(stage: Stage, errno: sys::Errno) -> ToolError {
    let error = io::Error::from_raw_os_error(errno);
    match stage {
        Stage::Execute | Stage::Folder => ToolError::Spawn { source: error },
        _ => unavailable(format!("it could not {}: {error}", stage.as_str())),
    }
}

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// A sandbox and what it says.
struct Running {
    alive: Alive,
    ends: AsyncFd<Arc<OwnedFd>>,
    status: ChildStdout,
}

/// Splits off a sandbox that waits to be let go.
fn split(host: &Host, command: &Command, launch: &Launch) -> Result<(Running, Pipes), ToolError> {
    let lost = |source| ToolError::Spawn { source };
    tokio::runtime::Handle::try_current().map_err(io::Error::other).map_err(lost)?;
    let [stdin, stdout, stderr, reports, orders] = pipes().map_err(lost)?;
    let pipes = Pipes {
        stdin: ChildStdin::from_std(std_process::ChildStdin::from(stdin.1)).map_err(lost)?,
        stdout: ChildStdout::from_std(std_process::ChildStdout::from(stdout.0)).map_err(lost)?,
        stderr: ChildStderr::from_std(std_process::ChildStderr::from(stderr.0)).map_err(lost)?,
    };
    let status = ChildStdout::from_std(std_process::ChildStdout::from(reports.0)).map_err(lost)?;
    // An order must never wait for the sandbox to take it.
    fcntl_setfl(&orders.1, OFlags::NONBLOCK).map_err(|errno| lost(errno.into()))?;
    let group =
        host.groups.as_ref().map(|groups| groups.create(&launch.limits)).transpose().map_err(no_group)?;
    let (birth, groups) =
        group.as_ref().map(Cgroup::entrances).transpose().map_err(no_group)?.unwrap_or_default();
    let ends = Ends { streams: [stdin.0, stdout.1, stderr.1], status: reports.1, orders: orders.0, groups };
    let plan = Plan::new(command, &launch.permissions, &launch.limits, host, ends)?;

    let split = host.zygote.sandbox(&plan, birth.as_ref());
    let (number, process) =
        split.map_err(|error| unavailable(format!("it could not be split off: {error}")))?;
    // What the sandbox was given is its own now.
    drop(plan);
    let pid = Pid::from_raw(number).ok_or_else(|| unavailable("a process without a number"))?;
    let process = Arc::new(process);
    let sandbox = Sandbox::new(pid, Arc::clone(&process), orders.1, group, Arc::clone(&launch.timer));
    let alive = Alive { sandbox: Arc::new(sandbox), registered: None };
    users::map(number).map_err(|error| unavailable(format!("users: {error}")))?;
    let ends = sys::watch(process).map_err(lost)?;
    Ok((Running { alive, ends, status }, pipes))
}

fn no_group(error: io::Error) -> ToolError {
    unavailable(format!("no control group: {error}"))
}

/// Five pipes, each as its reading and its writing end.
fn pipes() -> io::Result<[(OwnedFd, OwnedFd); 5]> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from);
    Ok([pipe()?, pipe()?, pipe()?, pipe()?, pipe()?])
}

impl Running {
    async fn expect(&mut self, next: Report) -> Result<(), ToolError> {
        match self.report().await {
            Some(report) if report == next => Ok(()),
            Some(Report::Failed(stage, errno)) => Err(failed(stage, errno)),
            _ if self.alive.sandbox.was_ended() => Err(ToolError::Killed),
            _ => Err(unavailable("the sandbox ended before its program began")),
        }
    }

    /// The next report; `None` when the sandbox has ended.
    async fn report(&mut self) -> Option<Report> {
        let mut bytes = [0; report::SIZE];
        self.status.read_exact(&mut bytes).await.ok()?;
        Report::decode(&bytes)
    }

    async fn exit(mut self, limits: Limits) -> Exit {
        let sandbox = Arc::clone(&self.alive.sandbox);
        let mut used_up = false;
        let ended = tokio::select! {
            ended = self.report() => ended,
            () = sandbox.cpu_is_used_up(limits.cpu) => {
                used_up = true;
                sandbox.order(Order::Kill);
                None
            }
        };
        let killed = sandbox.was_killed();
        if self.ends.readable().await.is_err() {
            // Who cannot be watched must not be waited for.
            sandbox.order(Order::Kill);
        }
        let killed = killed || ended.is_none() && sandbox.was_killed();
        let overrun = sandbox.bury();
        let mut usage = sandbox.usage();
        let cause = match ended {
            _ if used_up => Cause::Cpu,
            Some(Report::Ended { status, cpu }) => {
                usage.cpu = usage.cpu.or(Some(cpu));
                let killed = killed || sandbox.was_terminated() && libc::WTERMSIG(status) == libc::SIGTERM;
                cause(status, killed, overrun, limits.cpu <= cpu)
            }
            _ if killed => Cause::Killed,
            _ if overrun.memory => Cause::Memory,
            _ => Cause::Lost("the sandbox ended without a word".to_owned()),
        };
        Exit::new(cause, usage)
    }
}

/// What the status of a program means.
fn cause(status: i32, killed: bool, overrun: Overrun, cpu: bool) -> Cause {
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    let signal = libc::WTERMSIG(status);
    match code {
        Some(0) => Cause::Code(0),
        // A program whose own process was killed, or not started, says so in its own way.
        _ if overrun.memory && !killed => Cause::Memory,
        _ if overrun.processes && !killed => Cause::Processes,
        Some(code) => Cause::Code(code),
        None if killed => Cause::Killed,
        None if signal == libc::SIGSYS => Cause::Violation("a system call that ends the program".to_owned()),
        None if signal == libc::SIGXCPU || cpu && signal == libc::SIGKILL => Cause::Cpu,
        None => Cause::Signal(signal),
    }
}
