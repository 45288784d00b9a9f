//! The sleep cycle.

use agent_primitives::{Label, LabelSet};
use emk::episode::{Episode, Outcome, Revision, Source};
use emk::memory::sleep::{Medoid, Plan, PlannedRule, SleepPolicy, Slept, Summariser, Summary};
use emk::memory::{EpisodicMemory, MemoryError};
use emk::merkle::Accumulator;
use emk::{EntryKind, Ledger, LedgerOptions, MemoryLimits, MemoryStore};

use crate::{at, days, episode, failed, id, memory, on_every_store, open, put, success};

const NOW: i64 = 900;

fn plan(memory: &EpisodicMemory, policy: &SleepPolicy) -> Plan {
    memory.plan(policy, at(NOW), |_| {}).unwrap()
}

fn sleep(memory: &EpisodicMemory, policy: &SleepPolicy) -> Slept {
    memory.apply(&plan(memory, policy), &Medoid, |_| {}).unwrap()
}

/// Six that belong together in two clusters, and what protects an episode, one each.
fn fill(memory: &EpisodicMemory) {
    for (day, words) in
        [(1, "call the billing api"), (2, "call the billing api twice"), (3, "write a report")]
    {
        put(memory, success(day, words));
    }
    put(memory, success(4, "write a report daily"));
    put(memory, success(NOW - 1, "call the billing api today"));
    put(memory, success(5, "call the billing api carefully").importance(80));
    put(memory, episode(6, "call the billing api badly").failure(failed("silent")));
    let pinned = put(memory, success(7, "call the billing api always"));
    memory.pin(pinned, "asked to").unwrap();
    put(memory, success(8, "nothing else is like this one"));
}

#[test]
fn a_plan_has_what_is_old_and_unprotected_and_writes_nothing() {
    on_every_store(|memory| {
        fill(memory);
        let head = memory.ledger().head();
        let plan = plan(memory, &SleepPolicy::default());
        assert_eq!(plan.eligible, [0, 1, 2, 3, 9]);
        let sources: Vec<&[u64]> = plan.rules.iter().map(|rule| rule.sources.as_slice()).collect();
        assert_eq!(sources, [&[0, 1], &[2, 3]]);
        assert!((plan.rules[0].confidence - 0.342_380_227_506_653_1).abs() < 1e-9);
        assert_eq!(memory.ledger().head(), head);
        let again = memory.plan(&SleepPolicy::default(), at(NOW), |_| {}).unwrap();
        assert_eq!((&again, again.to_string()), (&plan, plan.to_string()));
        assert!(
            plan.to_string().contains("rule of agent-1 from [0, 1]: success, confidence 0.342"),
            "{plan}"
        );
    });
}

#[test]
fn a_sleep_appends_rules_and_changes_no_record_that_is_there() {
    on_every_store(|memory| {
        fill(memory);
        let before: Vec<_> = memory.ledger().read(0).map(Result::unwrap).collect();
        let slept = sleep(memory, &SleepPolicy::default());
        assert_eq!((slept.rules.len(), slept.compacted, slept.erased, slept.skipped.len()), (2, 4, 0, 0));
        let after: Vec<_> = memory.ledger().read(0).take(before.len()).map(Result::unwrap).collect();
        assert_eq!(before, after);
        let rule = memory.rule(slept.rules[0]).unwrap().unwrap();
        assert_eq!(
            (rule.sources.as_slice(), rule.support, rule.majority),
            (&[0, 1][..], 2, Outcome::Success)
        );
        let mut tree: Accumulator = Accumulator::new();
        [0, 1].iter().for_each(|&seq: &usize| tree.push(before[seq].hash.as_bytes()));
        assert_eq!(rule.root, tree.root());
        assert!(rule.text.starts_with("2 of 2 like this one ended as success. goal: call the billing api"));
        assert!(!memory.status(0).unwrap().is_current() && memory.get(0).unwrap().is_some());
        assert!(plan(memory, &SleepPolicy::default()).is_empty());
        assert_eq!(sleep(memory, &SleepPolicy::default()), Slept::default());
        memory.verify(None, |_| {}).unwrap();
    });
}

#[test]
fn a_rule_has_the_labels_and_the_sources_of_all_it_was_made_from() {
    let kept = memory();
    let labels = |name: &str| LabelSet::new([name.parse::<Label>().unwrap()]).unwrap();
    put(&kept, success(1, "read the mail of a customer").labels(labels("pii")));
    put(
        &kept,
        success(2, "read the mail of a customer again").labels(labels("secret")).source(Source::External),
    );
    let rule = sleep(&kept, &SleepPolicy::default()).rules[0];
    let rule = kept.rule(rule).unwrap().unwrap();
    assert_eq!(rule.labels.to_string(), "pii, secret");
    assert!(rule.vouched_by.iter().eq(&[Source::Agent, Source::External]));
}

#[test]
fn agents_are_not_summed_up_together() {
    let kept = memory();
    for agent in ["agent-1", "agent-2"] {
        let words = "list the invoices";
        let built = Episode::builder(agent.parse().unwrap(), at(1)).goal(words).build().unwrap();
        kept.append(&built).unwrap();
    }
    assert!(plan(&kept, &SleepPolicy::default()).rules.is_empty());
}

#[test]
fn failures_are_kept_unless_asked_for_and_win_a_tie() {
    let kept = memory();
    put(&kept, success(1, "upload the archive"));
    put(&kept, episode(2, "upload the archive").failure(failed("disk full")));
    assert!(plan(&kept, &SleepPolicy::default()).rules.is_empty());
    let plan = plan(&kept, &SleepPolicy::default().failures_too());
    assert_eq!(plan.rules[0].majority, Outcome::Failure);
    assert!((plan.rules[0].confidence - 0.094_531_205_734_230_71).abs() < 1e-9);
}

/// A memory of two episodes and their rule, as a crash before the mark leaves it.
fn without_mark() -> EpisodicMemory {
    // The store has room for the episodes and the rule, and not for the mark.
    let limits = MemoryLimits { records: 3, ..MemoryLimits::default() };
    let ledger = Ledger::open(MemoryStore::new(id(), limits), LedgerOptions::default()).unwrap();
    let kept = open(ledger);
    put(&kept, success(1, "call the billing api"));
    put(&kept, success(2, "call the billing api twice"));
    let refused = kept.apply(&plan(&kept, &SleepPolicy::default()), &Medoid, |_| {}).unwrap_err();
    assert_eq!(refused.code(), "AK0803");
    let whole = memory();
    for entry in kept.ledger().read(0) {
        let entry = entry.unwrap();
        whole.ledger().append(entry.kind, &entry.body).unwrap();
    }
    open(whole.ledger().clone())
}

#[test]
fn a_crash_between_a_rule_and_its_mark_is_made_good_by_the_next_sleep() {
    let again = without_mark();
    assert!(again.status(0).unwrap().is_current(), "the episodes stay as they were");
    let plan = plan(&again, &SleepPolicy::default());
    assert_eq!(plan.unfinished, [(2, vec![0, 1])]);
    assert!(plan.rules.is_empty() && plan.eligible.is_empty());
    let slept = again.apply(&plan, &Medoid, |_| {}).unwrap();
    assert_eq!((slept.rules.len(), slept.compacted), (0, 2));
    assert_eq!(
        again.ledger().read(0).filter(|entry| entry.as_ref().unwrap().kind == EntryKind::Rule).count(),
        1
    );
    assert!(!again.status(0).unwrap().is_current());
    assert!(super::sleep::plan(&again, &SleepPolicy::default()).is_empty());
}

/// Something that happens to a memory with this rule.
type Change = fn(&EpisodicMemory, u64);

#[test]
fn a_crash_is_made_good_only_where_nothing_has_changed_since_the_plan() {
    let changes: [(&str, Change, &[u64]); 4] = [
        ("pinned", |memory, _| memory.pin(0, "wanted").unwrap(), &[0]),
        ("erased", |memory, _| drop(memory.redact(1, "not wanted").unwrap()), &[1]),
        ("hidden", |memory, _| memory.quarantine(0, "poisoned").unwrap(), &[0, 1]),
        ("rule hidden", |memory, rule| memory.quarantine(rule, "poisoned").unwrap(), &[0, 1]),
    ];
    for (what, change, left) in changes {
        let again = without_mark();
        let plan = plan(&again, &SleepPolicy::default());
        assert_eq!(plan.unfinished, [(2, vec![0, 1])]);
        change(&again, 2);
        // The medoid is one of the two: where the rule repeats what was erased, it goes too, and both are left.
        let left = if again.status(2).unwrap().erased { &[0, 1] } else { left };
        let slept = again.apply(&plan, &Medoid, |_| {}).unwrap();
        assert_eq!(slept.compacted, 2 - left.len() as u64, "{what}");
        assert_eq!(slept.skipped[0].sources, left, "{what}");
        again.verify(None, |_| {}).unwrap();
        open(again.ledger().clone());
    }
}

struct Fails;

impl Summariser for Fails {
    fn summarise(
        &self,
        rule: &PlannedRule,
        episodes: &[(u64, Episode)],
    ) -> Result<Summary, Box<dyn std::error::Error + Send + Sync>> {
        match rule.sources.first() {
            Some(0) => Err("the model is away".into()),
            Some(2) => Ok(Summary { text: "sk-abcdefghijklmnopqrstuvwx".to_owned(), quotes: vec![2, 3] }),
            _ => Ok(Summary { text: format!("{} episodes", episodes.len()), quotes: vec![77] }),
        }
    }
}

#[test]
fn a_cluster_that_cannot_be_put_into_words_is_left_and_reported() {
    let kept = memory();
    fill(&kept);
    put(&kept, success(20, "rotate all keys"));
    put(&kept, success(21, "rotate all keys soon"));
    let slept = kept.apply(&plan(&kept, &SleepPolicy::default()), &Fails, |_| {}).unwrap();
    let skipped: Vec<(&[u64], &str)> =
        slept.skipped.iter().map(|skipped| (skipped.sources.as_slice(), skipped.reason.as_str())).collect();
    assert_eq!(
        skipped,
        [
            (&[0, 1][..], "the summariser failed: the model is away"),
            (&[10, 11], "what the summariser says makes no rule"),
        ]
    );
    assert_eq!(kept.rule(slept.rules[0]).unwrap().unwrap().text, "[REDACTED]");
    assert_eq!(plan(&kept, &SleepPolicy::default()).rules.len(), 2);
}

#[test]
fn what_changed_since_the_plan_is_left() {
    let kept = memory();
    fill(&kept);
    let plan = plan(&kept, &SleepPolicy::default());
    kept.pin(0, "wanted").unwrap();
    kept.redact(3, "not wanted").unwrap();
    let slept = kept.apply(&plan, &Medoid, |_| {}).unwrap();
    assert_eq!((slept.rules.len(), slept.skipped.len()), (0, 2));
}

#[test]
fn no_rule_is_made_of_what_was_found_to_be_wrong_since_the_plan() {
    let kept = memory();
    put(&kept, success(1, "call the billing api"));
    put(&kept, success(2, "call the billing api twice"));
    let plan = plan(&kept, &SleepPolicy::default());
    correct(&kept, 0);
    let slept = kept.apply(&plan, &Medoid, |_| {}).unwrap();
    assert_eq!((slept.rules.len(), &slept.skipped[0].sources[..]), (0, &[0, 1][..]));
}

fn correct(memory: &EpisodicMemory, seq: u64) {
    let id = memory.get(seq).unwrap().unwrap().content_id();
    put(memory, episode(NOW, "it was otherwise").revises(Revision::Corrects(id)));
}

#[test]
fn what_has_expired_is_looked_at_again_before_it_is_erased() {
    let changes: [(&str, Change, &[u64]); 6] = [
        ("nothing", |_, _| {}, &[]),
        ("pinned", |memory, _| memory.pin(0, "wanted").unwrap(), &[0]),
        ("corrected", |memory, _| correct(memory, 1), &[1]),
        ("hidden, and so its rule", |memory, _| memory.quarantine(0, "poisoned").unwrap(), &[0, 1]),
        ("its rule hidden", |memory, rule| memory.quarantine(rule, "poisoned").unwrap(), &[0, 1]),
        ("its rule erased", |memory, rule| drop(memory.redact(rule, "not wanted").unwrap()), &[0, 1]),
    ];
    for (what, change, left) in changes {
        on_every_store(|memory| {
            put(memory, success(1, "call the billing api"));
            put(memory, success(2, "call the billing api twice"));
            let rule = sleep(memory, &SleepPolicy::default()).rules[0];
            let plan = plan(memory, &SleepPolicy::default().erase_after(days(365)));
            assert_eq!(plan.expired, [0, 1]);
            change(memory, rule);
            let slept = memory.apply(&plan, &Medoid, |_| {}).unwrap();
            let stayed: Vec<u64> =
                [0, 1].into_iter().filter(|&seq| memory.inspect(seq).unwrap().is_some()).collect();
            assert_eq!((slept.erased, &stayed[..]), (2 - left.len() as u64, left), "{what}");
            let told: Vec<u64> = slept.skipped.iter().flat_map(|skipped| skipped.sources.clone()).collect();
            assert_eq!(told, left, "{what}");
        });
    }
}

#[test]
fn a_large_cluster_makes_several_rules() {
    let kept = memory();
    for number in 0..120 {
        put(&kept, success(number, &format!("call the billing api number{number}")));
    }
    let plan = plan(&kept, &SleepPolicy::default());
    let sizes: Vec<usize> = plan.rules.iter().map(|rule| rule.sources.len()).collect();
    assert_eq!(sizes, [50, 50, 20]);
}

#[test]
fn a_budget_goes_beyond_age_and_importance_oldest_first_and_never_to_what_is_pinned() {
    let kept = memory();
    for (day, words) in [(NOW - 9, "alpha beta gamma"), (NOW - 8, "delta epsilon zeta")] {
        put(&kept, success(day, words).importance(90));
        put(&kept, success(day, &format!("{words} more")).importance(90));
    }
    let live = plan(&kept, &SleepPolicy::default()).live_bytes.0;
    let policy = |bytes| SleepPolicy::default().max_bytes(bytes);
    assert!(plan(&kept, &policy(live)).rules.is_empty());
    let one = plan(&kept, &policy(live - 1));
    assert_eq!(one.rules.iter().map(|rule| rule.sources.clone()).collect::<Vec<_>>(), [[0, 1]]);
    assert!(one.live_bytes.1 < live);
    assert_eq!(plan(&kept, &policy(0)).live_bytes.1, 0);
    kept.pin(0, "wanted").unwrap();
    let unmet = kept.plan(&policy(0), at(NOW), |_| {}).unwrap_err();
    assert!(matches!(unmet, MemoryError::BudgetUnmet { live, budget: 0 } if live != 0), "{unmet}");
    let slept = sleep(&kept, &policy(live - 1));
    assert_eq!(kept.rule(slept.rules[0]).unwrap().unwrap().sources, [2, 3]);
}

#[test]
fn what_was_summed_up_long_ago_is_erased_if_that_is_asked_for_and_its_rule_stays() {
    on_every_store(|memory| {
        put(memory, success(1, "call the billing api"));
        put(memory, success(600, "call the billing api twice"));
        let rule = sleep(memory, &SleepPolicy::default()).rules[0];
        assert!(plan(memory, &SleepPolicy::default()).expired.is_empty());
        let policy = SleepPolicy::default().erase_after(days(365));
        assert_eq!(plan(memory, &policy).expired, [0]);
        assert_eq!(sleep(memory, &policy).erased, 1);
        assert!(memory.get(0).unwrap().is_none() && memory.get(1).unwrap().is_some());
        let status = memory.status(rule).unwrap();
        assert!(status.flagged && !status.erased);
        // The words that the rule repeats are taken out by name.
        let quoted = memory.rule(rule).unwrap().unwrap().quotes[0];
        assert_eq!(memory.redact(quoted, "asked to").unwrap(), [quoted, rule]);
        assert!(memory.rule(rule).unwrap().is_none());
        memory.verify(None, |_| {}).unwrap();
    });
}
