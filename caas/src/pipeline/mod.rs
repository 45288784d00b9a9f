//! The whole road: bytes in, a context out.
//!
//! [`Pipeline`] puts the parts of this crate together as most hosts do. Each part can be had alone.

mod error;
mod folder;

use std::fmt;
use std::sync::Arc;

use agent_primitives::{IdSource, SystemIds, Timer};

pub use error::PipelineError;
pub use folder::{FolderReport, Refused};

use crate::assemble::{Assembled, Assembler, Options, Request, Triad};
use crate::chunk::{ChunkSizes, StructureChunker};
use crate::index::{Chunker, DegradedLeg, Document, Findings, Index, IndexOptions, Put, Query};
use crate::ingest::{Declared, Limits, Parser};
use crate::lexical::{MemoryBm25, Parameters};
use crate::model::{DocumentId, Metadata};
use crate::tokens::{Estimate, TokenCounter};
use crate::truth::{Conflicts, Policy, conflicts, notes};

/// A context, and how it came about.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What a model is shown, with its receipts.
    pub context: Assembled,
    /// What was found for it, best first.
    pub findings: Findings,
    /// Where what was found disagrees. The context says so where both sides are in it.
    pub conflicts: Conflicts,
}

impl Answered {
    /// What did not answer; the context was made without it.
    #[must_use]
    pub fn degraded(&self) -> &[(DegradedLeg, String)] {
        &self.findings.degraded
    }
}

/// Reads documents, indexes them, and puts contexts together from what is found.
///
/// It asks nobody who may read what: classification and readers of a document are for a [`Guard`](crate::guard::Guard) to enforce.
pub struct Pipeline {
    parser: Parser,
    index: Index,
    assembler: Assembler,
}

impl Pipeline {
    /// In memory, by words alone, with tokens estimated: nothing has to be brought along but a timer.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use agent_primitives::ManualClock;
    /// use caas_core::ingest::Declared;
    /// use caas_core::pipeline::Pipeline;
    /// use caas_core::{Classification, Metadata, Source, SourceKind};
    ///
    /// # fn run<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop { if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) { return done } }
    /// # }
    /// # run(async {
    /// let clock = Arc::new(ManualClock::at("2026-06-01T00:00:00Z".parse()?));
    /// let pipeline = Pipeline::in_memory(clock)?;
    /// let wiki = Metadata::new(Source::of(SourceKind::Wiki), Classification::Internal);
    /// let text = b"# Refunds\n\nThe window is 30 days.\n\n# Shipping\n\nBy post.\n";
    /// pipeline.ingest("refunds.md".parse()?, text, &Declared::named("refunds.md"), wiki).await?;
    ///
    /// let answered = pipeline.ask("how long is the refund window", 500).await?;
    /// assert!(answered.context.text.contains("The window is 30 days."));
    /// assert!(answered.context.tokens <= 500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`PipelineError`]; not with the settings of this release.
    pub fn in_memory(timer: Arc<dyn Timer>) -> Result<Self, PipelineError> {
        let (parser, index, assembler) = Self::usual(timer)?;
        Ok(Self::new(parser, index, assembler))
    }

    /// As [`Pipeline::in_memory`], with its documents kept in the file at `path`, which is made if it is not there: what was indexed
    /// before is there without being read again. Blocks its thread while the file is read.
    ///
    /// # Errors
    /// [`PipelineError`]: see [`RedbShelf::open`](crate::shelf::RedbShelf::open) and [`Index::with_shelf`].
    #[cfg(feature = "redb")]
    pub async fn on_disk(
        path: impl AsRef<std::path::Path>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, PipelineError> {
        let (parser, index, assembler) = Self::usual(timer)?;
        let shelf = crate::shelf::RedbShelf::open(path).map_err(crate::index::IndexError::from)?;
        Ok(Self::new(parser, index.with_shelf(Arc::new(shelf)).await?, assembler))
    }

    fn usual(timer: Arc<dyn Timer>) -> Result<(Parser, Index, Assembler), PipelineError> {
        let counter: Arc<dyn TokenCounter> = Arc::new(Estimate::default());
        let chunker = Arc::new(StructureChunker::new(ChunkSizes::default(), Arc::clone(&counter))?);
        let lexical =
            Arc::new(MemoryBm25::new(Parameters::default()).map_err(crate::index::IndexError::from)?);
        let index = Index::new(IndexOptions::default(), chunker as Arc<dyn Chunker>, lexical, timer)?;
        let ids: Arc<dyn IdSource> = Arc::new(SystemIds);
        let assembler = Assembler::new(counter, ids, Options::default())?;
        Ok((Parser::new(Limits::DEFAULT)?, index, assembler))
    }

    /// Of parts that the host has made: with an embedder, a tokenizer, other limits.
    #[must_use]
    pub const fn new(parser: Parser, index: Index, assembler: Assembler) -> Self {
        Self { parser, index, assembler }
    }

    /// The index, to delete from and to search in.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Reads a document and indexes it under a name. What is there as it is costs nothing but the reading.
    ///
    /// Reading blocks the thread, up to a second or so for the largest text; see [`Parser::parse`].
    ///
    /// # Errors
    /// [`PipelineError`]; what the name stood for is there still.
    ///
    /// # Cancel safety
    /// As [`Index::put`].
    pub async fn ingest(
        &self,
        id: DocumentId,
        bytes: &[u8],
        declared: &Declared<'_>,
        metadata: Metadata,
    ) -> Result<Put, PipelineError> {
        let parsed = self.parser.parse(bytes, declared)?.parsed;
        Ok(self.index.put(Document { id, parsed, metadata }).await?)
    }

    /// A context of at most `budget` tokens from the best of what is found for a question.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn ask(&self, question: &str, budget: usize) -> Result<Answered, PipelineError> {
        // More than fit, so that what is too long for the budget is passed over for something shorter.
        self.answer(&Query::new(question, 40), &Triad::default(), budget).await
    }

    /// As [`Pipeline::ask`], with conditions on what may be found, and with what goes on now and what the agent always carries.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub async fn answer(
        &self,
        query: &Query,
        triad: &Triad,
        budget: usize,
    ) -> Result<Answered, PipelineError> {
        let findings = self.index.search(query).await?;
        let conflicts = conflicts(&findings.hits);
        let notes = notes(&conflicts.found, Policy::Both, self.index.now());
        let neighbours = self.index.neighbours(&findings).await;
        let request =
            Request { budget, triad, found: &findings.hits, notes: &notes, neighbours: Some(&neighbours) };
        let context = self.assembler.assemble(&request)?;
        Ok(Answered { context, findings, conflicts })
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("index", &self.index)
            .field("assembler", &self.assembler)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
