//! Putting documents in and taking them out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_primitives::Digest;
use agent_primitives::search::{TextKind, embed};

use super::catalogue::Catalogue;
use super::{Document, Index, IndexError, Put, duplicate};
use crate::lexical::LexicalDocument;
use crate::model::{Chunk, ChunkId, DocumentId, Metadata, Parsed};
use crate::shelf::{Change, Held, Stamps};
use crate::vector::DocumentVectors;

/// Most chunks of one document.
const MAX_CHUNKS: usize = 200_000;
/// Between the fields of what is digested, where none of them can hold it.
const VERSION: &str = "agent-os caas document v1";

/// A document that is ready to be taken in.
struct Ready {
    id: DocumentId,
    held: Held,
    vectors: DocumentVectors,
    embedded: usize,
    /// Chunks of what it replaces, and those of them whose vectors are its own too.
    old: Vec<ChunkId>,
    known: BTreeSet<ChunkId>,
    /// What would give it the vectors back that it has now, where they are known.
    back: Option<DocumentVectors>,
}

impl Index {
    /// Puts a document in the place of what its name stood for. One that is there as it is costs nothing; of one that changed
    /// only the chunks that changed are embedded.
    ///
    /// # Errors
    /// [`IndexError`]; what was there is there still, unless it says `HalfWritten`.
    ///
    /// # Cancel safety
    /// A future that is dropped leaves the document as it was, as it shall be, or not found until it is put again; never a part
    /// of it.
    pub async fn put(&self, document: Document) -> Result<Put, IndexError> {
        let mut put = self.put_batch(vec![document]).await?;
        put.pop().ok_or(IndexError::BadOptions("a document"))
    }

    /// Puts documents: all of them, or none where there is an error. Cheaper than one by one.
    ///
    /// # Errors
    /// As [`Index::put`].
    ///
    /// # Cancel safety
    /// As [`Index::put`].
    pub async fn put_batch(&self, documents: Vec<Document>) -> Result<Vec<Put>, IndexError> {
        self.put_known(documents, None).await
    }

    /// As [`Index::put_batch`]; what is known of the files goes to the shelf in the same step.
    pub(crate) async fn put_known(
        &self,
        documents: Vec<Document>,
        stamps: Option<Stamps<'_>>,
    ) -> Result<Vec<Put>, IndexError> {
        let _changing = self.changing.lock().await;
        let (mut puts, ready) = self.prepare(&*self.catalogue.read().await, documents)?;
        let mut ready = self.embed(ready).await?;
        for (put, ready) in puts.iter_mut().filter(|put| !put.unchanged).zip(&ready) {
            put.embedded = ready.embedded;
        }
        for ready in &mut ready {
            ready.back = self.way_back(ready)?;
        }
        self.take_in(ready, stamps).await?;
        Ok(puts)
    }

    /// What is to become of documents, and those of them that changed.
    fn prepare(
        &self,
        catalogue: &Catalogue,
        documents: Vec<Document>,
    ) -> Result<(Vec<Put>, Vec<Ready>), IndexError> {
        check(catalogue, &documents)?;
        let (mut puts, mut ready) = (Vec::with_capacity(documents.len()), Vec::new());
        for Document { id, parsed, metadata } in documents {
            let version = version(&parsed, &metadata);
            let old = catalogue.get(&id);
            if let Some(old) = old.filter(|old| old.version == version) {
                let chunks = old.chunks.len();
                puts.push(Put { document: id, version, chunks, embedded: 0, unchanged: true });
                continue;
            }
            let chunks = self.chunks(&id, &parsed, catalogue)?;
            let count = chunks.len();
            puts.push(Put { document: id.clone(), version, chunks: count, embedded: 0, unchanged: false });
            let title = metadata.title.as_deref().or(parsed.title.as_deref()).unwrap_or(id.as_str()).into();
            let mut new = Ready::new(id, title, metadata, version, chunks);
            new.old = old.into_iter().flat_map(|old| &old.chunks).map(|chunk| chunk.id).collect();
            // A new title is seen by the embedder with every chunk.
            if old.is_some_and(|old| old.title == new.held.title) {
                new.known = new.old.iter().copied().collect();
            }
            ready.push(new);
        }
        Ok((puts, ready))
    }

    /// Deletes a document from everything: it is found no more once this has returned. Answers how many chunks it had, or
    /// nothing where there was none.
    ///
    /// # Errors
    /// `Shelf`, `Lexical`, `Vector`: a store did not delete. It is not found all the same, until the index is opened again on a shelf
    /// that has it; forget it again until there is no error.
    ///
    /// # Cancel safety
    /// A future that is dropped may leave parts of it in the stores, where nothing finds them; forget it again.
    pub async fn forget(&self, document: &DocumentId) -> Result<Option<usize>, IndexError> {
        let mut gone = self.forget_batch(std::slice::from_ref(document)).await?;
        Ok(gone.pop().flatten())
    }

    /// As [`Index::forget`], for many documents. With a shelf it is much cheaper than one by one.
    ///
    /// # Errors
    /// As [`Index::forget`]; none of them is found, and all of them are to be forgotten again.
    ///
    /// # Cancel safety
    /// As [`Index::forget`].
    pub async fn forget_batch(&self, documents: &[DocumentId]) -> Result<Vec<Option<usize>>, IndexError> {
        let _changing = self.changing.lock().await;
        let mut catalogue = self.catalogue.write().await;
        let gone: Vec<Option<Held>> = documents.iter().map(|document| catalogue.remove(document)).collect();
        drop(catalogue);
        // Also where the catalogue has nothing: a change that failed may have left something. A shelf that fails does not keep it
        // in the other stores.
        let shelved = self.shelf.as_ref().map_or(Ok(false), |shelf| shelf.forget(documents));
        for document in documents {
            self.lexical.delete_document(document)?;
            if let Some(dense) = &self.dense {
                dense.vectors.delete(document).await?;
            }
        }
        shelved?;
        Ok(gone.into_iter().map(|held| held.map(|held| held.chunks.len())).collect())
    }

    fn chunks(
        &self,
        id: &DocumentId,
        parsed: &Parsed,
        catalogue: &Catalogue,
    ) -> Result<Vec<Chunk>, IndexError> {
        let chunks = self.chunker.chunks(id, parsed);
        let chunks = chunks.map_err(|source| IndexError::Chunker { document: id.clone(), source })?;
        let bad = |why| Err(IndexError::BadChunks { document: id.clone(), why });
        if MAX_CHUNKS < chunks.len() {
            return bad("more than 200000 chunks");
        }
        if (0..).zip(&chunks).any(|(ordinal, chunk)| chunk.ordinal != ordinal) {
            return bad("its chunks are not numbered in order");
        }
        let ids: BTreeSet<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        if ids.len() < chunks.len() {
            return bad("two of its chunks have one id");
        }
        if ids.iter().any(|chunk| catalogue.owner(*chunk).is_some_and(|owner| owner != id)) {
            return bad("another document has one of its chunks");
        }
        Ok(chunks)
    }

    /// Embeds what is new, over all documents at once. Nothing is locked meanwhile but other changes.
    async fn embed(&self, mut ready: Vec<Ready>) -> Result<Vec<Ready>, IndexError> {
        let Some(dense) = &self.dense else { return Ok(ready) };
        let mut texts = Vec::new();
        for Ready { held, known, .. } in &ready {
            let new = held.chunks.iter().filter(|chunk| !known.contains(&chunk.id));
            texts.extend(new.map(|chunk| passage(&held.title, chunk)));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut vectors = embed(&*dense.embedder, TextKind::Passage, &texts).await?.into_iter();
        for ready in &mut ready {
            for chunk in &ready.held.chunks {
                if ready.known.contains(&chunk.id) {
                    ready.vectors.kept.push(chunk.id);
                } else if let Some(vector) = vectors.next() {
                    ready.vectors.new.push((chunk.id, vector));
                }
            }
            ready.embedded = ready.vectors.new.len();
        }
        Ok(ready)
    }

    /// What would give a document its vectors back after it has lost them, where that is known: nothing to one that is new, and
    /// what the shelf has to another.
    fn way_back(&self, ready: &Ready) -> Result<Option<DocumentVectors>, IndexError> {
        if ready.old.is_empty() {
            return Ok(Some(DocumentVectors::default()));
        }
        let (Some(shelf), Some(_)) = (&self.shelf, &self.dense) else { return Ok(None) };
        let kept = ready.vectors.kept.clone();
        let stays: BTreeSet<ChunkId> = kept.iter().copied().collect();
        let lost: Vec<ChunkId> = ready.old.iter().filter(|chunk| !stays.contains(chunk)).copied().collect();
        Ok(Some(DocumentVectors { new: shelf.vectors(&ready.id, &lost)?, kept }))
    }

    /// Takes documents in, while nobody searches. The shelf is last: what is on it was taken by all others.
    async fn take_in(&self, mut ready: Vec<Ready>, stamps: Option<Stamps<'_>>) -> Result<(), IndexError> {
        if ready.is_empty() {
            return self.shelve(&[], stamps);
        }
        let mut catalogue = self.catalogue.write().await;
        // Until all stores have answered, the documents are not found: a future that is dropped in between leaves no half.
        let old: Vec<(DocumentId, Option<Held>)> =
            ready.iter().map(|ready| (ready.id.clone(), catalogue.remove(&ready.id))).collect();
        if let Err(error) = self.replace_words(ready.iter().map(|ready| (&ready.id, &ready.held))) {
            // An index of words that refuses has changed nothing.
            restore(&mut catalogue, old);
            return Err(error);
        }
        for at in 0..ready.len() {
            let (Some(dense), Some(next)) = (&self.dense, ready.get_mut(at)) else { continue };
            let vectors = next.take_vectors(self.shelf.is_some());
            if let Err(error) = dense.vectors.replace(&next.id, vectors).await {
                ready.truncate(at);
                return Err(self.take_back(&mut catalogue, old, ready, error.into()).await);
            }
        }
        if let Err(error) = self.shelve(&ready, stamps) {
            return Err(self.take_back(&mut catalogue, old, ready, error).await);
        }
        for Ready { id, held, .. } in ready {
            catalogue.insert(id, held);
        }
        Ok(())
    }

    fn shelve(&self, ready: &[Ready], stamps: Option<Stamps<'_>>) -> Result<(), IndexError> {
        let Some(shelf) = &self.shelf else { return Ok(()) };
        if ready.is_empty() && stamps.is_none_or(|stamps| stamps.files.is_empty()) {
            return Ok(());
        }
        let changes: Vec<Change<'_>> =
            ready.iter().map(|Ready { id, held, vectors, .. }| Change { id, held, vectors }).collect();
        Ok(shelf.put(&changes, stamps)?)
    }

    /// Puts back what was there, as far as the stores allow. `taken` are the documents whose new vectors were taken: they have lost
    /// their old ones, and get them back where they are known.
    async fn take_back(
        &self,
        catalogue: &mut Catalogue,
        old: Vec<(DocumentId, Option<Held>)>,
        taken: Vec<Ready>,
        error: IndexError,
    ) -> IndexError {
        let (mut whole, mut documents) = (Vec::new(), Vec::new());
        let mut taken = taken.into_iter();
        for (id, held) in old {
            // The first of the old are those that were taken.
            let back = match taken.next() {
                Some(ready) => self.give_back(&id, ready.back, held.is_some()).await,
                None => true,
            };
            if back { whole.push((id, held)) } else { documents.push(id) }
        }
        let kept: Vec<(&DocumentId, &Held)> =
            whole.iter().filter_map(|(id, held)| held.as_ref().map(|held| (id, held))).collect();
        let new = whole.iter().filter(|(_, held)| held.is_none()).map(|(id, _)| id);
        // Words of what is not in the catalogue are found by nobody; that they are gone as well is for tidiness.
        let tidy = new.chain(&documents).all(|id| self.lexical.delete_document(id).is_ok());
        if self.replace_words(kept.into_iter()).is_ok() {
            restore(catalogue, whole);
        } else {
            documents.extend(whole.into_iter().filter(|(_, held)| held.is_some()).map(|(id, _)| id));
        }
        if documents.is_empty() && tidy {
            error
        } else {
            IndexError::HalfWritten { documents, source: Box::new(error) }
        }
    }

    /// Whether a document has its old vectors again, which are none where it was not there.
    async fn give_back(&self, id: &DocumentId, back: Option<DocumentVectors>, was_there: bool) -> bool {
        match (&self.dense, back) {
            (None, _) => true,
            (Some(dense), _) if !was_there => dense.vectors.delete(id).await.is_ok(),
            (Some(dense), Some(back)) => dense.vectors.replace(id, back).await.is_ok(),
            (Some(_), None) => false,
        }
    }

    pub(super) fn replace_words<'h>(
        &self,
        documents: impl Iterator<Item = (&'h DocumentId, &'h Held)>,
    ) -> Result<(), IndexError> {
        let owned: Vec<(&DocumentId, &str, Vec<Chunk>)> = documents
            .map(|(id, held)| (id, &*held.title, held.chunks.iter().map(|chunk| (**chunk).clone()).collect()))
            .collect();
        let documents: Vec<LexicalDocument<'_>> =
            owned.iter().map(|(id, title, chunks)| LexicalDocument { id, title, chunks }).collect();
        Ok(self.lexical.replace_documents(&documents)?)
    }
}

impl Ready {
    fn new(id: DocumentId, title: Arc<str>, metadata: Metadata, version: Digest, chunks: Vec<Chunk>) -> Self {
        let prints = chunks.iter().map(|chunk| duplicate::print(&chunk.text)).collect();
        let chunks = chunks.into_iter().map(Arc::new).collect();
        let held = Held { version, title, metadata: Arc::new(metadata), chunks, prints };
        let vectors = DocumentVectors::default();
        Self { id, held, vectors, embedded: 0, old: Vec::new(), known: BTreeSet::new(), back: None }
    }

    /// Its vectors, for a store. A shelf needs them too.
    fn take_vectors(&mut self, again: bool) -> DocumentVectors {
        if again { self.vectors.clone() } else { std::mem::take(&mut self.vectors) }
    }
}

fn restore(catalogue: &mut Catalogue, old: Vec<(DocumentId, Option<Held>)>) {
    for (id, held) in old {
        if let Some(held) = held {
            catalogue.insert(id, held);
        }
    }
}

/// Whether documents can be put, their metadata and succession among themselves included.
fn check(catalogue: &Catalogue, documents: &[Document]) -> Result<(), IndexError> {
    let mut pending: BTreeMap<&DocumentId, &[DocumentId]> = BTreeMap::new();
    for Document { id, metadata, .. } in documents {
        metadata.check(id)?;
        if pending.insert(id, &metadata.supersedes).is_some() {
            return Err(IndexError::DuplicateDocument(id.clone()));
        }
    }
    for Document { id, metadata, .. } in documents {
        catalogue.check_succession(id, &metadata.supersedes, &pending)?;
    }
    let new = pending.keys().filter(|id| catalogue.get(id).is_none()).count();
    if Catalogue::MAX_DOCUMENTS < catalogue.documents() + new {
        return Err(IndexError::TooManyDocuments { limit: Catalogue::MAX_DOCUMENTS });
    }
    Ok(())
}

/// What the embedder is given: the chunk beneath what it lies beneath.
fn passage(title: &str, chunk: &Chunk) -> String {
    let path = chunk.path.iter().map(|step| &**step);
    let trail = std::iter::once(title).chain(path).collect::<Vec<_>>().join(" > ");
    format!("{trail}\n{}", chunk.text)
}

/// The digest of everything that makes a document: how it was read, and what the host says of it.
fn version(parsed: &Parsed, metadata: &Metadata) -> Digest {
    let text = Digest::of(VERSION, parsed.text.as_bytes());
    // Every type here has text for keys and numbers that JSON can hold, so this does not fail; if it did, two versions would
    // pass for different, never for equal.
    let metadata = serde_json::to_string(metadata).unwrap_or_default();
    let blocks = format!("{:?}{:?}{:?}{:?}", parsed.title, parsed.language, parsed.blocks, parsed.attributes);
    Digest::of(VERSION, format!("{text}{}{metadata}{blocks}", metadata.len()).as_bytes())
}
