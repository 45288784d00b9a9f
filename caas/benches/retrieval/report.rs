//! What was measured, as a table and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};

use agent_primitives::{Clock, SystemClock};
use caas_core::eval::{Grades, Tally, randomisation_p};
use serde_json::{Value, json};

use crate::gate::Verdict;
use crate::set::{Right, Set};
use crate::system::System;

/// How many hits are asked for.
pub(crate) const HITS: usize = 100;
/// Rounds of the randomisation test, and where its coin begins.
const ROUNDS: u32 = 10_000;
const SEED: u64 = 1;

/// A set, and how well each system did on it.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) set: String,
    texts: usize,
    questions: usize,
    skipped: usize,
    rows: Vec<Row>,
}

/// One system.
#[derive(Debug)]
struct Row {
    name: String,
    /// By name, in the order of the columns.
    figures: Vec<(&'static str, f64)>,
    /// The leading figure, for each question.
    by_question: Vec<f64>,
    /// Microseconds, ascending.
    latencies: Vec<u64>,
}

impl Report {
    pub(crate) fn new(set: &Set) -> Self {
        let (name, texts, questions) = (set.name.clone(), set.corpus.len(), set.questions.len());
        Self { set: name, texts, questions, skipped: 0, rows: Vec::new() }
    }

    /// Asks a system every question.
    pub(crate) fn add(&mut self, set: &Set, system: &dyn System) -> anyhow::Result<()> {
        let Right::Texts(grades) = &set.right else { anyhow::bail!("no texts are judged") };
        let none = Grades::new();
        let clock = SystemClock::new();
        let mut tally = Tally::default();
        let mut latencies = Vec::new();
        for question in &set.questions {
            let start = clock.monotonic();
            let run = system.search(&question.text, HITS)?;
            latencies.push(u64::try_from(clock.monotonic().since(start).as_micros())?);
            tally.add(&run, grades.get(&question.id).unwrap_or(&none))?;
        }
        latencies.sort_unstable();
        let means = tally.means();
        self.skipped = means.skipped;
        self.rows.push(Row {
            name: system.name().to_owned(),
            figures: vec![
                ("ndcg_10", means.ndcg_10),
                ("recall_10", means.recall_10),
                ("recall_20", means.recall_20),
                ("recall_100", means.recall_100),
                ("mrr", means.mrr),
            ],
            by_question: tally.ndcg_10().to_vec(),
            latencies,
        });
        Ok(())
    }

    /// A figure of a row; `None` where it was not measured.
    pub(crate) fn figure(&self, row: &str, metric: &str) -> Option<f64> {
        let row = self.rows.iter().find(|one| one.name == row)?;
        row.figures.iter().find(|(name, _)| *name == metric).map(|(_, figure)| *figure)
    }

    fn json(&self, verdicts: &[Verdict]) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let figures: serde_json::Map<String, Value> =
                    row.figures.iter().map(|(name, figure)| ((*name).to_owned(), json!(figure))).collect();
                json!({
                    "row": row.name, "figures": figures,
                    "p50_us": percentile(&row.latencies, 50), "p95_us": percentile(&row.latencies, 95),
                    "by_question": row.by_question,
                })
            })
            .collect();
        json!({
            "set": self.set, "texts": self.texts, "questions": self.questions, "skipped": self.skipped,
            "rows": rows, "gates": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "## {}: {} texts, {} questions, {} of them left out because nothing is right\n",
            self.set, self.texts, self.questions, self.skipped
        )?;
        let Some(first) = self.rows.first() else { return Ok(()) };
        write!(f, "| {:44} |", "")?;
        for (name, _) in &first.figures {
            write!(f, " {name:>10} |")?;
        }
        writeln!(f, " {:>8} | {:>9} | {:>9} |", "p", "p50", "p95")?;
        writeln!(f, "| --- |{}", " ---: |".repeat(first.figures.len() + 3))?;
        for row in &self.rows {
            write!(f, "| {:44} |", row.name)?;
            for (_, figure) in &row.figures {
                write!(f, " {figure:>10.4} |")?;
            }
            let p = randomisation_p(&row.by_question, &first.by_question, ROUNDS, SEED);
            let (p50, p95) = (percentile(&row.latencies, 50), percentile(&row.latencies, 95));
            writeln!(f, " {p:>8.4} | {p50:>6} µs | {p95:>6} µs |")?;
        }
        write!(
            f,
            "\n`p`: how likely a difference to the first row as large as this is by chance (paired randomisation)."
        )
    }
}

fn percentile(ascending: &[u64], percent: usize) -> u64 {
    let place = (ascending.len() * percent).div_ceil(100).max(1) - 1;
    ascending.get(place).copied().unwrap_or_default()
}

/// Writes all of it beside what cargo builds, and says where.
pub(crate) fn write(reports: &[(Report, Vec<Verdict>)]) -> anyhow::Result<PathBuf> {
    let sets: Vec<Value> = reports.iter().map(|(report, verdicts)| report.json(verdicts)).collect();
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    std::fs::create_dir_all(&target)?;
    let file = target.join("retrieval.json");
    std::fs::write(&file, serde_json::to_string_pretty(&json!({ "sets": sets }))?)?;
    Ok(file)
}
