//! How well chunks are found, on sets of questions that people judged:
//! `cargo bench -p caas-core --bench retrieval -- DIR`, where `DIR` is one set or a folder of sets. With `--features candle` and
//! `--model DIR`, or `AGENT_OS_MODEL`, search by meaning is measured too, and budgets are kept in the tokens of that model beside
//! estimated ones. With `--programs` `DIR` is any folder of programs, and what their comments say of items is what is asked for.
//!
//! Every figure is computed from the files in `DIR` in this run. What must be reached is in `gates.json`; a gate that is
//! missed makes the exit code 1.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its results")]
#![expect(clippy::indexing_slicing, reason = "a bench may fail loudly")]

mod baseline;
mod context;
mod counter;
mod documented;
mod gate;
#[cfg(feature = "candle")]
mod meaning;
mod options;
mod report;
mod set;
mod spans;
mod system;
mod words;

use std::process::ExitCode;

use anyhow::Context;
use counter::Counter;
use gate::Gates;
use options::Options;
use report::Report;
use set::{Right, Set};
use system::System;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every gate was reached.
fn run() -> anyhow::Result<bool> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else {
        // `cargo test --benches` and `cargo bench` without a folder have nothing to measure.
        println!("{}", options::HELP);
        return Ok(true);
    };
    let gates = Gates::read()?;
    let models = Models::load(&options)?;
    let mut reports = Vec::new();
    for folder in options.sets()? {
        let read = if options.programs { documented::read } else { Set::read };
        let set = read(&folder).with_context(|| format!("`{}` is no set", folder.display()))?;
        let report = measure(&set, &models)?;
        println!("{report}");
        let held = gates.hold(&report);
        for verdict in &held {
            println!("{verdict}");
        }
        println!();
        reports.push((report, held));
    }
    let file = report::write(&reports)?;
    println!("written to {}", file.display());
    Ok(reports.iter().flat_map(|(_, held)| held).all(|verdict| verdict.reached))
}

/// What counts tokens, and what embeds.
struct Models {
    counters: Vec<Counter>,
    #[cfg(feature = "candle")]
    sentences: Option<caas_core::embed::CandleBert>,
}

impl Models {
    fn load(options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            counters: counter::counters(options)?,
            #[cfg(feature = "candle")]
            sentences: options
                .model()
                .map(|folder| caas_core::embed::CandleBert::load(&folder))
                .transpose()?,
        })
    }

    #[cfg(feature = "candle")]
    fn systems(&self, set: &Set) -> anyhow::Result<Vec<Box<dyn System>>> {
        self.sentences.as_ref().map_or_else(|| Ok(Vec::new()), |model| meaning::systems(set, model))
    }

    #[cfg(not(feature = "candle"))]
    fn systems(&self, _: &Set) -> anyhow::Result<Vec<Box<dyn System>>> {
        Ok(Vec::new())
    }
}

fn measure(set: &Set, models: &Models) -> anyhow::Result<Report> {
    let grades = match &set.right {
        Right::Spans(spans) => return Ok(Report::new(set, spans::measure(set, spans, &models.counters)?)),
        Right::Texts(grades) => grades,
    };
    let systems = baseline::systems(set)?.into_iter().chain(words::systems(set)?).chain(models.systems(set)?);
    let rows = systems.map(|system| system::measure(set, grades, &*system)).collect::<anyhow::Result<_>>()?;
    Ok(Report::new(set, rows))
}
