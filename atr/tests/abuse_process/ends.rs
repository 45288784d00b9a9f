//! How programs end, and what is made of it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_tool_registry::executor::Executions;
use serde_json::json;

use crate::host::{Tool, alone, block_on, timer, until};

#[test]
fn s19_a_crash_is_a_crash() {
    let run = Tool::new().run(&["segfault"]);
    assert_eq!(run.code(), "AK0532", "{run:?}");
    let error = run.result.unwrap_err();
    assert_eq!(error.to_string(), "the tool's process was ended by signal 11");
    assert_eq!(error.host_detail(), Some("about to fall\n"));
}

#[test]
fn s20_an_exit_code_is_an_exit_code() {
    let error = Tool::new().run(&["exit", "3"]).result.unwrap_err();
    assert_eq!((error.code(), error.host_detail()), ("AK0531", Some("the reason\n")));
    assert_eq!(error.to_string(), "the tool's process ended with exit code 3");
}

#[test]
fn s34_s35_an_answer_is_exactly_one_value() {
    let tool = Tool::new();
    for text in ["", " ", "{} {}", "{}x", "{\"a\":1,\"a\":2}", "nul", "[1"] {
        assert_eq!(tool.run(&["say", text]).code(), "AK0525", "{text}");
    }
}

#[test]
fn s36_nothing_of_its_memory_is_written_down() {
    let tool = Tool::new();
    let limits = tool.run(&["limits"]).value();
    // One byte, and not none: with none, a core that is piped to a program of the host would still be made.
    assert_eq!(limits[0], json!([1, 1]), "RLIMIT_CORE of {limits}");
    let raise = format!("{},0,4,@0x7fffffff,0", libc::SYS_prlimit64);
    let set = format!("{},4,@0x7fffffff", libc::SYS_setrlimit);
    let dumpable = format!("{},4,1", libc::SYS_prctl);
    assert_eq!(tool.run(&["sys", &raise, &set, &dumpable]).value(), json!([-1, -1, -1]));
    assert_eq!(tool.run(&["segfault"]).code(), "AK0532");
    let folders = [tool.folder(), Path::new("."), Path::new("/")];
    for entry in folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap()) {
        let name = entry.unwrap().file_name();
        assert!(!name.to_str().unwrap().starts_with("core"), "{name:?}");
    }
}

#[test]
fn the_end_of_the_program_is_the_end_of_the_call_whoever_holds_its_streams() {
    let run = Tool::new().run(&["holds"]);
    assert!(run.took < Duration::from_secs(1), "{run:?}");
    assert_eq!(run.value(), json!({"held": 1}));
}

#[test]
fn a_call_that_nobody_waits_for_any_more_is_over() {
    let tool = Tool::new();
    for mode in ["escape", "stubborn", "bomb"] {
        tool.watched(async |executions| {
            let call = tool.call(&[mode], json!({}), executions);
            let running = until("it runs", || 0 < tool.processes());
            tokio::select! { run = call => panic!("{run:?}"), () = running => {} }
        });
    }
}

/// What [`a_host_that_dies_takes_its_programs_with_it`] runs as its host.
const HOST: &str = "ATR_ABUSE_HOST";

#[test]
fn a_host_that_dies_takes_its_programs_with_it() {
    if let Some(program) = std::env::var_os(HOST) {
        let tool = Tool { program: program.into(), ..Tool::new() };
        let executions = Executions::new(timer());
        let run = block_on(tool.call(&["escape"], json!({}), &executions));
        panic!("{run:?}");
    }
    let _alone = alone();
    let tool = Tool::new();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "ends::a_host_that_dies_takes_its_programs_with_it"])
        .env(HOST, &tool.program)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    block_on(async {
        until("it runs", || 2 <= tool.processes()).await;
        host.kill().unwrap();
        host.wait().unwrap();
        let died = timer().monotonic();
        until("they are dead", || tool.processes() == 0).await;
        let gone = timer().monotonic().since(died);
        assert!(gone < Duration::from_millis(500), "{gone:?}");
        // The next host removes the groups that this one could not.
        let left = || groups_of(host.id(), Path::new("/sys/fs/cgroup"));
        assert_ne!(left(), 0);
        assert_eq!(
            tool.call(&["hello"], json!({}), &Executions::new(timer())).await.value(),
            json!({"hello": 1})
        );
        assert_eq!(left(), 0);
    });
}

fn groups_of(pid: u32, folder: &Path) -> usize {
    let mark = format!("-{pid}-");
    let folders = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let is_marked = |name: &str| name.starts_with("atr-") && name.contains(&mark);
    folders
        .map(|entry| {
            usize::from(entry.file_name().to_str().is_some_and(is_marked)) + groups_of(pid, &entry.path())
        })
        .sum()
}
