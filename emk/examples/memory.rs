//! A memory from the first episode to the last: `cargo run -p emk --example memory`.
//!
//! An agent fails, finds out why, and does it right; what it believed wrongly is corrected; old episodes are summed up; one is
//! erased, and the ledger still verifies. Everything is in a folder that goes away with the process.

#![expect(clippy::print_stdout, reason = "a program that shows what it does")]

use std::error::Error;
use std::sync::Arc;

use agent_primitives::{Clock, FailureType, SystemClock, Timestamp};
use emk::episode::{Episode, Failure, Outcome, Revision};
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::memory::{Direction, EpisodicMemory, MemoryOptions};
use emk::recall::{Filter, Query, Recall};
use emk::{Ledger, LedgerId, LedgerOptions, SegmentOptions, SegmentStore};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let dir = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = SegmentStore::open(dir.path(), LedgerId::new("agent-1")?, SegmentOptions::default())?;
    let ledger = Ledger::open(store, LedgerOptions::default())?;
    let memory = EpisodicMemory::open(ledger, MemoryOptions::default(), clock.clone())?;
    let recall = Recall::new(memory.clone(), clock);

    let agent: agent_primitives::AgentId = "agent-1".parse()?;
    let on = |day: i64| Timestamp::from_micros(1_767_225_600_000_000 + day * 86_400_000_000);
    let failed = Episode::builder(agent.clone(), on(0))
        .goal("Fetch the ledger export")
        .action("GET /exports/9")
        .result("no answer in 12 s")
        .failure(Failure { kind: FailureType::Timeout, reason: "upstream silent".to_owned() })
        .build()?;
    let failure = memory.append(&failed)?;
    let retried = Episode::builder(agent.clone(), on(1))
        .goal("Fetch the ledger export")
        .action("GET /exports/9 after a pause")
        .result("received 4 MB")
        .reflection("The pause helped")
        .outcome(Outcome::Success)
        .caused_by([failed.content_id()])
        .build()?;
    let success = memory.append(&retried)?;
    let corrected = Episode::builder(agent.clone(), on(2))
        .goal("Fetch the ledger export")
        .action("GET /exports/9 with a longer limit")
        .reflection("It was the limit of 10 s, not the pause")
        .outcome(Outcome::Success)
        .revises(Revision::Corrects(retried.content_id()))
        .build()?;
    memory.append(&corrected)?;
    for link in memory.chain(failure.seq, Direction::Forward, 8)? {
        println!("record {} is {} steps from the failure", link.seq, link.depth);
    }
    println!("record {} was corrected by {:?}", success.seq, memory.revised_by(success.seq));

    for day in 3..8 {
        let same = Episode::builder(agent.clone(), on(day))
            .goal("Send the weekly report")
            .action(format!("mail the report of week {day}"))
            .outcome(Outcome::Success);
        memory.append(&same.build()?)?;
    }
    let plan = memory.plan(&SleepPolicy::default(), on(100), |_| {})?;
    print!("{plan}");
    for rule in memory.apply(&plan, &Medoid, |_| {})?.rules {
        println!("rule {rule}: {}", memory.rule(rule)?.map_or_else(String::new, |rule| rule.text));
    }

    for hit in recall.search(&Query::new("ledger export"))? {
        println!("recalled record {} with {:.2}", hit.seq, hit.score);
    }
    let advice = recall.advise("Fetch the ledger export", "GET /exports/9", &Filter::default())?;
    let resolved = advice.patterns.iter().filter(|pattern| pattern.is_resolved()).count();
    println!(
        "before it is tried again: {}, {resolved} of {} patterns resolved",
        advice.level,
        advice.patterns.len()
    );

    let erased = memory.redact(failure.seq, "the customer asked for it")?;
    let head = memory.ledger().head();
    let report = memory.verify(Some(head), |_| {})?;
    println!("erased {erased:?}; {} records verify, {} of them redacted", report.entries, report.redacted);
    let mut lines = Vec::new();
    let exported = memory.export(&mut lines, |_| {})?;
    println!("exported {} records in {} bytes, head {}", exported.records, lines.len(), exported.head);
    Ok(())
}
