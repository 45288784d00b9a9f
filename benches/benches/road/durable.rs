//! Durable calls: the intent is on disk before the tool runs. Beside them what the disk allows.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use agent_control_plane::atr::Effect;
use agent_control_plane::call::Syscall;
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder};
use agent_os_benches::machine;
use agent_os_benches::statistics::{Figure, Stopwatch};
use agent_os_benches::table::{Table, ratio};
use agent_os_benches::workload::ToolCalls;
use anyhow::Context as _;
use emk::{EntryKind, Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentStore};
use tokio::runtime::Runtime;

use crate::options::Options;
use crate::{print, progress, world};

const BATCHES: usize = 15;
/// Callers that wait at the same time.
const CALLERS: [usize; 2] = [1, 64];
/// Calls of one batch by each of so many callers.
const CALLS: [usize; 2] = [150, 80];
/// With the 81 bytes a ledger adds, a record of 256 bytes.
const BODY: [u8; 175] = [b'x'; 175];

/// What makes durable writes. Each caller has its own.
#[derive(Clone)]
enum Writer {
    /// A governed call of a tool that writes.
    Governed(AgentHandle, Syscall),
    /// The ledger below it, alone.
    Bare(Ledger),
}

impl Writer {
    async fn write(&self) -> anyhow::Result<()> {
        match self {
            Self::Governed(agent, call) => drop(agent.syscall(call.clone()).await?),
            Self::Bare(ledger) => {
                let appended = ledger.append(EntryKind::Event, &BODY)?;
                ledger.durable(appended.seq).await?;
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Laps {
    samples: Vec<u64>,
    means: Vec<f64>,
}

impl Laps {
    fn figure(self) -> Figure {
        Figure::of(self.samples, self.means)
    }
}

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let folder = folder()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    let governed = governed(folder.path())?;
    let store =
        SegmentStore::open(folder.path().join("bare"), LedgerId::new("bench")?, SegmentOptions::default())?;
    let bare = vec![Writer::Bare(Ledger::open(store, LedgerOptions::default())?); 64];
    let mut file = File::create_new(folder.path().join("plain"))?;

    let (mut plain, mut ledger, mut road) = (Laps::default(), [const { None }; 2], [const { None }; 2]);
    // A disk drifts more than anything else here, so what is compared takes turns.
    for batch in 0..BATCHES {
        progress(&format!("  batch {} of {BATCHES}", batch + 1));
        sync_each(watch, &mut file, options.scaled(150), &mut plain)?;
        for (place, (callers, calls)) in CALLERS.into_iter().zip(CALLS).enumerate() {
            for (laps, writers) in [(&mut ledger, &bare), (&mut road, &governed)] {
                let laps = laps.get_mut(place).context("one place per number of callers")?;
                let writers = writers.iter().take(callers);
                drive(&runtime, watch, writers, options.scaled(calls), laps.get_or_insert_default())?;
            }
        }
    }

    let mut table = Table::of_figures("durable");
    let plain = plain.figure();
    table.figure("write + fdatasync of 256 B, each record", &plain);
    let mut against = Table::new(["governed / floor", "callers", "p50", "rate"]);
    for ((callers, ledger), road) in CALLERS.into_iter().zip(ledger).zip(road) {
        let [ledger, road] = [ledger, road].map(|laps| laps.unwrap_or_default().figure());
        table.figure(&format!("bare ledger, {callers} waiting"), &ledger);
        table.figure(&format!("governed call, {callers} waiting"), &road);
        for (floor, figure) in [("bare ledger", ledger), ("write + fdatasync", plain)] {
            let (p50, rate) = (road.p50 as f64 / figure.p50 as f64, road.per_second() / figure.per_second());
            against.row([floor.to_owned(), callers.to_string(), ratio(p50, 1.0), ratio(rate, 1.0)]);
        }
    }
    let kind = machine::file_system(folder.path());
    print(format!("\n## Durable, on {kind}\n\n{table}\n{against}"))
}

/// A folder beside the binary: what lies in `/tmp` may lie in memory.
pub(crate) fn folder() -> anyhow::Result<tempfile::TempDir> {
    let binary = std::env::current_exe()?;
    Ok(tempfile::tempdir_in(binary.parent().context("the binary lies in no folder")?)?)
}

fn governed(folder: &Path) -> anyhow::Result<Vec<Writer>> {
    let workload = ToolCalls::new(100);
    let kernel = world::kernel(&workload, "deny", Effect::Write, FlightRecorder::open(folder.join("road"))?)?;
    let allowed = world::requests(&workload, true);
    let writer = |(number, request): (usize, &&_)| {
        let agent = kernel.spawn(AgentSpec::new(format!("bench-{number}")))?;
        Ok(Writer::Governed(agent, world::checked(request)?))
    };
    allowed.iter().take(64).enumerate().map(writer).collect()
}

fn sync_each(watch: &Stopwatch, file: &mut File, count: usize, laps: &mut Laps) -> anyhow::Result<()> {
    let began = watch.read();
    for _ in 0..count {
        let start = watch.read();
        file.write_all(&[b'x'; 256])?;
        file.sync_data()?;
        laps.samples.push(watch.lap(start));
    }
    laps.means.push(watch.lap(began) as f64 / count as f64);
    Ok(())
}

/// Each writer makes `count` writes, one after the other, as a task of its own.
fn drive<'w>(
    runtime: &Runtime,
    watch: &Stopwatch,
    writers: impl Iterator<Item = &'w Writer>,
    count: usize,
    laps: &mut Laps,
) -> anyhow::Result<()> {
    let watch = *watch;
    let task = |writer: Writer| async move {
        let mut samples = Vec::with_capacity(count);
        for _ in 0..count {
            let start = watch.read();
            writer.write().await?;
            samples.push(watch.lap(start));
        }
        anyhow::Ok(samples)
    };
    let writers: Vec<Writer> = writers.cloned().collect();
    let writes = writers.len() * count;
    let began = watch.read();
    let tasks: Vec<_> = writers.into_iter().map(|writer| runtime.spawn(task(writer))).collect();
    for task in tasks {
        laps.samples.extend(runtime.block_on(task)??);
    }
    laps.means.push(watch.lap(began) as f64 / writes as f64);
    Ok(())
}
