//! Stopping an agent: by its own violation, for a while, for good.

use agent_control_plane::atr::Effect;
use agent_control_plane::primitives::Signal;
use agent_control_plane::{AgentSpec, AgentState, FlightRecorder, Kernel};
use agent_os_benches::statistics::{Figure, Stopwatch, measure};
use agent_os_benches::table::Table;
use agent_os_benches::workload::ToolCalls;
use anyhow::{Context as _, ensure};

use crate::options::Options;
use crate::print;
use crate::world::{self, at_once, refused};

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let mut table = Table::of_figures("stopping an agent, recorder in memory, 100 rules");
    let few = options.scaled(200);
    let [spawned, denied, killed] = lives(watch, few, 0)?;
    table.figure("spawn", &spawned);
    table.figure("denied call, SIGPOLICY, until the state says zombie", &denied);
    table.figure("SIGKILL until the state says zombie", &killed);
    // More than the kernel remembers.
    let dead = options.scaled(11_000);
    let [_, _, killed] = lives(watch, few, dead)?;
    table.figure(&format!("SIGKILL, after {dead} agents have died"), &killed);
    table.figure("SIGSTOP + SIGCONT", &stop_and_go(watch, options)?);
    print(format!("\n## Stopping\n\n{table}"))
}

fn kernel() -> anyhow::Result<Kernel> {
    world::kernel(&ToolCalls::new(100), "kill", Effect::Read, FlightRecorder::memory()?)
}

/// Spawning, and ending in either way, over batches of `count` agents each; `before` have died already.
fn lives(watch: &Stopwatch, count: usize, before: usize) -> anyhow::Result<[Figure; 3]> {
    const BATCHES: usize = 25;
    let workload = ToolCalls::new(100);
    let denied = world::requests(&workload, false).first().copied().map(world::checked);
    let denied = denied.context("the workload denies nothing")??;
    let (mut samples, mut means) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for batch in 0..BATCHES {
        // A kernel keeps the last 10 000 dead, so each batch has its own.
        let kernel = kernel()?;
        for number in 0..before {
            let agent = kernel.spawn(AgentSpec::new(format!("before-{number}")))?;
            kernel.signal(agent.id(), Signal::Kill, "bench")?;
        }
        let mut laps = [const { Vec::new() }; 3];
        for number in 0..count {
            let start = watch.read();
            let agent = kernel.spawn(AgentSpec::new(format!("a-{batch}-{number}")))?;
            let spawned = watch.lap(start);
            let start = watch.read();
            refused(at_once(agent.syscall(denied.clone()))?)?;
            let gone = is_gone(&kernel, &agent);
            let policy = watch.lap(start);
            ensure!(gone, "a denied call left its agent alive");

            let agent = kernel.spawn(AgentSpec::new(format!("b-{batch}-{number}")))?;
            let start = watch.read();
            kernel.signal(agent.id(), Signal::Kill, "bench")?;
            let gone = is_gone(&kernel, &agent);
            let killed = watch.lap(start);
            ensure!(gone, "a killed agent is alive");
            for (laps, lap) in laps.iter_mut().zip([spawned, policy, killed]) {
                laps.push(lap);
            }
        }
        for ((samples, means), laps) in samples.iter_mut().zip(&mut means).zip(laps) {
            means.push(laps.iter().sum::<u64>() as f64 / laps.len() as f64);
            samples.extend(laps);
        }
    }
    let [a, b, c] = samples;
    let [x, y, z] = means;
    Ok([Figure::of(a, x), Figure::of(b, y), Figure::of(c, z)])
}

fn is_gone(kernel: &Kernel, agent: &agent_control_plane::AgentHandle) -> bool {
    matches!(kernel.agent(agent.id()), Some(AgentState::Zombie(_)))
}

fn stop_and_go(watch: &Stopwatch, options: &Options) -> anyhow::Result<Figure> {
    let kernel = kernel()?;
    let agent = kernel.spawn(AgentSpec::new("bench"))?;
    let figure = measure(watch, options.effort(), 1, |_| {
        kernel.signal(agent.id(), Signal::Stop, "bench")?;
        kernel.signal(agent.id(), Signal::Cont, "bench")
    })?;
    Ok(figure)
}
