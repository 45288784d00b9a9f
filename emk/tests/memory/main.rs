//! Tests of episodic memory through its public interface, on every store.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::indexing_slicing, reason = "a test may fail loudly")]

mod append;
mod erase;
mod facts;
mod laws;
mod sleep;
mod transfer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{FailureType, ManualClock, Timestamp};
use emk::episode::{Episode, EpisodeBuilder, Failure, Outcome};
use emk::memory::{EpisodicMemory, MemoryOptions, Status};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, SegmentOptions, SegmentStore};

fn id() -> LedgerId {
    LedgerId::new("agent-1").unwrap()
}

fn at(day: i64) -> Timestamp {
    Timestamp::from_micros(day * 86_400_000_000)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(at(1000)))
}

/// An episode of the day, with words of its own.
fn episode(day: i64, words: &str) -> EpisodeBuilder {
    Episode::builder("agent-1".parse().unwrap(), at(day)).goal(words).action(format!("did {words}"))
}

fn failed(reason: &str) -> Failure {
    Failure { kind: FailureType::Timeout, reason: reason.to_owned() }
}

fn ledger_in_memory() -> Ledger {
    Ledger::open(MemoryStore::new(id(), MemoryLimits::default()), LedgerOptions::default()).unwrap()
}

/// Segments of some episodes each.
fn ledger_in(dir: &Path) -> Ledger {
    let store = SegmentStore::open(dir, id(), SegmentOptions { segment_bytes: 4000 }).unwrap();
    Ledger::open(store, LedgerOptions::default()).unwrap()
}

fn open(ledger: Ledger) -> EpisodicMemory {
    EpisodicMemory::open(ledger, MemoryOptions::default(), clock()).unwrap()
}

fn memory() -> EpisodicMemory {
    open(ledger_in_memory())
}

fn put(memory: &EpisodicMemory, builder: EpisodeBuilder) -> u64 {
    memory.append(&builder.build().unwrap()).unwrap().seq
}

/// Runs a check on every store, and then on the same ledger opened again where that is possible.
fn on_every_store(check: impl Fn(&EpisodicMemory)) {
    let kept = memory();
    check(&kept);
    assert_same(&kept, &open(kept.ledger().clone()));
    let dir = tempfile::tempdir().unwrap();
    let kept = open(ledger_in(dir.path()));
    check(&kept);
    kept.ledger().close().unwrap();
    assert_same(&kept, &open(ledger_in(dir.path())));
}

/// What a memory knows comes from its ledger alone.
fn assert_same(one: &EpisodicMemory, other: &EpisodicMemory) {
    assert_eq!(one.ledger().head(), other.ledger().head());
    assert_eq!(one.len(), other.len());
    let statuses = |memory: &EpisodicMemory| -> Vec<Status> {
        let seqs = 0..one.ledger().head().count;
        seqs.filter_map(|seq| memory.status(seq))
            .map(|mut status| {
                status.accesses = 0;
                status
            })
            .collect()
    };
    assert_eq!(statuses(one), statuses(other));
    for status in statuses(one) {
        let seq = status.seq;
        assert_eq!(one.causes(seq).unwrap(), other.causes(seq).unwrap());
        assert_eq!(one.effects(seq).unwrap(), other.effects(seq).unwrap());
        assert_eq!(one.revised_by(seq), other.revised_by(seq));
        assert_eq!(one.inspect(seq).unwrap(), other.inspect(seq).unwrap());
    }
    for day in [0, 10, 500, 2000] {
        assert_eq!(one.as_of(at(day), at(2000)), other.as_of(at(day), at(2000)));
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

fn success(day: i64, words: &str) -> EpisodeBuilder {
    episode(day, words).outcome(Outcome::Success)
}
