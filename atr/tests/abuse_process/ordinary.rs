//! The same by a host that is an ordinary user: without control groups, and without what only root may do.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use agent_tool_registry::executor::{Executions, Held, Order};
use agent_tool_registry::isolation::IsolationReport;
use agent_tool_registry::{Access, Guarantee, GuaranteeSet, SandboxPolicy, ToolError};
use serde_json::json;

use crate::host::{Tool, alone, block_on, everything, pass, probe, ticks, timer, until};

/// Nobody's number, and not the one that programs run as.
const USER: u32 = 65533;
/// What this suite's own program is told when it is run as that user.
const ORDINARY: &str = "ATR_ABUSE_ORDINARY";

#[test]
fn an_ordinary_user_confines_as_well_and_claims_no_more() {
    if env::var_os(ORDINARY).is_some() {
        return by_an_ordinary_user();
    }
    assert!(rustix::process::geteuid().is_root(), "only root can become another user");
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    // Copies, because the folder that they were built in may be closed to others.
    let (host, tool) = (folder.path().join("host"), folder.path().join("tool"));
    fs::copy(env::current_exe().unwrap(), &host).unwrap();
    fs::copy(probe(), &tool).unwrap();
    let output = Command::new(host)
        .args(["--exact", "--nocapture", "ordinary::an_ordinary_user_confines_as_well_and_claims_no_more"])
        .env(ORDINARY, tool)
        .env("TMPDIR", folder.path())
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

/// Everything but a cap on memory in total.
fn all_but_memory() -> SandboxPolicy {
    let policy = everything();
    SandboxPolicy { require: policy.require.without(Guarantee::MemoryCapTotal), ..policy }
}

fn tool() -> Tool {
    Tool { policy: all_but_memory(), ..Tool::new() }
}

fn by_an_ordinary_user() {
    assert_eq!(rustix::process::geteuid().as_raw(), USER);
    let report = IsolationReport::probe(&tool().executors);
    assert_eq!((report.uid, report.cgroup), (USER, None));

    nothing_is_claimed_that_nobody_enforces();
    limits_hold();
    files_and_processes_are_out_of_reach();
    a_stop_holds_by_signals_alone();
    nothing_is_left();
}

fn nothing_is_claimed_that_nobody_enforces() {
    let tool = Tool::new();
    let run = block_on(tool.call(&["hello"], json!({}), &Executions::new(timer())));
    match run.result.unwrap_err() {
        ToolError::IsolationUnavailable { missing, .. } => {
            assert_eq!(missing, GuaranteeSet::NONE.with(Guarantee::MemoryCapTotal));
        }
        other => panic!("{other:?}"),
    }
}

fn limits_hold() {
    let tool = tool().limits(|limits| {
        limits.processes = 12;
        limits.memory_bytes = 64 << 20;
        limits.deadline = Duration::from_secs(1);
    });
    for mode in ["forks", "threads"] {
        let made = tool.run(&[mode]).value();
        assert_eq!((&made["error"], &made["made"]), (&json!(libc::EAGAIN), &json!(11)), "{mode}");
    }
    assert_eq!(tool.run(&["bomb"]).code(), "AK0520");
    // Each process by itself ends where the limit is.
    let touched = tool.run(&["touch", "0x10000000"]).value();
    assert_eq!(touched["error"], libc::ENOMEM, "{touched}");
    for mode in ["spin", "escape", "stubborn"] {
        let run = tool.run(&[mode]);
        assert_eq!(run.code(), "AK0520", "{mode}: {run:?}");
    }
}

fn files_and_processes_are_out_of_reach() {
    let (tool, out) = tool().granted("out", Access::Write);
    let secret = tool.folder().join("secret");
    fs::write(&secret, "secret").unwrap();
    let found = tool.run(&["read", secret.to_str().unwrap(), "/etc/passwd", "/proc/1/environ"]).value();
    for result in found.as_array().unwrap() {
        assert!([-libc::ENOENT, -libc::EACCES].iter().any(|error| result == error), "{found}");
    }
    let (create, own) = (out.join("f"), std::process::id());
    let calls = [
        format!("{},'{},0x1ed", libc::SYS_creat, create.display()),
        format!("{},'{}2,0x9ed", libc::SYS_creat, create.display()),
        format!("{},{own},9", libc::SYS_kill),
        format!("{},0x10000000", libc::SYS_unshare),
        format!("{},2,1,0", libc::SYS_socket),
    ];
    let args: Vec<&str> = ["sys"].into_iter().chain(calls.iter().map(String::as_str)).collect();
    assert_eq!(tool.run(&args).value(), json!([3, -libc::EPERM, -libc::ESRCH, -libc::EPERM, -libc::EPERM]));
    assert!(create.exists());
}

fn a_stop_holds_by_signals_alone() {
    let tool = tool().limits(|limits| limits.processes = 12);
    for mode in ["escape", "bomb"] {
        tool.watched(async |executions| {
            let call = tool.call(&[mode], json!({}), executions);
            let stop = async {
                until("it computes", || tool.pids().iter().any(|pid| 2 < ticks(&[*pid]))).await;
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard], "{mode}");
                let (pids, before) = (tool.pids(), ticks(&tool.pids()));
                pass(Duration::from_millis(300)).await;
                assert_eq!((tool.pids(), ticks(&pids)), (pids.clone(), before), "{mode}");
                executions.order(Order::Continue);
                until("it goes on", || before < ticks(&pids)).await;
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard], "{mode}");
                executions.order(Order::Kill);
            };
            let (run, ()) = tokio::join!(call, stop);
            assert_eq!(run.code(), "AK0541", "{mode}: {run:?}");
        });
    }
}

fn nothing_is_left() {
    let tool = tool();
    tool.watched(async |executions| {
        for _ in 0..50 {
            tool.call(&["hello"], json!({}), executions).await.value();
        }
    });
}
