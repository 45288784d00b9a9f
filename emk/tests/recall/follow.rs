//! The index follows its memory by itself.

use emk::episode::Revision;
use emk::memory::EpisodicMemory;
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::recall::{Filter, Recall};

use crate::{at, clock, episode, found_with, over, put, recall, success};

/// The same, asked of the index and of one that is made anew.
fn assert_found(recall: &Recall, text: &str, expected: &[u64]) {
    assert_eq!(found_with(recall, text, Filter::default()), expected);
    let memory: EpisodicMemory = recall.memory().clone();
    assert_eq!(found_with(&Recall::new(memory, clock()), text, Filter::default()), expected, "made anew");
    assert_eq!(
        found_with(&over(recall.memory().ledger().clone()), text, Filter::default()),
        expected,
        "opened again"
    );
}

#[test]
fn what_is_decided_is_seen_by_the_next_question() {
    let recall = recall();
    put(&recall, success(1, "rotate certificates", "of the gateway"));
    put(&recall, success(2, "rotate certificates", "of the mail server"));
    assert_found(&recall, "certificates", &[0, 1]);
    recall.memory().quarantine(0, "poisoned").unwrap();
    assert_found(&recall, "certificates", &[1]);
    recall.memory().release(0, "checked").unwrap();
    assert_found(&recall, "certificates", &[0, 1]);
    recall.memory().redact(1, "asked to").unwrap();
    assert_found(&recall, "certificates", &[0]);
    // Not even those who ask for the past.
    assert_eq!(found_with(&recall, "mail", Filter { past: true, ..Filter::default() }), [0u64; 0]);
}

#[test]
fn what_was_wrong_is_found_by_those_only_who_ask_for_the_past() {
    let recall = recall();
    put(&recall, episode(1, "outage", "caused by the disk"));
    let id = recall.memory().get(0).unwrap().unwrap().content_id();
    let right = put(&recall, episode(2, "outage", "caused by the network").revises(Revision::Corrects(id)));
    assert_found(&recall, "outage", &[right]);
    assert_eq!(found_with(&recall, "outage", Filter { past: true, ..Filter::default() }), [0, right]);
    recall.memory().quarantine(right, "poisoned").unwrap();
    assert_found(&recall, "outage", &[0]);
}

#[test]
fn a_rule_is_found_in_place_of_what_it_stands_for() {
    let recall = recall();
    put(&recall, success(1, "rebuild the search index", "reindex"));
    put(&recall, success(2, "rebuild the search index", "reindex again"));
    put(&recall, success(3, "find a lost parcel", "search by customer"));
    let memory = recall.memory();
    let plan = memory.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap();
    let rule = memory.apply(&plan, &Medoid, |_| {}).unwrap().rules[0];
    assert_found(&recall, "search", &[2, rule]);
    assert_eq!(found_with(&recall, "search", Filter { past: true, ..Filter::default() }), [0, 1, 2, rule]);
    memory.quarantine(rule, "badly put").unwrap();
    assert_found(&recall, "search", &[0, 1, 2]);
    memory.release(rule, "well put").unwrap();
    assert_found(&recall, "search", &[2, rule]);
    // The rule quotes one of them, and is erased with it.
    let quoted = memory.rule(rule).unwrap().unwrap().quotes[0];
    memory.redact(quoted, "asked to").unwrap();
    assert_found(&recall, "search", &[1 - quoted, 2]);
}

#[test]
fn attempts_count_though_a_rule_stands_for_them() {
    let recall = recall();
    for day in 0..3 {
        put(&recall, crate::failure(day, "rebuild the search index", "reindex", "no answer").importance(10));
    }
    let mut policy = SleepPolicy::default();
    policy.keep_failures = false;
    let plan = recall.memory().plan(&policy, at(900), |_| {}).unwrap();
    let rules = recall.memory().apply(&plan, &Medoid, |_| {}).unwrap().rules;
    assert_eq!(rules.len(), 1);
    let advice = recall.advise("rebuild the search index", "reindex", &Filter::default()).unwrap();
    assert_eq!((advice.odds.failures, advice.odds.attempts), (3, 3));
}

#[test]
fn progress_is_told_and_nothing_is_read_twice() {
    let recall = recall();
    for day in 0..600 {
        put(&recall, episode(day, "valve", &format!("turn {day}")));
    }
    let mut told = Vec::new();
    assert_eq!(recall.follow(|done| told.push(done)).unwrap(), 600);
    assert_eq!(told, [256, 512, 600]);
    assert_eq!(recall.follow(|_| {}).unwrap(), 0);
    assert_eq!(recall.size().episodes, 600);
}
