//! The command line of Agent OS: an ordinary host application of the kernel.
//!
//! Data goes to standard output, everything else to standard error.

mod agentdojo;
mod demo;
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
    /// Prints, for each suite: the share of the users' tasks whose every call is allowed, the share of attacks whose
    /// harmful calls are all allowed, and how long a verdict takes. No model is involved: the replay assumes the worst
    /// one, which obeys every injected order.
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
