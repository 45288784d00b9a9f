use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;

#[derive(Deserialize)]
struct Case {
    id: String,
    op: String,
    input: Value,
    expect: Value,
    #[serde(default)]
    tol: f64,
}

impl Case {
    fn input<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_value(self.input[name].clone()).unwrap()
    }

    fn expected<T: DeserializeOwned>(&self, name: &str) -> T {
        serde_json::from_value(self.expect[name].clone()).unwrap()
    }

    fn close(&self, found: &[f64], name: &str) {
        let expected: Vec<f64> = self.expected(name);
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= self.tol;
        assert!(
            found.len() == expected.len() && found.iter().zip(&expected).all(close),
            "{}: {found:?}",
            self.id
        );
    }
}

#[test]
fn the_golden_cases_hold() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../testdata/search.json")).unwrap();
    assert_eq!(cases.len(), 13);
    for case in cases {
        match case.op.as_str() {
            "tokenise" => {
                assert_eq!(
                    tokenise(&case.input::<String>("text")),
                    case.expected::<Vec<String>>("tokens"),
                    "{}",
                    case.id
                );
            }
            "bm25_scores" => {
                let mut index = Bm25::new(Parameters { k1: case.input("k1"), b: case.input("b") }).unwrap();
                for document in case.input::<Vec<Vec<String>>>("docs") {
                    index.push(&document).unwrap();
                }
                let query: Vec<String> = case.input("query");
                case.close(&index.scores(&query), "scores");
                let ranking: Vec<usize> = index.search(&query, 10).iter().map(|hit| hit.seq).collect();
                assert_eq!(ranking, case.expected::<Vec<usize>>("ranking"), "{}", case.id);
            }
            "vector_topk" => {
                let vectors: Vec<Vec<f32>> = case.input("vectors");
                let query: Vec<f32> = case.input("query");
                match nearest(vectors.iter().map(Vec::as_slice), &query, case.input("k")) {
                    Ok(hits) => {
                        let ids: Vec<usize> = hits.iter().map(|hit| hit.seq).collect();
                        assert_eq!(ids, case.expected::<Vec<usize>>("ids"), "{}", case.id);
                        let scores: Vec<f64> = hits.iter().map(|hit| hit.score).collect();
                        case.close(&scores, "scores");
                    }
                    Err(error) => {
                        assert_eq!(format!("{error:?}"), case.expected::<String>("err"), "{}", case.id);
                    }
                }
            }
            other => panic!("no such operation: {other}"),
        }
    }
}

#[test]
fn words_are_split_and_paired_by_script() {
    for (text, tokens) in [
        ("Tokyo東京tower", &["tokyo", "東京", "tower"][..]),
        ("한국어 中", &["한국", "국어", "中"]),
        ("ＡＢＣ ﬁles", &["abc", "file"]),
        ("don't", &["don"]),
        ("the A 7 !?", &[]),
    ] {
        assert_eq!(tokenise(text), tokens, "{text}");
    }
    assert!(STOP_WORDS.is_sorted());
}

#[test]
fn a_word_asked_for_twice_counts_twice() {
    let mut index = Bm25::new(Parameters::DEFAULT).unwrap();
    for document in [&["a", "b"][..], &["b", "b"], &[]] {
        index.push(document).unwrap();
    }
    let (once, twice) = (index.scores(&["b"]), index.scores(&["b", "b"]));
    assert_eq!(once.iter().map(|score| score * 2.0).collect::<Vec<_>>(), twice);
    assert!(once[0] < once[1] && once[2] == 0.0);
}

#[test]
fn parameters_that_make_no_sense_are_refused() {
    for (k1, b) in
        [(f64::NAN, 0.5), (f64::INFINITY, 0.5), (-0.1, 0.5), (1.0, 1.1), (1.0, -0.1), (1.0, f64::NAN)]
    {
        assert!(Bm25::new(Parameters { k1, b }).is_err(), "{k1} {b}");
    }
    let mut index = Bm25::new(Parameters::DEFAULT).unwrap();
    assert_eq!(index.push(&vec!["a"; Bm25::MAX_TOKENS + 1]), Err(Bm25Error::TooLong));
    assert!(index.is_empty());
}

#[test]
fn vectors_without_an_angle_are_refused() {
    let near = |vector: &[f32]| nearest([&[1.0, 0.0][..], vector], &[1.0, 1.0], 2);
    assert_eq!(near(&[0.0, 0.0]), Err(VectorError::ZeroVector));
    assert_eq!(near(&[f32::NAN, 0.0]), Err(VectorError::NonFinite));
    assert_eq!(near(&[1.0]), Err(VectorError::DimensionMismatch { seq: 1, found: 1, expected: 2 }));
    assert_eq!(near(&[f32::MAX, f32::MAX]).unwrap().first().map(|hit| hit.seq), Some(1));
}

proptest! {
    #[test]
    fn a_tokeniser_that_remembers_says_the_same(texts in prop::collection::vec("[a-cA-C东 京é.]{0,40}|[ -~]{0,60}", 1..20)) {
        let mut remembers = Tokeniser::new();
        for text in texts.iter().chain(&texts) {
            prop_assert_eq!(remembers.tokenise(text), tokenise(text));
        }
    }

    #[test]
    fn any_text_has_tokens_that_are_words(text in any::<String>()) {
        for token in tokenise(&text) {
            prop_assert!(!token.is_empty());
        }
    }

    #[test]
    fn the_best_are_those_of_a_full_sort(scores in prop::collection::vec(0u8..8, 0..40), k in 0usize..50) {
        let hits: Vec<Hit> =
            scores.iter().enumerate().map(|(seq, score)| Hit { seq, score: f64::from(*score) }).collect();
        let mut sorted = hits.clone();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
        sorted.truncate(k);
        prop_assert_eq!(Hit::best(hits, k), sorted);
    }
}
