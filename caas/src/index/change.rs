//! Putting documents in and taking them out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agent_primitives::Digest;
use agent_primitives::search::{TextKind, embed};

use super::catalogue::{Catalogue, Held};
use super::{Document, Index, IndexError, Put, duplicate};
use crate::lexical::LexicalDocument;
use crate::model::{Chunk, ChunkId, DocumentId, Metadata, Parsed};
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
        let _changing = self.changing.lock().await;
        let mut ready = Vec::new();
        let mut puts = Vec::with_capacity(documents.len());
        {
            let catalogue = self.catalogue.read().await;
            check(&catalogue, &documents)?;
            for Document { id, parsed, metadata } in documents {
                let version = version(&parsed, &metadata);
                let old = catalogue.get(&id);
                if let Some(old) = old.filter(|old| old.version == version) {
                    let chunks = old.chunks.len();
                    puts.push(Put { document: id, version, chunks, embedded: 0, unchanged: true });
                    continue;
                }
                let chunks = self.chunks(&id, &parsed, &catalogue)?;
                let known: BTreeSet<ChunkId> =
                    old.into_iter().flat_map(|old| &old.chunks).map(|chunk| chunk.id).collect();
                puts.push(Put {
                    document: id.clone(),
                    version,
                    chunks: chunks.len(),
                    embedded: 0,
                    unchanged: false,
                });
                let title = metadata.title.as_deref().or(parsed.title.as_deref()).unwrap_or(id.as_str());
                // A new title is seen by the embedder with every chunk.
                let known = if old.is_some_and(|old| &*old.title == title) { known } else { BTreeSet::new() };
                ready.push((Ready::new(id.clone(), title.into(), metadata, version, chunks), known));
            }
        }
        let ready = self.embed(ready).await?;
        for (put, ready) in puts.iter_mut().filter(|put| !put.unchanged).zip(&ready) {
            put.embedded = ready.embedded;
        }
        self.take_in(ready).await?;
        Ok(puts)
    }

    /// Deletes a document from everything: it is found no more once this has returned. Answers how many chunks it had, or
    /// nothing where there was none.
    ///
    /// # Errors
    /// `Lexical`, `Vector`: a store did not delete. It is not found all the same; forget it again until there is no error.
    ///
    /// # Cancel safety
    /// A future that is dropped may leave parts of it in the stores, where nothing finds them; forget it again.
    pub async fn forget(&self, document: &DocumentId) -> Result<Option<usize>, IndexError> {
        let _changing = self.changing.lock().await;
        let gone = self.catalogue.write().await.remove(document);
        // Also where the catalogue has nothing: a change that failed may have left something.
        self.lexical.delete_document(document)?;
        if let Some(dense) = &self.dense {
            dense.vectors.delete(document).await?;
        }
        Ok(gone.map(|held| held.chunks.len()))
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
    async fn embed(&self, ready: Vec<(Ready, BTreeSet<ChunkId>)>) -> Result<Vec<Ready>, IndexError> {
        let Some(dense) = &self.dense else {
            return Ok(ready.into_iter().map(|(ready, _)| ready).collect());
        };
        let mut texts = Vec::new();
        for (ready, known) in &ready {
            let new = ready.held.chunks.iter().filter(|chunk| !known.contains(&chunk.id));
            texts.extend(new.map(|chunk| passage(&ready.held.title, chunk)));
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut vectors = embed(&*dense.embedder, TextKind::Passage, &texts).await?.into_iter();
        let mut done = Vec::with_capacity(ready.len());
        for (mut ready, known) in ready {
            for chunk in &ready.held.chunks {
                if known.contains(&chunk.id) {
                    ready.vectors.kept.push(chunk.id);
                } else if let Some(vector) = vectors.next() {
                    ready.vectors.new.push((chunk.id, vector));
                }
            }
            ready.embedded = ready.vectors.new.len();
            done.push(ready);
        }
        Ok(done)
    }

    /// Takes documents in, while nobody searches.
    async fn take_in(&self, ready: Vec<Ready>) -> Result<(), IndexError> {
        if ready.is_empty() {
            return Ok(());
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
        let mut taken = Vec::with_capacity(ready.len());
        for Ready { id, held, vectors, .. } in ready {
            if let Some(dense) = &self.dense
                && let Err(error) = dense.vectors.replace(&id, vectors).await
            {
                return Err(self.take_back(&mut catalogue, old, &taken, error.into()).await);
            }
            taken.push((id, held));
        }
        for (id, held) in taken {
            catalogue.insert(id, held);
        }
        Ok(())
    }

    /// Puts back what was there, as far as the stores allow. Documents whose new vectors were taken have lost their old ones.
    async fn take_back(
        &self,
        catalogue: &mut Catalogue,
        old: Vec<(DocumentId, Option<Held>)>,
        taken: &[(DocumentId, Held)],
        error: IndexError,
    ) -> IndexError {
        let lost = |id: &DocumentId| taken.iter().any(|(taken, _)| taken == id);
        let (half, whole): (Vec<_>, Vec<_>) = old.into_iter().partition(|(id, _)| lost(id));
        let kept: Vec<(&DocumentId, &Held)> =
            whole.iter().filter_map(|(id, held)| held.as_ref().map(|held| (id, held))).collect();
        let mut documents: Vec<DocumentId> = Vec::new();
        let new = whole.iter().filter(|(_, held)| held.is_none()).map(|(id, _)| id);
        // Words of what is not in the catalogue are found by nobody; that they are gone as well is for tidiness.
        let tidy =
            new.chain(half.iter().map(|(id, _)| id)).all(|id| self.lexical.delete_document(id).is_ok());
        let restored = self.replace_words(kept.into_iter()).is_ok();
        if restored {
            restore(catalogue, whole);
        } else {
            documents.extend(whole.into_iter().filter(|(_, held)| held.is_some()).map(|(id, _)| id));
        }
        documents.extend(half.into_iter().map(|(id, _)| id));
        if documents.is_empty() && tidy {
            error
        } else {
            IndexError::HalfWritten { documents, source: Box::new(error) }
        }
    }

    fn replace_words<'h>(
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
        Self { id, held, vectors: DocumentVectors::default(), embedded: 0 }
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
