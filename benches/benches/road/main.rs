//! The bench suite: the kernel's road, part by part, beside its floors and its peers. `benches/README.md` says how to
//! read what it prints.

mod approvals;
mod conditions;
mod decision;
mod durable;
mod files;
mod governed;
mod idle;
mod limits;
mod options;
mod peers;
mod reload;
mod stop;
mod verify;
mod world;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use agent_os_benches::machine;
use agent_os_benches::statistics::Stopwatch;
use options::{Options, Section};

/// Rule counts at which whole calls are measured, and peers.
const RULES: [usize; 3] = [10, 100, 1000];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(idle::CHILD) {
        return finish(idle::child(&arguments.next().unwrap_or_default()));
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return finish(print(options::HELP)),
        Err(error) => {
            progress(&format!("error: {error}; see --help"));
            return ExitCode::from(2);
        }
    };
    finish(run(&options))
}

fn finish(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let watch = Stopwatch::new();
    print(machine::line())?;
    print(format!("timer {} ns a pair of readings, taken off each single sample", watch.overhead()))?;
    for section in &options.sections {
        progress(&format!("{} ...", section.name()));
        match section {
            Section::Decision => decision::run(&watch, options)?,
            Section::Governed => governed::run(&watch, options)?,
            Section::Limits => limits::run(&watch, options)?,
            Section::Approvals => approvals::run(&watch, options)?,
            Section::Reload => reload::run(&watch, options)?,
            Section::Stop => stop::run(&watch, options)?,
            Section::Files => files::run(&watch, options)?,
            Section::Idle => idle::run(&watch, options)?,
            Section::Durable => durable::run(&watch, options)?,
            Section::Verify => verify::run(&watch, options)?,
            Section::Peers => peers::run(&watch, options)?,
        }
    }
    print(format!("\nload at the end {}", machine::load()))
}

/// Writes results to standard output.
fn print(text: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// Tells the person who waits; a closed standard error is no reason to stop.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
