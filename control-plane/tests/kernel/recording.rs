//! The record when things go wrong: a killed process, another writer, a reopened folder, a damaged end.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use agent_control_plane::recorder::{Body, RecorderError, Recording, Request};
use agent_control_plane::{AgentSpec, FlightRecorder};
use serde_json::json;

use crate::host::{Host, POLICY};

/// The folder to record in, for the process that gets killed.
const FOLDER: &str = "AGENT_OS_TEST_KILLED_RECORDER";

fn intents(folder: &Path) -> Vec<String> {
    let events = Recording::open(folder).unwrap().events(0).unwrap().map(Result::unwrap);
    events
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Intent { request: Request::Exec { arguments, .. }, .. } => {
                Some(String::from_utf8(arguments.to_vec()).unwrap())
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_recording_goes_on_where_it_stopped_and_verifies_as_one() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        agent.exec("echo", json!({"text": format!("round {round}")})).await.unwrap();
        host.kernel.recorder().close().unwrap();
    }
    assert_eq!(intents(folder.path()).len(), 3);
    let report = Recording::open(folder.path()).unwrap().verify(None, |_| {}).unwrap();
    assert_eq!(report.entries - report.checkpoints, 3 * 4, "boot, spawn, intent and outcome of each round");
    assert_eq!(
        (report.checkpoints, report.sealed),
        (3, 14),
        "a seal of each round, the last of all before it"
    );
}

#[test]
fn a_folder_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let _first = FlightRecorder::open(folder.path()).unwrap();
    let error = FlightRecorder::open(folder.path()).unwrap_err();
    assert!(matches!(error, RecorderError::Ledger(_)));
    assert_eq!(error.code(), "AK0807");
}

#[tokio::test]
async fn a_damaged_end_is_cut_off_and_that_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    host.kernel.recorder().close().unwrap();
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let segment = files.find(|path| path.extension().is_some_and(|ext| ext == "seg")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let recorder = FlightRecorder::open(folder.path()).unwrap();
    let last = recorder.events(0).last().unwrap().unwrap();
    assert!(matches!(last.event().unwrap().body, Body::Recovered { dropped_bytes } if 0 < dropped_bytes));
    recorder.close().unwrap();
    Recording::open(folder.path()).unwrap().verify(None, |_| {}).unwrap();
}

/// Killed without warning in the middle of its calls, a host leaves every intent whose effect it had begun.
#[test]
fn no_effect_of_a_killed_process_lacks_its_intent() {
    if let Ok(folder) = std::env::var(FOLDER) {
        return record_until_killed(Path::new(&folder));
    }
    for after in [1, 7, 40] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recording::no_effect_of_a_killed_process_lacks_its_intent", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let effects = output.lines().map_while(Result::ok).filter(|line| line.contains("effect "));
        let seen: Vec<String> = effects.take(after).collect();
        child.kill().unwrap();
        child.wait().unwrap();

        FlightRecorder::open(folder.path()).unwrap().close().unwrap();
        Recording::open(folder.path()).unwrap().verify(None, |_| {}).unwrap();
        let recorded = intents(folder.path());
        assert_eq!(seen.len(), after);
        for effect in seen {
            let text = effect.rsplit("effect ").next().unwrap().trim().to_owned();
            let arguments = json!({"text": text}).to_string();
            assert!(recorded.contains(&arguments), "{arguments} is not among {} intents", recorded.len());
        }
    }
}

/// Runs tool calls for ever; each tells about its effect on standard output, as it happens.
fn record_until_killed(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let host = Host::with(POLICY, FlightRecorder::open(folder).unwrap());
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        for number in 0u64.. {
            agent.exec("tell", json!({"text": number.to_string()})).await.unwrap();
        }
    });
}
