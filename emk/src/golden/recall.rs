//! Fusion, vectors, decay and the odds of failing again.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{cases, close};
use crate::recall::{Odds, composite, episodic_scores, mmr, nearest, retention, rrf};

pub(super) const OPS: &[&str] =
    &["episodic_fusion", "rrf", "mmr", "vector_topk", "retention", "composite_score", "antipattern"];

fn read<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn all_close(case: &Value, found: &[f64], expected: &Value) {
    let expected = expected.as_array().unwrap();
    let close = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| close(case, *a, b));
    assert!(close, "{}: {found:?}", case["id"]);
}

#[test]
fn episodic_fusion() {
    for case in cases("episodic_fusion") {
        let episodes = case["input"]["episodes"].as_array().unwrap().iter();
        let episodes: Vec<(String, Vec<String>)> =
            episodes.map(|episode| (read(&episode["s"]), read(&episode["t"]))).collect();
        let ranked = episodic_scores(&episodes, &read::<Vec<String>>(&case["input"]["query"]));
        let mut scores = vec![0.0; episodes.len()];
        ranked.iter().for_each(|(place, score)| scores[*place as usize] = *score);
        all_close(&case, &scores, &case["expect"]["scores"]);
        let ranking: Vec<u32> = ranked.iter().map(|(place, _)| *place).collect();
        assert_eq!(json!(ranking), case["expect"]["ranking"], "{}", case["id"]);
    }
}

#[test]
fn reciprocal_ranks() {
    for case in cases("rrf") {
        let lists: Vec<Vec<u64>> = read(&case["input"]["lists"]);
        let lists: Vec<&[u64]> = lists.iter().map(Vec::as_slice).collect();
        let (numbers, scores): (Vec<u64>, Vec<f64>) =
            rrf(&lists, read(&case["input"]["k"])).into_iter().unzip();
        let expected: Vec<(u64, Value)> = read(&case["expect"]["ranked"]);
        let (expected_numbers, expected_scores): (Vec<u64>, Vec<Value>) = expected.into_iter().unzip();
        assert_eq!(numbers, expected_numbers, "{}", case["id"]);
        all_close(&case, &scores, &Value::from(expected_scores));
    }
}

#[test]
fn marginal_relevance() {
    for case in cases("mmr") {
        let input = &case["input"];
        let likeness: Vec<Vec<f64>> = read(&input["similarity"]);
        let relevance: Vec<f64> = read(&input["relevance"]);
        let chosen = mmr(&relevance, read(&input["k"]), read(&input["lambda"]), |a, b| likeness[a][b]);
        assert_eq!(json!(chosen), case["expect"]["selected"], "{}", case["id"]);
    }
}

#[test]
fn nearest_vectors() {
    for case in cases("vector_topk") {
        let input = &case["input"];
        // JSON has no way to say what is no number.
        let vector = |value: &Value| -> Vec<f32> {
            value.as_array().unwrap().iter().map(|part| part.as_f64().unwrap_or(f64::NAN) as f32).collect()
        };
        let vectors: Vec<Vec<f32>> = input["vectors"].as_array().unwrap().iter().map(vector).collect();
        match nearest(&vectors, &vector(&input["query"]), read(&input["k"])) {
            Ok(found) => {
                let (ids, scores): (Vec<u32>, Vec<f64>) = found.into_iter().unzip();
                assert_eq!(json!(ids), case["expect"]["ids"], "{}", case["id"]);
                all_close(&case, &scores, &case["expect"]["scores"]);
            }
            Err(error) => {
                let name = format!("{error:?}");
                let name = name.split([' ', '{']).next().unwrap();
                assert_eq!(json!(name), case["expect"]["err"], "{}", case["id"]);
            }
        }
    }
}

#[test]
fn retentions() {
    for case in cases("retention") {
        let found = retention(read(&case["input"]["days"]), read(&case["input"]["accesses"]));
        assert!(close(&case, found.stability_days, &case["expect"]["stability_days"]), "{}", case["id"]);
        assert!(close(&case, found.share, &case["expect"]["retention"]), "{}", case["id"]);
    }
}

#[test]
fn composite_scores() {
    for case in cases("composite_score") {
        let input = &case["input"];
        let score =
            composite(read(&input["relevance"]), read(&input["age_hours"]), read(&input["importance"]));
        assert!(close(&case, score, &case["expect"]["score"]), "{}: {score}", case["id"]);
    }
}

#[test]
fn odds_of_failing_again() {
    for case in cases("antipattern") {
        let odds = Odds::of(read(&case["input"]["failures"]), read(&case["input"]["attempts"]));
        assert!(close(&case, odds.posterior, &case["expect"]["posterior_mean"]), "{}", case["id"]);
        assert!(close(&case, odds.wilson_low, &case["expect"]["wilson_low"]), "{}", case["id"]);
        assert_eq!(json!(odds.level), case["expect"]["level"], "{}", case["id"]);
    }
}
