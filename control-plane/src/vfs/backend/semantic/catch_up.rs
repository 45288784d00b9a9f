//! Bringing the index up to date with the store.

use std::collections::{BTreeMap, BTreeSet};

use caas_core::index::Document;
use caas_core::ingest::{Declared, IngestError, Parser};
use caas_core::{Classification, DocumentId, Format, Metadata, Parsed, Source, SourceKind};

use super::marks::Due;
use super::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, Semantic, failed};
use crate::vfs::{Content, Kind, Page, RelPath, Version, VfsError};

/// Entries asked of the store at a time when all of it is read.
const PAGE: usize = 1024;
/// Documents put into the index at a time, and most bytes of them.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 8 << 20;

/// The version of each file that the index holds.
#[derive(Debug, Default)]
pub(super) struct Indexed(BTreeMap<DocumentId, Version>);

impl Indexed {
    pub(super) fn version(&self, document: &DocumentId) -> Option<Version> {
        self.0.get(document).copied()
    }
}

/// Documents on their way into the index.
#[derive(Default)]
struct Batch {
    documents: Vec<Document>,
    versions: Vec<Version>,
    bytes: usize,
}

impl Semantic {
    pub(super) async fn bring_up_to_date(&self, indexed: &mut Indexed) -> Result<(), VfsError> {
        while let Some(due) = self.marks.take() {
            let mut batch = Batch::default();
            match due.due() {
                Due::All => self.read_all(indexed, &mut batch).await?,
                Due::File(path) => self.read_one(path, indexed, &mut batch).await?,
            }
            self.put(indexed, &mut batch).await?;
            due.done();
        }
        Ok(())
    }

    async fn read_all(&self, indexed: &mut Indexed, batch: &mut Batch) -> Result<(), VfsError> {
        let mut gone: BTreeSet<DocumentId> = indexed.0.keys().cloned().collect();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let mut after: Option<String> = None;
            loop {
                let page = self.store.list(RelPath::parse(&folder)?, Page::new(after.as_deref(), PAGE)).await;
                let page = match page {
                    // Gone meanwhile.
                    Err(VfsError::NotFound | VfsError::NotDirectory) => break,
                    page => page?,
                };
                for entry in page.entries {
                    let path =
                        if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                    match entry.stat.kind {
                        Kind::Directory => folders.push(path),
                        Kind::File => {
                            gone.remove(path.as_str());
                            // What is in the index as it is costs nothing.
                            let known = indexed.0.get(path.as_str()).copied();
                            if known.is_none() || known != entry.stat.version {
                                self.read_one(&path, indexed, batch).await?;
                            }
                        }
                    }
                }
                match page.next {
                    Some(next) if after.as_ref().is_none_or(|after| *after < next) => after = Some(next),
                    Some(_) => return Err(VfsError::Backend),
                    None => break,
                }
            }
        }
        for document in gone {
            self.forget(&document, indexed).await?;
        }
        Ok(())
    }

    async fn read_one(&self, path: &str, indexed: &mut Indexed, batch: &mut Batch) -> Result<(), VfsError> {
        // A name that no document can have is kept, and not found.
        let Ok(id) = path.parse::<DocumentId>() else { return Ok(()) };
        let content = match self.store.read(RelPath::parse(path)?, 0, MAX_DOCUMENT_BYTES + 1).await {
            Ok(content) => content,
            Err(VfsError::NotFound | VfsError::IsDirectory | VfsError::NotDirectory) => {
                return self.forget(&id, indexed).await;
            }
            Err(error) => return Err(error),
        };
        let (version, bytes) = (content.version, content.bytes.len());
        let room = indexed.0.contains_key(&id) || indexed.0.len() + batch.documents.len() < MAX_DOCUMENTS;
        let document =
            if room && bytes <= MAX_DOCUMENT_BYTES { self.document(&id, content).await? } else { None };
        let Some(document) = document else { return self.forget(&id, indexed).await };
        batch.bytes += bytes;
        batch.documents.push(document);
        batch.versions.push(version);
        if BATCH <= batch.documents.len() || BATCH_BYTES <= batch.bytes {
            self.put(indexed, batch).await?;
        }
        Ok(())
    }

    async fn put(&self, indexed: &mut Indexed, batch: &mut Batch) -> Result<(), VfsError> {
        let Batch { documents, versions, .. } = std::mem::take(batch);
        let ids: Vec<DocumentId> = documents.iter().map(|document| document.id.clone()).collect();
        if let Err(error) = self.index.put_batch(documents).await {
            self.marks.mark_all();
            return Err(failed(&error));
        }
        indexed.0.extend(ids.into_iter().zip(versions));
        Ok(())
    }

    async fn forget(&self, document: &DocumentId, indexed: &mut Indexed) -> Result<(), VfsError> {
        if indexed.0.remove(document).is_some() {
            self.index.forget(document).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// The file as a document, if it can be read as one. Reading takes a thread that may block.
    async fn document(&self, id: &DocumentId, content: Content) -> Result<Option<Document>, VfsError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| VfsError::Backend)?;
        let (parser, name) = (self.parser.clone(), id.clone());
        let labels = content.labels;
        let parsed = runtime.spawn_blocking(move || parse(&parser, &name, &content.bytes));
        let parsed = match parsed.await.map_err(|_| VfsError::Backend)? {
            Ok(parsed) => parsed,
            Err(error) => {
                tracing::debug!(document = %id, code = error.code(), %error, "a file cannot be found");
                return Ok(None);
            }
        };
        // Who may read a file is for the policy of the kernel to say, by its path.
        let mut metadata = Metadata::new(Source::of(SourceKind::Unknown), Classification::Public);
        metadata.labels = labels;
        Ok(Some(Document { id: id.clone(), parsed, metadata }))
    }
}

/// A file is read as what its name and bytes say, or else as text.
fn parse(parser: &Parser, id: &DocumentId, bytes: &[u8]) -> Result<Parsed, IngestError> {
    let read = parser.parse(bytes, &Declared::named(id.as_str()));
    let read = read.or_else(|error| {
        let text = parser.parse(bytes, &Declared::format(Format::Text));
        text.map_err(|_| error)
    })?;
    Ok(read.parsed)
}
