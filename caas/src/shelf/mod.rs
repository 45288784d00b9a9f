//! Documents of an index where they outlive the process.
//!
//! An index without a shelf is in memory, and empty when it is made again. With one, what it takes in is kept in the same step,
//! chunks and vectors included, and an index that is opened on it is filled without anything being read, cut or embedded again.

mod error;
#[cfg(feature = "redb")]
mod redb;

use std::fmt;
use std::sync::Arc;

use agent_primitives::Digest;

pub use error::ShelfError;
#[cfg(feature = "redb")]
pub use redb::RedbShelf;

use crate::ingest::{Known, Stamp};
use crate::model::{Chunk, ChunkId, DocumentId, Metadata};
use crate::vector::DocumentVectors;

/// A document as an index holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The digest of its text and metadata.
    pub version: Digest,
    /// Its title.
    pub title: Arc<str>,
    /// What the host says of it.
    pub metadata: Arc<Metadata>,
    /// Its chunks, in order.
    pub chunks: Vec<Arc<Chunk>>,
    /// What tells near duplicates, of each chunk.
    pub prints: Vec<u64>,
}

/// A document as a shelf gives it back.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its name.
    pub id: DocumentId,
    /// What is held of it.
    pub held: Held,
    /// The vectors of its chunks, as they were given.
    pub vectors: Vec<(ChunkId, Vec<f32>)>,
}

/// A document that takes the place of what its name stood for.
#[derive(Clone, Copy, Debug)]
pub struct Change<'c> {
    /// Its name.
    pub id: &'c DocumentId,
    /// What is held of it.
    pub held: &'c Held,
    /// Its vectors; those that are neither kept nor new are deleted.
    pub vectors: &'c DocumentVectors,
}

/// What is known of files of one folder that were read.
#[derive(Clone, Copy, Debug)]
pub struct Stamps<'s> {
    /// The host's name for the folder.
    pub folder: &'s str,
    /// The stamp of each file.
    pub files: &'s [(DocumentId, Stamp)],
}

/// How the documents of an index are made: what has to be the same when it is opened again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Making {
    /// What [`Chunker::settings`](crate::index::Chunker::settings) says.
    pub chunker: String,
    /// The model of the vectors and their length; nothing where there are none.
    pub model: Option<(String, usize)>,
}

/// A place that keeps the documents of one index. One index uses it at a time.
///
/// Calls block until they are done, as those of [`LexicalIndex`](crate::lexical::LexicalIndex) do.
pub trait Shelf: fmt::Debug + Send + Sync {
    /// Keeps how documents are made, if there is none yet, and answers how those that are here were made.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn bind(&self, making: &Making) -> Result<Making, ShelfError>;

    /// Up to `most` documents in the order of their names, from the first one behind `after` on; none where there are no more.
    ///
    /// # Errors
    /// [`ShelfError`]. What is damaged is an error, never left out.
    fn page(&self, after: Option<&DocumentId>, most: usize) -> Result<Vec<Kept>, ShelfError>;

    /// The vectors of some chunks of a document, in order.
    ///
    /// # Errors
    /// [`ShelfError`]; `Damaged` where one is not there.
    fn vectors(
        &self,
        document: &DocumentId,
        chunks: &[ChunkId],
    ) -> Result<Vec<(ChunkId, Vec<f32>)>, ShelfError>;

    /// Keeps documents, and with them what is known of their files: all of it or nothing, and for good once this has returned.
    ///
    /// # Errors
    /// [`ShelfError`]; what was here is here still. A shelf that cannot know whether the change reached the disk refuses
    /// whatever comes then, until it is opened again, with all of the change or nothing of it.
    fn put(&self, changes: &[Change<'_>], stamps: Option<Stamps<'_>>) -> Result<(), ShelfError>;

    /// Deletes documents, their vectors, and what is known of their files, for good once this has returned. Whether there was
    /// anything.
    ///
    /// # Errors
    /// As [`Shelf::put`].
    fn forget(&self, documents: &[DocumentId]) -> Result<bool, ShelfError>;

    /// What is known of the files of a folder.
    ///
    /// # Errors
    /// [`ShelfError`].
    fn stamps(&self, folder: &str) -> Result<Known, ShelfError>;

    /// Writes anew what is kept, so that nothing is left of what was deleted, and no room is taken by it.
    ///
    /// # Errors
    /// [`ShelfError`]; what is kept is kept.
    fn compact(&self) -> Result<(), ShelfError>;
}

#[cfg(test)]
#[cfg(feature = "redb")]
mod tests;
