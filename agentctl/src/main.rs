//! The command line of Agent OS: an ordinary host application of the kernel.
//!
//! Data goes to standard output, everything else to standard error.

#![forbid(unsafe_code)]

mod agentdojo;
mod demo;
#[cfg(unix)]
mod live;
mod log;
mod policy;
mod schema;
mod tool;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code when something failed that has no code of its own.
const FAILURE: u8 = 1;
/// Exit code when a recording does not verify.
const VERIFICATION_FAILED: u8 = 5;

#[derive(Parser)]
#[command(name = "agentctl", version, about = "Run, inspect and measure Agent OS")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, once")]
enum Command {
    /// Let an assistant review the repository you are in, and see an injected order stopped
    ///
    /// Works on a scratch copy; needs git, no network and no key.
    Demo {
        /// Where to put the scratch copy and the recording [default: a new folder among the temporary files]
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Look into a recording
    #[command(subcommand)]
    Log(log::Command),
    #[cfg(unix)]
    #[command(flatten)]
    Live(live::Command),
    /// Check and test policies, and try one on a recording
    #[command(subcommand)]
    Policy(policy::Command),
    /// Measure against public data sets
    #[command(subcommand)]
    Bench(Bench),
    /// Print a JSON Schema
    #[command(subcommand)]
    Schema(schema::Command),
    /// Be the child process behind one of the demo's tools: JSON on standard input, JSON on standard output
    #[command(hide = true)]
    Tool {
        /// Which tool
        name: tool::Name,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Replay recorded sessions of an assistant and of its attackers through the kernel
    ///
    /// No model is involved: the replay assumes the worst one, which obeys every injected order. Each user's task is replayed
    /// alone, and once more for each attacker's task of its suite: the attacker speaks through the output of one of the
    /// user's calls, and its own calls are made next. One line is printed for each suite and one for all, with these columns:
    ///
    /// tasks: the users' tasks
    ///
    /// utility %: tasks whose every call is allowed, without a human
    ///
    /// granted %: the same, when the user agrees to whatever is asked
    ///
    /// confirm: how many calls the user is asked about
    ///
    /// pairs: attacks, each a user's task with an attacker's
    ///
    /// attack %: attacks whose every call that does more than read is allowed without a human
    ///
    /// no text %: the same, without the attackers who only want something said, which no policy on calls can stop
    ///
    /// data-flow %: pairs where the attacker, who keeps to the user's plan and only supplies values for it, has all it wants
    /// without a human
    ///
    /// utility attacked %: pairs in which the user's own calls are still all allowed, without a human
    ///
    /// random changes: calls that fare otherwise with random strings in place of the attackers', of all calls; anything but 0
    /// means that the policy goes by wording or, where values are traced, that an attacker chose what the user had named
    ///
    /// verdict p50, p99: how long a decision takes
    Agentdojo(agentdojo::Options),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        // Whoever closed the pipe has read enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "agentctl: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Demo { out } => runtime()?.block_on(demo::run(out)),
        Command::Log(command) => log::run(command),
        #[cfg(unix)]
        Command::Live(command) => live::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Bench(Bench::Agentdojo(options)) => runtime()?.block_on(agentdojo::run(&options)),
        Command::Schema(command) => schema::run(&command),
        Command::Tool { name } => tool::run(name),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
