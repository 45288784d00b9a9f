use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::model::{Chunk, Classification, Metadata, Scores, Source, Tier};

pub(super) fn found(place: usize, kind: SourceKind, text: &str) -> Found {
    let document = format!("d{place}");
    Found {
        rank: place + 1,
        chunk: Arc::new(Chunk {
            id: ChunkId(place as u128),
            ordinal: 0,
            range: 0..text.len(),
            text: text.into(),
            path: Arc::from([]),
            tiers: vec![(Tier::Medium, 0..text.len())],
            outline: None,
            page: None,
            language: None,
            tokens: text.len(),
        }),
        document: document.parse().unwrap(),
        version: agent_primitives::Digest::of("agent-os test v1", text.as_bytes()),
        title: document.into(),
        metadata: Arc::new(Metadata::new(Source::of(kind), Classification::Public)),
        scores: Scores::default(),
        duplicates: Vec::new(),
    }
}

#[derive(Deserialize)]
struct Text {
    kind: SourceKind,
    text: String,
}

#[derive(Deserialize)]
struct Pair {
    id: String,
    half: String,
    conflict: bool,
    a: Text,
    b: Text,
}

fn pairs(half: &str) -> Vec<Pair> {
    let lines = include_str!("../../testdata/conflicts.jsonl").lines();
    lines.map(|line| serde_json::from_str::<Pair>(line).unwrap()).filter(|pair| pair.half == half).collect()
}

/// Precision and recall of whatever looks for conflicts.
fn judged(pairs: &[Pair], finds: impl Fn(&Pair) -> bool) -> (f64, f64, String) {
    let (mut right, mut wrong, mut missed, mut log) = (0.0, 0.0, 0.0, String::new());
    for pair in pairs {
        match (pair.conflict, finds(pair)) {
            (true, true) => right += 1.0,
            (false, true) => {
                wrong += 1.0;
                log.push_str(&format!("wrong {}\n", pair.id));
            }
            (true, false) => {
                missed += 1.0;
                log.push_str(&format!("missed {}\n", pair.id));
            }
            (false, false) => {}
        }
    }
    (right / (right + wrong), right / (right + missed), log)
}

fn ours(pair: &Pair) -> bool {
    let found = [found(0, pair.a.kind, &pair.a.text), found(1, pair.b.kind, &pair.b.text)];
    !conflicts(&found).found.is_empty()
}

fn gate(half: &str) {
    let pairs = pairs(half);
    assert_eq!(pairs.iter().filter(|pair| pair.conflict).count() * 2, pairs.len(), "half of them conflict");
    let (precision, recall, log) = judged(&pairs, ours);
    println!("{half}: precision {precision:.3}, recall {recall:.3}\n{log}");
    assert!(0.90 <= precision && 0.70 <= recall, "{half}: {precision} {recall}\n{log}");
}

#[test]
fn the_half_it_was_made_with_passes_the_gate() {
    gate("dev");
}
