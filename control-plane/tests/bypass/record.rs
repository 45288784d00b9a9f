//! What the recording says, and what becomes of it when it is closed, opened and verified.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_control_plane::emk::store::{Batch, LedgerReader};
use agent_control_plane::emk::{
    Head, Ledger, LedgerError, LedgerId, LedgerOptions, SegmentOptions, SegmentStore, store::LedgerStore,
};
use agent_control_plane::recorder::{Body, LEDGER_NAME, Outcome, RecorderError, Recording, RecordingError};
use agent_control_plane::{FlightRecorder, Kernel, KernelState};
use serde_json::Value;

use crate::case::Step;
use crate::fixture::World;
use crate::run::Got;
use crate::tamper;

/// Segment files that refuse to be written once told so, as a full disk does.
pub(crate) struct Breakable {
    store: SegmentStore,
    fails: Arc<AtomicBool>,
}

impl Breakable {
    pub(crate) fn open(folder: &Path, fails: &Arc<AtomicBool>) -> Result<FlightRecorder, LedgerError> {
        let id = LedgerId::new(LEDGER_NAME)?;
        let store = SegmentStore::open(folder, id, SegmentOptions::default())?;
        let store = Self { store, fails: Arc::clone(fails) };
        Ok(FlightRecorder::on(Ledger::open(store, LedgerOptions::default())?))
    }

    fn refuse(&self) -> Result<(), LedgerError> {
        if self.fails.load(Ordering::SeqCst) {
            let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(LedgerError::io("write", Path::new("recording"), full));
        }
        Ok(())
    }
}

impl LedgerStore for Breakable {
    fn ledger(&self) -> &LedgerId {
        self.store.ledger()
    }

    fn head(&self) -> Head {
        self.store.head()
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        self.refuse()?;
        self.store.append(batch)
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        self.refuse()?;
        self.store.sync()
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        self.store.reader()
    }
}

/// How many verdicts and violations are on record.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) verdicts: u64,
    pub(crate) violations: u64,
    pub(crate) intents: u64,
    pub(crate) simulated: u64,
}

/// Events to count: a flood of signals in a case is not read again after every step.
const WINDOW: u64 = 20_000;

pub(crate) fn tally(kernel: &Kernel) -> Tally {
    let mut tally = Tally::default();
    let from = kernel.recorder().head().count.saturating_sub(WINDOW);
    for stored in kernel.recorder().events(from) {
        let Ok(stored) = stored else { break };
        match stored.event().expect("an event").body {
            Body::Intent { .. } => {
                tally.verdicts += 1;
                tally.intents += 1;
            }
            Body::Outcome { outcome: Outcome::Simulated, .. } => tally.simulated += 1,
            Body::Refused { .. } | Body::Repeated { .. } => {
                tally.verdicts += 1;
                tally.violations += 1;
            }
            Body::Rejected { .. } | Body::Held { .. } => tally.verdicts += 1,
            _ => {}
        }
    }
    tally
}

/// The process ends without a word: what lies on disk now is what there is.
pub(crate) async fn crash(world: &mut World) -> Result<Got, String> {
    let files = copy(world)?;
    world.note_labels();
    // The dead kernel answers nobody; what its shutdown writes goes to the files it had.
    let _ = world.kernel.shutdown(std::time::Duration::ZERO).await;
    world.recording = files;
    Ok(Got::Allowed)
}

/// Carries out an audit step. What tampers does so on a copy of the files.
pub(crate) async fn audit(world: &mut World, step: &Step) -> Result<Got, String> {
    match step.text("action") {
        "fail_writes" => {
            world.fail_recorder();
            Ok(Got::Allowed)
        }
        "verify" => {
            settle(world)?;
            Ok(verify(world, None))
        }
        "head" | "save_head" => {
            let head = world.kernel.recorder().head().to_string();
            world.saved.insert(step.text("save").to_owned(), head.into());
            Ok(Got::Allowed)
        }
        "verify_against_head" => {
            settle(world)?;
            let kept = step.text("head").parse().ok();
            let head = kept.unwrap_or_else(|| world.kernel.recorder().head());
            Ok(verify(world, Some(head)))
        }
        "reopen" => reopen(world),
        "export_lines" | "query" => query(world, step),
        "snapshot" => {
            settle(world)?;
            world.snapshot = Some(copy(world)?);
            Ok(Got::Allowed)
        }
        "rollback" => {
            world.recording = world.snapshot.clone().ok_or("nothing was set aside")?;
            world.tampered = true;
            Ok(Got::Allowed)
        }
        _ => {
            settle(world)?;
            let files = copy(world)?;
            tamper::tamper(&files, step)?;
            (world.recording, world.tampered) = (files, true);
            Ok(Got::Allowed)
        }
    }
}

/// Opens the files for writing, as they lie there: nothing was closed. A kernel goes on with them when they are as they
/// were written.
fn reopen(world: &mut World) -> Result<Got, String> {
    let files = copy(world)?;
    let refused = |error: &RecorderError| match error {
        RecorderError::Ledger(error) if is_finding(error) => Got::Tampered,
        other => Got::Failed(other.to_string()),
    };
    match FlightRecorder::open(&files).and_then(|recorder| recorder.close()) {
        Err(error) => return Ok(refused(&error)),
        Ok(()) if world.tampered => world.recording = files,
        Ok(()) => {
            let policy = world.kernel.policy();
            world.boot_on(policy, files)?;
        }
    }
    Ok(Got::Allowed)
}

fn is_finding(error: &LedgerError) -> bool {
    RecordingError::Ledger(error.clone()).is_finding()
}

/// The events whose export has every field that the step asks for, at any depth.
fn query(world: &mut World, step: &Step) -> Result<Got, String> {
    const NO_FILTERS: [&str; 4] = ["as", "action", "save", "limit"];
    let filters: Vec<_> = step.fields.iter().filter(|(key, _)| !NO_FILTERS.contains(&key.as_str())).collect();
    let mut found = Vec::new();
    for stored in world.kernel.recorder().events(0) {
        let line = stored.and_then(|stored| stored.to_json()).map_err(|error| error.to_string())?;
        if filters.iter().all(|(key, wanted)| holds(&line, key, wanted)) {
            found.push(line);
        }
    }
    let got = if found.is_empty() { Got::Failed("no such event".to_owned()) } else { Got::Allowed };
    world.saved.insert(step.text("save").to_owned(), found.into());
    Ok(got)
}

fn holds(line: &Value, key: &str, wanted: &Value) -> bool {
    let Value::Object(fields) = line else { return false };
    fields.get(key) == Some(wanted) || fields.values().any(|value| holds(value, key, wanted))
}

/// Waits until the files hold everything recorded.
fn settle(world: &World) -> Result<(), String> {
    if world.kernel.state() != KernelState::Running {
        return Ok(());
    }
    let recorder = world.kernel.recorder().clone();
    tokio::task::block_in_place(|| recorder.flush()).map_err(|error| error.to_string())
}

fn verify(world: &World, head: Option<Head>) -> Got {
    match Recording::open(&world.recording).and_then(|recording| recording.verify(head, |_| {})) {
        Ok(_) => Got::Allowed,
        Err(error) if error.is_finding() => Got::Tampered,
        Err(error) => Got::Failed(error.to_string()),
    }
}

fn copy(world: &World) -> Result<PathBuf, String> {
    let target = world.fresh_path("copy");
    std::fs::create_dir(&target).map_err(|error| error.to_string())?;
    for entry in std::fs::read_dir(&world.recording).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        std::fs::copy(entry.path(), target.join(entry.file_name())).map_err(|error| error.to_string())?;
    }
    Ok(target)
}
