//! Recall by what texts mean, with a model that the host brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_primitives::search::{EmbedError, Embedder, Embedding, TextKind};
use emk::recall::{Filter, Query, Recall};

use crate::{episode, found, put, recall, seqs};

/// A model that knows two things, water and colour, and fails from some batch on.
#[derive(Debug, Default)]
struct Model {
    fails_from: Option<usize>,
    batches: AtomicUsize,
    dimensions: Option<usize>,
}

impl Embedder for Model {
    fn model(&self) -> &str {
        "two-things-1"
    }

    fn dimensions(&self) -> usize {
        self.dimensions.unwrap_or(3)
    }

    fn max_tokens(&self) -> Option<usize> {
        None
    }

    fn embed<'a>(&'a self, _: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        Box::pin(async move {
            let batch = self.batches.fetch_add(1, Ordering::Relaxed);
            if self.fails_from.is_some_and(|from| from <= batch) {
                return Err(EmbedError::Failed { source: "out of memory".into() });
            }
            let about =
                |text: &str, words: &[&str]| words.iter().filter(|word| text.contains(*word)).count() as f32;
            let vector = |text: &&str| {
                let mut vector = vec![
                    about(text, &["valve", "pipe", "leak", "drip"]),
                    about(text, &["paint", "red", "blue", "hue"]),
                    0.1,
                ];
                vector.resize(self.dimensions(), 0.0);
                vector
            };
            Ok(texts.iter().map(vector).collect())
        })
    }
}

fn filled(model: Model) -> Recall {
    let recall = recall().with_embedder(Arc::new(model));
    put(&recall, episode(1, "turn the valve", "until the pipe is shut"));
    put(&recall, episode(2, "paint the wall", "red"));
    put(&recall, episode(3, "buy bread", "at the corner"));
    recall
}

#[tokio::test]
async fn what_means_the_same_is_found_without_a_word_in_common() {
    let recall = filled(Model::default());
    assert_eq!(found(&recall, Query::new("a drip")), [0u64; 0]);
    let mut told = Vec::new();
    assert_eq!(recall.embed_missing(|done| told.push(done)).await.unwrap(), 3);
    assert_eq!((told, recall.size().vectors), (vec![3], 3));
    assert_eq!(recall.embed_missing(|_| {}).await.unwrap(), 0);
    let hits = recall.recall(&Query::new("a drip").limit(1)).await.unwrap();
    assert_eq!(seqs(&hits), [0]);
    assert_eq!((hits[0].parts.lexical, hits[0].parts.dense.unwrap().rank), (None, 1));
    // The best of both orders is the best of all; its score is that of two first places.
    let hits = recall.recall(&Query::new("leak in the pipe")).await.unwrap();
    assert_eq!(hits[0].seq, 0);
    assert!((hits[0].score - 2.0 / 61.0).abs() < 1e-12);
    assert!(hits[0].parts.lexical.is_some() && hits[0].parts.dense.is_some());
}

#[tokio::test]
async fn filters_and_marks_hold_for_vectors_too() {
    let recall = filled(Model::default());
    recall.embed_missing(|_| {}).await.unwrap();
    let filter = Filter { from: Some(crate::at(2)), ..Filter::default() };
    let hits = recall.recall(&Query::new("a drip").filter(filter)).await.unwrap();
    assert_eq!(seqs(&hits), [2, 1]);
    recall.memory().redact(0, "asked to").unwrap();
    let hits = recall.recall(&Query::new("a drip")).await.unwrap();
    assert_eq!((seqs(&hits), recall.size().vectors), (vec![2, 1], 2));
}

#[tokio::test]
async fn a_model_that_fails_half_way_leaves_what_was_done() {
    let recall = filled(Model { fails_from: Some(1), ..Model::default() });
    for day in 0..100 {
        put(&recall, episode(day, "more of the valve", &format!("turn {day}{day}")));
    }
    assert_eq!(recall.embed_missing(|_| {}).await.unwrap_err().code(), "AK0704");
    assert_eq!(recall.size().vectors, 64);
    // Who asked for an answer by meaning is not given another one in silence; by words there still is one.
    assert_eq!(recall.recall(&Query::new("bread")).await.unwrap_err().code(), "AK0704");
    assert_eq!(found(&recall, Query::new("bread")), [2]);
}

#[tokio::test]
async fn vectors_of_two_models_do_not_mix() {
    let recall = filled(Model::default());
    recall.embed_missing(|_| {}).await.unwrap();
    let code = |query: Query| recall.search(&query).unwrap_err().code();
    assert_eq!(code(Query::new("").vector("another", vec![1.0, 0.0, 0.0])), "AK0737");
    assert_eq!(code(Query::new("").vector("two-things-1", vec![1.0, 0.0])), "AK0734");
    assert_eq!(code(Query::new("").vector("two-things-1", vec![0.0; 3])), "AK0735");
    assert_eq!(code(Query::new("").vector("two-things-1", vec![f32::NAN; 3])), "AK0736");
    assert_eq!(recall.set_vector(0, "two-things-1", &[1.0]).unwrap_err().code(), "AK0734");
    assert_eq!(recall.set_vector(9, "two-things-1", &[1.0; 3]).unwrap_err().code(), "AK0738");
    let hits = recall.search(&Query::new("").vector("two-things-1", vec![0.0, 1.0, 0.0]).limit(1)).unwrap();
    assert_eq!(seqs(&hits), [1]);
}
