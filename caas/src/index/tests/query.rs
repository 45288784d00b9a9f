use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_primitives::ManualClock;
use agent_primitives::search::tokenise;
use serde_json::json;

use super::fixture::{Fixture, Paragraphs, document, fixture, id, wait};
use crate::assemble::Neighbours;
use crate::decay::Decay;
use crate::filter::Filter;
use crate::fuse::Fusion;
use crate::index::{DegradedLeg, Index, IndexOptions, Mode, OnFailure, Query, Reranker, Reranking};
use crate::lexical::{MemoryBm25, Parameters};

fn names(fixture: &Fixture, query: &Query) -> Vec<String> {
    wait(fixture.index.search(query)).unwrap().hits.iter().map(|hit| hit.document.to_string()).collect()
}

fn refused(fixture: &Fixture, query: &Query) -> &'static str {
    wait(fixture.index.search(query)).unwrap_err().code()
}

#[test]
fn a_filter_is_part_of_the_search() {
    let fixture = fixture(IndexOptions { collapse: false, ..IndexOptions::default() });
    let mut batch: Vec<_> =
        (0..500).map(|number| document(&format!("a{number}"), &["whale whale whale"])).collect();
    for number in 0..10 {
        let mut rare = document(&format!("rare{number}"), &["one whale among other words of no account"]);
        rare.metadata.attributes.insert("team".to_owned(), json!("red"));
        batch.push(rare);
    }
    wait(fixture.index.put_batch(batch)).unwrap();
    for mode in [Mode::All, Mode::Words, Mode::Meaning] {
        let mut query = Query::new("whale", 10).filter(Filter::Equal("team".to_owned(), json!("red")));
        query.mode = mode;
        let names = names(&fixture, &query);
        assert!(
            names.len() == 10 && names.iter().all(|name| name.starts_with("rare")),
            "{mode:?}: {names:?}"
        );
    }
}

#[test]
fn words_and_meaning_are_both_told() {
    let fixture = fixture(IndexOptions { fusion: Fusion::Reciprocal { k: 60.0 }, ..IndexOptions::default() });
    wait(fixture.index.put_batch(vec![document("a", &["red whale"]), document("b", &["green tree"])]))
        .unwrap();
    let findings = wait(fixture.index.search(&Query::new("red whale", 10))).unwrap();
    let best = findings.hits.first().unwrap();
    assert_eq!((best.document.as_str(), best.rank), ("a", 1));
    assert_eq!((best.scores.lexical.unwrap().rank, best.scores.dense.unwrap().rank), (1, 1));
    assert_eq!((best.scores.fused, best.scores.recency), (1.0, 1.0));
    let other = &findings.hits[1];
    assert_eq!((other.scores.lexical, other.scores.dense.unwrap().rank), (None, 2));
    let words = Query { mode: Mode::Words, ..Query::new("red whale", 10) };
    assert_eq!(names(&fixture, &words), ["a"]);
}

#[test]
fn who_takes_a_place_is_found_in_it() {
    let fixture = fixture(IndexOptions::default());
    let mut old = document("old", &["the refund window is 14 days"]);
    old.metadata.valid_from = "2025-01-01T00:00:00Z".parse().ok();
    let mut new = document("new", &["the refund window is 30 days"]);
    new.metadata.valid_from = "2026-01-01T00:00:00Z".parse().ok();
    new.metadata.supersedes = vec![id("old")];
    let mut future = document("future", &["the refund window is 60 days"]);
    future.metadata.valid_from = "2027-01-01T00:00:00Z".parse().ok();
    future.metadata.supersedes = vec![id("new")];
    let mut ended = document("ended", &["the refund window is closed"]);
    ended.metadata.valid_to = "2026-06-01T00:00:00Z".parse().ok();
    wait(fixture.index.put_batch(vec![old, new, future, ended])).unwrap();
    let query = Query::new("refund window", 10);
    assert_eq!(names(&fixture, &query), ["new"]);
    for (as_of, expected) in [
        ("2024-01-01T00:00:00Z", vec!["ended"]),
        ("2025-06-01T00:00:00Z", vec!["ended", "old"]),
        ("2026-05-31T23:59:59Z", vec!["ended", "new"]),
        ("2027-01-01T00:00:00Z", vec!["future"]),
    ] {
        let query = Query { as_of: as_of.parse().ok(), ..query.clone() };
        let mut names = names(&fixture, &query);
        names.sort();
        assert_eq!(names, expected, "{as_of}");
    }
    let mut all = names(&fixture, &Query { include_superseded: true, ..query });
    all.sort();
    assert_eq!(all, ["new", "old"]);
    wait(fixture.index.forget(&id("new"))).unwrap();
    assert_eq!(names(&fixture, &Query::new("refund", 10)), ["old"], "a place that is free again");
}

#[test]
fn the_newer_of_two_alike_comes_first() {
    let options = IndexOptions { decay: Decay::usual(), collapse: false, ..IndexOptions::default() };
    let fixture = fixture(options);
    let aged = |name: &str, at: Option<&str>| {
        let mut document = document(name, &["how to deploy the service"]);
        document.metadata.updated_at = at.map(|at| at.parse().unwrap());
        document
    };
    let batch = vec![
        aged("a", Some("2020-01-01T00:00:00Z")),
        aged("b", None),
        aged("c", Some("2026-05-30T00:00:00Z")),
    ];
    wait(fixture.index.put_batch(batch)).unwrap();
    let findings = wait(fixture.index.search(&Query::new("deploy", 10))).unwrap();
    let hits: Vec<_> =
        findings.hits.iter().map(|hit| (hit.document.as_str(), hit.scores.age_unknown)).collect();
    assert_eq!(hits, [("c", false), ("b", true), ("a", false)]);
}

#[test]
fn near_duplicates_stand_behind_the_best_of_them() {
    let fixture = fixture(IndexOptions::default());
    let text = "The deployment of the service takes ten minutes and is done by the team on call.";
    let mut labelled = document("c", &[text]);
    labelled.metadata.labels = agent_primitives::LabelSet::new(["secret".parse().unwrap()]).unwrap();
    let batch = vec![document("a", &[text]), document("b", &[&text.to_uppercase()]), labelled];
    wait(fixture.index.put_batch(batch)).unwrap();
    let findings = wait(fixture.index.search(&Query::new("deployment", 10))).unwrap();
    assert_eq!(findings.hits.len(), 2, "another label is another thing");
    assert_eq!(findings.hits.iter().map(|hit| hit.duplicates.len()).sum::<usize>(), 1);
    let first = wait(fixture.index.search(&Query::new("deployment", 1))).unwrap();
    assert_eq!(first.hits[..], findings.hits[..1], "also those that are not among the hits asked for");
}

#[test]
fn meaning_that_does_not_come_fails_or_is_named() {
    let query = Query::new("whale", 10);
    for (on_failure, expected) in [(OnFailure::Fail, Err("AK0690")), (OnFailure::Degrade, Ok(1))] {
        let fixture = fixture(IndexOptions { on_failure, ..IndexOptions::default() });
        wait(fixture.index.put(document("a", &["whale"]))).unwrap();
        fixture.embedder.hangs.store(true, Ordering::Relaxed);
        let mut searching = Box::pin(fixture.index.search(&query));
        let mut context = Context::from_waker(Waker::noop());
        assert!(searching.as_mut().poll(&mut context).is_pending());
        fixture.clock.advance(Duration::from_secs(2));
        let Poll::Ready(answer) = searching.as_mut().poll(&mut context) else { panic!("it goes on") };
        match (answer, expected) {
            (Ok(findings), Ok(hits)) => {
                assert_eq!(findings.hits.len(), hits);
                assert_eq!(findings.degraded.first().unwrap().0, DegradedLeg::Meaning);
            }
            (answer, expected) => assert_eq!(answer.map(|_| 0).map_err(|error| error.code()), expected),
        }
        fixture.embedder.hangs.store(false, Ordering::Relaxed);
        fixture.embedder.fails.store(true, Ordering::Relaxed);
        let meaning = Query { mode: Mode::Meaning, ..query.clone() };
        assert_eq!(refused(&fixture, &meaning), "AK0704", "who asks for meaning gets no words instead");
    }
}

#[test]
fn a_store_that_answers_too_much_ends_the_search() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put_batch(vec![document("a", &["whale"]), document("b", &["whale"])])).unwrap();
    fixture.vectors.leaks.store(true, Ordering::Relaxed);
    let query = Query::new("whale", 10).filter(Filter::Document([id("a")].into()));
    assert_eq!(refused(&fixture, &query), "AK0694");
}

#[test]
fn questions_have_bounds() {
    let fixture = fixture(IndexOptions::default());
    assert_eq!(wait(fixture.index.search(&Query::new("a", 1))).unwrap().hits, []);
    for (query, code) in [
        (Query::new(" \n", 1), "AK0791"),
        (Query::new("x".repeat(65 * 1024), 1), "AK0792"),
        (Query::new("a", 0), "AK0793"),
        (Query::new("a", 1001), "AK0793"),
        (Query::new("a", 1).filter(Filter::Between("n".to_owned(), 1.0, 0.0)), "AK0781"),
    ] {
        assert_eq!(refused(&fixture, &query), code);
    }
    wait(fixture.index.put(document("a", &["the of and", "whale"]))).unwrap();
    assert!(!names(&fixture, &Query::new("the of", 5)).is_empty(), "stop words have a meaning");
}

#[test]
fn age_counts_among_a_few_hits_by_meaning() {
    let fixture = fixture(IndexOptions { decay: Decay::usual(), ..IndexOptions::default() });
    let aged = |name: &str, text: &str, at: &str| {
        let mut document = document(name, &[text]);
        document.metadata.updated_at = at.parse().ok();
        document
    };
    let batch = vec![
        aged("old", "deploy the service", "2020-01-01T00:00:00Z"),
        aged("new", "deploy the service slowly", "2026-05-30T00:00:00Z"),
        aged("other", "whales sing", "2026-05-30T00:00:00Z"),
    ];
    wait(fixture.index.put_batch(batch)).unwrap();
    let query = Query { mode: Mode::Meaning, ..Query::new("deploy the service", 10) };
    assert_eq!(names(&fixture, &query), ["new", "old", "other"], "nearly as near, and six years younger");
}

#[test]
fn the_best_of_a_few_hits_are_the_best_of_many() {
    let fixture = fixture(IndexOptions { collapse: false, ..IndexOptions::default() });
    let words = ["red", "green", "blue", "whale", "tree", "deep", "high", "old", "new"];
    let text = |number: usize| {
        let held = words.iter().enumerate().filter(|(place, _)| number >> place & 1 == 1);
        held.map(|(_, word)| format!("{word} ")).collect::<String>()
    };
    let batch = (1..512).map(|number| document(&format!("d{number}"), &[&text(number)])).collect();
    wait(fixture.index.put_batch(batch)).unwrap();
    let all = names(&fixture, &Query::new("old red whale", 1000));
    assert_eq!(all.len(), 511);
    for k in [1, 10, 100, 400] {
        assert_eq!(names(&fixture, &Query::new("old red whale", k)), all[..k], "{k}");
    }
}

#[test]
fn options_have_bounds() {
    let usual = IndexOptions::default;
    for bad in [
        IndexOptions { depth: 0, ..usual() },
        IndexOptions { depth: 1001, ..usual() },
        IndexOptions { reranked: 0, ..usual() },
        IndexOptions { reranked: 1001, ..usual() },
        IndexOptions { fusion: Fusion::Convex { alpha: 1.5 }, ..usual() },
    ] {
        let lexical = Arc::new(MemoryBm25::new(Parameters::default()).unwrap());
        let timer = Arc::new(ManualClock::at("2026-06-01T00:00:00Z".parse().unwrap()));
        let refused = Index::new(bad, Arc::new(Paragraphs), lexical, timer).unwrap_err();
        assert_eq!(refused.code(), "AK0790");
    }
}

#[derive(Debug)]
struct Shortest(bool);

impl Reranker for Shortest {
    fn rerank<'a>(&'a self, _: &'a str, texts: &'a [&'a str]) -> Reranking<'a> {
        Box::pin(async move {
            let skip = usize::from(self.0);
            Ok(texts.iter().skip(skip).map(|text| -(text.len() as f64)).collect())
        })
    }
}

#[test]
fn a_second_look_has_the_last_word() {
    let batch = || vec![document("long", &["whale whale whale"]), document("short", &["whale"])];
    let mut looked = fixture(IndexOptions::default());
    wait(looked.index.put_batch(batch())).unwrap();
    looked.index = looked.index.with_reranker(Arc::new(Shortest(false)));
    assert_eq!(names(&looked, &Query::new("whale", 10)), ["short", "long"]);
    looked.index = looked.index.with_reranker(Arc::new(Shortest(true)));
    assert_eq!(refused(&looked, &Query::new("whale", 10)), "AK0692");
    let mut degrading = fixture(IndexOptions { on_failure: OnFailure::Degrade, ..IndexOptions::default() });
    wait(degrading.index.put_batch(batch())).unwrap();
    degrading.index = degrading.index.with_reranker(Arc::new(Shortest(true)));
    let findings = wait(degrading.index.search(&Query::new("whale", 10))).unwrap();
    assert_eq!((findings.hits.len(), findings.degraded.first().unwrap().0), (2, DegradedLeg::Rerank));
}

/// How many words of the question a text has in the question's own order, one behind the other.
#[derive(Debug)]
struct ByPhrase;

impl Reranker for ByPhrase {
    fn rerank<'a>(&'a self, query: &'a str, texts: &'a [&'a str]) -> Reranking<'a> {
        let asked = tokenise(query);
        let run = move |text: &&str| {
            let words = tokenise(text);
            let parts = (0..asked.len()).flat_map(|from| (from + 1..=asked.len()).map(move |to| from..to));
            let held =
                parts.filter(|part| words.windows(part.len()).any(|window| *window == asked[part.clone()]));
            held.map(|part| part.len() as f64).fold(0.0, f64::max)
        };
        Box::pin(async move { Ok(texts.iter().map(run).collect()) })
    }
}

#[test]
fn a_reranker_by_phrases_puts_the_phrase_first_and_what_it_made_of_each_is_told() {
    let mut fixture = fixture(IndexOptions { reranked: 2, ..IndexOptions::default() });
    let batch = vec![
        document("scattered", &["window, window, refund, refund"]),
        document("phrase", &["among many other words that nobody asked for stands the refund window once"]),
        document("neither", &["whales sing"]),
    ];
    wait(fixture.index.put_batch(batch)).unwrap();
    let query = Query::new("refund window", 1);
    assert_eq!(names(&fixture, &query), ["scattered"]);
    fixture.index = fixture.index.with_reranker(Arc::new(ByPhrase));
    let findings = wait(fixture.index.search(&query)).unwrap();
    assert!(findings.degraded.is_empty());
    let best = findings.hits.first().unwrap();
    assert_eq!((best.document.as_str(), best.rank, findings.hits.len()), ("phrase", 1, 1));
    assert_eq!((best.scores.rerank, best.scores.total), (Some(2.0), 2.0));
    assert!(best.scores.fused < 1.0, "what it was ranked by before is told as well");
    let (shown, looked_at) = (wait(fixture.index.search(&Query::new("refund window", 3))).unwrap(), 3);
    assert_eq!(shown.hits.iter().filter(|hit| hit.scores.rerank.is_some()).count(), looked_at);
}

#[test]
fn neighbours_are_those_of_the_version_that_was_found() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("a", &["before", "the whale", "behind"]))).unwrap();
    let findings =
        wait(fixture.index.search(&Query { mode: Mode::Words, ..Query::new("whale", 1) })).unwrap();
    let around = wait(fixture.index.neighbours(&findings));
    let text = |ordinal| around.chunk(&id("a"), ordinal).map(|chunk| chunk.text.to_string());
    assert_eq!((text(0).as_deref(), text(1), text(2).as_deref()), (Some("before"), None, Some("behind")));
    wait(fixture.index.put(document("a", &["other", "the whale", "texts"]))).unwrap();
    let around = wait(fixture.index.neighbours(&findings));
    assert!(around.chunk(&id("a"), 0).is_none());
}
