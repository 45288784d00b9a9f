//! Agents that do nothing: what each of many costs in memory, and what they cost a call of another.

use std::process::Command;

use agent_control_plane::atr::Effect;
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Kernel};
use agent_os_benches::machine;
use agent_os_benches::statistics::{Stopwatch, measure};
use agent_os_benches::table::{Table, ratio, time};
use agent_os_benches::workload::ToolCalls;
use anyhow::{Context as _, bail, ensure};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};

use crate::options::Options;
use crate::world::{self, at_once};
use crate::{print, progress};

/// What makes a process of its own do nothing but tell the memory of idle agents: what other sections have freed would be
/// used again, and not count.
pub(crate) const CHILD: &str = "--memory-of-idle-agents";

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let count = options.scaled(100_000);
    progress(&format!("  {count} agents"));
    let output = Command::new(std::env::current_exe()?).args([CHILD, &count.to_string()]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let grown: u64 = String::from_utf8(output.stdout)?.trim().parse()?;

    let kernel = kernel()?;
    let busy = kernel.spawn(AgentSpec::new("busy"))?;
    let call = || anyhow::Ok(at_once(busy.syscall(world::write()))??);
    call()?;
    let alone = measure(watch, options.effort(), 1, |_| call())?;
    let start = watch.read();
    let handles = spawn(&kernel, count)?;
    let each = watch.lap(start) as f64 / count as f64;
    let beside = measure(watch, options.effort(), 1, |_| call())?;

    let mut table = Table::new(["idle agents, handle kept", "spawning each", "memory of each", "of all"]);
    table.row([
        handles.len().to_string(),
        time(each),
        format!("{:.0} B", grown as f64 / count as f64),
        format!("{:.1} MiB", grown as f64 / f64::from(1 << 20)),
    ]);
    print(format!("\n## Idle agents\n\n{table}"))?;
    let mut table = Table::of_figures("write of 256 B by another agent");
    table.figure("alone", &alone);
    let of_alone = ratio(beside.mean, alone.mean);
    table.figure(&format!("beside {count} idle agents, {of_alone} of the time"), &beside);
    print(format!("\n{table}"))?;
    end(watch, &kernel, count)
}

/// Prints how many bytes of memory the process uses more with `count` idle agents than without.
pub(crate) fn child(count: &str) -> anyhow::Result<()> {
    let (kernel, count) = (kernel()?, count.parse()?);
    let first = spawn(&kernel, 1)?;
    let before = resident()?;
    let all = spawn(&kernel, count)?;
    let grown = resident()?.saturating_sub(before);
    drop((first, all));
    print(grown)
}

/// With so small a record that its growth does not count as the agents'.
fn kernel() -> anyhow::Result<Kernel> {
    let limits = MemoryLimits { records: 10_000, bytes: 1 << 20, when_full: WhenFull::DropOldest };
    let name = LedgerId::new(agent_control_plane::recorder::LEDGER_NAME)?;
    let ledger = Ledger::open(MemoryStore::new(name, limits), LedgerOptions::default())?;
    world::kernel(&ToolCalls::new(10), "deny", Effect::Read, FlightRecorder::on(ledger))
}

fn spawn(kernel: &Kernel, count: usize) -> anyhow::Result<Vec<AgentHandle>> {
    let spawn = |number| kernel.spawn(AgentSpec::new(format!("idle-{count}-{number}")));
    Ok((0..count).map(spawn).collect::<Result<_, _>>()?)
}

/// Kills them all.
fn end(watch: &Stopwatch, kernel: &Kernel, count: usize) -> anyhow::Result<()> {
    let start = watch.read();
    let killed = kernel.kill_all("bench");
    let took = watch.lap(start) as f64;
    if killed < count {
        bail!("{killed} of {count} agents were there to be killed");
    }
    print(format!("\n`kill_all` of {killed} agents: {} each", time(took / killed as f64)))
}

/// Bytes of memory that the process has in use.
fn resident() -> anyhow::Result<u64> {
    machine::resident().context("this system does not tell how much memory a process uses")
}
