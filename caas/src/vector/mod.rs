//! Search by meaning: the nearest of many vectors.

#[cfg(feature = "chroma")]
mod chroma;
mod exact;
#[cfg(feature = "hnsw")]
mod hnsw;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

#[cfg(feature = "chroma")]
pub use chroma::{Chroma, ChromaError, TokenHeader};
pub use exact::ExactVectors;
#[cfg(feature = "hnsw")]
pub use hnsw::HnswVectors;

use crate::model::{ChunkId, DocumentId};

/// Why vectors are not kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// Vectors of another model, or of another length.
    #[error(
        "the vectors are of `{held}` with {held_dimensions} dimensions, not of `{asked}` with {dimensions}"
    )]
    EmbedderMismatch {
        /// The model of the vectors that are there.
        held: String,
        /// Their length.
        held_dimensions: usize,
        /// The model that was asked with.
        asked: String,
        /// Its length.
        dimensions: usize,
    },
    /// A vector of another length.
    #[error("vector {index} has {found} dimensions, not {expected}")]
    Dimension {
        /// Its place.
        index: usize,
        /// The length of all vectors here.
        expected: usize,
        /// Its length.
        found: usize,
    },
    /// A vector of zeros, or with a component that is infinite or no number.
    #[error("vector {index} has no direction, or a component that is no finite number")]
    BadVector {
        /// Its place.
        index: usize,
    },
    /// A chunk that should be kept and is not there, or that another document has.
    #[error("the vector of chunk {0} is not there, or another document's")]
    UnknownChunk(ChunkId),
    /// More vectors than the store takes.
    #[error("a store has at most {limit} vectors")]
    TooMany {
        /// The most there may be.
        limit: usize,
    },
    /// The store, or the way to it, failed.
    #[error("the store of vectors failed")]
    Store {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl VectorError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmbedderMismatch { .. } => "AK0784",
            Self::Dimension { .. } => "AK0785",
            Self::BadVector { .. } => "AK0786",
            Self::UnknownChunk(_) => "AK0787",
            Self::TooMany { .. } => "AK0788",
            Self::Store { .. } => "AK0789",
        }
    }
}

/// What a store answers, to be awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, VectorError>> + Send + 'a>>;

/// The vectors of the chunks of a document.
#[derive(Clone, Debug, Default)]
pub struct DocumentVectors {
    /// Chunks that keep the vectors they have.
    pub kept: Vec<ChunkId>,
    /// Chunks with new vectors.
    pub new: Vec<(ChunkId, Vec<f32>)>,
}

/// Which chunks may be found. It is asked while the store searches, and must not call it.
pub type Keep<'k> = &'k (dyn Fn(ChunkId) -> bool + Sync);

/// A place for vectors, each of a chunk of a document.
pub trait VectorStore: fmt::Debug + Send + Sync {
    /// Says of which model all vectors are, for good. A store that has been told the same before agrees.
    ///
    /// # Errors
    /// `EmbedderMismatch`, `Store`.
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()>;

    /// Puts vectors in the place of those that the document had.
    ///
    /// # Errors
    /// [`VectorError`]; the document has the vectors that it had.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves the document with its old vectors or with the new ones.
    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()>;

    /// Deletes the vectors of a document; nothing where there are none.
    ///
    /// # Errors
    /// `Store`.
    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()>;

    /// The `k` chunks that `keep` lets through with the smallest angle to `query`, best first, ties by chunk id. The score is
    /// the cosine, -1 to 1, whatever the store measures in.
    ///
    /// A store that cannot ask `keep` while it searches has to search on until it has `k` that it lets through, or all.
    ///
    /// # Errors
    /// `Dimension`, `BadVector`, `Store`.
    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>>;

    /// How many vectors there are.
    ///
    /// # Errors
    /// `Store`.
    fn count(&self) -> Answer<'_, usize>;
}

/// The vector with length 1.
///
/// # Errors
/// `Dimension`, `BadVector`; `index` is what they name.
pub(crate) fn unit(vector: &[f32], dimensions: usize, index: usize) -> Result<Vec<f32>, VectorError> {
    if vector.len() != dimensions {
        return Err(VectorError::Dimension { index, expected: dimensions, found: vector.len() });
    }
    if !vector.iter().all(|part| part.is_finite()) {
        return Err(VectorError::BadVector { index });
    }
    // In double precision no finite component overflows.
    let length = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
    if length == 0.0 {
        return Err(VectorError::BadVector { index });
    }
    Ok(vector.iter().map(|part| (f64::from(*part) / length) as f32).collect())
}

#[cfg(test)]
mod tests;
