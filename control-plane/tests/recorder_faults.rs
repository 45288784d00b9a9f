//! The record under the worst: its process killed at every step of its writing, its files cut and changed at every byte.
#![cfg(feature = "sign")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "a process that is killed tells what it was promised")]

#[path = "kernel/host.rs"]
#[expect(dead_code, reason = "shared with the kernel's tests, which use more of it")]
mod host;

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use agent_control_plane::primitives::ManualClock;
use agent_control_plane::recorder::{
    Anchor, AnchorError, Body, Checkpoint, FileAnchor, Head, LEDGER_NAME, Recording, Request, Sealing,
    SigningKey, Trust, VerifyReport,
};
use agent_control_plane::{AgentSpec, FlightRecorder};
use emk::store::fs::{SegmentFile, SegmentFs, StdFs};
use emk::{Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentStore};
use serde_json::json;

use host::{Host, POLICY};

/// The folder to record in and the step to be killed at, for the process that gets killed.
const FOLDER: &str = "AGENT_OS_TEST_FAULTS_FOLDER";
const STEP: &str = "AGENT_OS_TEST_FAULTS_STEP";
/// Calls that the killed process would like to make.
const CALLS: u64 = 6;
/// A few records each, so that the run crosses from one to the next.
const SMALL: SegmentOptions = SegmentOptions { segment_bytes: 3_000 };

/// Steps that are left before the end.
static STEPS: AtomicI64 = AtomicI64::new(i64::MAX);

/// One step of writing: the process may end here, without a word.
fn step() {
    if STEPS.fetch_sub(1, Ordering::SeqCst) <= 0 {
        std::process::abort();
    }
}

#[derive(Clone, Copy)]
struct Deadly;

struct DeadlyFile(File);

impl SegmentFs for Deadly {
    type File = DeadlyFile;

    fn create(&self, path: &Path) -> io::Result<DeadlyFile> {
        step();
        StdFs.create(path).map(DeadlyFile)
    }

    fn open(&self, path: &Path) -> io::Result<DeadlyFile> {
        StdFs.open(path).map(DeadlyFile)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        step();
        StdFs.truncate(path, len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        step();
        StdFs.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        step();
        StdFs.sync_dir(dir)
    }
}

impl Write for DeadlyFile {
    /// Writes half, may end there, and goes on.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        step();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        self.0.write_all(half)?;
        step();
        self.0.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl SegmentFile for DeadlyFile {
    fn sync(&mut self) -> io::Result<()> {
        step();
        self.0.sync()
    }
}

/// An anchor file; the process may end before it and after it.
struct DeadlyAnchor(FileAnchor);

impl Anchor for DeadlyAnchor {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), AnchorError> {
        step();
        self.0.keep(checkpoint)?;
        step();
        Ok(())
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sealing() -> Sealing {
    Sealing::new(Arc::new(ManualClock::default())).every(4, Duration::from_secs(600)).key(key())
}

fn anchor_of(folder: &Path) -> PathBuf {
    folder.join("anchor.jsonl")
}

fn trust(folder: &Path) -> Trust {
    let trust = Trust::default().key(key().public());
    match FileAnchor::read(anchor_of(folder)) {
        Ok(anchored) => trust.anchored(anchored),
        Err(_not_yet) => trust,
    }
}

/// A kernel makes its calls in `folder`; what it is promised goes to standard output.
fn record(folder: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store =
            SegmentStore::open_on(Deadly, folder.join("log"), LedgerId::new(LEDGER_NAME).unwrap(), SMALL)
                .unwrap();
        let anchor = DeadlyAnchor(FileAnchor::open(anchor_of(folder)).unwrap());
        let sealing = sealing().anchor(anchor).unwrap();
        let ledger = Ledger::open_sealed(store, LedgerOptions::default(), sealing).unwrap();
        let host = Host::with(POLICY, FlightRecorder::on(ledger));
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        for number in 0..CALLS {
            agent.exec("tell", json!({"text": number.to_string()})).await.unwrap();
            let recorder = host.kernel.recorder();
            let head = recorder.head();
            recorder.flush().unwrap();
            println!("durable {head}");
        }
        host.kernel.recorder().close().unwrap();
        println!("closed {}", host.kernel.recorder().head());
    });
}

/// What a process that was killed had been promised.
#[derive(Default)]
struct Promised {
    effects: Vec<String>,
    head: Option<Head>,
    finished: bool,
}

fn killed_at(step: i64, folder: &Path) -> Promised {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_killed_at_any_step_keeps_its_promises", "--nocapture"])
        .env(FOLDER, folder)
        .env(STEP, step.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut promised = Promised::default();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        // The harness may have begun the line; the end may have cut it.
        if let Some((_, effect)) = line.split_once("effect ") {
            promised.effects.push(effect.to_owned());
        } else if let Some((_, head)) = line.split_once("durable ").or_else(|| line.split_once("closed ")) {
            promised.head = head.parse().ok().or(promised.head);
            promised.finished |= line.contains("closed ");
        }
    }
    let status = child.wait().unwrap();
    assert_eq!(status.success(), promised.finished, "ended by itself at step {step}: {status}");
    promised
}

fn intents(recording: &Recording) -> Vec<String> {
    let events = recording.events(0).unwrap().map(Result::unwrap);
    let intent = |stored: agent_control_plane::recorder::Stored| match stored.event().unwrap().body {
        Body::Intent { request: Request::Exec { arguments, .. }, .. } => {
            Some(String::from_utf8(arguments.to_vec()).unwrap())
        }
        _ => None,
    };
    events.filter_map(intent).collect()
}

#[test]
fn a_process_killed_at_any_step_keeps_its_promises() {
    if let Ok(folder) = std::env::var(FOLDER) {
        STEPS.store(std::env::var(STEP).unwrap().parse().unwrap(), Ordering::SeqCst);
        return record(Path::new(&folder));
    }
    let mut steps = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let promised = killed_at(steps, folder.path());
        let log = folder.path().join("log");

        let recorder = FlightRecorder::open_sealed(&log, sealing())
            .unwrap_or_else(|error| panic!("step {steps}: {error}"));
        let kept = recorder.head();
        recorder.close().unwrap();
        let recording = Recording::open(&log).unwrap();
        let trust = promised.head.into_iter().fold(trust(folder.path()), Trust::head);
        let report = recording.verify_against(&trust, |_| {});
        let report = report.unwrap_or_else(|error| panic!("step {steps}, {kept} kept: {error}"));
        assert!(kept.count <= report.sealed + 1, "step {steps}: everything kept is sealed in the end");
        let recorded = intents(&recording);
        for text in &promised.effects {
            let arguments = json!({"text": text}).to_string();
            assert!(recorded.contains(&arguments), "step {steps}: the effect {text} has no intent");
        }
        if promised.finished {
            assert_eq!(promised.effects.len() as u64, CALLS);
            break;
        }
        steps += 1;
    }
    assert!(40 < steps, "only {steps} steps: the run has become too short to mean anything");
}

/// A recording that was closed in order, and what is known of it elsewhere.
fn closed() -> (tempfile::TempDir, Trust, Vec<(PathBuf, Vec<u8>)>) {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(2 < files.len());
    let trust = trust(folder.path());
    (folder, trust, files)
}

fn verify(folder: &Path, trust: &Trust) -> Result<VerifyReport, String> {
    let recording = Recording::open(folder.join("log")).map_err(|error| error.to_string())?;
    recording.verify_against(trust, |_| {}).map_err(|error| error.to_string())
}

#[test]
fn every_changed_byte_is_found() {
    let (folder, trust, files) = closed();
    verify(folder.path(), &trust).unwrap();
    for (path, whole) in &files {
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1 << (at % 8);
            }
            std::fs::write(path, changed).unwrap();
            assert!(verify(folder.path(), &trust).is_err(), "byte {at} of {}", path.display());
        }
        std::fs::write(path, whole).unwrap();
    }
    verify(folder.path(), &trust).unwrap();
}

#[test]
fn every_cut_is_found_or_takes_nothing_but_the_last_seal() {
    let (folder, trust, files) = closed();
    let whole = verify(folder.path(), &trust).unwrap();
    let mut unseen = 0;
    for (index, (path, bytes)) in files.iter().enumerate() {
        for at in 0..bytes.len() {
            std::fs::write(path, &bytes[..at]).unwrap();
            if let Ok(report) = verify(folder.path(), &trust) {
                assert_eq!((index + 1, report.entries), (files.len(), whole.sealed), "cut at byte {at}");
                unseen += 1;
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert!(unseen <= 1, "{unseen} cuts were not seen");
    // Whole files, from the end and from the middle.
    for (path, bytes) in &files {
        std::fs::remove_file(path).unwrap();
        let found = verify(folder.path(), &trust);
        assert!(
            found.is_err() || found.is_ok_and(|report| report.entries == whole.sealed),
            "{}",
            path.display()
        );
        std::fs::write(path, bytes).unwrap();
    }
}
