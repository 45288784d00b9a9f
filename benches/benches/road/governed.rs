//! The road in memory: whole system calls, recorded in memory.

use std::sync::Barrier;

use agent_control_plane::atr::Effect;
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, FlightRecorder};
use agent_os_benches::statistics::{Figure, Stopwatch, measure, median};
use agent_os_benches::table::{Table, rate, ratio};
use agent_os_benches::workload::ToolCalls;
use anyhow::{Context as _, anyhow, bail};
use serde_json::json;

use crate::options::Options;
use crate::world::{self, at_once, calls_of, refused};
use crate::{RULES, print, progress};

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut table = Table::of_figures("governed call, recorder in memory");
    for rules in RULES {
        progress(&format!("  {rules} rules"));
        calls(watch, options, &mut table, rules)?;
    }
    print(format!("\n## The road in memory\n\n{table}"))?;
    progress("  threads");
    threads(watch, options)?;
    progress("  a long record");
    flatness(watch, options)
}

fn calls(watch: &Stopwatch, options: &Options, table: &mut Table, rules: usize) -> anyhow::Result<()> {
    let workload = ToolCalls::new(rules);
    let kernel = world::kernel(&workload, "deny", Effect::Read, FlightRecorder::memory()?)?;
    let agent = world::stubborn(&kernel)?;
    at_once(agent.syscall(world::write()))??;
    let allowed = world::requests(&workload, true);
    let forms = [
        ("exec, arguments checked before", calls_of(&allowed, world::checked)?),
        ("exec, arguments as JSON text", calls_of(&allowed, world::json)?),
        ("read 256 B by path", vec![world::read()]),
        ("write 256 B by path", vec![world::write()]),
    ];
    for (form, calls) in forms {
        let figure = measure(watch, options.effort(), calls.len(), |position| {
            anyhow::Ok(at_once(agent.syscall(call(&calls, position)?))??)
        })?;
        table.figure(&format!("{form}, {rules} rules"), &figure);
    }
    let denied = calls_of(&world::requests(&workload, false), world::checked)?;
    let figure = measure(watch, options.effort(), denied.len(), |position| {
        refused(at_once(agent.syscall(call(&denied, position)?))?)
    })?;
    table.figure(&format!("exec that policy denies, {rules} rules"), &figure);
    let figure = measure(watch, options.effort(), 1, |_| unknown_tool(&agent))?;
    table.figure(&format!("exec of a tool nobody registered, {rules} rules"), &figure);
    Ok(())
}

fn call(calls: &[Syscall], position: usize) -> anyhow::Result<Syscall> {
    calls.get(position).cloned().context("there is no such call")
}

fn unknown_tool(agent: &AgentHandle) -> anyhow::Result<()> {
    let arguments = RawArguments::Value(json!({}));
    let call = Syscall::Exec { tool: "tool_that_is_none".to_owned(), arguments, deadline: None };
    match at_once(agent.syscall(call))? {
        Err(CallError::Invalid(_)) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(_) => bail!("a tool ran that is not registered"),
    }
}

/// Governs every request of the workload, refusals included: what peers are held against.
pub(crate) fn whole_mix(
    watch: &Stopwatch,
    options: &Options,
    workload: &ToolCalls,
) -> anyhow::Result<Figure> {
    let kernel = world::kernel(workload, "deny", Effect::Read, FlightRecorder::memory()?)?;
    let agent = world::stubborn(&kernel)?;
    let calls = workload.requests.iter().map(world::checked).collect::<Result<Vec<_>, _>>()?;
    measure(watch, options.effort(), calls.len(), |position| {
        match at_once(agent.syscall(call(&calls, position)?))? {
            Ok(_) | Err(CallError::Denied(_)) => Ok(()),
            Err(other) => Err(other.into()),
        }
    })
}

/// One agent on one thread against two agents on two, all in one kernel.
fn threads(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    const BATCHES: usize = 25;
    let workload = ToolCalls::new(100);
    let calls = calls_of(&world::requests(&workload, true), world::checked)?;
    let kernel = world::kernel(&workload, "deny", Effect::Read, FlightRecorder::memory()?)?;
    let names = (0..2).map(|number| format!("bench-{number}"));
    let agents = names.map(|name| kernel.spawn(AgentSpec::new(name))).collect::<Result<Vec<_>, _>>()?;
    let mut means = [Vec::new(), Vec::new()];
    for _ in 0..BATCHES {
        for (threads, means) in (1..).zip(&mut means) {
            let agents = agents.get(..threads).context("there are not as many agents as threads")?;
            means.push(together(watch, agents, &calls, options.scaled(20_000))?);
        }
    }
    let [one, two] = means.map(|means| Figure::of(Vec::new(), means));
    let mut table = Table::new([
        "exec, arguments checked before, 100 rules",
        "per second",
        "batches",
        "scaling, median",
        "scaling, fastest batch",
    ]);
    for (name, figure) in [("1 agent on 1 thread", one), ("2 agents on 2 threads", two)] {
        let spread = format!("{} .. {}", rate(1e9 / figure.most), rate(1e9 / figure.least));
        let [median, fastest] = [ratio(one.mean, figure.mean), ratio(one.least, figure.least)];
        table.row([name.to_owned(), rate(figure.per_second()), spread, median, fastest]);
    }
    print(format!("\n{table}"))
}

/// Nanoseconds of wall time per call while every agent makes `count` calls on a thread of its own.
fn together(
    watch: &Stopwatch,
    agents: &[AgentHandle],
    calls: &[Syscall],
    count: usize,
) -> anyhow::Result<f64> {
    let start = Barrier::new(agents.len());
    let spans = std::thread::scope(|scope| {
        let work = |agent: &AgentHandle| {
            let agent = agent.clone();
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let began = watch.read();
                for call in calls.iter().cycle().take(count) {
                    at_once(agent.syscall(call.clone()))??;
                }
                anyhow::Ok((began, watch.read()))
            })
        };
        let threads: Vec<_> = agents.iter().map(work).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread of the bench panicked")))
        };
        threads.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()
    })?;
    let began = spans.iter().map(|(began, _)| *began).min();
    let ended = spans.iter().map(|(_, ended)| *ended).max();
    let (began, ended) = began.zip(ended).context("no agent, no figure")?;
    Ok(ended.since(began).as_nanos() as f64 / (count * agents.len()) as f64)
}

/// Whether a call costs more once a million are on record.
fn flatness(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    const RUNS: usize = 5;
    const WINDOWS: usize = 10;
    /// Parts of a window. Most are not interrupted, and the median is one of those.
    const PARTS: usize = 100;
    let window = options.scaled(100_000);
    let workload = ToolCalls::new(100);
    let calls = calls_of(&world::requests(&workload, true), world::checked)?;
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let kernel = world::kernel(&workload, "deny", Effect::Read, FlightRecorder::memory()?)?;
        let agents = [kernel.spawn(AgentSpec::new("bench"))?];
        for number in 0..WINDOWS {
            let part = (window / PARTS).max(1);
            let means = (0..PARTS).map(|_| together(watch, &agents, &calls, part));
            let mean = median(means.collect::<Result<_, _>>()?);
            match number {
                0 => first.push(mean),
                _ if number + 1 == WINDOWS => last.push(mean),
                _ => {}
            }
        }
    }
    let [first, last] = [first, last].map(|means| Figure::of(Vec::new(), means));
    let mut table =
        Table::new(["a long record, 2 records a call", "per second", "runs", "time against the first"]);
    for (name, figure) in [("first", first), ("last", last)] {
        let spread = format!("{} .. {}", rate(1e9 / figure.most), rate(1e9 / figure.least));
        let name = format!("{name} {window} of {} calls", window * WINDOWS);
        table.row([name, rate(figure.per_second()), spread, ratio(figure.mean, first.mean)]);
    }
    print(format!("\n{table}"))
}
