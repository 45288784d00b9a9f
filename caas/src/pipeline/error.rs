//! Where the road ended.

use crate::assemble::AssembleError;
use crate::chunk::ChunkError;
use crate::index::IndexError;
use crate::ingest::IngestError;

/// Where the road ended, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A document cannot be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// Documents cannot be cut.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A document cannot be indexed, or a question not answered.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// No context fits.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
}

impl PipelineError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Ingest(error) => error.code(),
            Self::Chunk(error) => error.code(),
            Self::Index(error) => error.code(),
            Self::Assemble(error) => error.code(),
        }
    }
}
