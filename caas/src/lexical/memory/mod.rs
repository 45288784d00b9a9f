//! BM25F in memory, exact after every change.

mod codec;
mod dictionary;
mod numbers;
mod postings;
mod scan;
mod sequence;
mod store;

use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::{ChunkId, DocumentId};

use super::fields::AnalyzedChunk;
use super::search;
use super::{
    Keep, LexicalDocument, LexicalError, LexicalHit, LexicalIndex, LexicalQuery, LexicalStats, Parameters,
};
use store::Store;

/// An index in memory.
///
/// Scores follow from the chunks that are there and from nothing else: after any changes they are those of an index that was
/// built from the rest. Texts are not kept, only their tokens, in some 1.3 times their size at ten megabytes and 0.7 times at a hundred:
/// the more text there is, the fewer of its words are new.
///
/// Many may search at a time; a change waits for them, and they for it. Taking texts apart is done before.
pub struct MemoryBm25 {
    store: RwLock<Store>,
}

impl MemoryBm25 {
    /// Most chunks in one index, those included that were deleted since it last tidied up.
    pub const MAX_CHUNKS: usize = 1 << 24;

    /// An empty index.
    ///
    /// # Errors
    /// `BadParameter`.
    pub fn new(parameters: Parameters) -> Result<Self, LexicalError> {
        parameters.check()?;
        Ok(Self { store: RwLock::new(Store::new(parameters)) })
    }

    /// Whether a chunk is in the index.
    #[must_use]
    pub fn contains(&self, chunk: ChunkId) -> bool {
        self.read(|store| store.contains(chunk))
    }

    /// Gives back the room of what was deleted, its words included. The index does it by itself when that is more than
    /// what is left.
    pub fn tidy(&self) {
        self.write(Store::tidy);
    }

    // Nothing in here panics half way through a change, so a poisoned lock guards a whole index.
    fn read<R>(&self, read: impl FnOnce(&Store) -> R) -> R {
        read(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<R>(&self, write: impl FnOnce(&mut Store) -> R) -> R {
        write(&mut self.store.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LexicalIndex for MemoryBm25 {
    fn replace_documents(&self, documents: &[LexicalDocument<'_>]) -> Result<(), LexicalError> {
        let mut stems = LexicalDocument::stems(documents);
        let analyzed: Vec<(DocumentId, Vec<(ChunkId, AnalyzedChunk)>)> = documents
            .iter()
            .map(|document| {
                let chunks = document.chunks.iter();
                let chunks =
                    chunks.map(|chunk| Ok((chunk.id, AnalyzedChunk::new(document, chunk, &mut stems)?)));
                Ok((document.id.clone(), chunks.collect::<Result<_, LexicalError>>()?))
            })
            .collect::<Result<_, LexicalError>>()?;
        self.write(|store| store.replace(analyzed))
    }

    fn delete_document(&self, id: &DocumentId) -> Result<bool, LexicalError> {
        Ok(self.write(|store| store.delete(id)))
    }

    fn search(&self, query: &LexicalQuery<'_>, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError> {
        self.read(|store| search::search(store, query, keep))
    }

    fn stats(&self) -> Result<LexicalStats, LexicalError> {
        Ok(self.read(Store::stats))
    }
}

impl fmt::Debug for MemoryBm25 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.read(Store::stats);
        f.debug_struct("MemoryBm25").field("stats", &stats).finish_non_exhaustive()
    }
}
