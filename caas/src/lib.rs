#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod assemble;
pub mod chunk;
pub mod conversation;
pub mod decay;
pub mod detect;
#[cfg(feature = "candle")]
pub mod embed;
pub mod eval;
pub mod filter;
pub mod fuse;
pub mod guard;
pub mod index;
pub mod ingest;
pub mod lexical;
mod model;
pub mod pipeline;
pub mod route;
pub mod shelf;
pub mod tokens;
pub mod truth;
pub mod vector;
mod within;

pub use agent_primitives as primitives;
pub use model::{
    BadModel, Block, BlockKind, Chunk, ChunkId, Classification, DocumentId, Format, Found, Language, Leg,
    Metadata, Parsed, Path, Readers, Removed, RemovedKind, Scores, Source, SourceKind, Tier,
};
