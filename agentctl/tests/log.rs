//! `agentctl log` as a user runs it.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn agentctl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agentctl")).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    stdout(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The recording of the demo, in a folder of its own.
fn recording() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("README.md"), "# A project\n").unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "."],
        &["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=first"],
    ] {
        assert!(Command::new("git").current_dir(folder.path()).args(arguments).status().unwrap().success());
    }
    let out = folder.path().join("out");
    let demo = Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .current_dir(folder.path())
        .args(["demo", "--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(demo.status.success());
    let recording = out.join("recording");
    (folder, recording)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_query_selects_and_pages() {
    let (_folder, recording) = recording();
    let all = lines(&agentctl(&["log", "show", path(&recording), "--output", "jsonl"]));
    let denied =
        lines(&agentctl(&["log", "query", path(&recording), "--verdict", "deny", "--output", "jsonl"]));
    let mut expected: Vec<&Value> = all.iter().filter(|line| line["verdict"] == "deny").collect();
    expected.reverse();
    assert!(!expected.is_empty());
    assert_eq!(denied.iter().collect::<Vec<_>>(), expected);

    let mut seen = Vec::new();
    let mut page = "0".to_owned();
    loop {
        let arguments = [
            "log",
            "query",
            path(&recording),
            "--oldest-first",
            "--limit",
            "7",
            "--page",
            &page,
            "--output",
            "json",
        ];
        let answer = lines(&agentctl(&arguments)).remove(0);
        assert_eq!(answer["version"], 1);
        seen.extend(answer["records"].as_array().unwrap().clone());
        match answer["next"].as_u64() {
            Some(next) => page = next.to_string(),
            None => break,
        }
    }
    assert_eq!(seen, all);
    let of_tool =
        lines(&agentctl(&["log", "query", path(&recording), "--tool", "mail.send", "--output", "jsonl"]));
    assert!(!of_tool.is_empty() && of_tool.iter().all(|line| line["request"]["tool"] == "mail.send"));
    let usage = agentctl(&["log", "query", path(&recording), "--since", "yesterday"]);
    assert_eq!((usage.status.code(), stdout(&usage).as_str()), (Some(2), ""));
    for wrong in [["--limit", "0"], ["--limit", "10001"], ["--kind", "refuse"], ["--syscall", "run"]] {
        let usage = agentctl(&[&["log", "query", path(&recording)], &wrong[..]].concat());
        assert_eq!((usage.status.code(), stdout(&usage).as_str()), (Some(2), ""), "{wrong:?}");
    }
}

#[test]
fn a_recording_is_exported_whole_in_each_format() {
    let (_folder, recording) = recording();
    let shown = agentctl(&["log", "show", path(&recording), "--output", "jsonl"]);
    assert_eq!(stdout(&agentctl(&["log", "export", path(&recording)])), stdout(&shown));
    let source = "https://example.com/hosts/7";
    let events =
        lines(&agentctl(&["log", "export", path(&recording), "--format", "cloudevents", "--source", source]));
    let data: Vec<&Value> = events.iter().map(|event| &event["data"]).collect();
    assert_eq!(data, lines(&shown).iter().collect::<Vec<_>>());
    assert!(events.iter().all(|event| event["specversion"] == "1.0" && event["source"] == source));
    for source in ["", "two words"] {
        let usage =
            agentctl(&["log", "export", path(&recording), "--format", "cloudevents", "--source", source]);
        assert_eq!((usage.status.code(), stdout(&usage).as_str()), (Some(2), ""), "{source}");
    }
}

#[test]
fn a_replay_is_exact_by_the_recording_and_lists_flips_by_another_policy() {
    let (folder, recording) = recording();
    let exact = lines(&agentctl(&["log", "replay", path(&recording), "--output", "json"])).remove(0);
    assert_eq!((&exact["exact"], &exact["identical"]), (&true.into(), &exact["decisions"]));
    assert!(0 < exact["decisions"].as_u64().unwrap());

    let policy = folder.path().join("none.yaml");
    std::fs::write(&policy, "version: 1\nname: none\nrules: []\n").unwrap();
    let other = agentctl(&["log", "replay", path(&recording), "--policy", path(&policy)]);
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stdout(&other).contains("allow [git-look] -> deny [no rule]")
            || stdout(&other).contains("-> deny [no rule]")
    );

    let segment = std::fs::read_dir(&recording).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.filter(|path| path.extension().is_some_and(|ext| ext == "seg")).min().unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let broken = agentctl(&["log", "replay", path(&recording)]);
    assert_eq!((broken.status.code(), stdout(&broken).as_str()), (Some(5), ""));
}

#[test]
fn what_is_added_to_a_recording_is_followed() {
    let (_folder, recording) = recording();
    let all = lines(&agentctl(&["log", "show", path(&recording), "--output", "jsonl"]));
    let mut follow = Command::new(env!("CARGO_BIN_EXE_agentctl"))
        .args(["log", "follow", path(&recording), "--from", "0", "--interval", "10", "--output", "jsonl"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(follow.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    assert_eq!(heard.by_ref().take(all.len()).collect::<Vec<_>>(), all);
    // Another process goes on with the recording.
    let recorder = agent_control_plane::FlightRecorder::open(&recording).unwrap();
    let kernel = agent_control_plane::Kernel::builder()
        .policy(agent_control_plane::Policy::deny_all())
        .recorder(recorder.clone())
        .build()
        .unwrap();
    recorder.flush().unwrap();
    let boot = heard.next().unwrap();
    let last = recorder.events(0).last().unwrap().unwrap().seq();
    assert_eq!((&boot["kind"], &boot["seq"]), (&"boot".into(), &last.into()));
    drop(kernel);
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn a_verified_recording_can_be_told_to_a_program() {
    let (_folder, recording) = recording();
    let report = lines(&agentctl(&["log", "verify", path(&recording), "--output", "json"])).remove(0);
    assert_eq!((&report["version"], &report["verified"]), (&1.into(), &true.into()));
    let head = report["head"].as_str().unwrap();
    assert_eq!(agentctl(&["log", "verify", path(&recording), "--head", head]).status.code(), Some(0));
}
