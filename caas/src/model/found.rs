//! What a search answers.

use std::sync::Arc;

use agent_primitives::Digest;

use super::{Chunk, ChunkId, DocumentId, Metadata};

/// What one leg of a search made of a chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leg {
    /// Its score in the leg's own measure: BM25, or a cosine.
    pub score: f64,
    /// Its place in the leg, from 1.
    pub rank: usize,
}

/// How a chunk came to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// By its words; `None` where it holds none of those asked for.
    pub lexical: Option<Leg>,
    /// By its meaning; `None` where the leg was not asked, or did not have it among its best.
    pub dense: Option<Leg>,
    /// Both together, 0 to 1.
    pub fused: f64,
    /// What its age makes of that, at most 1.
    pub recency: f64,
    /// Whether its age is not known, or lies in the future, so that a usual one was assumed.
    pub age_unknown: bool,
    /// What a reranker made of it.
    pub rerank: Option<f64>,
    /// What it was ranked by.
    pub total: f64,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its place, from 1.
    pub rank: usize,
    /// The chunk.
    pub chunk: Arc<Chunk>,
    /// The document it is of.
    pub document: DocumentId,
    /// The digest of the document, as it was when it was indexed.
    pub version: Digest,
    /// The document's title: the host's, or else its own, or else its id.
    pub title: Arc<str>,
    /// What the host says of the document: its source, its labels, its times.
    pub metadata: Arc<Metadata>,
    /// How it came to its place.
    pub scores: Scores,
    /// Chunks that say nearly the same and are not shown.
    pub duplicates: Vec<ChunkId>,
}
