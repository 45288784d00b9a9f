//! Another policy while agents work: what putting it in force costs, and what it costs those who are judged meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

use agent_control_plane::atr::Effect;
use agent_control_plane::call::Syscall;
use agent_control_plane::kernel::Widening;
use agent_control_plane::primitives::{AgentId, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Kernel, Policy};
use agent_os_benches::statistics::{Figure, Stopwatch, percentile};
use agent_os_benches::table::{Table, time};
use agent_os_benches::workload::ToolCalls;
use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Map, Value};

use crate::options::Options;
use crate::world::{self, at_once, calls_of};
use crate::{print, progress};

const RULES: usize = 10_000;

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let rules = options.rules(RULES);
    let workload = ToolCalls::new(rules);
    // Two documents that differ, so that each reload is one.
    let documents = ["a", "b"].map(|name| {
        workload
            .to_yaml("deny", &format!("- {{id: {name}, effect: deny, calls: [read], paths: [/{name}]}}\n"))
    });
    let kernel = world::kernel(&workload, "deny", Effect::Read, FlightRecorder::memory()?)?;
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    let call = calls_of(&world::requests(&workload, true), world::checked)?;
    let call = call.first().context("the workload allows nothing")?.clone();

    progress("  reloads");
    let mut table = Table::of_figures(&format!("another policy of {rules} rules"));
    for (name, figure) in reloads(watch, options, &kernel, &agent, &call, &documents)? {
        table.figure(name, &figure);
    }
    let mut readers =
        Table::new(["while policies are replaced in a loop", "p50", "p99", "p99.9", "longest", "samples"]);
    let count = options.scaled(400_000);
    for busy in [false, true] {
        let suffix = if busy { "replaced in a loop" } else { "left alone" };
        progress(&format!("  readers, {suffix}"));
        let ours = during(busy, || reload(&kernel, &documents), || governed(watch, &agent, &call, count))?;
        waits(&mut readers, &format!("governed call, {suffix}"), ours);
        let ours =
            during(busy, || reload(&kernel, &documents), || decided(watch, &kernel, &workload, count))?;
        waits(&mut readers, &format!("`Kernel::policy`, `decide`, {suffix}"), ours);
        let lock = RwLock::new(Policy::from_yaml("bench.yaml", documents.first().context("no document")?)?);
        let naive = during(busy, || write(&lock, &documents), || read(watch, &lock, &workload, count))?;
        waits(&mut readers, &format!("by hand, `RwLock<Policy>`, `decide`, {suffix}"), naive);
    }
    print(format!("\n## Reload\n\n{table}\n{readers}"))
}

/// Reading, putting in force, and the first call after it, apart and together.
fn reloads(
    watch: &Stopwatch,
    options: &Options,
    kernel: &Kernel,
    agent: &AgentHandle,
    call: &Syscall,
    documents: &[String; 2],
) -> anyhow::Result<[(&'static str, Figure); 4]> {
    let mut laps = [const { Vec::new() }; 4];
    for document in documents.iter().cycle().take(options.scaled(40).max(4)) {
        let start = watch.read();
        let policy = Policy::from_yaml("bench.yaml", document)?;
        let compiled = watch.lap(start);
        let start = watch.read();
        kernel.reload(policy, Widening::Force)?;
        let swapped = watch.lap(start);
        let start = watch.read();
        at_once(agent.syscall(call.clone()))??;
        let first = watch.lap(start);
        for (laps, lap) in laps.iter_mut().zip([compiled, swapped, first, compiled + swapped + first]) {
            laps.push(lap);
        }
    }
    let figure = |laps: Vec<u64>| {
        let means = laps.iter().map(|lap| *lap as f64).collect();
        Figure::of(laps, means)
    };
    let [compiled, swapped, first, whole] = laps.map(figure);
    Ok([
        ("read and compile", compiled),
        ("`Kernel::reload`: check, record, put in force", swapped),
        ("first governed call after", first),
        ("the three", whole),
    ])
}

fn reload(kernel: &Kernel, documents: &[String; 2]) -> anyhow::Result<()> {
    for document in documents {
        kernel.reload(Policy::from_yaml("bench.yaml", document)?, Widening::Force)?;
    }
    Ok(())
}

/// The usual way: compiled outside of the lock. What was there before is dropped under it.
fn write(lock: &RwLock<Policy>, documents: &[String; 2]) -> anyhow::Result<()> {
    for document in documents {
        let policy = Policy::from_yaml("bench.yaml", document)?;
        *lock.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
    Ok(())
}

/// Runs `work` while another thread, if it is to be `busy`, does `replace` over and over.
fn during(
    busy: bool,
    replace: impl Fn() -> anyhow::Result<()> + Sync,
    work: impl FnOnce() -> anyhow::Result<Vec<u64>>,
) -> anyhow::Result<Vec<u64>> {
    let (over, begun) = (AtomicBool::new(!busy), AtomicBool::new(!busy));
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                begun.store(true, Ordering::Relaxed);
                replace()?;
            }
            anyhow::Ok(())
        });
        while !begun.load(Ordering::Relaxed) && !replacing.is_finished() {
            std::thread::yield_now();
        }
        let samples = work();
        over.store(true, Ordering::Relaxed);
        replacing.join().map_err(|_panic| anyhow!("a thread of the bench panicked"))??;
        samples
    })
}

fn governed(
    watch: &Stopwatch,
    agent: &AgentHandle,
    call: &Syscall,
    count: usize,
) -> anyhow::Result<Vec<u64>> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count / 8 + 1 {
        let start = watch.read();
        at_once(agent.syscall(call.clone()))??;
        samples.push(watch.lap(start));
    }
    Ok(samples)
}

fn decided(
    watch: &Stopwatch,
    kernel: &Kernel,
    workload: &ToolCalls,
    count: usize,
) -> anyhow::Result<Vec<u64>> {
    judge(watch, workload, count, |caller, question| kernel.policy().decide(caller, question).verdict())
}

fn read(
    watch: &Stopwatch,
    lock: &RwLock<Policy>,
    workload: &ToolCalls,
    count: usize,
) -> anyhow::Result<Vec<u64>> {
    judge(watch, workload, count, |caller, question| {
        lock.read().unwrap_or_else(PoisonError::into_inner).decide(caller, question).verdict()
    })
}

fn judge(
    watch: &Stopwatch,
    workload: &ToolCalls,
    count: usize,
    decide: impl Fn(&Caller<'_>, &Question<'_>) -> Verdict,
) -> anyhow::Result<Vec<u64>> {
    let allowed = world::requests(workload, true);
    let asked: Vec<(ToolId, Value)> = allowed
        .iter()
        .map(|request| Ok((request.tool.parse()?, Value::Object(request.arguments.clone()))))
        .collect::<anyhow::Result<_>>()?;
    let (agent, facts) = ("bench".parse::<AgentId>()?, Map::new());
    let caller = Caller::new(&agent, &facts);
    let mut samples = Vec::with_capacity(count);
    for (id, arguments) in asked.iter().cycle().take(count) {
        let start = watch.read();
        let verdict = decide(&caller, &Question::new(CallKind::Exec, Object::Tool { id, arguments }));
        samples.push(watch.lap(start));
        ensure!(verdict == Verdict::Allow, "`{id}` is refused");
    }
    Ok(samples)
}

fn waits(table: &mut Table, name: &str, mut samples: Vec<u64>) {
    samples.sort_unstable();
    let longest = samples.last().copied().unwrap_or_default();
    let [p50, p99] = [50, 99].map(|percent| time(percentile(&samples, percent) as f64));
    let rank = (samples.len() * 999).div_ceil(1000).saturating_sub(1);
    let rare = samples.get(rank).copied().unwrap_or_default();
    table.row([
        name.to_owned(),
        p50,
        p99,
        time(rare as f64),
        time(longest as f64),
        samples.len().to_string(),
    ]);
}
