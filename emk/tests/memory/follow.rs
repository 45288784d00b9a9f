//! An index that follows the memory.

use std::sync::Arc;

use emk::episode::Revision;
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::memory::{EpisodicMemory, MemoryOptions};
use emk::recall::{Query, Recall};

use crate::{at, clock, episode, ledger_in_memory, put, success};

fn follow(ledger: emk::Ledger) -> EpisodicMemory {
    let recall = Arc::new(Recall::new(clock()));
    EpisodicMemory::open_indexed(ledger, MemoryOptions::default(), clock(), recall, |_| {}).unwrap()
}

fn found(memory: &EpisodicMemory, text: &str) -> Vec<u64> {
    let mut seqs: Vec<u64> = memory
        .recall()
        .unwrap()
        .search(&Query::new(text), memory)
        .unwrap()
        .iter()
        .map(|hit| hit.seq)
        .collect();
    seqs.sort_unstable();
    seqs
}

/// The same, asked of the memory and of the one that is read from its ledger.
fn assert_found(memory: &EpisodicMemory, text: &str, expected: &[u64]) {
    assert_eq!(found(memory, text), expected);
    assert_eq!(found(&follow(memory.ledger().clone()), text), expected, "opened again");
}

#[test]
fn what_is_decided_is_seen_by_the_next_search() {
    let kept = follow(ledger_in_memory());
    put(&kept, success(1, "rotate certificates of the gateway"));
    put(&kept, success(2, "rotate certificates of the mail server"));
    assert_found(&kept, "certificates", &[0, 1]);
    kept.quarantine(0, "poisoned").unwrap();
    assert_found(&kept, "certificates", &[1]);
    kept.release(0, "checked").unwrap();
    assert_found(&kept, "certificates", &[0, 1]);
    kept.redact(1, "asked to").unwrap();
    assert_found(&kept, "certificates", &[0]);
}

#[test]
fn what_was_wrong_is_not_recalled_until_its_correction_is_hidden() {
    let kept = follow(ledger_in_memory());
    put(&kept, episode(1, "outage caused by the disk"));
    let id = kept.get(0).unwrap().unwrap().content_id();
    let right = put(&kept, episode(2, "outage caused by the network").revises(Revision::Corrects(id)));
    assert_found(&kept, "outage", &[right]);
    kept.quarantine(right, "poisoned").unwrap();
    assert_found(&kept, "outage", &[0]);
}

#[test]
fn what_is_summed_up_is_not_recalled_unless_its_rule_is_gone() {
    let kept = follow(ledger_in_memory());
    put(&kept, success(1, "rebuild the search index"));
    put(&kept, success(2, "rebuild the search index again"));
    put(&kept, success(3, "search for a lost parcel of a customer"));
    let plan = kept.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap();
    let rule = kept.apply(&plan, &Medoid, |_| {}).unwrap().rules[0];
    assert_found(&kept, "search", &[2]);
    kept.quarantine(rule, "badly put").unwrap();
    assert_found(&kept, "search", &[0, 1, 2]);
    kept.release(rule, "well put").unwrap();
    let quoted = kept.rule(rule).unwrap().unwrap().quotes[0];
    kept.redact(quoted, "asked to").unwrap();
    assert_found(&kept, "search", &[1 - quoted, 2]);
}

#[test]
fn an_index_that_is_not_empty_is_refused() {
    let recall = Arc::new(Recall::new(clock()));
    recall.add(0, &episode(1, "a").build().unwrap()).unwrap();
    let opened =
        EpisodicMemory::open_indexed(ledger_in_memory(), MemoryOptions::default(), clock(), recall, |_| {});
    assert!(opened.is_err());
}
