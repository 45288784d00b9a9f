//! Tools and isolation: what a call, a search and a sandbox cost beside what a reader would do by hand.
//! `benches/README.md` says how to read what it prints.

#[cfg(feature = "sandboxes")]
mod docker;
mod invoke;
mod process;
mod search;
#[cfg(feature = "sandboxes")]
mod wasm;

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use agent_os_benches::machine;
use agent_os_benches::statistics::Stopwatch;

const HELP: &str = "\
Measures tools and their executors beside their floors.

Usage: cargo bench -p agent-os-benches --bench tools [--features sandboxes] [-- [--quick] [SECTION ...]]

Sections, all of them unless named: invoke, search, process; with the feature `sandboxes` also wasm, docker
  --quick     a tenth of the samples

Exit codes: 0 all measured, 1 something failed, 2 wrong arguments.";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    divisor: usize,
}

impl Scale {
    /// `samples`, or a part of them.
    pub(crate) fn of(self, samples: usize) -> usize {
        (samples / self.divisor).max(1)
    }
}

type Section = fn(&Stopwatch, Scale) -> anyhow::Result<()>;

const SECTIONS: &[(&str, Section)] = &[
    ("invoke", invoke::run),
    ("search", search::run),
    ("process", process::run),
    #[cfg(feature = "sandboxes")]
    ("wasm", wasm::run),
    #[cfg(feature = "sandboxes")]
    ("docker", docker::run),
];

fn main() -> ExitCode {
    let (mut divisor, mut wanted) = (1, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => {}
            "--quick" => divisor = 10,
            "--test" => divisor = 1000,
            "--help" | "-h" => return finish(print(HELP)),
            name => match SECTIONS.iter().find(|(known, _)| *known == name) {
                Some(section) => wanted.push(*section),
                None => {
                    progress(&format!("error: unknown section or option `{name}`; see --help"));
                    return ExitCode::from(2);
                }
            },
        }
    }
    if wanted.is_empty() {
        wanted = SECTIONS.to_vec();
    }
    finish(run(&wanted, Scale { divisor }))
}

fn run(sections: &[(&str, Section)], scale: Scale) -> anyhow::Result<()> {
    let watch = Stopwatch::new();
    print(machine::line())?;
    print(format!("timer {} ns a pair of readings, taken off each single sample", watch.overhead()))?;
    for (name, section) in sections {
        progress(&format!("{name} ({})", machine::load()));
        section(&watch, scale)?;
    }
    Ok(())
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

pub(crate) fn print(text: impl Display) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

pub(crate) fn progress(text: &str) {
    // Nobody is there to be told that standard error is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}
