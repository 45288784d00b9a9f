//! Filters are part of the search: what they leave out takes no place and lends nothing.

use emk::EntryKind;
use emk::episode::{Outcome, Source};
use emk::recall::{Filter, Query, RecallError, SourceTrust};

use crate::{at, episode, failure, found, found_with, put, recall, success};

#[test]
fn ten_successes_are_found_among_any_number_of_failures() {
    let recall = recall();
    for day in 0..2000 {
        put(&recall, failure(day, "deploy the gateway", &format!("rollout {day}"), "no answer"));
        if day % 200 == 0 {
            put(&recall, success(day, "deploy the gateway", &format!("careful rollout {day}")));
        }
    }
    let query = |outcome| Query::new("deploy gateway rollout").filter(Filter::outcome(outcome));
    for outcome in [Outcome::Success, Outcome::Failure] {
        let found = found(&recall, query(outcome));
        assert_eq!(found.len(), 10);
        for seq in found {
            assert_eq!(recall.memory().get(seq).unwrap().unwrap().outcome(), outcome);
        }
    }
    let newest = recall.successes(100, &Filter::default()).unwrap();
    assert_eq!((newest.len(), newest.is_sorted_by(|a, b| b < a)), (10, true));
    assert_eq!(recall.failures(1000, &Filter::default()).unwrap().len(), 1000);
    let precedents = recall.precedents(&Query::new("deploy gateway").limit(20)).unwrap();
    assert_eq!((precedents.successes.len(), precedents.failures.len()), (10, 20));
}

#[test]
fn every_part_of_a_filter_leaves_out_what_it_says() {
    let recall = recall();
    let one = |day: i64| episode(day, &format!("goal {day}"), "inspect the valve");
    put(&recall, one(0).source(Source::User).tags(["hot", "red"]).session("s1".parse().unwrap()));
    put(&recall, success(1, "goal 1", "inspect the valve").source(Source::Tool).tags(["hot"]));
    put(&recall, failure(2, "goal 2", "inspect the valve", "stuck").source(Source::External));
    put(&recall, one(3).source(Source::Recalled).session("s1".parse().unwrap()));
    let other = emk::episode::Episode::builder("agent-2".parse().unwrap(), at(4)).action("inspect the valve");
    put(&recall, other);
    let none = Filter::default;
    let cases: Vec<(Filter, &[u64])> = vec![
        (none(), &[0, 1, 2, 3, 4]),
        (Filter { agents: vec!["agent-2".parse().unwrap()], ..none() }, &[4]),
        (Filter { agents: vec!["nobody".parse().unwrap()], ..none() }, &[]),
        (Filter { sessions: vec!["s1".parse().unwrap()], ..none() }, &[0, 3]),
        (Filter { sessions: vec!["s2".parse().unwrap()], ..none() }, &[]),
        (Filter { outcomes: vec![Outcome::Success, Outcome::Failure], ..none() }, &[1, 2]),
        (Filter { sources: vec![Source::User, Source::Recalled], ..none() }, &[0, 3]),
        (Filter { tags: vec!["hot".to_owned()], ..none() }, &[0, 1]),
        (Filter { tags: vec!["hot".to_owned(), "red".to_owned()], ..none() }, &[0]),
        (Filter { tags: vec!["cold".to_owned()], ..none() }, &[]),
        (Filter { from: Some(at(1)), until: Some(at(3)), ..none() }, &[1, 2]),
        (Filter { from: Some(at(3)), until: Some(at(1)), ..none() }, &[]),
        (Filter { kinds: vec![EntryKind::Episode], ..none() }, &[0, 1, 2, 3, 4]),
        (Filter { kinds: vec![EntryKind::Rule], ..none() }, &[]),
        (Filter { min_trust: 0.6, ..none() }, &[0, 1, 4]),
        (Filter { min_trust: 1.0, ..none() }, &[0]),
        (Filter { min_trust: 0.3, outcomes: vec![Outcome::Failure], ..none() }, &[2]),
    ];
    for (filter, expected) in cases {
        assert_eq!(found_with(&recall, "valve", filter.clone()), expected, "{filter:?}");
    }
    let recall = recall.with_trust(SourceTrust { external: 1.0, ..SourceTrust::DEFAULT }).unwrap();
    assert_eq!(found_with(&recall, "valve", Filter { min_trust: 1.0, ..none() }), [0, 2]);
}

#[test]
fn what_is_left_out_lends_nothing_to_its_neighbours() {
    let recall = recall();
    let session = || "s1".parse().unwrap();
    put(&recall, failure(1, "valve valve valve", "turn", "stuck").session(session()));
    put(&recall, success(2, "paint the wall", "brush").session(session()));
    assert_eq!(found_with(&recall, "valve", Filter::default()), [0, 1]);
    assert_eq!(found_with(&recall, "valve", Filter::outcome(Outcome::Success)), [0u64; 0]);
}

/// A score says nothing of other agents: how many say a word, how much they say, or that one spoke in between.
#[test]
fn an_agent_is_answered_as_if_there_were_no_other() {
    let (alone, shared) = (recall(), recall());
    let session = || "s1".parse().unwrap();
    let mut seqs_of_own = Vec::new();
    for (day, goal) in [(1, "turn the valve"), (2, "paint the wall"), (3, "close the valve for good")] {
        let own = || success(day, goal, "inspect").session(session());
        put(&alone, own());
        seqs_of_own.push(put(&shared, own()));
        for secret in 0..day {
            let other = emk::episode::Episode::builder("agent-2".parse().unwrap(), at(day))
                .goal("the valve of the merger, wall to wall")
                .action(format!("secret {secret}"));
            put(&shared, other.session(session()));
        }
    }
    let own = Filter { agents: vec!["agent-1".parse().unwrap()], ..Filter::default() };
    for text in ["valve", "wall inspect", "secret merger valve", "secret"] {
        let hits = shared.search(&Query::new(text).filter(own.clone())).unwrap();
        let mut expected = alone.search(&Query::new(text).filter(own.clone())).unwrap();
        for hit in &mut expected {
            hit.seq = seqs_of_own[hit.seq as usize];
        }
        assert_eq!(hits, expected, "{text}");
    }
    let hidden = recall();
    for day in 1..4 {
        put(&hidden, success(day, "turn the valve", &format!("inspect {day}")));
    }
    let poison = put(&hidden, success(4, "valve valve poison", "inspect"));
    hidden.memory().quarantine(poison, "poisoned").unwrap();
    let clean = recall();
    for day in 1..4 {
        put(&clean, success(day, "turn the valve", &format!("inspect {day}")));
    }
    let query = Query::new("valve poison");
    assert_eq!(hidden.search(&query).unwrap(), clean.search(&query).unwrap());
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let recall = recall();
    put(&recall, episode(1, "a valve", "b"));
    let query = || Query::new("valve");
    let many = vec![Outcome::Success; 1025];
    let code = |query: Query| recall.search(&query).unwrap_err().code();
    assert_eq!(code(query().limit(0)), "AK0730");
    assert_eq!(code(query().limit(1001)), "AK0730");
    assert_eq!(code(Query::new("x".repeat((64 << 10) + 1))), "AK0731");
    assert_eq!(code(query().filter(Filter { outcomes: many, ..Filter::default() })), "AK0732");
    for bad in [-0.1, 1.1, f64::NAN] {
        assert_eq!(code(query().filter(Filter { min_trust: bad, ..Filter::default() })), "AK0733");
        assert_eq!(code(Query { diversity: Some(bad), ..query() }), "AK0733");
        let trust = SourceTrust { external: bad, ..SourceTrust::DEFAULT };
        assert_eq!(crate::recall().with_trust(trust).unwrap_err().code(), "AK0733");
    }
    let long = "x".repeat((64 << 10) + 1);
    let refused = recall.advise(&long, &long, &Filter::default()).unwrap_err();
    assert_eq!(refused.to_string(), "a question of 131074 bytes, the limit is 131072");
    assert!(matches!(recall.failures(0, &Filter::default()), Err(RecallError::InvalidLimit { k: 0 })));
}

#[test]
fn nothing_to_look_for_and_nothing_to_find_are_no_errors() {
    let recall = recall();
    assert_eq!(found(&recall, Query::new("valve")), [0u64; 0]);
    assert_eq!(recall.failures(10, &Filter::default()).unwrap(), [0u64; 0]);
    put(&recall, episode(1, "a valve", "b"));
    for text in ["", "  ", "the of and", "?!", "x"] {
        assert_eq!(found(&recall, Query::new(text)), [0u64; 0], "{text}");
    }
    assert_eq!(found(&recall, Query::new("valve")), [0]);
}
