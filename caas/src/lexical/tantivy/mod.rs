//! The index on disk, in the files of tantivy.
//!
//! Tantivy keeps the words, their postings and the commits; the scores are our own, so that they are those of
//! [`MemoryBm25`](super::MemoryBm25) to the last bit.

mod schema;
mod snapshot;

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ::tantivy::directory::MmapDirectory;
use ::tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TantivyDocument};

use crate::{ChunkId, DocumentId};

use super::fields::AnalyzedChunk;
use super::search;
use super::{
    Keep, LexicalDocument, LexicalError, LexicalHit, LexicalIndex, LexicalQuery, LexicalStats, Parameters,
};
use schema::Fields;
use snapshot::Snapshot;

/// Memory of the thread that writes, in bytes. A batch that needs more is written in several segments, in one commit.
const WRITER_BYTES: usize = 50_000_000;

/// An index in a folder of its own, for what does not fit in memory or must outlive the process.
///
/// Each change is a commit: on disk, and found, when the call returns; a process that dies before leaves what was there.
/// A commit takes milliseconds, so many documents are better replaced in one call. One process at a time has it open.
/// In memory are 48 bytes for each chunk.
///
/// Where a change is on disk and cannot be read back, the call fails, and the change is found from the next one, or the next
/// opening, on. Threads of tantivy merge small
/// segments after a commit.
pub struct TantivyIndex {
    folder: PathBuf,
    parameters: Parameters,
    fields: Fields,
    reader: IndexReader,
    /// Changes, one at a time.
    writer: Mutex<IndexWriter<TantivyDocument>>,
    snapshot: RwLock<Arc<Snapshot>>,
}

impl TantivyIndex {
    /// Opens the index in a folder; where there is none, the folder and an empty index are made.
    ///
    /// # Errors
    /// `BadParameter`; `Store` where another process has it open, or what is in the folder is damaged, something else, or
    /// by another version of this crate.
    pub fn open(folder: &Path, parameters: Parameters) -> Result<Self, LexicalError> {
        parameters.check()?;
        std::fs::create_dir_all(folder).map_err(store)?;
        let (schema, fields) = Fields::new();
        let directory = MmapDirectory::open(folder).map_err(store)?;
        let index = Index::builder()
            .schema(schema)
            .settings(IndexSettings::default())
            .open_or_create(directory)
            .map_err(store)?;
        let writer = index.writer_with_num_threads(1, WRITER_BYTES).map_err(store)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(store)?;
        let snapshot = Snapshot::new(&reader, parameters, fields, None)?;
        Ok(Self {
            folder: folder.to_owned(),
            parameters,
            fields,
            reader,
            writer: Mutex::new(writer),
            snapshot: RwLock::new(Arc::new(snapshot)),
        })
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a change and commits it, or takes it back.
    fn change(
        &self,
        change: impl FnOnce(&Snapshot, &IndexWriter<TantivyDocument>) -> Result<(), LexicalError>,
    ) -> Result<(), LexicalError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot();
        let changed = change(&before, &writer).and_then(|()| writer.commit().map_err(store));
        if let Err(error) = changed {
            writer.rollback().map_err(store)?;
            return Err(error);
        }
        self.reader.reload().map_err(store)?;
        let after = Snapshot::new(&self.reader, self.parameters, self.fields, Some(&before))?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(after);
        Ok(())
    }
}

impl LexicalIndex for TantivyIndex {
    fn replace_documents(&self, documents: &[LexicalDocument<'_>]) -> Result<(), LexicalError> {
        let mut stems = LexicalDocument::stems(documents);
        let mut analyzed = Vec::new();
        let mut seen = HashSet::new();
        for document in documents {
            for chunk in document.chunks {
                if !seen.insert(chunk.id) {
                    return Err(LexicalError::BadChunk { chunk: chunk.id, why: "it is there twice" });
                }
                analyzed.push((document.id, chunk.id, AnalyzedChunk::new(document, chunk, &mut stems)?));
            }
        }
        let names: HashSet<&DocumentId> = documents.iter().map(|document| document.id).collect();
        self.change(|before, writer| {
            refuse_taken(before, &names, &seen)?;
            for name in names {
                writer.delete_term(self.fields.document_term(name));
            }
            for (document, chunk, analyzed) in &analyzed {
                writer.add_document(self.fields.document(document, *chunk, analyzed)).map_err(store)?;
            }
            Ok(())
        })
    }

    fn delete_document(&self, id: &DocumentId) -> Result<bool, LexicalError> {
        let mut there = false;
        self.change(|before, writer| {
            there = !before.chunks_of(id)?.is_empty();
            writer.delete_term(self.fields.document_term(id));
            Ok(())
        })?;
        Ok(there)
    }

    fn search(&self, query: &LexicalQuery<'_>, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError> {
        search::search(&*self.snapshot(), query, keep)
    }

    fn stats(&self) -> Result<LexicalStats, LexicalError> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.folder).map_err(store)? {
            bytes += entry.and_then(|entry| entry.metadata()).map_err(store)?.len();
        }
        self.snapshot().stats(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// Chunks that another document has, which is not replaced.
fn refuse_taken(
    before: &Snapshot,
    names: &HashSet<&DocumentId>,
    chunks: &HashSet<ChunkId>,
) -> Result<(), LexicalError> {
    let mut replaced = HashSet::new();
    for name in names {
        replaced.extend(before.chunks_of(name)?);
    }
    for chunk in chunks.difference(&replaced) {
        if before.find(*chunk)?.is_some() {
            return Err(LexicalError::BadChunk { chunk: *chunk, why: "it is in another document" });
        }
    }
    Ok(())
}

impl fmt::Debug for TantivyIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TantivyIndex").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn store(error: impl std::error::Error + Send + Sync + 'static) -> LexicalError {
    LexicalError::Store { source: Box::new(error) }
}
