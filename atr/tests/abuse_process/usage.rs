//! Programs that want more than they may have.

use std::time::Duration;

use agent_tool_registry::Access;
use serde_json::json;

use crate::host::{Tool, own_memory, pass, until};

const MIB: u64 = 1 << 20;

#[test]
fn s01_forks_end_at_the_limit() {
    let tool = Tool::new().limits(|limits| limits.processes = 16);
    for mode in ["forks", "threads"] {
        let run = tool.run(&[mode]);
        let made = run.value();
        assert_eq!(made["error"], libc::EAGAIN, "{mode}");
        assert_eq!(made["made"], 15, "{mode}: and the program itself");
    }
}

#[test]
fn s01_a_fork_bomb_stays_small_and_dies_with_the_call() {
    let tool = Tool::new().limits(|limits| {
        limits.processes = 16;
        limits.deadline = Duration::from_secs(1);
    });
    let run = tool.watched(async |executions| {
        let most = async {
            let mut most = 0;
            loop {
                most = most.max(tool.processes());
                assert!(most <= 16, "{most} processes");
                pass(Duration::from_millis(5)).await;
            }
        };
        tokio::select! { run = tool.call(&["bomb"], json!({}), executions) => run, () = most => panic!() }
    });
    assert!(["AK0520", "AK0537"].contains(&run.code()), "{run:?}");
    assert!(run.took < Duration::from_millis(1500), "{run:?}");
}

#[test]
fn s02_memory_ends_at_the_limit() {
    let tool = Tool::new().limits(|limits| limits.memory_bytes = 64 * MIB);
    let cases: [&[&str]; 4] = [
        &["touch", "0x100000000"],
        // Files without a name are memory too, however many there are.
        &["memfds", "1000", "33554432"],
        // So is what several processes hold together, and what lies in the scratch folder.
        &["family", "8", "16777216"],
        &["fill", "/scratch"],
    ];
    for args in cases {
        let before = own_memory();
        let run = tool.run(args);
        let grown = own_memory().saturating_sub(before);
        assert_eq!(run.code(), "AK0536", "{args:?}: {run:?}");
        let peak = run.ran.unwrap().usage.peak_memory.unwrap();
        assert!(peak <= 64 * MIB, "{args:?}: {peak}");
        assert!(grown <= 16 * MIB, "{args:?}: the host has grown by {grown}");
    }
}

#[test]
fn one_file_in_memory_ends_at_the_size_of_the_scratch_folder() {
    let tool = Tool::new().limits(|limits| limits.scratch_bytes = MIB);
    let written = tool.run(&["memfds", "1", "33554432"]).value();
    assert_eq!(written, json!({"written": MIB, "error": libc::EFBIG}));
}

#[test]
fn s03_s04_what_never_ends_ends_at_its_deadline() {
    let tool = Tool::new().limits(|limits| limits.deadline = Duration::from_secs(1));
    for mode in ["spin", "sleep", "stubborn", "escape"] {
        let run = tool.run(&[mode]);
        assert_eq!(run.code(), "AK0520", "{mode}: {run:?}");
        let off = run.took.abs_diff(Duration::from_secs(1));
        assert!(off < Duration::from_millis(250), "{mode}: {:?}", run.took);
    }
}

#[test]
fn processor_time_is_counted_for_all_processes_together() {
    let tool = Tool::new().limits(|limits| limits.cpu = Duration::from_millis(600));
    for processes in ["1", "4"] {
        let run = tool.run(&["spins", processes]);
        assert_eq!(run.code(), "AK0535", "{run:?}");
        let used = run.ran.unwrap().usage.cpu.unwrap();
        assert!((600..1200).contains(&used.as_millis()), "{processes}: {used:?}");
    }
}

#[test]
fn s05_a_flood_is_cut_off() {
    let tool = Tool::new().limits(|limits| {
        limits.output_bytes = 1 << 20;
        limits.deadline = Duration::from_secs(2);
    });
    for (stream, code) in [("1", "AK0524"), ("2", "AK0520")] {
        let before = own_memory();
        let run = tool.run(&["flood", stream]);
        assert_eq!(run.code(), code, "{run:?}");
        let grown = own_memory().saturating_sub(before);
        assert!(grown <= 4 * MIB, "stream {stream}: the host has grown by {grown}");
    }
}

#[test]
fn s06_open_files_end_at_the_limit() {
    let tool = Tool::new().limits(|limits| limits.open_files = 20);
    assert_eq!(tool.run(&["files"]).value(), json!({"opened": 17, "error": libc::EMFILE}));
}

/// The kernel counts them against the user of the host as well, who could set no timer any more.
#[test]
fn signals_that_wait_and_timers_end_at_a_limit() {
    let tool = Tool::new();
    for mode in ["timers", "pending"] {
        let made = tool.run(&[mode]).value();
        assert_eq!(made["error"], libc::EAGAIN, "{mode}");
        assert!((200..=256).contains(&made["made"].as_u64().unwrap()), "{mode}: {made}");
    }
}

#[test]
fn s27_the_scratch_folder_is_as_large_as_it_may_be() {
    let tool = Tool::new().limits(|limits| limits.scratch_bytes = 2 * MIB);
    let filled = tool.run(&["fill", "/scratch"]).value();
    assert_eq!(filled["error"], libc::ENOSPC, "{filled}");
    let written = filled["written"].as_u64().unwrap();
    assert!((MIB..=2 * MIB).contains(&written), "{filled}");

    let entries = tool.run(&["entries", "/scratch"]).value();
    assert_eq!(entries["error"], libc::ENOSPC, "{entries}");
    assert!(entries["made"].as_u64().unwrap() < 20_000, "{entries}");
    // Nowhere else is there anything to write to.
    for folder in ["/", "/dev", "/tmp", "/proc"] {
        assert_eq!(tool.run(&["entries", folder]).value()["made"], 0, "{folder}");
    }
}

#[test]
fn a_file_in_a_granted_folder_is_no_larger_than_the_scratch_folder() {
    let (tool, folder) =
        Tool::new().limits(|limits| limits.scratch_bytes = MIB).granted("out", Access::Write);
    let path = folder.join("f");
    let path = path.to_str().unwrap();
    let (create, size) =
        (format!("{},'{path}", libc::SYS_creat), format!("{},$0,{}", libc::SYS_ftruncate, 1_u64 << 40));
    // The signal that comes with it ends the program.
    let run = tool.run(&["sys", &create, &size]);
    assert_eq!(run.code(), "AK0532", "{run:?}");
    assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
}

#[test]
fn s33_what_is_never_read_does_not_hold_up_the_call() {
    let tool = Tool::new();
    let arguments = json!({"text": "x".repeat((1 << 20) - 100)});
    assert_eq!(tool.run_with(&["say", "1"], arguments).value(), json!(1));
}

#[test]
fn hundreds_of_calls_leave_nothing() {
    let tool = Tool::new();
    tool.watched(async |executions| {
        for _ in 0..40 {
            let calls = (0..5).map(|_| tool.call(&["hello"], json!({}), executions));
            let calls: Vec<_> = calls.collect();
            for call in calls {
                call.await.value();
            }
        }
        until("nothing is under way", || executions.is_empty()).await;
    });
}
