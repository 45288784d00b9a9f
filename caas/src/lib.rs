#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod detect;
pub mod ingest;
mod model;

pub use model::{
    BadModel, Block, BlockKind, Chunk, ChunkId, Classification, DocumentId, Format, Language, Metadata,
    Parsed, Path, Readers, Removed, RemovedKind, Source, SourceKind, Tier,
};
