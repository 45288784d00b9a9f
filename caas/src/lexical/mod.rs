//! Search by words: BM25F over the [fields](Field) of chunks.
//!
//! Two indexes keep to the same [trait](LexicalIndex) and give the same scores: [`MemoryBm25`] in memory and, behind the
//! feature `tantivy`, `TantivyIndex` on disk. An index is one namespace: how rare a word is follows from its own chunks alone.

mod analyze;
mod feedback;
mod fields;
mod memory;
mod query;
mod score;
mod search;
#[cfg(feature = "tantivy")]
mod tantivy;
mod top;

use std::fmt;

use crate::{Chunk, ChunkId, DocumentId};

pub use analyze::{Analyzer, Tokens};
pub use feedback::Feedback;
pub use fields::Field;
pub use memory::MemoryBm25;
pub use score::{FieldWeights, Parameters};
#[cfg(feature = "tantivy")]
pub use tantivy::TantivyIndex;

/// Why an index refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LexicalError {
    /// A setting that BM25F is not defined for.
    #[error("`{name}` is a finite number of {least} to {most}, not `{value}`")]
    BadParameter {
        /// Its name.
        name: &'static str,
        /// What it was.
        value: f64,
        /// The least it can be.
        least: f64,
        /// The most it can be.
        most: f64,
    },
    /// More than an index takes.
    #[error("more than {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
    /// A chunk that cannot be indexed.
    #[error("chunk {chunk}: {why}")]
    BadChunk {
        /// Which.
        chunk: ChunkId,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The files of the index, or the way to them, failed. What was there before is there still.
    #[error("the index on disk failed")]
    Store {
        /// What was said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LexicalError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadParameter { .. } => "AK0775",
            Self::TooLarge { .. } => "AK0776",
            Self::BadChunk { .. } => "AK0777",
            Self::Store { .. } => "AK0778",
        }
    }
}

/// A document as it is indexed.
#[derive(Clone, Copy, Debug)]
pub struct LexicalDocument<'d> {
    /// Its name.
    pub id: &'d DocumentId,
    /// Its title; empty where there is none.
    pub title: &'d str,
    /// All its chunks.
    pub chunks: &'d [Chunk],
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct LexicalQuery<'q> {
    /// The question. What stands in double quotes counts as a phrase too.
    pub text: &'q str,
    /// Most hits, up to [`LexicalQuery::MAX_HITS`].
    pub k: usize,
    /// Whether to ask again with words of the best hits.
    pub feedback: Option<Feedback>,
}

impl<'q> LexicalQuery<'q> {
    /// Most hits of a search.
    pub const MAX_HITS: usize = 1000;
    /// Longest question in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The best `k` chunks for a question.
    #[must_use]
    pub const fn new(text: &'q str, k: usize) -> Self {
        Self { text, k, feedback: None }
    }

    /// With words of the best hits.
    #[must_use]
    pub const fn feedback(self, feedback: Feedback) -> Self {
        Self { feedback: Some(feedback), ..self }
    }

    fn check(&self) -> Result<(), LexicalError> {
        if Self::MAX_HITS < self.k {
            return Err(LexicalError::TooLarge { what: "hits", limit: Self::MAX_HITS });
        }
        if Self::MAX_BYTES < self.text.len() {
            return Err(LexicalError::TooLarge { what: "bytes of a question", limit: Self::MAX_BYTES });
        }
        self.feedback.as_ref().map_or(Ok(()), Feedback::check)
    }
}

/// A chunk that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LexicalHit {
    /// Which.
    pub chunk: ChunkId,
    /// Its score: more than 0, without an upper bound, and to be compared within one answer only.
    pub score: f64,
}

/// What an index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LexicalStats {
    /// Documents.
    pub documents: usize,
    /// Chunks.
    pub chunks: usize,
    /// Different tokens. Those of deleted documents may be among them until the index tidies up.
    pub terms: usize,
    /// Bytes it takes, in memory or on disk.
    pub bytes: usize,
}

/// Which chunks may be found. It is asked while the index is read and must not call the index.
pub type Keep<'k> = &'k (dyn Fn(ChunkId) -> bool + Sync);

/// An index of chunks by their words.
///
/// Whoever searches sees of each document either all chunks before a change or all after it. What was deleted is not found
/// any more once the call has returned. Calls may block for as long as a change takes; none waits for anything else.
pub trait LexicalIndex: fmt::Debug + Send + Sync {
    /// Puts documents in the place of what their names stood for: all of them, or none where there is an error.
    ///
    /// # Errors
    /// `TooLarge`, `BadChunk` (a tier that is no part of the text; a chunk that is there twice, or in another document),
    /// `Store`.
    fn replace_documents(&self, documents: &[LexicalDocument<'_>]) -> Result<(), LexicalError>;

    /// Puts one document in the place of what its name stood for.
    ///
    /// # Errors
    /// As [`replace_documents`](Self::replace_documents).
    fn replace_document(&self, document: LexicalDocument<'_>) -> Result<(), LexicalError> {
        self.replace_documents(&[document])
    }

    /// Deletes a document, and says whether it was there.
    ///
    /// # Errors
    /// `Store`.
    fn delete_document(&self, id: &DocumentId) -> Result<bool, LexicalError>;

    /// The best chunks among those that `keep` lets through, best first, ties by chunk id. What is not let through adds
    /// no word by [`Feedback`]; it does count in how rare words are.
    ///
    /// A question without a word that is looked for finds nothing.
    ///
    /// # Errors
    /// `TooLarge`, `BadParameter` of the feedback, `Store`.
    fn search(&self, query: &LexicalQuery<'_>, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError>;

    /// What it holds.
    ///
    /// # Errors
    /// `Store`.
    fn stats(&self) -> Result<LexicalStats, LexicalError>;
}

impl<I: LexicalIndex + ?Sized> LexicalIndex for std::sync::Arc<I> {
    fn replace_documents(&self, documents: &[LexicalDocument<'_>]) -> Result<(), LexicalError> {
        (**self).replace_documents(documents)
    }

    fn delete_document(&self, id: &DocumentId) -> Result<bool, LexicalError> {
        (**self).delete_document(id)
    }

    fn search(&self, query: &LexicalQuery<'_>, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError> {
        (**self).search(query, keep)
    }

    fn stats(&self) -> Result<LexicalStats, LexicalError> {
        (**self).stats()
    }
}

#[cfg(test)]
mod tests;
