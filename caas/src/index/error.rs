//! Why an index refuses.

use std::error::Error;

use agent_primitives::search::EmbedError;

use crate::decay::BadDecay;
use crate::filter::BadFilter;
use crate::lexical::LexicalError;
use crate::model::{BadModel, ChunkId, DocumentId};
use crate::shelf::ShelfError;
use crate::vector::VectorError;

/// Why an index refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// Options that mean nothing.
    #[error("an index needs {0}")]
    BadOptions(&'static str),
    /// See [`BadDecay`].
    #[error(transparent)]
    Decay(#[from] BadDecay),
    /// See [`BadFilter`].
    #[error(transparent)]
    Filter(#[from] BadFilter),
    /// See [`BadModel`].
    #[error(transparent)]
    Model(#[from] BadModel),
    /// A question of nothing.
    #[error("an empty question finds nothing")]
    EmptyQuery,
    /// A question that is too long.
    #[error("a question has at most {limit} bytes")]
    QueryTooLong {
        /// The most there may be.
        limit: usize,
    },
    /// Too few hits, or too many.
    #[error("a search answers 1 to {limit} hits, not {k}")]
    BadK {
        /// What was asked.
        k: usize,
        /// The most there may be.
        limit: usize,
    },
    /// Meaning is asked for, and the index has no embedder.
    #[error("the index has no embedder to search by meaning")]
    NoEmbedder,
    /// One document twice in one batch.
    #[error("document `{0}` is in the batch twice")]
    DuplicateDocument(DocumentId),
    /// A document that something else has put under this name: the host, or another folder.
    #[error("document `{0}` is there already, and not from this folder")]
    Taken(DocumentId),
    /// Documents that take each other's place.
    #[error("document `{0}` would supersede itself by way of others")]
    SupersessionCycle(DocumentId),
    /// More documents than the index takes.
    #[error("an index has at most {limit} documents")]
    TooManyDocuments {
        /// The most there may be.
        limit: usize,
    },
    /// The chunker made something that cannot be indexed.
    #[error("document `{document}`: {why}")]
    BadChunks {
        /// Which document.
        document: DocumentId,
        /// What is wrong.
        why: &'static str,
    },
    /// The chunker failed.
    #[error("document `{document}` cannot be cut into chunks")]
    Chunker {
        /// Which document.
        document: DocumentId,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// See [`EmbedError`].
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The embedder, the store of vectors or the reranker took too long.
    #[error("search by meaning, or the second look at its hits, took longer than {millis} ms")]
    Timeout {
        /// The time it had.
        millis: u128,
    },
    /// See [`VectorError`].
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// See [`LexicalError`].
    #[error(transparent)]
    Lexical(#[from] LexicalError),
    /// See [`ShelfError`].
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// A change failed in its middle, and what was there before could not be put back. The documents are not found until they
    /// are put again.
    #[error("{} documents are neither as before nor changed, and not found until they are put again", documents.len())]
    HalfWritten {
        /// Which documents.
        documents: Vec<DocumentId>,
        /// What failed first.
        source: Box<IndexError>,
    },
    /// A reranker that answered another number of scores, or one that is no number.
    #[error("the reranker answered {found} usable scores to {expected} texts")]
    BadRerank {
        /// Number of texts.
        expected: usize,
        /// Number of scores that are numbers.
        found: usize,
    },
    /// The reranker failed.
    #[error("the reranker failed")]
    Reranker {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A store answered a chunk that it had been told not to. Nothing was answered.
    #[error("a store answered chunk {0}, which it had to leave out")]
    BackendLeak(ChunkId),
}

impl IndexError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadOptions(_) => "AK0790",
            Self::Decay(error) => error.code(),
            Self::Filter(error) => error.code(),
            Self::Model(error) => error.code(),
            Self::EmptyQuery => "AK0791",
            Self::QueryTooLong { .. } => "AK0792",
            Self::BadK { .. } => "AK0793",
            Self::NoEmbedder => "AK0794",
            Self::DuplicateDocument(_) => "AK0795",
            Self::Taken(_) => "AK0631",
            Self::SupersessionCycle(_) => "AK0796",
            Self::TooManyDocuments { .. } => "AK0797",
            Self::BadChunks { .. } => "AK0798",
            Self::Chunker { .. } => "AK0799",
            Self::Embed(error) => error.code(),
            Self::Timeout { .. } => "AK0690",
            Self::Vector(error) => error.code(),
            Self::Lexical(error) => error.code(),
            Self::Shelf(error) => error.code(),
            Self::HalfWritten { .. } => "AK0691",
            Self::BadRerank { .. } => "AK0692",
            Self::Reranker { .. } => "AK0693",
            Self::BackendLeak(_) => "AK0694",
        }
    }
}
