//! Episodes, what led to what, what was true when, sleep and import.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_primitives::Timestamp;
use serde_json::{Value, json};

use super::{cases, close};
use crate::episode::Body;
use crate::memory::graph::{EdgeError, Graph};
use crate::memory::sleep::SleepPolicy;
use crate::memory::sleep::cluster::{Candidate, Traits, clusters, is_eligible};
use crate::memory::transfer::{LineError, upstream};
use crate::memory::valid::{Fact, Revised, holds};
use crate::memory::{Direction, MemoryError, Tokens, near_duplicate};
use crate::{EntryKind, chain};

pub(super) const OPS: &[&str] = &[
    "episode_content_id",
    "near_duplicate",
    "causal_chain",
    "causal_edge_check",
    "as_of",
    "sleep_plan",
    "import_jsonl_line",
];

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn content_ids() {
    for case in cases("episode_content_id") {
        let mut episode = case["input"]["episode"].clone();
        // What is absent is null, or empty where it is a list.
        for (field, absent) in [("caused_by", json!([])), ("tags", json!([])), ("metadata", json!({}))] {
            if episode[field].is_null() {
                episode[field] = absent;
            }
        }
        let body: Body = read(&episode);
        let id = chain::content_id(EntryKind::Episode, &body.canonical().unwrap());
        assert_eq!(json!({"content_id": id}), case["expect"], "{}", case["id"]);
    }
}

#[test]
fn near_duplicates() {
    for case in cases("near_duplicate") {
        let input = &case["input"];
        let text = |field: &str| input[field].as_str().unwrap();
        let (jaccard, is_duplicate) =
            near_duplicate(text("a"), text("b"), input["threshold"].as_f64().unwrap());
        assert!(close(&case, jaccard, &case["expect"]["jaccard"]), "{}: {jaccard}", case["id"]);
        assert_eq!(is_duplicate, case["expect"]["duplicate"], "{}", case["id"]);
    }
}

#[test]
fn causal_chains() {
    for case in cases("causal_chain") {
        let input = &case["input"];
        let edges: Vec<(u64, u64)> = read(&input["edges"]);
        let known: BTreeSet<u64> = edges.iter().flat_map(|&(cause, effect)| [cause, effect]).collect();
        let mut graph = Graph::default();
        for &effect in &known {
            let causes = edges.iter().filter(|(_, own)| *own == effect).map(|(cause, _)| *cause);
            graph.insert(effect, causes.collect());
        }
        let direction = match input["direction"].as_str().unwrap() {
            "forward" => Direction::Forward,
            "backward" => Direction::Backward,
            "both" => Direction::Both,
            other => panic!("{}: {other}", case["id"]),
        };
        let (start, depth) = (input["start"].as_u64().unwrap(), read(&input["max_depth"]));
        let found = match graph.chain(start, direction, depth, |seq| known.contains(&seq)) {
            Ok(links) => json!({"seqs": links.iter().map(|link| link.seq).collect::<Vec<_>>()}),
            Err(MemoryError::UnknownEpisode { .. }) => json!({"err": "UnknownEpisode"}),
            Err(other) => panic!("{}: {other}", case["id"]),
        };
        assert_eq!(found, case["expect"], "{}", case["id"]);
    }
}

#[test]
fn causal_edges() {
    for case in cases("causal_edge_check") {
        let input = &case["input"];
        let existing: BTreeSet<u64> = read(&input["existing_seqs"]);
        let (seq, cause) = (read(&input["new_seq"]), read(&input["cause"]));
        let found = match Graph::check(seq, cause, |seq| existing.contains(&seq)) {
            Ok(()) => json!({"ok": true}),
            Err(EdgeError::SelfCause) => json!({"err": "SelfCause"}),
            Err(EdgeError::UnknownCause) => json!({"err": "UnknownCause"}),
        };
        assert_eq!(found, case["expect"], "{}", case["id"]);
    }
}

#[test]
fn what_held_when() {
    for case in cases("as_of") {
        let input = &case["input"];
        let time = |value: &Value| value.as_i64().map(Timestamp::from_micros);
        let facts = input["facts"].as_array().unwrap();
        let (valid, known) = (time(&input["valid_time"]).unwrap(), time(&input["known_at"]).unwrap());
        let holding = facts.iter().filter(|fact| {
            let times = Fact {
                recorded: time(&fact["recorded"]).unwrap(),
                from: time(&fact["valid_from"]).unwrap(),
                to: time(&fact["valid_to"]),
            };
            let later = facts.iter().filter(|later| later["supersedes"] == fact["id"]);
            let revisions = later.map(|later| Revised::Superseded {
                recorded: time(&later["recorded"]).unwrap(),
                from: time(&later["valid_from"]).unwrap(),
            });
            holds(times, revisions, valid, known)
        });
        let ids: Vec<&Value> = holding.map(|fact| &fact["id"]).collect();
        assert_eq!(json!({"ids": ids}), case["expect"], "{}", case["id"]);
    }
}

#[test]
fn sleep_plans() {
    for case in cases("sleep_plan") {
        let given = &case["input"]["policy"];
        let days = |value: &Value| Duration::from_secs_f64(value.as_f64().unwrap() * 86_400.0);
        let policy = SleepPolicy {
            min_age: days(&given["min_age_days"]),
            keep_importance: read(&given["keep_importance"]),
            keep_failures: read(&given["keep_failures"]),
            similarity: read(&given["similarity"]),
            min_support: read(&given["min_support"]),
            ..SleepPolicy::default()
        };
        let mut candidates = Vec::new();
        for episode in case["input"]["episodes"].as_array().unwrap() {
            let traits = Traits {
                age: days(&episode["age_days"]),
                outcome: read(&episode["outcome"]),
                importance: read(&episode["importance"]),
                pinned: read(&episode["pinned"]),
                compacted: read(&episode["compacted"]),
            };
            if is_eligible(&traits, &policy) {
                let stems = Tokens::from_words(read::<Vec<String>>(&episode["stems"]));
                candidates.push(Candidate { seq: read(&episode["seq"]), outcome: traits.outcome, stems });
            }
        }
        let eligible: Vec<u64> = candidates.iter().map(|candidate| candidate.seq).collect();
        assert_eq!(json!(eligible), case["expect"]["eligible"], "{}", case["id"]);
        let (found, expected) = (clusters(&candidates, &policy), case["expect"]["rules"].as_array().unwrap());
        assert_eq!(found.len(), expected.len(), "{}", case["id"]);
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(json!(found.sources), expected["sources"], "{}", case["id"]);
            assert_eq!(json!(found.majority), expected["majority"], "{}", case["id"]);
            assert_eq!(json!(found.sources.len()), expected["support"], "{}", case["id"]);
            assert!(close(&case, found.confidence, &expected["confidence"]), "{}", case["id"]);
        }
    }
}

#[test]
fn imported_lines() {
    for case in cases("import_jsonl_line") {
        let line = case["input"]["line"].as_str().unwrap().as_bytes();
        let found = match upstream::read_line(line, &"agent-1".parse().unwrap(), Timestamp::default()) {
            Ok(line) => {
                let episode = &line.episode;
                json!({
                    "outcome": episode.outcome(),
                    "legacy_id": line.legacy_id,
                    "timestamp": episode.timestamp().to_string(),
                    "failure_reason": episode.failure().map(|failure| &failure.reason),
                    "metadata": episode.metadata(),
                })
            }
            Err(LineError::Syntax { .. }) => json!({"err": "Syntax"}),
            Err(LineError::MissingField { field }) => json!({"err": "MissingField", "field": field}),
            Err(LineError::InvalidField { field, .. }) => json!({"err": "InvalidField", "field": field}),
            Err(other) => json!({"err": other.to_string()}),
        };
        // What is expected names some fields of what was found.
        let expected = case["expect"].as_object().unwrap();
        assert_eq!(found.get("err"), expected.get("err"), "{}: {found}", case["id"]);
        for (field, value) in expected {
            assert_eq!(&found[field], value, "{}: {field}", case["id"]);
        }
    }
}
