//! Search over what is in memory: [tokens](tokenise), [BM25](Bm25) and [exact nearest vectors](nearest).
//!
//! An [`Embedder`] makes the vectors; the host brings it.
//!
//! Pure and deterministic: equal inputs give equal scores in the same order, and ties go to what came first.

mod bm25;
mod embed;
mod token;
mod vector;

pub use bm25::{BadParameters, Bm25, Bm25Error, Parameters};
pub use embed::{EMBED_BATCH, EmbedError, Embedder, Embedding, TextKind, embed};
pub use token::{STOP_WORDS, Tokeniser, each_word, token_of, tokenise};
pub use vector::{VectorError, nearest};

/// Something found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The place of what was found among what was searched.
    pub seq: usize,
    /// How well it fits; higher is better.
    pub score: f64,
}

impl Hit {
    /// The best `k` hits, best first, ties by lower place. Takes time linear in the hits, and `k log k`.
    fn best(mut hits: Vec<Self>, k: usize) -> Vec<Self> {
        let better = |a: &Self, b: &Self| b.score.total_cmp(&a.score).then(a.seq.cmp(&b.seq));
        if let Some(last) = k.checked_sub(1).filter(|last| *last < hits.len()) {
            hits.select_nth_unstable_by(last, better);
        }
        hits.truncate(k);
        hits.sort_unstable_by(better);
        hits
    }
}

#[cfg(test)]
mod tests;
