//! Whatever is done to a memory, in whatever order: the ledger alone gives the same memory again.

use emk::episode::{Outcome, Revision};
use emk::memory::EpisodicMemory;
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::memory::transfer::import_ledger;
use proptest::prelude::*;

use crate::{assert_same, at, episode, failed, ledger_in_memory, memory, open};

#[derive(Clone, Debug)]
enum Step {
    Append { words: u8, cause: u8, revises: u8, fails: bool },
    Redact(u8),
    Quarantine(u8),
    Release(u8),
    Pin(u8),
    Unpin(u8),
    Sleep { erase: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(words, cause, revises, fails)| Step::Append { words, cause, revises, fails }),
        1 => any::<u8>().prop_map(Step::Redact),
        1 => any::<u8>().prop_map(Step::Quarantine),
        1 => any::<u8>().prop_map(Step::Release),
        1 => any::<u8>().prop_map(Step::Pin),
        1 => any::<u8>().prop_map(Step::Unpin),
        1 => any::<bool>().prop_map(|erase| Step::Sleep { erase }),
    ]
}

/// Steps that name a record that is none are refused, which is as good as left out.
fn take(memory: &EpisodicMemory, day: i64, step: &Step) {
    let count = memory.ledger().head().count;
    let pick = |number: u8| u64::from(number) % count.max(1);
    let id = |number: u8| match memory.inspect(pick(number)) {
        Ok(Some(emk::memory::Found::Episode(episode))) => Some(episode.content_id()),
        _ => None,
    };
    match step {
        Step::Append { words, cause, revises, fails } => {
            let text = [
                "call the billing api",
                "call the billing api twice",
                "write a report",
                "write a daily report",
            ];
            let mut builder = episode(day, text[usize::from(words % 4)]).outcome(Outcome::Success);
            if *fails {
                builder = builder.outcome(Outcome::Failure).failure(failed("silent"));
            }
            if cause % 3 == 0 {
                builder = builder.caused_by(id(*cause));
            }
            builder = match (revises % 8, id(*revises)) {
                (0, Some(id)) => builder.revises(Revision::Corrects(id)),
                (1, Some(id)) => builder.revises(Revision::Supersedes(id)),
                _ => builder,
            };
            memory.append(&builder.build().unwrap()).unwrap();
        }
        Step::Redact(number) => drop(memory.redact(pick(*number), "r")),
        Step::Quarantine(number) => drop(memory.quarantine(pick(*number), "r")),
        Step::Release(number) => drop(memory.release(pick(*number), "r")),
        Step::Pin(number) => drop(memory.pin(pick(*number), "r")),
        Step::Unpin(number) => drop(memory.unpin(pick(*number), "r")),
        Step::Sleep { erase } => {
            let policy = SleepPolicy::default().failures_too();
            let policy = if *erase { policy.erase_after(crate::days(950)) } else { policy };
            let plan = memory.plan(&policy, at(1000), |_| {}).unwrap();
            memory.apply(&plan, &Medoid, |_| {}).unwrap();
            assert!(
                memory.plan(&policy, at(1000), |_| {}).unwrap().rules.is_empty(),
                "a second sleep finds nothing"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_ledger_alone_gives_the_same_memory_again(steps in prop::collection::vec(step(), 0..50)) {
        let kept = memory();
        for (day, step) in (0..).zip(&steps) {
            take(&kept, day, step);
        }
        let report = kept.verify(Some(kept.ledger().head()), |_| {}).unwrap();
        prop_assert_eq!(report.entries, kept.ledger().head().count);
        assert_same(&kept, &open(kept.ledger().clone()));
        let mut out = Vec::new();
        kept.export(&mut out, |_| {}).unwrap();
        let copy = ledger_in_memory();
        import_ledger(&copy, out.as_slice(), |_| {}).unwrap();
        assert_same(&kept, &open(copy));
        // What is erased is nowhere, and what is hidden is not shown.
        for seq in 0..kept.ledger().head().count {
            if let Some(status) = kept.status(seq) {
                prop_assert_eq!(status.is_visible(), kept.episodes(seq).next().is_some_and(|found| found.unwrap().0 == seq));
            }
        }
    }
}
