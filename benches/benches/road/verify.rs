//! Checking a long record: what the road wrote, verified from memory and from files.

use agent_control_plane::atr::Effect;
use agent_control_plane::recorder::{LEDGER_NAME, Recording};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel};
use agent_os_benches::machine;
use agent_os_benches::statistics::{Figure, Stopwatch};
use agent_os_benches::table::{Table, rate, time};
use agent_os_benches::workload::ToolCalls;
use anyhow::{Context as _, ensure};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};

use crate::options::Options;
use crate::world::{self, at_once, calls_of};
use crate::{durable, print, progress};

const RUNS: usize = 5;
/// About as many proofs are made.
const PROOFS: usize = 1_000;

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let records = options.scaled(1_000_000);
    let folder = durable::folder()?;
    let kind = machine::file_system(folder.path());
    let mut table = Table::new([
        "verify every hash of a record",
        "records",
        "whole",
        "runs",
        "each record",
        "per second",
    ]);
    let mut row = |name: String, whole: Figure| {
        let each = whole.mean / records as f64;
        let spread = format!("{} .. {}", time(whole.least), time(whole.most));
        table.row([name, records.to_string(), time(whole.mean), spread, time(each), rate(1e9 / each)]);
    };

    progress("  in memory");
    let limits = MemoryLimits { records: 2_000_000, bytes: 1 << 30, when_full: WhenFull::Refuse };
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME)?, limits);
    let recorder = FlightRecorder::on(Ledger::open(store, LedgerOptions::default())?);
    let kernel = fill(recorder, records)?;
    let recorder = kernel.recorder();
    row(
        "in memory".to_owned(),
        repeat(watch, || {
            ensure!(recorder.verify(Some(recorder.head()), |_| {})?.head.count >= records as u64);
            Ok(())
        })?,
    );

    progress("  in files");
    let kernel = fill(FlightRecorder::open(folder.path())?, records)?;
    // Closing seals it, which adds to it.
    kernel.recorder().close()?;
    let head = kernel.recorder().head();
    let recording = Recording::open(folder.path())?;
    row(
        format!("in files on {kind}, cached"),
        repeat(watch, || {
            ensure!(recording.verify(Some(head), |_| {})?.head == head);
            Ok(())
        })?,
    );
    print(format!("\n## Verification\n\n{table}"))?;
    proofs(watch, &recording, records)
}

/// Proofs of records all over the recording, for its newest checkpoint.
fn proofs(watch: &Stopwatch, recording: &Recording, records: usize) -> anyhow::Result<()> {
    progress("  proofs");
    let start = watch.read();
    let prover = recording.prover()?;
    let read = watch.lap(start) as f64;
    let newest = prover.checkpoints().last().context("a recording that was closed has a seal")?;
    let sample: Vec<_> = recording.events(0)?.step_by(records / PROOFS + 1).collect::<Result<_, _>>()?;
    let start = watch.read();
    for stored in &sample {
        ensure!(std::hint::black_box(prover.inclusion(stored, newest)).is_some());
    }
    let made = watch.lap(start) as f64 / sample.len() as f64;
    let start = watch.read();
    for stored in &sample {
        let proof = prover.inclusion(stored, newest).context("a record has a proof")?;
        proof.verify(stored.bytes(), newest)?;
    }
    let checked = watch.lap(start) as f64 / sample.len() as f64 - made;
    let mut table = Table::new(["proofs", "records", "each"]);
    table.row(["read once to make them".to_owned(), records.to_string(), time(read)]);
    table.row(["inclusion, made".to_owned(), records.to_string(), time(made)]);
    table.row(["inclusion, checked".to_owned(), records.to_string(), time(checked)]);
    print(format!("\n{table}"))
}

/// Makes calls until there are `records` records.
fn fill(recorder: FlightRecorder, records: usize) -> anyhow::Result<Kernel> {
    let workload = ToolCalls::new(100);
    let calls = calls_of(&world::requests(&workload, true), world::checked)?;
    let kernel = world::kernel(&workload, "deny", Effect::Read, recorder)?;
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    for call in calls.iter().cycle() {
        if records as u64 <= kernel.recorder().head().count {
            break;
        }
        at_once(agent.syscall(call.clone()))??;
    }
    Ok(kernel)
}

fn repeat(watch: &Stopwatch, mut verify: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Figure> {
    verify()?;
    let mut wholes = Vec::new();
    for _ in 0..RUNS {
        let start = watch.read();
        verify()?;
        wholes.push(watch.lap(start) as f64);
    }
    Ok(Figure::of(Vec::new(), wholes))
}
