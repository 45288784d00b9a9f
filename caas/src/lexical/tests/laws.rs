//! What the index in memory promises besides.

use std::collections::BTreeMap;

use agent_primitives::search::{Bm25, Parameters as Plain};
use proptest::prelude::*;

use super::texts::{chunk, code, hits, id, put};
use crate::lexical::{
    Feedback, FieldWeights, LexicalDocument, LexicalIndex, LexicalQuery, MemoryBm25, Parameters,
};
use crate::{Chunk, Tier};

const WORDS: [&str; 12] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "getHttp",
    "E-12",
    "東京",
    "alpha beta",
    "x_y",
    "not",
    "operations",
    "the",
];

pub(super) fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&WORDS[..]), 0..12).prop_map(|words| words.join(" "))
}

/// A document: its name, its title, and its chunks by text, language and tier. An empty one is deleted.
pub(super) type Step = (u8, String, Vec<(String, bool, bool)>);

pub(super) fn step() -> impl Strategy<Value = Step> {
    let chunk = (text(), any::<bool>(), any::<bool>());
    (0u8..6, text(), prop::collection::vec(chunk, 0..4))
}

pub(super) fn apply(index: &dyn LexicalIndex, (name, title, texts): &Step) {
    let name_text = name.to_string();
    if texts.is_empty() {
        index.delete_document(&id(&name_text)).unwrap();
        return;
    }
    let chunks: Vec<Chunk> = (0u128..)
        .zip(texts)
        .map(|(place, (text, is_code, is_high))| {
            let id = u128::from(*name) * 100 + place;
            let mut chunk = if *is_code { code(id, text) } else { chunk(id, text) };
            chunk.outline = is_code.then(|| title.as_str().into());
            if *is_high {
                chunk.tiers = vec![(Tier::High, 0..text.len())];
                chunk.path = [title.as_str().into()].into();
            }
            chunk
        })
        .collect();
    index.replace_document(LexicalDocument { id: &id(&name_text), title, chunks: &chunks }).unwrap();
}

proptest! {
    #[test]
    fn any_changes_leave_what_building_anew_would_give(
        steps in prop::collection::vec(step(), 0..30), question in text(), tidy in any::<bool>(),
    ) {
        let changed = MemoryBm25::new(Parameters::DEFAULT).unwrap();
        let mut last = BTreeMap::new();
        for step in &steps {
            apply(&changed, step);
            last.insert(step.0, step);
        }
        if tidy {
            changed.tidy();
        }
        let anew = MemoryBm25::new(Parameters::DEFAULT).unwrap();
        for step in last.values() {
            apply(&anew, step);
        }
        let phrase = format!("\"{question}\" gamma");
        for text in [&question, &phrase] {
            prop_assert_eq!(hits(&changed, text), hits(&anew, text));
            let query = LexicalQuery::new(text, 5).feedback(Feedback { least_chunks: 0, ..Feedback::DEFAULT });
            let search = |index: &MemoryBm25| index.search(&query, &|chunk| chunk.0 % 3 != 0).unwrap();
            prop_assert_eq!(search(&changed), search(&anew));
        }
        let (a, b) = (changed.stats().unwrap(), anew.stats().unwrap());
        prop_assert_eq!((a.documents, a.chunks), (b.documents, b.chunks));
    }

    #[test]
    fn with_one_field_it_is_plain_bm25(texts in prop::collection::vec("[a-d ]{0,20}", 1..20)) {
        let parameters = Parameters { weights: FieldWeights::EQUAL, ..Parameters::DEFAULT };
        let index = MemoryBm25::new(parameters).unwrap();
        let mut plain = Bm25::new(Plain { k1: parameters.k1, b: parameters.b }).unwrap();
        for (place, text) in (0..).zip(&texts) {
            // Chunks without words are left out: here the mean is over chunks that have some.
            let tokens = crate::lexical::Analyzer::English.analyze(text);
            if !tokens.is_empty() {
                put(&index, &place.to_string(), &[chunk(place, text)]);
                plain.push(&tokens.iter().map(|(token, _)| token.to_owned()).collect::<Vec<_>>()).unwrap();
            }
        }
        let mut expected: Vec<f64> = plain.scores(&["b", "c", "d"]).into_iter().filter(|score| 0.0 < *score).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let query = LexicalQuery::new("b c d", 20);
        let found: Vec<f64> = index.search(&query, &|_| true).unwrap().iter().map(|hit| hit.score).collect();
        prop_assert_eq!(found.len(), expected.len());
        prop_assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?} {expected:?}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let weights = Parameters::DEFAULT.weights;
    for bad in [
        Parameters { k1: f64::NAN, ..Parameters::DEFAULT },
        Parameters { k1: 3.1, ..Parameters::DEFAULT },
        Parameters { b: -0.1, ..Parameters::DEFAULT },
        Parameters { b: 1.1, ..Parameters::DEFAULT },
        Parameters { weights: FieldWeights { low: f64::INFINITY, ..weights }, ..Parameters::DEFAULT },
        Parameters { weights: FieldWeights { title: -1.0, ..weights }, ..Parameters::DEFAULT },
    ] {
        assert_eq!(MemoryBm25::new(bad).unwrap_err().code(), "AK0775", "{bad:?}");
    }
}

#[test]
fn scores_are_finite_at_the_ends_of_the_settings() {
    for (k1, b, high) in [(0.0, 0.0, 0.0), (3.0, 1.0, 10.0), (0.0, 1.0, 1.0)] {
        let weights = FieldWeights { high, ..FieldWeights::EQUAL };
        let index = MemoryBm25::new(Parameters { k1, b, weights }).unwrap();
        let high = Chunk { tiers: vec![(Tier::High, 0..4)], ..chunk(1, "word") };
        put(&index, "a", &[high, chunk(2, "word word")]);
        for hit in hits(&index, "word") {
            assert!(hit.score.is_finite() && 0.0 < hit.score, "{k1} {b}: {hit:?}");
        }
    }
}

#[test]
fn what_was_deleted_is_tidied_up_by_itself() {
    let index = MemoryBm25::new(Parameters::DEFAULT).unwrap();
    for round in 0..2000u128 {
        put(&index, "a", &[chunk(round, &format!("common canary{round}"))]);
    }
    let stats = index.stats().unwrap();
    assert_eq!(stats.chunks, 1);
    assert!(stats.terms < 600, "{stats:?}");
    index.tidy();
    assert_eq!(index.stats().unwrap().terms, 2);
    assert_eq!(hits(&index, "common").len(), 1);
}

#[test]
fn a_reader_sees_all_of_a_document_or_nothing() {
    let index = MemoryBm25::new(Parameters::DEFAULT).unwrap();
    let version = |word: &str, chunks: u128| -> Vec<Chunk> { (0..chunks).map(|n| chunk(n, word)).collect() };
    let (old, new) = (version("old both", 5), version("new both", 3));
    put(&index, "a", &old);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..1500 {
                put(&index, "a", &new);
                put(&index, "a", &old);
            }
        });
        while !writer.is_finished() {
            let found = hits(&index, "both").len();
            assert!(found == 5 || found == 3, "{found}");
        }
    });
}
