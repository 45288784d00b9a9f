//! Starting a program: by the standard library, as a child with the host's rights, in the sandbox.

use std::fs;
use std::path::Path;
use std::process::{Command as Plain, Stdio};
use std::sync::Arc;

use agent_os_benches::machine;
use agent_os_benches::statistics::{Figure, Stopwatch};
use agent_os_benches::table::{Table, time};
use agent_tool_registry::executor::{Cause, Child, Executions, Launch};
use agent_tool_registry::{
    Artefact, Command, Executor, Level, Limits, Permissions, Process, TokioTimer, ToolError,
};
use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;

use crate::{Scale, print};

/// Statically linked, so that it needs nothing in the sandbox, and starts as fast as a program can.
const PROGRAM: &str = "/usr/bin/busybox";
/// What a large host holds, in GiB.
const HELD: usize = 4;
/// How many run at once.
const AT_ONCE: usize = 32;

pub(crate) fn run(watch: &Stopwatch, scale: Scale) -> anyhow::Result<()> {
    print("\n## Starting programs\n")?;
    if !Path::new(PROGRAM).exists() {
        return print(format!("not measured: `{PROGRAM}` is not there"));
    }
    if let Err(ToolError::ExecutorUnavailable { reason, .. }) =
        Process::new().guarantees(&Permissions::none(), &Limits::DEFAULT)
    {
        return print(format!("not measured: {reason}"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut table = Table::of_figures(&format!("`busybox true`, start to end ({})", machine::load()));
        for (name, figure) in one_by_one(watch, scale.of(1000)).await? {
            table.figure(name, &figure);
        }
        for level in [Level::Child, Level::Process] {
            let figure = at_once(watch, scale.of(100), level).await?;
            table.figure(&format!("{level}, {AT_ONCE} at once, each"), &figure);
        }
        let held = hold()?;
        table.figure(&format!("process, its host holds {HELD} GiB"), &in_turn(watch, scale.of(200)).await?);
        drop(held);
        print(table)?;
        print(many(watch, scale.of(10_000)).await?)
    })
}

fn executor(level: Level) -> Box<dyn Executor> {
    if level == Level::Child { Box::new(Child) } else { Box::new(Process::new()) }
}

/// Runs the program, and says in nanoseconds how long that took.
async fn once(watch: &Stopwatch, executor: &dyn Executor) -> anyhow::Result<u64> {
    let timer = Arc::new(TokioTimer::new());
    let launch = Launch {
        artefact: Artefact::Command(Command::new(PROGRAM).arg("true")),
        permissions: Permissions::none(),
        limits: Limits::DEFAULT,
        agent: "bench".parse()?,
        executions: Executions::new(timer.clone()),
        timer,
    };
    let start = watch.read();
    let exit = executor.start(launch).await?.exit.await;
    let lap = watch.lap(start);
    ensure!(exit.cause == Cause::Code(0), "the program ended with {:?}", exit.cause);
    Ok(lap)
}

fn plain(watch: &Stopwatch) -> anyhow::Result<u64> {
    let start = watch.read();
    let mut command = Plain::new(PROGRAM);
    command.arg("true").env_clear().current_dir("/");
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let done = child.wait_with_output()?;
    let lap = watch.lap(start);
    ensure!(done.status.success(), "the program ended with {}", done.status);
    Ok(lap)
}

/// The three ways in turn, so that what else the machine does meets all of them.
async fn one_by_one(watch: &Stopwatch, count: usize) -> anyhow::Result<[(&'static str, Figure); 3]> {
    let (child, process) = (executor(Level::Child), executor(Level::Process));
    let mut laps = [const { Vec::new() }; 3];
    for _ in 0..count.max(2) {
        let [a, b, c] = &mut laps;
        a.push(plain(watch)?);
        b.push(once(watch, &*child).await?);
        c.push(once(watch, &*process).await?);
    }
    // The first of each pays for what is made once.
    let [a, b, c] = laps.map(|laps| figure(laps.into_iter().skip(1).collect()));
    Ok([("std::process::Command", a), ("child", b), ("process", c)])
}

/// Memory that has been written to, page by page.
fn hold() -> anyhow::Result<Vec<u8>> {
    let mut held = Vec::new();
    held.try_reserve_exact(HELD << 30)?;
    held.resize(HELD << 30, 1);
    Ok(held)
}

async fn in_turn(watch: &Stopwatch, count: usize) -> anyhow::Result<Figure> {
    let process = executor(Level::Process);
    let mut laps = Vec::with_capacity(count);
    for _ in 0..count.max(2) {
        laps.push(once(watch, &*process).await?);
    }
    Ok(figure(laps))
}

async fn at_once(watch: &Stopwatch, rounds: usize, level: Level) -> anyhow::Result<Figure> {
    let mut laps = Vec::with_capacity(rounds * AT_ONCE);
    for _ in 0..rounds {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let watch = *watch;
            tasks.spawn(async move { once(&watch, &*executor(level)).await });
        }
        while let Some(lap) = tasks.join_next().await {
            laps.push(lap??);
        }
    }
    Ok(figure(laps))
}

fn figure(laps: Vec<u64>) -> Figure {
    let repetitions = laps.chunks(laps.len().div_ceil(5).max(1));
    let means = repetitions.map(|laps| laps.iter().sum::<u64>() as f64 / laps.len() as f64).collect();
    Figure::of(laps, means)
}

/// Runs many, and says what this process had before and after.
async fn many(watch: &Stopwatch, count: usize) -> anyhow::Result<Table> {
    let process = executor(Level::Process);
    once(watch, &*process).await?;
    let before = left()?;
    let start = watch.read();
    for _ in 0..count {
        once(watch, &*process).await?;
    }
    let taken = time(watch.lap(start) as f64);
    let after = left()?;
    let mut table = Table::new(["this process has", "before", &format!("after {count} sandboxes, {taken}")]);
    for ((what, before), (_, after)) in before.into_iter().zip(after) {
        table.row([what.to_owned(), before.to_string(), after.to_string()]);
    }
    ensure!(before == after, "something is left:\n{table}");
    Ok(table)
}

/// What a sandbox could leave behind.
fn left() -> anyhow::Result<[(&'static str, usize); 5]> {
    let mut children = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let list =
            fs::read_to_string(task?.path().join("children")).context("the kernel lists no children")?;
        children += list.split_whitespace().count();
    }
    Ok([
        ("descriptors", fs::read_dir("/proc/self/fd")?.count()),
        ("threads", fs::read_dir("/proc/self/task")?.count()),
        ("children", children),
        ("mounts", fs::read_to_string("/proc/self/mountinfo")?.lines().count()),
        ("control groups", groups(Path::new("/sys/fs/cgroup"), &format!("-{}-", std::process::id()))),
    ])
}

fn groups(folder: &Path, of: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let folders =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let count = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        usize::from(name.starts_with("atr-") && name.contains(of)) + groups(&entry.path(), of)
    };
    folders.map(count).sum()
}
