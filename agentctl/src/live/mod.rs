//! Commands that speak to a kernel that runs, over its control socket.

mod client;
mod show;

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::approval::{Scope, TicketId};
use agent_control_plane::control::protocol::{Action, Failure, Outcome};
use agent_control_plane::primitives::Signal;
use clap::{Args, Subcommand, ValueEnum};

use self::client::{Client, Unreachable};

/// Exit code when a command line is wrong.
const USAGE: u8 = 2;
/// Exit code when no kernel answers.
const UNREACHABLE: u8 = 6;

/// Which kernel, and how to print.
#[derive(Args)]
pub(crate) struct At {
    /// The control socket of the kernel
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people
    Table,
    /// One JSON object, or one a line where there are several
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the state of a kernel, and what impairs it
    State {
        #[command(flatten)]
        at: At,
    },
    /// List the live agents of a kernel
    Ps {
        #[command(flatten)]
        at: At,
    },
    /// Show what a kernel has counted
    Metrics {
        #[command(flatten)]
        at: At,
    },
    /// Raise a signal against an agent
    Signal {
        /// The agent
        agent: String,
        /// The signal, by its name: SIGSTOP, SIGCONT, SIGINT, SIGTERM, SIGKILL
        signal: Signal,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Kill all agents of a kernel
    KillAll {
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: At,
    },
    /// List the calls that wait for a human, and the consents that are not used up
    Approvals {
        #[command(flatten)]
        at: At,
    },
    /// Agree to a call that waits
    Approve {
        /// The ticket, as `approvals` lists it
        ticket: TicketId,
        /// How much to agree to: `once`, `task` or `session`
        #[arg(long, value_parser = scope, default_value = "once")]
        scope: Scope,
        #[command(flatten)]
        at: At,
    },
    /// Refuse a call that waits
    Deny {
        /// The ticket
        ticket: TicketId,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Withdraw a ticket, granted or not
    Revoke {
        /// The ticket
        ticket: TicketId,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// Follow the record of a kernel, until it is shut down
    Tail {
        /// Start at this sequence number
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Only the events of this agent
        #[arg(long)]
        agent: Option<String>,
        /// Stop at the present end of the record
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        at: At,
    },
    /// Shut a kernel down in order: SIGTERM, wait, SIGKILL, flush
    Shutdown {
        /// How many seconds agents have to end by themselves, at most 600
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=600))]
        grace: u64,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        at: At,
    },
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let doubt = match &command {
        Command::KillAll { yes: false, .. } => Some("kill all agents"),
        Command::Shutdown { yes: false, .. } => Some("shut the kernel down"),
        _ => None,
    };
    if let Some(what) = doubt
        && !confirmed(what)?
    {
        return Ok(ExitCode::from(USAGE));
    }
    let (action, at) = request(command);
    match speak(&action, &at) {
        Err(error) if error.is::<Unreachable>() => {
            writeln!(std::io::stderr(), "agentctl: {error}")?;
            Ok(ExitCode::from(UNREACHABLE))
        }
        other => other,
    }
}

fn request(command: Command) -> (Action, At) {
    match command {
        Command::State { at } => (Action::State, at),
        Command::Ps { at } => (Action::Ps, at),
        Command::Metrics { at } => (Action::Metrics, at),
        Command::Signal { agent, signal, reason, at } => (Action::Signal { agent, signal, reason }, at),
        Command::KillAll { reason, at, .. } => (Action::KillAll { reason }, at),
        Command::Approvals { at } => (Action::Approvals, at),
        Command::Approve { ticket, scope, at } => (Action::Approve { ticket, scope: Some(scope) }, at),
        Command::Deny { ticket, reason, at } => (Action::Deny { ticket, reason }, at),
        Command::Revoke { ticket, reason, at } => (Action::Revoke { ticket, reason }, at),
        Command::Tail { from, agent, once, at } => (Action::Tail { from, agent, follow: !once }, at),
        Command::Shutdown { grace, at, .. } => (Action::Shutdown { grace_ms: grace * 1000 }, at),
    }
}

fn speak(action: &Action, at: &At) -> anyhow::Result<ExitCode> {
    let mut client = Client::connect(&at.socket)?;
    client.ask(action)?;
    let mut out = std::io::stdout().lock();
    loop {
        match client.next()? {
            Outcome::Event(event) => {
                show::event(&event, at.output, &mut out)?;
                out.flush()?;
            }
            Outcome::Ok(value) => {
                show::answer(action, &value, at.output, &mut out)?;
                return Ok(ExitCode::SUCCESS);
            }
            Outcome::Error(failure) => return failed(failure),
        }
    }
}

fn failed(failure: Failure) -> anyhow::Result<ExitCode> {
    Err(anyhow::Error::new(failure))
}

/// Asks a human at the terminal; where none is, `--yes` has to say it.
fn confirmed(what: &str) -> anyhow::Result<bool> {
    let mut err = std::io::stderr();
    if !std::io::stdin().is_terminal() {
        writeln!(err, "agentctl: to {what} without being asked, say --yes")?;
        return Ok(false);
    }
    write!(err, "really {what}? Type yes: ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    known.ok_or_else(|| "one of once, task, session".to_owned())
}
