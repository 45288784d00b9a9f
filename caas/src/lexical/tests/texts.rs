//! Chunks for tests.

use std::ops::Range;
use std::sync::Arc;

use crate::lexical::{LexicalDocument, LexicalHit, LexicalIndex, LexicalQuery};
use crate::{Chunk, ChunkId, DocumentId, Language, Tier};

/// Running text of the medium tier.
pub(super) fn chunk(id: u128, text: &str) -> Chunk {
    Chunk {
        id: ChunkId(id),
        ordinal: 0,
        range: 0..text.len(),
        text: text.into(),
        path: Arc::new([]),
        tiers: vec![(Tier::Medium, 0..text.len())],
        outline: None,
        page: None,
        language: None,
        tokens: text.len(),
    }
}

pub(super) fn code(id: u128, text: &str) -> Chunk {
    Chunk { language: Some(Language::Rust), ..chunk(id, text) }
}

pub(super) fn tiered(id: u128, text: &str, tiers: &[(Tier, Range<usize>)]) -> Chunk {
    Chunk { tiers: tiers.to_vec(), ..chunk(id, text) }
}

pub(super) fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

pub(super) fn put(index: &dyn LexicalIndex, name: &str, chunks: &[Chunk]) {
    index.replace_document(LexicalDocument { id: &id(name), title: "", chunks }).unwrap();
}

pub(super) fn hits(index: &dyn LexicalIndex, text: &str) -> Vec<LexicalHit> {
    index.search(&LexicalQuery::new(text, 10), &|_| true).unwrap()
}

/// The chunks found, best first.
pub(super) fn found(index: &dyn LexicalIndex, text: &str) -> Vec<u128> {
    hits(index, text).iter().map(|hit| hit.chunk.0).collect()
}
