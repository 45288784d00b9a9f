//! Documents that are found by what they say.

mod catch_up;
mod marks;

use std::fmt;
use std::sync::Arc;

use agent_primitives::truncate::within;
use agent_tool_registry::TokioTimer;
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::filter::Filter;
use caas_core::index::{Index, IndexError, IndexOptions, Query};
use caas_core::ingest::{IngestError, Limits, Parser};
use caas_core::lexical::{MemoryBm25, Parameters};
use caas_core::tokens::Estimate;

use super::{
    Answer, Content, Hit, Kind, Listing, MemoryBackend, Page, RelPath, Search, Stat, Version, VfsError,
    Write, Written,
};
use catch_up::Indexed;
use marks::Marks;

/// Longest document that can be found, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 8 << 20;
/// Most documents that can be found.
pub const MAX_DOCUMENTS: usize = 100_000;

/// Most bytes of text of one hit.
const MAX_EXCERPT: usize = 2048;
/// Hits that are asked of the index for each that is answered, as some may be of files that have changed meanwhile.
const SPARE: usize = 2;

/// A store with search: what lies in another store is found by its words and, where the host gives an index that has an
/// embedder, by its meaning.
///
/// Every operation but the search is the other store's own, so files keep what they have there: versions, labels, ends.
/// Files are read as what they are, by their names and contents: Markdown, HTML, programs, data, text. A hit is a part of a
/// file, a section or a paragraph, as the file is now, with the labels that the file has now; what is gone or has changed is not
/// found. One file can have several hits.
///
/// The index is in memory. The first search reads the whole store, and each later one what was written since; writing
/// costs nothing for it. Only what is written through this value is noticed, so it has to be the only way to the store.
/// Files that cannot be read as a document, longer than [`MAX_DOCUMENT_BYTES`], or beyond the first [`MAX_DOCUMENTS`] are kept
/// and never found.
///
/// Dropping a future is as safe as the other store makes it.
pub struct Semantic {
    store: Arc<dyn MemoryBackend>,
    marks: Marks,
    index: Index,
    parser: Parser,
    /// What the index holds. Whoever brings it up to date holds this.
    indexed: tokio::sync::Mutex<Indexed>,
}

/// Why there is no index.
#[derive(Debug, thiserror::Error)]
#[error("documents cannot be indexed")]
pub struct SemanticError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Semantic {
    /// Search by words over what `store` holds, and will hold.
    ///
    /// # Errors
    /// [`SemanticError`]; not with the settings of this release.
    pub fn new(store: Arc<dyn MemoryBackend>) -> Result<Self, SemanticError> {
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| SemanticError(error);
        let chunker = StructureChunker::new(ChunkSizes::default(), Arc::new(Estimate::default()));
        let chunker = chunker.map_err(|error| unusable(error.into()))?;
        let words = MemoryBm25::new(Parameters::default()).map_err(|error| unusable(error.into()))?;
        let timer = Arc::new(TokioTimer::new());
        // Of two files that say the same, an agent may be allowed to read the one or the other.
        let options = IndexOptions { collapse: false, ..IndexOptions::default() };
        let index = Index::new(options, Arc::new(chunker), Arc::new(words), timer);
        Self::with_index(store, index.map_err(|error| unusable(error.into()))?)
    }

    /// As [`Semantic::new`], in an index of the host's own, empty, to which nobody else writes: with an embedder, a reranker, or
    /// documents that age.
    ///
    /// # Errors
    /// As [`Semantic::new`].
    pub fn with_index(store: Arc<dyn MemoryBackend>, index: Index) -> Result<Self, SemanticError> {
        let mut limits = Limits::DEFAULT;
        limits.raw = MAX_DOCUMENT_BYTES;
        let parser = Parser::new(limits).map_err(|error: IngestError| SemanticError(error.into()))?;
        Ok(Self { store, marks: Marks::default(), index, parser, indexed: tokio::sync::Mutex::default() })
    }

    async fn find(&self, path: RelPath<'_>, search: Search<'_>) -> Result<Vec<Hit>, VfsError> {
        if self.store.stat(path).await?.kind == Kind::File {
            return Err(VfsError::NotDirectory);
        }
        let mut indexed = self.indexed.lock().await;
        self.bring_up_to_date(&mut indexed).await?;
        let limit = search.limit.saturating_mul(SPARE).clamp(1, Query::MAX_K);
        let mut query = Query::new(search.text, limit);
        if !path.is_root() {
            query = query.filter(Filter::Under(path.as_str().to_owned()));
        }
        let found = self.index.search(&query).await.map_err(|error| failed(&error))?;
        for (leg, why) in &found.degraded {
            tracing::warn!(?leg, why, "a search goes on without a part of it");
        }
        let mut hits = Vec::new();
        for hit in found.hits {
            if hits.len() == search.limit {
                break;
            }
            let stat = match self.store.stat(RelPath::parse(hit.document.as_str())?).await {
                Ok(stat) => stat,
                Err(VfsError::NotFound | VfsError::NotDirectory) => continue,
                Err(error) => return Err(error),
            };
            // Changed since the index was brought up to date; the next search knows it.
            if stat.version.is_none() || indexed.version(&hit.document) != stat.version {
                continue;
            }
            let below = hit.document.as_str().get(path.as_str().len()..).unwrap_or_default();
            let text = within(&hit.chunk.text, MAX_EXCERPT).into_owned();
            let name = below.trim_start_matches('/').to_owned();
            hits.push(Hit::new(name, hit.scores.total, text, stat.labels));
        }
        Ok(hits)
    }
}

/// The class of an error, for the agent. The host's log has the rest.
fn failed(error: &IndexError) -> VfsError {
    tracing::warn!(code = error.code(), %error, "an index of documents failed");
    VfsError::Backend
}

impl MemoryBackend for Semantic {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        self.store.read(path, offset, length)
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move {
            // However the write ends, and if it is dropped, what is there afterwards is looked at.
            let _changing = self.marks.changing(path);
            self.store.write(path, write).await
        })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move {
            let _changing = self.marks.changing(path);
            self.store.remove(path, expected).await
        })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        self.store.list(path, page)
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        self.store.stat(path)
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(self.find(path, query))
    }
}

impl fmt::Debug for Semantic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semantic")
            .field("store", &self.store)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
