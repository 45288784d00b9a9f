//! A folder of documents, kept in step with its index.

use std::ops::ControlFlow;

use agent_primitives::search::EmbedError;

use super::{Pipeline, PipelineError};
use crate::index::{Document, IndexError, Put};
use crate::ingest::{Failed, Folder, Found, Ignored, Known, Progress, Stamp};
use crate::lexical::LexicalError;
use crate::model::{DocumentId, Metadata};

/// Documents that are indexed together, and most bytes of their files.
const BATCH: usize = 64;
const BATCH_BYTES: u64 = 16 << 20;

/// What came of a folder.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FolderReport {
    /// Documents that were indexed anew.
    pub indexed: usize,
    /// Files that were as they had been.
    pub same: usize,
    /// Documents whose files are gone; they are forgotten.
    pub gone: Vec<DocumentId>,
    /// Chunks that were embedded.
    pub embedded: usize,
    /// Files that could not be read. What they were before is still found.
    pub failed: Vec<Failed>,
    /// Documents that were read and cannot be indexed. What they were before is still found.
    pub refused: Vec<Refused>,
    /// What is left out on purpose.
    pub ignored: Vec<Ignored>,
    /// What ended the work before its end; what was indexed until then is found, and known.
    pub ended_by: Option<PipelineError>,
    /// Whether the index is in step with the whole folder: nothing failed or was refused, and nothing ended the work.
    pub complete: bool,
}

/// A document that cannot be indexed.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused {
    /// Which.
    pub document: DocumentId,
    /// Why.
    pub error: IndexError,
}

/// Documents on their way into the index.
#[derive(Default)]
struct Batch {
    documents: Vec<Document>,
    stamps: Vec<(DocumentId, Stamp)>,
    bytes: u64,
}

impl Pipeline {
    /// Brings the index in step with a folder: reads and indexes what is new or has changed, and forgets what is gone. `known` is what
    /// was indexed the last time, and is kept in step with the index document by document; the host keeps it beside the index.
    ///
    /// `metadata` says what is to be said of each document. `progress` is told before each file, and may end the work.
    /// Reading blocks the thread. A file that cannot be read, and a document that cannot be indexed, keep nothing else out.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves each document as it was or as it is; `known` may lack a few that were indexed, which are
    /// looked at again the next time.
    pub async fn follow(
        &self,
        folder: &Folder,
        known: &mut Known,
        metadata: impl Fn(&DocumentId) -> Metadata,
        mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> FolderReport {
        let survey = folder.survey();
        let changes = survey.changes(known);
        let mut report = FolderReport {
            same: changes.same,
            failed: survey.failed,
            ignored: survey.ignored,
            ..FolderReport::default()
        };
        let total = changes.new.len() + changes.changed.len();
        let mut batch = Batch::default();
        let mut stopped = false;
        for (done, found) in changes.new.iter().chain(&changes.changed).enumerate() {
            if progress(Progress { done, total, next: &found.id }).is_break() {
                stopped = true;
                break;
            }
            self.read(folder, found, &metadata, &mut batch, &mut report);
            let full = BATCH <= batch.documents.len() || BATCH_BYTES <= batch.bytes;
            if full && let Err(error) = self.index_batch(&mut batch, known, &mut report).await {
                report.ended_by = Some(error);
                return report;
            }
        }
        let mut ended = self.index_batch(&mut batch, known, &mut report).await.err();
        for gone in changes.gone {
            if ended.is_some() {
                break;
            }
            match self.index.forget(&gone).await {
                Ok(_) => {
                    known.remove(&gone);
                    report.gone.push(gone);
                }
                Err(error) => ended = Some(error.into()),
            }
        }
        report.complete =
            report.failed.is_empty() && report.refused.is_empty() && !stopped && ended.is_none();
        report.ended_by = ended;
        report
    }

    fn read(
        &self,
        folder: &Folder,
        found: &Found,
        metadata: &impl Fn(&DocumentId) -> Metadata,
        batch: &mut Batch,
        report: &mut FolderReport,
    ) {
        match folder.read(found) {
            Ok(read) => {
                let metadata = metadata(&read.id);
                batch.bytes = batch.bytes.saturating_add(found.size);
                batch.stamps.push((read.id.clone(), read.stamp));
                batch.documents.push(Document { id: read.id, parsed: read.ingested.parsed, metadata });
            }
            Err(error) => report.failed.push(Failed { path: found.id.to_string(), error }),
        }
    }

    async fn index_batch(
        &self,
        batch: &mut Batch,
        known: &mut Known,
        report: &mut FolderReport,
    ) -> Result<(), PipelineError> {
        let Batch { documents, stamps, .. } = std::mem::take(batch);
        match self.index.put_batch(documents.clone()).await {
            Ok(puts) => {
                report.count(&puts);
                known.extend(stamps);
            }
            // Of a document that cannot be indexed only that one is left out.
            Err(error) if is_of_document(&error) => {
                for (document, stamp) in documents.into_iter().zip(stamps) {
                    let id = document.id.clone();
                    match self.index.put(document).await {
                        Ok(put) => {
                            report.count(&[put]);
                            known.extend([stamp]);
                        }
                        Err(error) if is_of_document(&error) => {
                            report.refused.push(Refused { document: id, error });
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl FolderReport {
    fn count(&mut self, puts: &[Put]) {
        for put in puts {
            self.indexed += usize::from(!put.unchanged);
            self.same += usize::from(put.unchanged);
            self.embedded += put.embedded;
        }
    }
}

/// Whether an error says something of one document, and not of the index or of what it is made of.
const fn is_of_document(error: &IndexError) -> bool {
    matches!(
        error,
        IndexError::Model(_)
            | IndexError::SupersessionCycle(_)
            | IndexError::Chunker { .. }
            | IndexError::BadChunks { .. }
            | IndexError::Embed(EmbedError::TooLong { .. } | EmbedError::BadVector { .. })
            | IndexError::Lexical(LexicalError::TooLarge { .. } | LexicalError::BadChunk { .. })
    )
}
