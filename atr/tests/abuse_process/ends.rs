//! How programs end, and what is made of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_tool_registry::Access;
use agent_tool_registry::executor::{Executions, Held, Order};
use serde_json::json;

use crate::host::{Tool, alone, block_on, timer, until};

#[test]
fn s19_a_crash_is_a_crash() {
    let run = Tool::new().run(&["segfault"]);
    assert_eq!(run.code(), "AK0532", "{run:?}");
    let error = run.result.unwrap_err();
    assert_eq!(error.to_string(), "the tool's process was ended by signal 11");
    assert_eq!(error.host_detail().as_deref(), Some("about to fall\n"));
}

#[test]
fn s20_an_exit_code_is_an_exit_code() {
    let error = Tool::new().run(&["exit", "3"]).result.unwrap_err();
    assert_eq!((error.code(), error.host_detail().as_deref()), ("AK0531", Some("the reason\n")));
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

#[test]
fn a_call_that_failed_was_made_once() {
    let (tool, out) = Tool::new().granted("out", Access::Write);
    let tool = tool.limits(|limits| {
        limits.deadline = Duration::from_millis(500);
        limits.output_bytes = 1000;
        limits.memory_bytes = 32 << 20;
    });
    let cases: [(&[&str], &str); 7] = [
        (&["spin"], "AK0520"),
        (&["flood", "1"], "AK0524"),
        (&["segfault"], "AK0532"),
        (&["exit", "1"], "AK0531"),
        (&["say", "no json"], "AK0525"),
        (&["touch", "0x10000000"], "AK0536"),
        (&["sys", "169,0,0,0,0"], "AK0540"),
    ];
    for (index, (mode, code)) in cases.into_iter().enumerate() {
        let mark = out.join(index.to_string());
        let args: Vec<&str> =
            ["once", mark.to_str().unwrap()].into_iter().chain(mode.iter().copied()).collect();
        let run = tool.run(&args);
        assert_eq!(run.code(), code, "{mode:?}: {run:?}");
        assert_eq!(fs::read_to_string(mark).unwrap(), "ran\n", "{mode:?}");
    }
}

/// What this suite's own program is told when it is run as a host that dies: the tool, and whether it is stopped.
const HOST: [&str; 2] = ["ATR_ABUSE_HOST", "ATR_ABUSE_STOPPED"];

#[test]
fn a_host_that_dies_takes_its_programs_with_it() {
    if let Some(program) = std::env::var_os(HOST[0]) {
        let tool = Tool { program: program.into(), ..Tool::new() };
        let executions = Executions::new(timer());
        let call = tool.call(&["escape"], json!({}), &executions);
        let stop = async {
            if std::env::var_os(HOST[1]).is_some() {
                until("it runs", || 2 <= tool.processes()).await;
                executions.order(Order::Stop);
                assert_eq!(executions.held().await, [Held::Hard]);
                println!("{STOPPED}");
            }
        };
        let (run, ()) = block_on(async { tokio::join!(call, stop) });
        panic!("{run:?}");
    }
    let _alone = alone();
    let tool = Tool::new();
    for stopped in [false, true] {
        let mut host = Command::new(std::env::current_exe().unwrap());
        host.args(["--exact", "--nocapture", "ends::a_host_that_dies_takes_its_programs_with_it"]);
        host.env(HOST[0], &tool.program).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        if stopped {
            host.env(HOST[1], "1");
        }
        let mut host = host.spawn().unwrap();
        block_on(async {
            until("it runs", || 2 <= tool.processes()).await;
            if stopped {
                let lines = BufReader::new(host.stdout.take().unwrap()).lines();
                assert!(lines.map_while(Result::ok).any(|line| line == STOPPED));
            }
            host.kill().unwrap();
            host.wait().unwrap();
            let died = timer().monotonic();
            if !stopped {
                until("they are dead", || tool.processes() == 0).await;
                let gone = timer().monotonic().since(died);
                assert!(gone < Duration::from_millis(500), "{gone:?}");
            }
        });
        // The next host removes the groups that this one could not, and what stands still in them.
        let left = || groups_of(host.id(), Path::new("/sys/fs/cgroup"));
        assert_ne!(left(), 0);
        let next = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ends::s20_an_exit_code_is_an_exit_code"])
            .stdout(Stdio::null())
            .status();
        assert!(next.unwrap().success());
        assert_eq!((left(), tool.processes()), (0, 0), "stopped: {stopped}");
    }
}

/// A host's word that its program stands still.
const STOPPED: &str = "it stands still";

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
