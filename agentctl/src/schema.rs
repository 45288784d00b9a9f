//! The forms of what people write, as JSON Schemas.

use std::io::Write as _;
use std::process::ExitCode;

use agent_control_plane::policy;
use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The form of a policy document
    Policy,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let schema = match command {
        Command::Policy => policy::schema(),
    };
    writeln!(std::io::stdout(), "{schema:#}")?;
    Ok(ExitCode::SUCCESS)
}
