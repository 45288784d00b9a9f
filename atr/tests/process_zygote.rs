//! The process that splits off sandboxes for a host: what it holds, and what comes of its end.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::Clock;
use agent_tool_registry::executor::{Cause, Executions, Launch, Session};
use agent_tool_registry::{Artefact, Command, Executor, Limits, Permissions, Process, TokioTimer, ToolError};
use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process, umask};

const BUSYBOX: &str = "/usr/bin/busybox";
/// What this suite's own program is told when it is run as a host that dies.
const HOST: &str = "ATR_ZYGOTE_HOST";

/// Each test looks at all children of this process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

async fn start(script: &str) -> Result<Session, ToolError> {
    let timer = Arc::new(TokioTimer::new());
    let launch = Launch {
        artefact: Artefact::Command(Command::new(BUSYBOX).arg("sh").arg("-c").arg(script)),
        permissions: Permissions::none(),
        limits: Limits::DEFAULT,
        agent: "tester".parse().unwrap(),
        executions: Executions::new(timer.clone()),
        timer,
    };
    Process::new().start(launch).await
}

/// Runs a program to its end.
async fn run() {
    assert_eq!(start("exit 0").await.unwrap().exit.await.cause, Cause::Code(0));
}

fn children(of: u32) -> BTreeSet<i32> {
    let tasks = fs::read_dir(format!("/proc/{of}/task")).unwrap();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

/// The only child of this process when no program runs.
fn zygote() -> i32 {
    let children = children(std::process::id());
    assert_eq!(children.len(), 1, "{children:?}");
    children.into_iter().next().unwrap()
}

/// Kills a process, and waits until it is dead. It is not reaped by that.
fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    until_dead(&[(pid, name(pid))]);
}

/// Waits until processes of these names are dead: their numbers may be given to others.
fn until_dead(all: &[(i32, Option<String>)]) {
    let timer = TokioTimer::new();
    let give_up = timer.monotonic().after(Duration::from_secs(20));
    while all.iter().any(|(pid, of)| is_alive(*pid) && name(*pid) == *of) {
        assert!(timer.monotonic() < give_up, "{all:?}");
        std::thread::yield_now();
    }
}

/// Whether it runs, and is not only waited for by nobody.
fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| !status.contains("State:\tZ") && !status.contains("State:\tX"))
}

fn name(pid: i32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok()
}

fn kilobytes(pid: impl std::fmt::Display, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_a_sandbox_holds_does_not_grow_with_its_host() {
    const FIELDS: [&str; 3] = ["VmPTE:", "RssAnon:", "VmData:"];
    let _alone = alone();
    block_on(async {
        run().await;
        // A zygote is made of the host as it is then.
        kill(zygote());
        let mut held = vec![1u8; 1 << 30];
        for byte in held.iter_mut().step_by(4096) {
            *byte = 2;
        }
        assert!(1 << 20 <= kilobytes("self", "RssAnon:"));
        let own_tables = kilobytes("self", "VmPTE:");
        assert!(2 << 10 <= own_tables, "{own_tables}");

        run().await;
        let zygote = zygote();
        let session = start("read word").await.unwrap();
        let both = children(std::process::id());
        assert_eq!(both.len(), 2);
        for pid in both {
            let [tables, memory, data] = FIELDS.map(|field| kilobytes(pid, field));
            let what =
                format!("{}: {tables} kB of page tables", if pid == zygote { "zygote" } else { "init" });
            assert!(tables < 256 && memory < 8 << 10 && data < 16 << 10, "{what}, {memory} kB, {data} kB");
            let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
            assert!(!maps.contains("[heap]") && !maps.contains("[stack]"), "{what}: {maps}");
        }
        drop(session.stdin);
        session.exit.await;
        assert_eq!(held.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>(), 2 << 18);
    });
}

#[test]
fn it_has_nothing_of_its_host_open() {
    let _alone = alone();
    block_on(async {
        let ours = tempfile::tempfile().unwrap();
        let inherited = ours.try_clone().unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        run().await;
        kill(zygote());
        run().await;
        let folder = fs::read_dir(format!("/proc/{}/fd", zygote())).unwrap();
        let open: BTreeSet<_> = folder.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect();
        let open: Vec<String> = open.into_iter().map(|path| path.display().to_string()).collect();
        // Its end of the socket, also in place of standard streams, and the host.
        assert!(
            matches!(&*open, [host, socket] if host.contains("pidfd") && socket.starts_with("socket:")),
            "{open:?}"
        );
    });
}

#[test]
fn one_that_has_died_is_replaced() {
    let _alone = alone();
    block_on(async {
        run().await;
        let before = zygote();
        let session = start("read word; exit 7").await.unwrap();
        kill(before);
        run().await;
        // A sandbox does not need it any more.
        drop(session.stdin);
        assert_eq!(session.exit.await.cause, Cause::Code(7));
        assert_ne!(zygote(), before);
    });
}

#[test]
fn one_that_is_silent_is_an_error_once() {
    let _alone = alone();
    block_on(async {
        run().await;
        let before = zygote();
        kill_process(Pid::from_raw(before).unwrap(), Signal::STOP).unwrap();
        let error = start("exit 0").await.map(drop).unwrap_err();
        assert_eq!(error.code(), "AK0534", "{error:?}");
        assert!(format!("{error:?}").contains("silent"), "{error:?}");
        run().await;
        assert_ne!(zygote(), before);
    });
}

#[test]
fn a_host_that_changes_has_another_one() {
    let _alone = alone();
    block_on(async {
        run().await;
        let before = zygote();
        run().await;
        assert_eq!(zygote(), before);
        let mask = umask(Mode::from_raw_mode(0o027));
        run().await;
        umask(mask);
        let after = zygote();
        assert_ne!(after, before);
        assert!(fs::read_to_string(format!("/proc/{after}/status")).unwrap().contains("Umask:\t0027\n"));
    });
}

#[test]
fn it_ends_with_its_host() {
    if std::env::var_os(HOST).is_some() {
        return block_on(async {
            let session = start("read word").await.unwrap();
            println!("up");
            session.exit.await;
        });
    }
    let _alone = alone();
    let mut host = std::process::Command::new(std::env::current_exe().unwrap());
    host.args(["--exact", "--nocapture", "it_ends_with_its_host"]).env(HOST, "1").stdout(Stdio::piped());
    let mut host = host.spawn().unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("up")));
    let children = children(host.id());
    assert_eq!(children.len(), 2, "{children:?}");
    let names: Vec<_> = children.iter().map(|pid| (*pid, name(*pid))).collect();
    host.kill().unwrap();
    host.wait().unwrap();
    until_dead(&names);
}
