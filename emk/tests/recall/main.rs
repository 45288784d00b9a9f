//! Recall over a memory, through its public interface.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

mod advice;
mod filters;
mod follow;
mod order;
mod vectors;

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{FailureType, ManualClock, Timestamp};
use emk::episode::{Episode, EpisodeBuilder, Failure, Outcome};
use emk::memory::{EpisodicMemory, MemoryOptions};
use emk::recall::{Filter, Hit, Query, Recall};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore};

fn at(day: i64) -> Timestamp {
    Timestamp::from_micros(day * 86_400_000_000)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(at(1000)))
}

fn ledger() -> Ledger {
    let store = MemoryStore::new(LedgerId::new("agent-1").unwrap(), MemoryLimits::default());
    Ledger::open(store, LedgerOptions::default()).unwrap()
}

fn over(ledger: Ledger) -> Recall {
    let options = MemoryOptions::default().accept_recalled();
    Recall::new(EpisodicMemory::open(ledger, options, clock()).unwrap(), clock())
}

fn recall() -> Recall {
    over(ledger())
}

/// An episode of a day.
fn episode(day: i64, goal: &str, action: &str) -> EpisodeBuilder {
    Episode::builder("agent-1".parse().unwrap(), at(day)).goal(goal).action(action)
}

fn success(day: i64, goal: &str, action: &str) -> EpisodeBuilder {
    episode(day, goal, action).outcome(Outcome::Success)
}

fn failure(day: i64, goal: &str, action: &str, reason: &str) -> EpisodeBuilder {
    episode(day, goal, action).failure(Failure { kind: FailureType::Timeout, reason: reason.to_owned() })
}

fn put(recall: &Recall, builder: EpisodeBuilder) -> u64 {
    recall.memory().append(&builder.build().unwrap()).unwrap().seq
}

fn seqs(hits: &[Hit]) -> Vec<u64> {
    hits.iter().map(|hit| hit.seq).collect()
}

fn found(recall: &Recall, query: Query) -> Vec<u64> {
    seqs(&recall.search(&query).unwrap())
}

fn found_with(recall: &Recall, text: &str, filter: Filter) -> Vec<u64> {
    let mut found = found(recall, Query::new(text).filter(filter).limit(1000));
    found.sort_unstable();
    found
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
