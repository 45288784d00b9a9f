//! How fast words are indexed and found, beside tantivy as its manual says to use it:
//! `cargo bench -p caas-core --bench lexical --features tantivy [-- CHUNKS]`.
//!
//! Rates and latencies are of the processor's time that this process takes, so that a machine that is busy with something else
//! makes nothing look slower.
//!
//! The texts are made here, the same in every run: words by Zipf's law, in chunks of about 170 words, 50 chunks a document.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its results")]

mod ours;
mod peer;
mod texts;

use std::process::ExitCode;
use std::time::Duration;

use caas_core::lexical::{Feedback, MemoryBm25, Parameters, TantivyIndex};
use ours::Ours;
use peer::Peer;
use texts::{Document, Texts};

/// Documents that are committed at a time where there are commits.
const BATCH: usize = 100;
const QUESTIONS: usize = 300;
const HITS: usize = 10;

/// Something that indexes and finds.
trait Engine {
    fn name(&self) -> String;
    fn put(&mut self, documents: &[Document]) -> anyhow::Result<()>;
    /// How many hits there are, at most [`HITS`].
    fn ask(&self, question: &str) -> anyhow::Result<usize>;
    /// Bytes it says it takes, and where.
    fn bytes(&self) -> anyhow::Result<(usize, &'static str)>;
}

/// What must be reached by the index in memory, with so many chunks.
struct Gate {
    chunks: usize,
    p95: Duration,
}

const GATES: [Gate; 2] = [
    Gate { chunks: 10_000, p95: Duration::from_millis(2) },
    Gate { chunks: 100_000, p95: Duration::from_millis(20) },
];
/// Megabytes a second, and bytes for each byte of text.
const LEAST_RATE: f64 = 5.0;
const MOST_MEMORY: f64 = 1.5;

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
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let asked: Vec<usize> = asked.iter().map(|count| count.parse()).collect::<Result<_, _>>()?;
    let sizes = if asked.is_empty() { GATES.iter().map(|gate| gate.chunks).collect() } else { asked };
    let mut reached = true;
    for chunks in sizes {
        println!("## {chunks} chunks\n");
        println!("| | MB/s | bytes by text | p50 | p95 | p99 |");
        println!("| --- | ---: | ---: | ---: | ---: | ---: |");
        let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let memory = Ours::new("MemoryBm25", MemoryBm25::new(Parameters::DEFAULT)?, "memory");
        let first = measure(memory, chunks, true)?;
        measure(
            Ours::new("TantivyIndex", TantivyIndex::open(one.path(), Parameters::DEFAULT)?, "disk"),
            chunks,
            false,
        )?;
        measure(Peer::new(two.path())?, chunks, false)?;
        println!();
        for gate in GATES.iter().filter(|gate| gate.chunks == chunks) {
            reached &= first.hold(gate);
        }
        println!();
    }
    Ok(reached)
}

struct Figures {
    rate: f64,
    memory: f64,
    p95: Duration,
}

impl Figures {
    fn hold(&self, gate: &Gate) -> bool {
        let verdicts = [
            (format!("p95 {:?}, at most {:?}", self.p95, gate.p95), self.p95 <= gate.p95),
            (format!("{:.1} MB/s, at least {LEAST_RATE}", self.rate), LEAST_RATE <= self.rate),
            (format!("{:.2} bytes by text, at most {MOST_MEMORY}", self.memory), self.memory <= MOST_MEMORY),
        ];
        for (what, reached) in &verdicts {
            println!("{} L6: {what}", if *reached { "reached" } else { "MISSED " });
        }
        verdicts.iter().all(|(_, reached)| *reached)
    }
}

fn measure(mut engine: impl Asked, chunks: usize, with_feedback: bool) -> anyhow::Result<Figures> {
    let mut texts = Texts::new();
    let (mut bytes, mut left, mut taken) = (0, chunks, Duration::ZERO);
    while 0 < left {
        let batch: Vec<Document> = (0..BATCH).map_while(|_| texts.document(&mut left)).collect();
        bytes += batch.iter().flat_map(|document| &document.chunks).map(String::len).sum::<usize>();
        let start = used();
        engine.put(&batch)?;
        taken += used().saturating_sub(start);
    }
    let rate = bytes as f64 / 1e6 / taken.as_secs_f64();
    let (own, place) = engine.bytes()?;
    let memory = own as f64 / bytes as f64;
    let questions: Vec<String> = (0..QUESTIONS).map(|_| texts.question()).collect();
    let [p50, p95, p99] = ask(&engine, &questions)?;
    let name = engine.name();
    println!("| {name} | {rate:.1} | {memory:.2} ({place}) | {p50:?} | {p95:?} | {p99:?} |");
    if with_feedback {
        engine.feedback(Feedback::DEFAULT);
        let [p50, p95, p99] = ask(&engine, &questions)?;
        println!("| {name} with feedback | | | {p50:?} | {p95:?} | {p99:?} |");
    }
    Ok(Figures { rate, memory, p95 })
}

/// An engine that may have feedback.
trait Asked: Engine {
    fn feedback(&mut self, _: Feedback) {}
}

fn ask(engine: &impl Engine, questions: &[String]) -> anyhow::Result<[Duration; 3]> {
    let mut latencies = Vec::new();
    // The first round warms up.
    for round in 0..2 {
        for question in questions {
            let start = used();
            let found = engine.ask(question)?;
            let taken = used().saturating_sub(start);
            anyhow::ensure!(0 < found, "nothing found for `{question}`");
            if round == 1 {
                latencies.push(taken);
            }
        }
    }
    latencies.sort_unstable();
    let percentile = |percent: usize| {
        let place = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        latencies.get(place).copied().unwrap_or_default()
    };
    Ok([percentile(50), percentile(95), percentile(99)])
}

/// Processor time that this process has used, its threads included.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
