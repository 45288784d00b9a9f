//! What was measured, as a table and as JSON.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use caas_core::eval::randomisation_p;
use serde_json::{Value, json};

use crate::gate::Verdict;
use crate::set::Set;

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
    rows: Vec<Measured>,
}

/// One system, as it was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: String,
    /// By name, in the order of the columns.
    pub(crate) figures: Vec<(&'static str, f64)>,
    /// The first figure, for each question.
    pub(crate) by_question: Vec<f64>,
    /// How long each question took.
    pub(crate) latencies: Vec<Duration>,
    /// Questions for which nothing is right.
    pub(crate) skipped: usize,
}

impl Report {
    pub(crate) fn new(set: &Set, rows: Vec<Measured>) -> Self {
        let (name, texts, questions) = (set.name.clone(), set.corpus.len(), set.questions.len());
        Self { set: name, texts, questions, rows }
    }

    /// A figure of a row; `None` where it was not measured.
    pub(crate) fn figure(&self, row: &str, metric: &str) -> Option<f64> {
        let row = self.rows.iter().find(|one| one.name == row)?;
        row.figures.iter().find(|(name, _)| *name == metric).map(|(_, figure)| *figure)
    }

    fn skipped(&self) -> usize {
        self.rows.first().map_or(0, |row| row.skipped)
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
                    "p50_us": row.percentile(50) as u64, "p95_us": row.percentile(95) as u64,
                    "by_question": row.by_question,
                })
            })
            .collect();
        json!({
            "set": self.set, "texts": self.texts, "questions": self.questions, "skipped": self.skipped(),
            "rows": rows, "gates": verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "## {}: {} texts, {} questions, {} of them left out because nothing is right\n",
            self.set,
            self.texts,
            self.questions,
            self.skipped()
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
            let (p50, p95) = (row.percentile(50), row.percentile(95));
            writeln!(f, " {p:>8.4} | {p50:>6} µs | {p95:>6} µs |")?;
        }
        write!(
            f,
            "\n`p`: how likely a difference to the first row as large as this is by chance (paired randomisation)."
        )
    }
}

impl Measured {
    /// Microseconds.
    fn percentile(&self, percent: usize) -> u128 {
        let mut ascending = self.latencies.clone();
        ascending.sort_unstable();
        let place = (ascending.len() * percent).div_ceil(100).max(1) - 1;
        ascending.get(place).copied().unwrap_or_default().as_micros()
    }
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
