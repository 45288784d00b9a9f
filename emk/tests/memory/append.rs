//! What is taken in, and what is not.

use agent_primitives::Digest;
use emk::episode::{Episode, Revision, Source};
use emk::memory::{DedupPolicy, EpisodicMemory, Found, MemoryError, MemoryOptions, Opening};
use emk::{EntryKind, Ledger, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};

use crate::{at, clock, episode, id, ledger_in, ledger_in_memory, memory, on_every_store, open, put};

#[test]
fn an_episode_comes_back_as_it_was() {
    on_every_store(|memory| {
        let first = episode(1, "list invoices").tags(["billing"]).build().unwrap();
        let stored = memory.append(&first).unwrap();
        assert_eq!((stored.seq, stored.content_id), (0, first.content_id()));
        let second = episode(0, "an earlier day").caused_by([first.content_id()]).build().unwrap();
        assert_eq!(memory.append(&second).unwrap().seq, 1);
        assert_eq!(memory.get(0).unwrap(), Some(first.clone()));
        assert_eq!(memory.get_by_id(&second.content_id()).unwrap(), Some((1, second.clone())));
        let read: Vec<Episode> = memory
            .episodes(0)
            .map(|found| match found.unwrap() {
                (_, Found::Episode(episode)) => *episode,
                (_, Found::Rule(_)) => panic!("no rule was made"),
            })
            .collect();
        assert_eq!(read, [first, second]);
        assert!(matches!(memory.get(2), Err(MemoryError::UnknownEpisode { seq: 2 })));
    });
}

#[test]
fn the_same_episode_is_kept_once() {
    on_every_store(|memory| {
        let one = episode(1, "list invoices").build().unwrap();
        memory.append(&one).unwrap();
        let head = memory.ledger().head();
        assert!(matches!(memory.append(&one), Err(MemoryError::Duplicate { seq: 0 })));
        assert_eq!(memory.ledger().head(), head);
    });
}

#[test]
fn a_threshold_that_refuses_nothing_opens_no_memory() {
    let options = MemoryOptions::default().dedup(DedupPolicy::Refuse);
    for bad in [f64::NAN, -0.1, 1.1, f64::INFINITY] {
        let refused = EpisodicMemory::open(ledger_in_memory(), options.near_threshold(bad), clock());
        assert_eq!(refused.unwrap_err().code(), "AK0630", "{bad}");
    }
    for good in [0.0, 1.0] {
        EpisodicMemory::open(ledger_in_memory(), options.near_threshold(good), clock()).unwrap();
    }
}

#[test]
fn what_is_pointed_to_has_to_be_there() {
    on_every_store(|memory| {
        let unknown = Digest::from_bytes([7; 32]);
        let cases = [
            episode(1, "a").caused_by([unknown]),
            episode(1, "a").revises(Revision::Corrects(unknown)),
            episode(1, "a").revises(Revision::Supersedes(unknown)),
        ];
        for builder in cases {
            let refused = memory.append(&builder.build().unwrap()).unwrap_err();
            assert_eq!(refused.code(), "AK0722", "{refused}");
        }
        assert_eq!(memory.ledger().head().count, 0);
    });
}

#[test]
fn near_duplicates_are_noted_or_refused() {
    let words = "retry the upload of the weekly report to the archive with backoff";
    let kept = memory();
    assert_eq!(kept.append(&episode(1, words).build().unwrap()).unwrap().near_duplicate_of, None);
    let again = episode(2, &format!("{words} now")).build().unwrap();
    let (seq, jaccard) = kept.append(&again).unwrap().near_duplicate_of.unwrap();
    assert!(seq == 0 && (0.85..1.0).contains(&jaccard), "{jaccard}");
    let other_agent = Episode::builder("agent-2".parse().unwrap(), at(1)).goal(words).build().unwrap();
    assert_eq!(kept.append(&other_agent).unwrap().near_duplicate_of, None);
    // The window is read from the ledger.
    let strict = MemoryOptions::default().dedup(DedupPolicy::Refuse);
    let strict = EpisodicMemory::open(kept.ledger().clone(), strict, clock()).unwrap();
    let refused = strict.append(&episode(3, words).build().unwrap());
    assert!(matches!(refused, Err(MemoryError::NearDuplicate { seq: 0, .. })), "{refused:?}");
    assert!(strict.append(&episode(3, "something else entirely").build().unwrap()).is_ok());
}

#[test]
fn only_the_last_64_of_an_agent_are_compared() {
    let kept = memory();
    put(&kept, episode(0, "the very first thing that was done here"));
    for day in 1..=63 {
        put(&kept, episode(day, &format!("other{day} words{day} entirely{day}")));
    }
    let again = |day| episode(day, "the very first thing that was done here").build().unwrap();
    assert_eq!(kept.append(&again(100)).unwrap().near_duplicate_of.unwrap().0, 0);
    for day in 64..=127 {
        put(&kept, episode(day, &format!("other{day} words{day} entirely{day}")));
    }
    assert_eq!(kept.append(&again(200)).unwrap().near_duplicate_of, None);
}

#[test]
fn what_was_recalled_is_no_news() {
    let kept = memory();
    let recalled = episode(1, "a").source(Source::Recalled).build().unwrap();
    assert!(matches!(kept.append(&recalled), Err(MemoryError::Recalled)));
    let options = MemoryOptions::default().accept_recalled();
    let accepting = EpisodicMemory::open(ledger_in_memory(), options, clock()).unwrap();
    accepting.append(&recalled).unwrap();
}

#[test]
fn a_full_memory_refuses_and_loses_nothing() {
    let options = MemoryOptions::default().max_records(2);
    let bounded = EpisodicMemory::open(ledger_in_memory(), options, clock()).unwrap();
    put(&bounded, episode(1, "a"));
    put(&bounded, episode(2, "b"));
    let refused = bounded.append(&episode(3, "c").build().unwrap());
    assert!(matches!(refused, Err(MemoryError::Full { limit: 2 })));
    assert_eq!((bounded.len(), bounded.ledger().head().count), (2, 2));

    let limits = MemoryLimits { records: 1, ..MemoryLimits::default() };
    let small = Ledger::open(MemoryStore::new(id(), limits), LedgerOptions::default()).unwrap();
    let small = open(small);
    put(&small, episode(1, "a"));
    assert_eq!(small.append(&episode(2, "b").build().unwrap()).unwrap_err().code(), "AK0803");
    assert_eq!(small.len(), 1);
}

#[test]
fn a_store_that_has_dropped_old_records_still_opens() {
    let limits = MemoryLimits { records: 3, when_full: WhenFull::DropOldest, ..MemoryLimits::default() };
    let ledger = Ledger::open(MemoryStore::new(id(), limits), LedgerOptions::default()).unwrap();
    let kept = open(ledger.clone());
    let mut cause = None;
    for day in 0..6 {
        let stored = kept.append(&episode(day, "chain").caused_by(cause).build().unwrap()).unwrap();
        cause = Some(stored.content_id);
    }
    let again = open(ledger);
    assert_eq!(again.len(), 3);
    assert_eq!((again.causes(3).unwrap(), again.causes(5).unwrap()), (vec![], vec![4]));
}

#[test]
fn opening_tells_what_it_reads_and_how_far_it_is() {
    let kept = memory();
    for day in 0..5000 {
        put(&kept, episode(day, &format!("number {day}")));
    }
    let (mut seqs, mut progress) = (Vec::new(), Vec::new());
    EpisodicMemory::open_with(kept.ledger().clone(), MemoryOptions::default(), clock(), |opening| {
        match opening {
            Opening::Episode { seq, .. } => seqs.push(seq),
            Opening::Progress { done, total } => progress.push((done, total)),
            other => panic!("{other:?}"),
        }
    })
    .unwrap();
    assert_eq!(seqs, (0..5000).collect::<Vec<_>>());
    assert_eq!(progress, [(4096, 5000), (5000, 5000)]);
}

#[test]
fn a_record_that_is_no_episode_is_named() {
    let cases: [(EntryKind, &[u8]); 4] = [
        (EntryKind::Episode, b"\x00\x01"),
        (EntryKind::Episode, b"{}"),
        (EntryKind::Rule, b"{\"schema\":1}"),
        (EntryKind::Tombstone, b"{\"schema\":1,\"mark\":\"erased\",\"seqs\":[9],\"reason\":\"\"}"),
    ];
    for (kind, body) in cases {
        let ledger = ledger_in_memory();
        let kept = open(ledger.clone());
        put(&kept, episode(1, "a"));
        ledger.append(EntryKind::Event, b"passed over").unwrap();
        ledger.append(kind, body).unwrap();
        let refused = EpisodicMemory::open(ledger, MemoryOptions::default(), clock()).unwrap_err();
        assert!(matches!(refused, MemoryError::Unusable { seq: 2, .. }), "{refused}");
    }
}

#[tokio::test]
async fn an_episode_that_was_acknowledged_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(ledger_in(dir.path()));
    let seq = put(&kept, episode(1, "a"));
    kept.durable(seq).await.unwrap();
    kept.ledger().close().unwrap();
    assert_eq!(kept.append(&episode(2, "b").build().unwrap()).unwrap_err().code(), "AK0806");
    assert!(open(ledger_in(dir.path())).get(seq).unwrap().is_some());
}
