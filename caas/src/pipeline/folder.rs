//! A folder of documents, kept in step with its index.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use agent_primitives::search::EmbedError;

use super::{Pipeline, PipelineError};
use crate::index::{Document, IndexError, Put};
use crate::ingest::{Failed, Folder, Found, Ignored, Known, Progress, Stamp};
use crate::lexical::LexicalError;
use crate::model::{DocumentId, Metadata};
use crate::shelf::Stamps;

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
    /// `metadata` says what is to be said of each document. A file that is as it was is read again where something else is said of it
    /// now, or where the index has lost its document: who may read what is always as was said last. `progress` is told before each
    /// file, and may end the work. Reading blocks the thread. A file that cannot be read, and a document that cannot be indexed,
    /// keep nothing else out.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves each document as it was, as it is, or not found until the next time, as [`Index::put`] does;
    /// `known` may lack a few that were indexed, which are looked at again the next time.
    ///
    /// [`Index::put`]: crate::index::Index::put
    pub async fn follow(
        &self,
        folder: &Folder,
        known: &mut Known,
        metadata: impl Fn(&DocumentId) -> Metadata,
        progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> FolderReport {
        self.bring(folder, known, None, metadata, progress).await
    }

    /// As [`Pipeline::follow`], with what was indexed the last time kept on the index's shelf, in the same step as the documents: after
    /// a restart what is as it was is not read again. `name` is the host's name for the folder, under which it is known again.
    ///
    /// A document has the path of its file beneath its folder for a name. One that is there already and not from this folder is not
    /// replaced: it is refused (`Taken`), so two folders that share a path cannot be kept in one index under these names.
    ///
    /// # Cancel safety
    /// As [`Pipeline::follow`].
    pub async fn follow_kept(
        &self,
        folder: &Folder,
        name: &str,
        metadata: impl Fn(&DocumentId) -> Metadata,
        progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> FolderReport {
        match self.index.known(name).await {
            Ok(mut known) => self.bring(folder, &mut known, Some(name), metadata, progress).await,
            Err(error) => FolderReport { ended_by: Some(error.into()), ..FolderReport::default() },
        }
    }

    /// `name` is that of the folder, where the shelf knows it.
    async fn bring(
        &self,
        folder: &Folder,
        known: &mut Known,
        name: Option<&str>,
        metadata: impl Fn(&DocumentId) -> Metadata,
        mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> FolderReport {
        let survey = folder.survey();
        let said = self.index.said_of(survey.files.iter().map(|found| &found.id)).await;
        let mut report = FolderReport::default();
        let (mut standing, mut taken) = (known.clone(), BTreeSet::new());
        for (Found { id, .. }, said) in survey.files.iter().zip(said) {
            match said {
                Some(_) if name.is_some() && !known.contains_key(id) => drop(taken.insert(id.clone())),
                Some(said) if *said == metadata(id) => {}
                Some(_) | None => drop(standing.remove(id)),
            }
        }
        let mut changes = survey.changes(&standing);
        changes.new.retain(|found| !taken.contains(&found.id));
        report.refused = taken.into_iter().map(Refused::taken).collect();
        report.same = changes.same;
        (report.failed, report.ignored) = (survey.failed, survey.ignored);
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
            if full && let Err(error) = self.index_batch(&mut batch, known, name, &mut report).await {
                report.ended_by = Some(error.into());
                return report;
            }
        }
        let mut ended = self.index_batch(&mut batch, known, name, &mut report).await.err();
        for gone in changes.gone.chunks(BATCH) {
            if ended.is_some() {
                break;
            }
            match self.index.forget_batch(gone).await {
                Ok(_) => {
                    for document in gone {
                        known.remove(document);
                    }
                    report.gone.extend_from_slice(gone);
                }
                Err(error) => ended = Some(error),
            }
        }
        report.complete =
            report.failed.is_empty() && report.refused.is_empty() && !stopped && ended.is_none();
        report.ended_by = ended.map(PipelineError::from);
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
        name: Option<&str>,
        report: &mut FolderReport,
    ) -> Result<(), IndexError> {
        let Batch { documents, stamps, .. } = std::mem::take(batch);
        match self.index.put_known(documents.clone(), to_keep(name, &stamps)).await {
            Ok(puts) => {
                report.count(&puts);
                known.extend(stamps);
            }
            // Of a document that cannot be indexed only that one is left out.
            Err(error) if is_of_document(&error) => {
                for (document, stamp) in documents.into_iter().zip(stamps) {
                    let id = document.id.clone();
                    let stamp = [stamp];
                    match self.index.put_known(vec![document], to_keep(name, &stamp)).await {
                        Ok(puts) => {
                            report.count(&puts);
                            known.extend(stamp);
                        }
                        Err(error) if is_of_document(&error) => {
                            report.refused.push(Refused { document: id, error });
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Refused {
    fn taken(document: DocumentId) -> Self {
        Self { error: IndexError::Taken(document.clone()), document }
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

fn to_keep<'s>(name: Option<&'s str>, files: &'s [(DocumentId, Stamp)]) -> Option<Stamps<'s>> {
    name.map(|folder| Stamps { folder, files })
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
