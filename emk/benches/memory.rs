//! Episodic memory at a size: `cargo bench -p emk --bench memory -- [EPISODES]`, 100 000 if nothing is said.
//!
//! Processor time of the whole process, so that a busy machine does not show. What is measured: records and episodes appended in
//! memory; then, with segment files in a temporary folder, making and remembering episodes, opening again, reading one episode,
//! memory in use for each episode, a chain of causes, a plan of sleep, erasing one, export and import.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{ManualClock, Timestamp};
use emk::episode::{Episode, Outcome};
use emk::memory::sleep::SleepPolicy;
use emk::memory::transfer::import_ledger;
use emk::memory::{Direction, EpisodicMemory, MemoryOptions};
use emk::{
    EntryKind, Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, SegmentOptions, SegmentStore,
};

type Failure = Box<dyn Error + Send + Sync>;

const WORDS: [&str; 24] = [
    "invoice",
    "ledger",
    "export",
    "timeout",
    "retry",
    "billing",
    "report",
    "archive",
    "upload",
    "gateway",
    "certificate",
    "rotate",
    "customer",
    "parcel",
    "index",
    "rebuild",
    "cache",
    "restart",
    "database",
    "query",
    "schema",
    "deploy",
    "service",
    "backup",
];

fn main() -> Result<(), Failure> {
    let asked = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: u64 = asked.unwrap_or(100_000);
    in_memory(count)?;
    let dir = tempfile::tempdir()?;
    let clock = Arc::new(ManualClock::at(day(4000)));
    let open = || EpisodicMemory::open(ledger(&dir)?, MemoryOptions::default(), clock.clone());

    let memory = open()?;
    let (mut bytes, mut cause, begun) = (0, None, used());
    for number in 0..count {
        let episode = episode(number, cause)?;
        bytes += episode.encode().len();
        cause = (number % 10 != 9).then_some(episode.content_id());
        // A buffer that is full is waited for, as a writer would.
        if memory.append(&episode).is_err() {
            memory.ledger().flush()?;
            memory.append(&episode)?;
        }
    }
    memory.ledger().flush()?;
    rate("make and remember", count, used() - begun);
    memory.ledger().close()?;
    drop(memory);

    let (before, begun) = (resident(), used());
    let memory = open()?;
    rate("open again", count, used() - begun);
    println!("{:<28} {:>12.0} bytes", "memory for each episode", (resident() - before) as f64 / count as f64);
    println!("{:<28} {:>12.0} bytes", "body of each episode", bytes as f64 / count as f64);

    let begun = used();
    for number in 0..10_000 {
        let seq = number * 7919 % count;
        memory.get(seq)?.ok_or("an episode is missing")?;
    }
    each("read one, anywhere", 10_000, used() - begun);
    let begun = used();
    let long: usize =
        (0..1000).map(|seq| memory.chain(seq, Direction::Both, 16).map_or(0, |links| links.len())).sum();
    each("chain", 1000, used() - begun);
    println!("{:<28} {:>12.1} links", "a chain has", long as f64 / 1000.0);

    let begun = used();
    let plan = memory.plan(&SleepPolicy::default(), day(4000), |_| {})?;
    rate("plan a sleep", plan.eligible.len() as u64, used() - begun);
    println!("{:<28} {:>12} rules", "it would make", plan.rules.len());
    let begun = used();
    memory.redact(count / 2, "measured")?;
    each("erase one", 1, used() - begun);
    let begun = used();
    let report = memory.verify(Some(memory.ledger().head()), |_| {})?;
    rate("verify", report.entries, used() - begun);

    let other = tempfile::tempdir()?;
    let path = other.path().join("export.jsonl");
    let begun = used();
    let exported = memory.export(BufWriter::new(File::create(&path)?), |_| {})?;
    rate("export", exported.records, used() - begun);
    let begun = used();
    let imported = import_ledger(&ledger(&other)?, BufReader::new(File::open(&path)?), |_| {})?;
    rate("import", imported.records, used() - begun);
    Ok(())
}

/// Records of 256 bytes, then episodes that were made before: what appending costs where nothing is written.
fn in_memory(count: u64) -> Result<(), Failure> {
    let open = || {
        let limits = MemoryLimits { records: count, bytes: 8 << 30, ..MemoryLimits::default() };
        Ledger::open(MemoryStore::new(LedgerId::new("bench")?, limits), LedgerOptions::default())
    };
    let ledger = open()?;
    let mut body = [b'.'; 256];
    let begun = used();
    for number in 0..count {
        body.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, digit)| *byte = digit);
        ledger.append(EntryKind::Event, &body)?;
    }
    rate("append 256 bytes, in memory", count, used() - begun);
    drop(ledger);
    let episodes: Vec<Episode> = (0..count).map(|number| episode(number, None)).collect::<Result<_, _>>()?;
    let memory =
        EpisodicMemory::open(open()?, MemoryOptions::default(), Arc::new(ManualClock::at(day(4000))))?;
    let begun = used();
    for episode in &episodes {
        memory.append(episode)?;
    }
    rate("append episodes, in memory", count, used() - begun);
    Ok(())
}

fn ledger(dir: &tempfile::TempDir) -> Result<Ledger, emk::LedgerError> {
    let store = SegmentStore::open(dir.path(), LedgerId::new("bench")?, SegmentOptions::default())?;
    Ledger::open(store, LedgerOptions::default())
}

/// Ten words of a fixed vocabulary and a number of its own; every tenth begins a chain of causes.
fn episode(number: u64, cause: Option<agent_primitives::Digest>) -> Result<Episode, Failure> {
    let word = |step: u64| {
        let index = (number * 31 + step * step * 7 + number / 24) % 24;
        WORDS.get(index as usize).copied().unwrap_or_default()
    };
    let agent = format!("agent-{}", number % 16);
    Ok(Episode::builder(agent.parse()?, day((number / 1000) as i64))
        .goal(format!("{} the {} of {} {number}", word(1), word(2), word(3)))
        .action(format!("call {} with {} and {}", word(4), word(5), word(6)))
        .result(format!("{} answered {} in {} ms", word(7), word(8), number % 997))
        .reflection(format!("{} before {}", word(9), word(10)))
        .outcome(Outcome::Success)
        .tags([word(11)])
        .caused_by(cause)
        .build()?)
}

fn day(day: i64) -> Timestamp {
    Timestamp::from_micros(day * 86_400_000_000)
}

/// Bytes of memory in use, as the operating system sees it; 0 where it does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Processor time that this process has used, its threads included.
fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

fn rate(what: &str, count: u64, took: Duration) {
    println!("{what:<28} {:>12.0} a second ({count} in {took:.2?})", count as f64 / took.as_secs_f64());
}

fn each(what: &str, count: u32, took: Duration) {
    println!("{what:<28} {:>12.1?} each", took / count);
}
