//! What a recording proves, and to whom.
#![cfg(feature = "sign")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "the host has a tool that does")]
#![expect(clippy::panic, reason = "the host has a tool that does")]
#![expect(clippy::indexing_slicing, reason = "a test may fail loudly")]

#[path = "kernel/host.rs"]
#[expect(dead_code, reason = "shared with the kernel's tests, which use more of it")]
mod host;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::primitives::{Digest, ManualClock};
use agent_control_plane::recorder::{
    Checkpoint, ConsistencyProof, FileAnchor, InclusionProof, LEDGER_NAME, PublicKey, Recording, Sealing,
    SigningKey, Stored, Trust,
};
use agent_control_plane::{AgentSpec, FlightRecorder};
use emk::{
    Durability, EntryKind, Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentReader, SegmentStore,
};
use serde_json::json;

use host::{Host, POLICY};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn sealing() -> Sealing {
    Sealing::new(Arc::new(ManualClock::default())).every(8, Duration::from_secs(600)).key(key())
}

/// Two agents that take turns, one of them spawned twice; a refusal; a kernel started twice on the same folder.
async fn record(folder: &Path) {
    for round in 0..2 {
        let anchor = FileAnchor::open(folder.join("anchor.jsonl")).unwrap();
        let recorder =
            FlightRecorder::open_sealed(folder.join("log"), sealing().anchor(anchor).unwrap()).unwrap();
        let host = Host::with(POLICY, recorder);
        let a = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let b = host.kernel.spawn(AgentSpec::new("b")).unwrap();
        for number in 0..4 {
            let text = json!({"text": format!("{round} {number}")});
            a.exec("echo", text.clone()).await.unwrap();
            b.exec("echo", text.clone()).await.unwrap();
            b.exec("soft", text).await.unwrap_err();
        }
        host.kernel.recorder().close().unwrap();
        let seals = host.kernel.recorder().seals().unwrap();
        assert_eq!((seals.unanchored(), seals.last_error()), (0, None));
    }
}

fn events(folder: &Path) -> Vec<Stored> {
    Recording::open(folder.join("log")).unwrap().events(0).unwrap().map(Result::unwrap).collect()
}

/// What an event names before it, what it is itself, and its kind.
type Link = (Digest, Digest, String);

#[tokio::test]
async fn the_history_of_one_agent_is_whole_without_the_others() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path()).await;
    let mut lives: HashMap<(String, u64), Vec<Link>> = HashMap::new();
    for stored in events(folder.path()) {
        let event = stored.event().unwrap();
        let life = lives.entry((event.agent.to_owned(), event.generation)).or_default();
        life.push((event.prev, stored.content_id(), event.kind().to_owned()));
    }
    assert_eq!(lives.len(), 5, "the kernel's, and each agent in each process");
    for ((agent, _), life) in lives.into_iter().filter(|((agent, _), _)| !agent.is_empty()) {
        assert_eq!(
            life.first().map(|(prev, _, kind)| (*prev, kind.as_str())),
            Some((Digest::ZERO, "spawn")),
            "{agent}"
        );
        for pair in life.windows(2) {
            assert_eq!(pair[1].0, pair[0].1, "{agent}");
        }
        assert_eq!(life.len(), if agent == "a" { 9 } else { 13 });
    }
    Recording::open(folder.path().join("log")).unwrap().verify(None, |_| {}).unwrap();
}

/// The same ledger with other events, every hash computed anew and no seals.
fn rewritten(folder: &Path, change: impl Fn(usize, &[u8]) -> Option<Vec<u8>>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(
        dir.path().join("log"),
        LedgerId::new(LEDGER_NAME).unwrap(),
        SegmentOptions::default(),
    );
    let options = LedgerOptions { durability: Durability::Os, ..LedgerOptions::default() };
    let ledger = Ledger::open(store.unwrap(), options).unwrap();
    for (index, stored) in events(folder).iter().enumerate() {
        if let Some(body) = change(index, stored.bytes()) {
            ledger.append(EntryKind::Event, &body).unwrap();
        }
    }
    ledger.close().unwrap();
    dir
}

#[tokio::test]
async fn an_event_taken_out_of_a_life_is_missed_even_if_every_hash_is_computed_anew() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path()).await;
    let all = events(folder.path());
    let life =
        |index: usize| all[index].event().map(|event| (event.agent.to_owned(), event.generation)).unwrap();
    let unchanged = rewritten(folder.path(), |_, body| Some(body.to_vec()));
    Recording::open(unchanged.path().join("log")).unwrap().verify(None, |_| {}).unwrap();
    for gone in 0..all.len() {
        // Nothing names the last event of a life, so that it is missing shows against a seal or an anchor only.
        let Some(next) = (gone + 1..all.len()).find(|&later| life(later) == life(gone)) else { continue };
        // Nor what the kernel did last in one process.
        if life(gone).0.is_empty() && all[next].event().unwrap().prev == Digest::ZERO {
            continue;
        }
        let forged = rewritten(folder.path(), |index, body| (index != gone).then(|| body.to_vec()));
        let error = Recording::open(forged.path().join("log")).unwrap().verify(None, |_| {}).unwrap_err();
        assert_eq!(error.code(), "AK0842", "{error}");
        let place = format!("record {}", next - 1);
        assert!(error.to_string().contains(&place), "{place}: {error}");
    }
    // An intent and its outcome swapped.
    let swapped = rewritten(folder.path(), |index, body| {
        let other = match index {
            3 => 4,
            4 => 3,
            _ => return Some(body.to_vec()),
        };
        Some(all[other].bytes().to_vec())
    });
    let error = Recording::open(swapped.path().join("log")).unwrap().verify(None, |_| {}).unwrap_err();
    assert_eq!(error.code(), "AK0842", "{error}");
}

/// Everything that someone without the recording has: texts.
struct Given {
    checkpoint: String,
    proof: String,
    event: Vec<u8>,
}

/// What that someone does. Nothing of the recording is at hand here.
fn convinced(given: &Given, key: &str) -> bool {
    let Ok(checkpoint) = Checkpoint::from_json(given.checkpoint.as_bytes()) else { return false };
    let Ok(proof) = serde_json::from_str::<InclusionProof>(&given.proof) else { return false };
    let key: PublicKey = key.parse().unwrap();
    checkpoint.verify(&key).is_ok() && proof.verify(&given.event, &checkpoint).is_ok()
}

#[tokio::test]
async fn a_record_is_proved_to_someone_who_has_the_key_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path()).await;
    let key = key().public().to_string();
    let prover = Recording::open(folder.path().join("log")).unwrap().prover().unwrap();
    let newest = prover.checkpoints().last().unwrap();
    for stored in events(folder.path()) {
        for checkpoint in [prover.sealed_by(stored.seq()).unwrap(), newest] {
            let proof = prover.inclusion(&stored, checkpoint).unwrap();
            let given = Given {
                checkpoint: checkpoint.to_json(),
                proof: serde_json::to_string(&proof).unwrap(),
                event: stored.bytes().to_vec(),
            };
            assert!(convinced(&given, &key), "record {}", stored.seq());
            let other = SigningKey::from_bytes(&[8; 32]).public().to_string();
            assert!(!convinced(&given, &other));
            let mut event = given.event.clone();
            event.push(0);
            assert!(!convinced(&Given { event, ..given }, &key));
        }
    }
    for old in prover.checkpoints() {
        let proof = serde_json::to_string(&prover.consistency(old, newest).unwrap()).unwrap();
        let proof: ConsistencyProof = serde_json::from_str(&proof).unwrap();
        proof.verify(old, newest).unwrap();
        let mut forged = old.clone();
        forged.root = Digest::of("agent-os test v1", b"another root");
        assert!(proof.verify(&forged, newest).is_err());
        if old != newest {
            assert_eq!(prover.consistency(newest, old), None);
        }
    }
}

#[tokio::test]
async fn a_recording_is_held_against_a_key_and_an_anchor() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path()).await;
    let anchored = FileAnchor::read(folder.path().join("anchor.jsonl")).unwrap();
    let known = || Trust::default().key(key().public()).anchored(anchored.clone());
    let open = |folder: &Path| Recording::open(folder.join("log")).unwrap();
    let report = open(folder.path()).verify_against(&known(), |_| {}).unwrap();
    assert_eq!((report.checkpoints, report.sealed + 1), (anchored.len() as u64, report.entries));
    let other = Trust::default().key(SigningKey::from_bytes(&[8; 32]).public());
    assert_eq!(open(folder.path()).verify_against(&other, |_| {}).unwrap_err().code(), "AK0833");
    // Rewritten without seals: the chain and the lives hold, the key and the anchor do not.
    let forged = rewritten(folder.path(), |_, body| Some(body.to_vec()));
    open(forged.path()).verify(None, |_| {}).unwrap();
    let keyed = Trust::default().key(key().public());
    assert_eq!(open(forged.path()).verify_against(&keyed, |_| {}).unwrap_err().code(), "AK0838");
    let anchor = Trust::default().anchored(anchored.clone());
    assert_eq!(open(forged.path()).verify_against(&anchor, |_| {}).unwrap_err().code(), "AK0837");
    // Put back to what it was at the first seal.
    let first = anchored[0].size;
    let rolled_back = rewritten(folder.path(), |index, body| ((index as u64) < first).then(|| body.to_vec()));
    assert_eq!(open(rolled_back.path()).verify_against(&anchor, |_| {}).unwrap_err().code(), "AK0836");
    let reader = SegmentReader::open(rolled_back.path().join("log")).unwrap();
    assert_eq!(reader.verify(None, |_| {}).unwrap().entries, first);
}

#[tokio::test]
async fn a_live_recorder_holds_itself_against_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open_sealed(folder.path(), sealing()).unwrap());
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.exec("echo", json!({"text": "x"})).await.unwrap();
    let recorder = host.kernel.recorder();
    recorder.seal().unwrap();
    let report = recorder.verify_against(&Trust::default().key(key().public()), |_| {}).unwrap();
    assert_eq!((report.entries, report.sealed), (5, 4));
}

#[tokio::test]
async fn what_is_left_of_a_recording_in_memory_still_verifies() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    for _ in 0..agent_control_plane::recorder::MEMORY_RECORDS / 2 + 100 {
        agent.exec("echo", json!({"text": "x"})).await.unwrap();
    }
    let report = host.kernel.recorder().verify(None, |_| {}).unwrap();
    assert!(report.entries < host.kernel.recorder().head().count, "the oldest were dropped");
}
