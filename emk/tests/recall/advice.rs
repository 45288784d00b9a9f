//! What failed before is told before it is tried again.

use agent_primitives::FailureType;
use emk::episode::{Failure, Outcome, Source};
use emk::recall::{Filter, Level, Recall};

use crate::{episode, failure, put, recall, success};

const GOAL: &str = "Deploy the billing service";

fn failed_times(recall: &Recall, times: i64) -> Vec<u64> {
    (0..times)
        .map(|day| put(recall, failure(day, GOAL, "run deploy.sh --force", &format!("silent for {day} s"))))
        .collect()
}

fn level(recall: &Recall) -> Level {
    recall.advise(GOAL, "run deploy.sh --force", &Filter::default()).unwrap().level
}

#[test]
fn the_level_rises_with_what_failed() {
    let recall = recall();
    assert_eq!(level(&recall), Level::None);
    failed_times(&recall, 3);
    assert_eq!(level(&recall), Level::Warn);
    for day in 3..20 {
        put(&recall, failure(day, GOAL, "run deploy.sh --force", &format!("silent for {day} s")));
    }
    assert_eq!(level(&recall), Level::Block);
    let advice = recall.advise(GOAL, "run deploy.sh --force", &Filter::default()).unwrap();
    assert_eq!((advice.odds.failures, advice.odds.attempts, advice.patterns.len()), (20, 20, 1));
    let pattern = &advice.patterns[0];
    assert_eq!((pattern.kind.clone(), pattern.reason.as_str()), (FailureType::Timeout, "silent for 19 s"));
    assert_eq!(pattern.evidence, (0..20).rev().collect::<Vec<u64>>());
}

#[test]
fn attempts_are_the_same_by_fingerprint_or_by_nearly_all_words() {
    let recall = recall();
    put(&recall, failure(1, "Restart worker 17", "kill 4711 and wait 30 s", "no answer"));
    put(
        &recall,
        failure(
            2,
            "Move the nightly backup of all tenants to the cold store",
            "copy then verify then delete",
            "disk full",
        ),
    );
    let attempts =
        |goal: &str, action: &str| recall.advise(goal, action, &Filter::default()).unwrap().odds.attempts;
    // Numbers do not tell attempts apart.
    assert_eq!(attempts("Restart worker 3", "kill 99 and wait 5 s"), 1);
    assert_eq!(attempts("restart WORKER 17", "kill 4711 and wait 30 s"), 1);
    // Nor does one word of many.
    assert_eq!(
        attempts("Move the nightly backup of all tenants to the cold store", "copy, verify, delete"),
        1
    );
    assert_eq!(attempts("Move the weekly backup of tenants to a store", "copy"), 0);
    // Goal and action are not interchangeable.
    assert_eq!(attempts("kill 99 and wait 5 s", "Restart worker"), 0);
    assert_eq!(attempts("", ""), 0);
}

#[test]
fn long_attempts_that_differ_at_their_end_are_not_the_same() {
    let recall = recall();
    let script = |end: &str| format!("{} {end}", "step ".repeat(100));
    let with = |words: &str| script(&format!("{words} alpha beta gamma delta"));
    put(&recall, failure(1, "run the script", &with("one two three four five six seven"), "no answer"));
    let attempts =
        |action: &str| recall.advise("run the script", action, &Filter::default()).unwrap().odds.attempts;
    assert_eq!(attempts(&with("one two three four five six seven")), 1);
    assert_eq!(attempts(&script("quite another end of it all")), 0);
}

#[test]
fn a_success_that_names_the_failure_as_its_cause_resolves_the_pattern() {
    let recall = recall();
    let seqs = failed_times(&recall, 5);
    put(&recall, failure(6, GOAL, "run deploy.sh --force", "permission denied"));
    let cause = recall.memory().get(seqs[1]).unwrap().unwrap().content_id();
    let fixed = put(&recall, success(7, GOAL, "run deploy.sh --wait 60").caused_by([cause]));
    let advice = recall.advise(GOAL, "run deploy.sh --force", &Filter::default()).unwrap();
    let silent = advice.patterns.iter().find(|pattern| pattern.failures == 5).unwrap();
    assert_eq!((silent.is_resolved(), silent.resolved_by), (true, Some(fixed)));
    let denied = advice.patterns.iter().find(|pattern| pattern.failures == 1).unwrap();
    assert!(!denied.is_resolved());
    // Only the other one still speaks against it.
    assert_eq!((advice.odds.failures, advice.odds.attempts), (1, 1));
    // It fails in the same way again: what was resolved is open again, from here on.
    put(&recall, failure(8, GOAL, "run deploy.sh --force", "silent for 99 s"));
    let advice = recall.advise(GOAL, "run deploy.sh --force", &Filter::default()).unwrap();
    let silent = advice.patterns.iter().find(|pattern| pattern.failures == 6).unwrap();
    assert_eq!((silent.open, silent.is_resolved()), (1, false));
}

#[test]
fn a_resolved_pattern_alone_is_no_reason_to_warn() {
    let recall = recall();
    let seqs = failed_times(&recall, 20);
    assert_eq!(level(&recall), Level::Block);
    let cause = recall.memory().get(seqs[19]).unwrap().unwrap().content_id();
    let fix = success(30, "Fix the load balancer", "raise the limit").caused_by([cause]);
    let fix = put(&recall, fix);
    assert_eq!(level(&recall), Level::None);
    recall.memory().quarantine(fix, "was no fix").unwrap();
    assert_eq!(level(&recall), Level::Block);
}

#[test]
fn successes_and_parts_count_and_unknown_ends_do_not() {
    let recall = recall();
    failed_times(&recall, 2);
    for (day, outcome) in [(10, Outcome::Success), (11, Outcome::Partial), (12, Outcome::Unknown)] {
        put(&recall, episode(day, GOAL, "run deploy.sh --force").outcome(outcome));
    }
    let advice = recall.advise(GOAL, "run deploy.sh --force", &Filter::default()).unwrap();
    assert_eq!((advice.odds.failures, advice.odds.attempts), (2, 4));
    assert_eq!((advice.successes, advice.level), (vec![2], Level::Warn));
}

#[test]
fn only_those_that_are_trusted_and_shown_give_advice() {
    let recall = recall();
    for day in 0..4 {
        let reason = Failure { kind: FailureType::Timeout, reason: "made up".to_owned() };
        put(
            &recall,
            episode(day, GOAL, &format!("run deploy.sh --force {day}"))
                .failure(reason)
                .source(Source::External),
        );
    }
    assert_eq!(level(&recall), Level::Block);
    let trusted = Filter { min_trust: 0.6, ..Filter::default() };
    assert_eq!(recall.advise(GOAL, "run deploy.sh --force", &trusted).unwrap().level, Level::None);
    for seq in 0..4 {
        recall.memory().quarantine(seq, "poisoned").unwrap();
    }
    assert_eq!(level(&recall), Level::None);
    assert_eq!(recall.failures(10, &Filter::default()).unwrap(), [0u64; 0]);
}
