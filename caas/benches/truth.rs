//! How long it takes to find what texts disagree about: `cargo bench -p caas-core --bench truth [-- CHUNKS]`.
//!
//! Every sentence claims something. There are few subjects, so that most claims are compared with as many others as there may
//! be: texts of people are quicker. Time of the processor of one thread, the median of nine runs.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::Digest;
use caas_core::truth::conflicts;
use caas_core::{Chunk, ChunkId, Classification, Found, Metadata, Scores, Source, SourceKind, Tier};

/// What may be taken for a thousand chunks.
const GATE: Duration = Duration::from_millis(100);
const SENTENCES: usize = 12;
const RUNS: usize = 9;

const THINGS: [&str; 8] =
    ["gateway", "importer", "scheduler", "archive", "mailer", "indexer", "proxy", "cache"];
const PARTS: [&str; 6] = ["session", "upload", "batch", "retry", "request", "export"];

fn main() {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: usize = asked.unwrap_or(1000);
    let found: Vec<Found> = (0..count).filter_map(chunk).collect();
    let bytes: usize = found.iter().map(|found| found.chunk.text.len()).sum();
    let mut taken = Vec::new();
    for _ in 0..RUNS {
        let begun = used();
        let conflicts = std::hint::black_box(conflicts(&found));
        taken.push((used().saturating_sub(begun), conflicts.found.len(), conflicts.compared));
    }
    taken.sort();
    let (median, conflicts, compared) = taken.get(RUNS / 2).copied().unwrap_or_default();
    println!("{count} chunks, {bytes} bytes, {} claims", count * SENTENCES);
    println!("{conflicts} conflicts of {compared} pairs in {median:.1?}");
    let verdict = if median <= GATE * count as u32 / 1000 { "reached" } else { "MISSED " };
    println!("{verdict} P5: {GATE:?} for 1000 chunks");
}

fn chunk(place: usize) -> Option<Found> {
    let text = (0..SENTENCES).map(|at| sentence(place * SENTENCES + at)).collect::<Vec<_>>().join(" ");
    let name = format!("d{place}");
    Some(Found {
        rank: place + 1,
        chunk: Arc::new(Chunk {
            id: format!("{:032x}", place + 1).parse::<ChunkId>().ok()?,
            ordinal: 0,
            range: 0..text.len(),
            path: Arc::new([]),
            tiers: vec![(Tier::Medium, 0..text.len())],
            outline: None,
            page: None,
            language: None,
            tokens: text.len() / 4,
            text: text.as_str().into(),
        }),
        document: name.parse().ok()?,
        version: Digest::of("caas bench v1", text.as_bytes()),
        title: name.into(),
        metadata: Arc::new(Metadata::new(Source::of(SourceKind::Wiki), Classification::Public)),
        scores: Scores::default(),
        duplicates: Vec::new(),
    })
}

fn sentence(number: usize) -> String {
    let thing = THINGS.get(number % 8).copied().unwrap_or_default();
    let part = PARTS.get(number / 8 % 6).copied().unwrap_or_default();
    let value = number * 7919 % 1000 + 2;
    match number % 7 {
        0 => format!("The {part} timeout of the {thing} is {value} seconds."),
        1 => format!("By default the {thing} takes at most {value} concurrent {part} jobs."),
        2 => format!("The {thing} listens on port {} for every {part}.", 1024 + value),
        3 => format!("Set {thing}_{part}_limit = {value} before the {thing} starts."),
        4 => format!(
            "The {part} cleanup of the {thing} runs at {:02}:{:02} every night.",
            value % 24,
            value % 60
        ),
        5 if value.is_multiple_of(2) => format!("The {thing} does not support {part} compression."),
        5 => format!("The {thing} supports {part} compression, as everybody knows."),
        _ => format!(
            "{part} encryption is {} for the {thing}.",
            if value.is_multiple_of(2) { "required" } else { "optional" }
        ),
    }
}

/// Processor time that this thread has used.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}
