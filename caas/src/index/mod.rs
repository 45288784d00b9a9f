//! Documents that are found by their words and by their meaning.
//!
//! An index is one namespace: how rare a word is follows from its own documents alone. A document is put and deleted as a
//! whole; whoever searches sees all of it as it was, or all of it as it is. What did not change is neither embedded nor
//! stored again.

mod catalogue;
mod change;
mod duplicate;
mod error;
mod options;
mod restore;
mod search;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use agent_primitives::search::Embedder;
use agent_primitives::{Digest, Timer};

pub use error::IndexError;
pub use options::{IndexOptions, Mode, OnFailure, Query};
pub use search::{DegradedLeg, Findings};

use crate::assemble::Neighbours;
use crate::lexical::LexicalIndex;
use crate::model::{Chunk, DocumentId, Metadata, Parsed};
use crate::shelf::Shelf;
use crate::vector::VectorStore;
use catalogue::Catalogue;

/// Cuts a document into chunks.
pub trait Chunker: fmt::Debug + Send + Sync {
    /// The chunks of a document, in order. Their ids follow from what they hold, so that what did not change keeps its id.
    ///
    /// # Errors
    /// Whatever the chunker says; the document is not indexed.
    fn chunks(
        &self,
        document: &DocumentId,
        parsed: &Parsed,
    ) -> Result<Vec<Chunk>, Box<dyn Error + Send + Sync>>;

    /// What it cuts by: its name, its settings and the version of its rules, in a line. Two that say the same cut the same, so an
    /// index that is kept on a [`Shelf`] is opened with one that says the same as before.
    fn settings(&self) -> String;
}

/// Scores of a reranker, to be awaited.
pub type Reranking<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<f64>, Box<dyn Error + Send + Sync>>> + Send + 'a>>;

/// Looks at the best hits once more, with the question: as many as [`IndexOptions::reranked`], or as are asked for.
///
/// What it says stands, and is in [`Scores::rerank`](crate::Scores::rerank), so also in the receipts of a context. The score that
/// a hit had before, age included, decides only whether it is looked at.
pub trait Reranker: fmt::Debug + Send + Sync {
    /// One score for each text, in order; higher is better, on a scale of its own.
    ///
    /// # Errors
    /// Whatever it says. Then, and where it takes longer than [`IndexOptions::patience`] or answers anything but a finite score
    /// for each text, the search fails, or keeps its order and says so, as [`IndexOptions::on_failure`] has it.
    ///
    /// # Cancel safety
    /// The future is dropped when it takes too long, and must leave nothing half done.
    fn rerank<'a>(&'a self, query: &'a str, texts: &'a [&'a str]) -> Reranking<'a>;
}

/// A document to be indexed.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its name; what the name stood for before is replaced.
    pub id: DocumentId,
    /// What it says.
    pub parsed: Parsed,
    /// What the host says of it.
    pub metadata: Metadata,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Which.
    pub document: DocumentId,
    /// The digest of its text and metadata.
    pub version: Digest,
    /// Its chunks.
    pub chunks: usize,
    /// Chunks that were embedded for it; the others had their vectors, or there is no embedder.
    pub embedded: usize,
    /// Whether it was there as it is, and nothing was done.
    pub unchanged: bool,
}

/// An index of documents. Share it by reference, or in an [`Arc`].
pub struct Index {
    options: IndexOptions,
    chunker: Arc<dyn Chunker>,
    lexical: Arc<dyn LexicalIndex>,
    dense: Option<Dense>,
    reranker: Option<Arc<dyn Reranker>>,
    shelf: Option<Arc<dyn Shelf>>,
    timer: Arc<dyn Timer>,
    /// Changes, one at a time. Held while texts are embedded, which searches do not wait for.
    changing: async_lock::Mutex<()>,
    /// INVARIANT: what it does not hold is not found, whatever the stores answer.
    catalogue: async_lock::RwLock<Catalogue>,
}

/// Search by meaning.
#[derive(Debug)]
struct Dense {
    embedder: Arc<dyn Embedder>,
    vectors: Arc<dyn VectorStore>,
}

impl Index {
    /// An empty index that searches by words. `lexical` is its own: nobody else writes to it. It has to be empty as well: what an
    /// earlier process has left in a store on disk or in a server is not found, and weighs in scores all the same. For documents
    /// that outlive the process there is [`Index::with_shelf`].
    ///
    /// # Errors
    /// `BadOptions`, `Decay`.
    pub fn new(
        options: IndexOptions,
        chunker: Arc<dyn Chunker>,
        lexical: Arc<dyn LexicalIndex>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, IndexError> {
        options.check()?;
        Ok(Self {
            options,
            chunker,
            lexical,
            dense: None,
            reranker: None,
            shelf: None,
            timer,
            changing: async_lock::Mutex::new(()),
            catalogue: async_lock::RwLock::default(),
        })
    }

    /// With search by meaning. `vectors` is the index's own, as above.
    ///
    /// # Errors
    /// `Vector` where the store has vectors of another model. `BadOptions` where the index has a shelf already, whose documents
    /// would have none.
    pub async fn with_vectors(
        mut self,
        embedder: Arc<dyn Embedder>,
        vectors: Arc<dyn VectorStore>,
    ) -> Result<Self, IndexError> {
        if self.shelf.is_some() {
            return Err(IndexError::BadOptions("its vectors before its shelf"));
        }
        vectors.bind(embedder.model(), embedder.dimensions()).await?;
        self.dense = Some(Dense { embedder, vectors });
        Ok(self)
    }

    /// With a second look at the best hits.
    #[must_use]
    pub fn with_reranker(mut self, reranker: Arc<dyn Reranker>) -> Self {
        self.reranker = Some(reranker);
        self
    }

    pub(crate) fn now(&self) -> agent_primitives::Timestamp {
        self.timer.now()
    }

    /// How many documents and chunks there are.
    pub async fn len(&self) -> (usize, usize) {
        let catalogue = self.catalogue.read().await;
        (catalogue.documents(), catalogue.chunks())
    }

    /// The digest of a document, if it is there.
    pub async fn version(&self, document: &DocumentId) -> Option<Digest> {
        self.catalogue.read().await.get(document).map(|held| held.version)
    }

    /// What was said of each of some documents; nothing of one that is not there.
    pub(crate) async fn said_of(
        &self,
        documents: impl Iterator<Item = &DocumentId>,
    ) -> Vec<Option<Arc<Metadata>>> {
        let catalogue = self.catalogue.read().await;
        documents.map(|document| catalogue.get(document).map(|held| Arc::clone(&held.metadata))).collect()
    }

    /// The names of all documents, in order.
    pub async fn documents(&self) -> Vec<DocumentId> {
        self.catalogue.read().await.ids()
    }

    /// The chunks beside those that were found, as they are now, for [`assemble`](crate::assemble). They are those of the
    /// documents in `findings` alone: who may read one chunk of a document may read them all.
    pub async fn neighbours(&self, findings: &Findings) -> impl Neighbours + use<> {
        let catalogue = self.catalogue.read().await;
        catalogue
            .around(findings.hits.iter().map(|found| (&found.document, found.version, found.chunk.ordinal)))
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, lexical, dense, shelf, .. } = self;
        f.debug_struct("Index")
            .field("options", options)
            .field("lexical", lexical)
            .field("dense", dense)
            .field("shelf", shelf)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) use tests::fixture;
#[cfg(test)]
mod tests;
