//! What comes first, and why.

use std::sync::Arc;

use agent_primitives::ManualClock;
use emk::memory::{EpisodicMemory, MemoryOptions};
use emk::recall::{Filter, Order, Query, Recall, RecallError};

use crate::{at, days, episode, found, ledger, put, recall};

#[test]
fn ties_go_to_what_came_first_and_every_hit_says_why() {
    let recall = recall();
    for day in 0..5 {
        put(&recall, episode(day, "valve", &format!("turn {day}{day}")));
    }
    let hits = recall.search(&Query::new("valve").limit(3)).unwrap();
    assert_eq!(crate::seqs(&hits), [0, 1, 2]);
    for (rank, hit) in (1..).zip(hits) {
        let part = hit.parts.lexical.unwrap();
        assert_eq!((part.rank, part.score), (rank, hit.score));
        assert!(0.0 < part.bm25 && part.neighbours == 1.0 && part.session == 1.0);
        assert_eq!((hit.parts.dense, hit.parts.recency), (None, None));
    }
}

#[test]
fn words_of_every_text_and_the_day_are_found() {
    let recall = recall();
    let failed = crate::failure(19_000, "valve", "turn", "wrenchless").result("stuck").reflection("oil it");
    put(&recall, failed.tags(["plumbing"]));
    for text in ["valve", "turning", "stuck", "oiled", "wrenchless", "plumbing", "agent", "January 2022"] {
        assert_eq!(found(&recall, Query::new(text)), [0], "{text}");
    }
    assert_eq!(found(&recall, Query::new("February")), [0u64; 0]);
}

#[test]
fn what_was_said_around_it_in_a_session_is_found_too() {
    let recall = recall();
    let session = |name: &str| name.parse().unwrap();
    put(&recall, episode(1, "Where shall we go?", "to Japan in spring").session(session("trip")));
    put(&recall, episode(2, "Lovely", "let us book it").session(session("trip")));
    put(&recall, episode(3, "Lovely", "let us book a room").session(session("other")));
    assert_eq!(found(&recall, Query::new("Japan")), [0, 1]);
}

#[test]
fn age_and_importance_count_where_that_is_asked_for() {
    let recall = recall();
    put(&recall, episode(20, "valve", "turn left").importance(0));
    put(&recall, episode(999, "valve", "turn right").importance(0));
    put(&recall, episode(20, "valve", "turn round").importance(100));
    let query = |order| Query { order, ..Query::new("valve") };
    assert_eq!(found(&recall, query(Order::Relevance)), [0, 1, 2]);
    assert_eq!(found(&recall, query(Order::Composite)), [1, 2, 0]);
    let hits = recall.search(&query(Order::Composite)).unwrap();
    let recency = 0.995f64.powi(24);
    assert!((hits[0].parts.recency.unwrap() - recency).abs() < 1e-12);
    assert!((hits[0].score - (0.6 + 0.25 * recency)).abs() < 1e-12);
    assert_eq!(hits[1].parts.importance, Some(100));
}

#[test]
fn what_repeats_another_comes_later_where_that_is_asked_for() {
    let recall = recall();
    put(&recall, episode(1, "turn the red valve", "with a wrench"));
    put(&recall, episode(2, "turn the red valve", "with a wrench"));
    put(&recall, episode(3, "paint the valve", "blue, with a brush and much patience"));
    let query = |diversity| Query { diversity, ..Query::new("red valve").limit(2) };
    assert_eq!(found(&recall, query(None)), [0, 1]);
    assert_eq!(found(&recall, query(Some(0.3))), [0, 2]);
    assert_eq!(found(&recall, query(Some(1.0))), [0, 1]);
}

#[test]
fn what_is_recalled_is_remembered_longer() {
    let clock = Arc::new(ManualClock::at(at(1000)));
    let memory = EpisodicMemory::open(ledger(), MemoryOptions::default(), clock.clone()).unwrap();
    let recall = Recall::new(memory, clock.clone());
    put(&recall, episode(1000, "valve", "turn"));
    put(&recall, episode(1000, "wall", "paint"));
    assert_eq!(found(&recall, Query::new("valve")), [0]);
    clock.advance(days(7));
    let share = |seq| recall.retention(seq).unwrap().share;
    assert!((share(1) - (-1.0f64).exp()).abs() < 1e-12);
    assert!((share(0) - (-7.0f64 / 10.5).exp()).abs() < 1e-12);
    assert_eq!((recall.access(0).unwrap().count, recall.access(1)), (1, None));
    // Counts outlive the index if the host keeps them.
    let again = Recall::new(recall.memory().clone(), clock);
    again
        .restore_accesses(recall.all_accesses().into_iter().chain([(77, recall.access(0).unwrap())]))
        .unwrap();
    assert_eq!(again.all_accesses(), recall.all_accesses());
    assert!((again.retention(0).unwrap().share - share(0)).abs() < 1e-12);
    assert!(matches!(again.retention(5), Err(RecallError::NotIndexed { seq: 5 })));
    again.memory().redact(0, "asked to").unwrap();
    assert_eq!(again.successes(1, &Filter::default()).unwrap(), [0u64; 0]);
    assert_eq!(again.all_accesses(), []);
}
