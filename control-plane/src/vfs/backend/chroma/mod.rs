//! Files in a Chroma server.

mod collection;
mod http;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agent_primitives::Clock;
use bytes::Bytes;
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::remote::{MAX_PAGE, Pool, StoreError, at, damaged, store_name};
use super::vector::{self, Embedder};
use super::{
    Answer, Content, Entry, Hit, Kind, Listing, MemoryBackend, Page, RelPath, Search, Stat, Version,
    VfsError, Write, Written,
};
use collection::{Collection, Document, documents, nearest};
use http::Server;
use writer::Writer;

/// Longest file, in bytes. A server takes requests of 40 MB by default.
pub const MAX_CHROMA_FILE: u64 = 8 << 20;

/// Documents asked for at a time.
const PAGE: usize = 1000;

/// The name of the engine in errors.
const ENGINE: &str = "Chroma";

/// A store in a Chroma server, version 1, over its HTTP interface; one collection, in the server's default database.
///
/// Every file is a document with a vector, which the host's [`Embedder`] makes; searching asks for the nearest ones. Without
/// an embedder all vectors are alike and searching is `NotSupported`. Directories are documents too, without a text.
///
/// Chroma compares and sets nothing, so this store does: writes of one `Chroma` take turns, and compare-and-set, creation,
/// the quota and labels hold among all users of it. **The collection must have one writer:** nobody else, in this process or
/// another, may open or change it meanwhile. That a write and the directories it makes are one step is because they are one
/// request. A removal is one request too. Listing costs what the directory holds, for every page of it, and waits for writes.
/// Opening reads the metadata of all files; which ones expire, by the clock given here, is kept in memory.
///
/// There is no task and no time-out of its own: connections move while an operation is polled, and the deadline is the
/// caller's. A write that is dropped while its request is on the way is ended by the next operation that writes or lists,
/// before it begins. After the server went away an operation answers `Backend` and a later one connects anew.
/// TLS and credentials are not spoken.
pub struct Chroma {
    collection: Collection,
    embedder: Option<Arc<dyn Embedder>>,
    clock: Arc<dyn Clock>,
    pool: Pool<SendRequest<http_body_util::Full<Bytes>>>,
    writer: Mutex<Writer>,
}

impl Chroma {
    /// The store `name` in the server at `address`, `http://host:port`; it is the collection `agent-os-{name}`.
    ///
    /// # Errors
    /// `Address`, `Name`; `Server` when it cannot be reached; `Format` when the collection is of another form, or its vectors
    /// of another length than the embedder's.
    pub async fn open(
        address: &str,
        name: &str,
        embedder: Option<Arc<dyn Embedder>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let server = Server::parse(address)?;
        let name = format!("agent-os-{}", store_name(name)?);
        let dimensions = embedder.as_ref().map_or(1, |embedder| embedder.dimensions());
        let collection = Collection::open(server, &name, dimensions).await?;
        let writer = Mutex::new(Writer::default());
        let store = Self { collection, embedder, clock, pool: Pool::new(), writer };
        let settled = store.settle(&mut *store.writer.lock().await).await;
        settled.map_err(|error| StoreError::Server { engine: ENGINE, reason: error.to_string() })?;
        Ok(store)
    }

    /// Asks the server for something that changes nothing.
    async fn ask(&self, verb: &str, body: Value) -> Result<Value, VfsError> {
        let (line, place) = self.pool.lease(self.collection.connect()).await?.split();
        let (line, answer) = self.collection.call(Some(line), verb, body).await;
        match line {
            Some(line) => place.give_back(line),
            None => place.lost(),
        }
        Ok(answer?)
    }

    /// What lies on the way to `path`, and the document at its end.
    async fn look(
        &self,
        path: RelPath<'_>,
        include: &[&str],
    ) -> Result<(Vec<Option<Stat>>, Option<Document>), VfsError> {
        let above = std::iter::successors(Some(path), |path| path.split_name().map(|(parent, _)| parent));
        let mut ids: Vec<String> =
            above.take_while(|path| !path.is_root()).map(|path| vector::id(path.as_str())).collect();
        if ids.is_empty() {
            return Ok((Vec::new(), None));
        }
        let answer = self.ask("get", json!({ "ids": ids, "include": include })).await?;
        let mut found: BTreeMap<String, Document> =
            documents(&answer)?.into_iter().map(|document| (document.id.clone(), document)).collect();
        ids.reverse();
        let stat = |id| found.get(id).map(|document| vector::stat(&document.metadata)).transpose();
        let way = ids.iter().map(stat).collect::<Result<_, _>>()?;
        let last = ids.last().and_then(|id| found.remove(id));
        Ok((way, last))
    }

    /// Lets what has reached its end go, if there is something.
    async fn tidy(&self) -> Result<(), VfsError> {
        let mut writer = self.writer.lock().await;
        self.settle(&mut writer).await
    }
}

impl MemoryBackend for Chroma {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            self.tidy().await?;
            let (way, document) = self.look(path, &["metadatas", "documents"]).await?;
            let stat = at(&way)?;
            let (Kind::File, Some(version), Some(document)) = (stat.kind, stat.version, document) else {
                return Err(VfsError::IsDirectory);
            };
            let content = content(&document, &stat)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
            let end = start.saturating_add(length).min(content.len());
            Ok(Content::new(content.slice(start..end), version, stat.labels))
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move {
            let mut writer = self.writer.lock().await;
            self.settle(&mut writer).await?;
            self.put(&mut writer, path, &write).await
        })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut writer = self.writer.lock().await;
            self.settle(&mut writer).await?;
            self.take(&mut writer, path, expected).await
        })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            // Pages of documents are counted off, so nothing may change between them.
            let mut writer = self.writer.lock().await;
            self.settle(&mut writer).await?;
            if at(&self.look(path, &["metadatas"]).await?.0)?.kind == Kind::File {
                return Err(VfsError::NotDirectory);
            }
            let limit = page.limit.min(MAX_PAGE);
            let (mut first, mut offset) = (BTreeMap::new(), 0);
            let (key, value) = vector::directly_in(path);
            loop {
                let filter = json!({ &key: value });
                let body =
                    json!({ "where": filter, "limit": PAGE, "offset": offset, "include": ["metadatas"] });
                let found = documents(&self.ask("get", body).await?)?;
                for document in &found {
                    let name = vector::text_of(&document.metadata, "name")?;
                    if page.after.is_none_or(|after| after < name) {
                        first.insert(name.to_owned(), vector::stat(&document.metadata)?);
                    }
                    if limit + 1 < first.len() {
                        first.pop_last();
                    }
                }
                if found.len() < PAGE {
                    break;
                }
                offset += PAGE;
            }
            let more = limit < first.len();
            let entries: Vec<Entry> =
                first.into_iter().take(limit).map(|(name, stat)| Entry::new(name, stat)).collect();
            let next = entries.last().filter(|_| more).map(|entry| entry.name.clone());
            Ok(Listing::new(entries, next))
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move {
            self.tidy().await?;
            at(&self.look(path, &["metadatas"]).await?.0)
        })
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(async move {
            let Some(embedder) = &self.embedder else { return Err(VfsError::NotSupported) };
            self.tidy().await?;
            if at(&self.look(path, &["metadatas"]).await?.0)?.kind == Kind::File {
                return Err(VfsError::NotDirectory);
            }
            if self.writer.lock().await.is_empty() {
                return Ok(Vec::new());
            }
            let embedding = checked(embedder.dimensions(), embedder.embed(query.text).await?)?;
            let files = json!({ "kind": "file" });
            let filter = match vector::below(path) {
                Some((key, value)) => json!({ "$and": [files, { key: value }] }),
                None => files,
            };
            let body = json!({
                "query_embeddings": [embedding],
                "n_results": query.limit.min(PAGE),
                "where": filter,
                "include": ["metadatas", "documents", "distances"],
            });
            let found = nearest(&self.ask("query", body).await?)?;
            found.iter().map(|document| hit(document, path)).collect()
        })
    }
}

/// The content of a file's document, which has the length its metadata says.
fn content(document: &Document, stat: &Stat) -> Result<Bytes, VfsError> {
    let text = document.text.as_str().unwrap_or_default();
    let content = vector::to_content(text, &document.metadata)?;
    if content.len() as u64 == stat.size { Ok(content.into()) } else { Err(damaged("content")) }
}

fn hit(document: &Document, directory: RelPath<'_>) -> Result<Hit, VfsError> {
    let path = vector::text_of(&document.metadata, "path")?;
    let below = path.strip_prefix(directory.as_str()).unwrap_or(path).trim_start_matches('/');
    let distance = document.distance.as_f64().ok_or_else(|| damaged("distance"))?;
    let labels = vector::stat(&document.metadata)?.labels;
    let text = vector::shown(document.text.as_str().unwrap_or_default());
    Ok(Hit::new(below.to_owned(), 1.0 - distance, text, labels))
}

/// A vector that the host's embedder made, if it is one.
fn checked(dimensions: usize, vector: Vec<f32>) -> Result<Vec<f32>, VfsError> {
    let fits = vector.len() == dimensions && vector.iter().all(|number| number.is_finite());
    if fits && vector.iter().any(|number| *number != 0.0) {
        return Ok(vector);
    }
    tracing::warn!(dimensions, "an embedder made what is no vector of its length");
    Err(VfsError::Backend)
}

impl fmt::Debug for Chroma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chroma")
            .field("collection", &self.collection)
            .field("embedder", &self.embedder)
            .finish_non_exhaustive()
    }
}
