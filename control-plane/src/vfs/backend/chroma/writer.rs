//! Changes, one after the other.

use std::fmt;
use std::pin::Pin;

use serde_json::{Value, json};

use super::http::{Done, Line};
use super::{Chroma, MAX_CHROMA_FILE, PAGE, checked, content, documents};
use crate::vfs::backend::ends::Ends;
use crate::vfs::backend::remote::{at, damaged, plan, version};
use crate::vfs::backend::{Kind, RelPath, Stat, Usage, Version, VfsError, Write, WriteMode, Written, vector};

/// The id of the document that keeps the number of the last version.
const ROOT: &str = "root";

/// What the one writer of a collection knows of it.
#[derive(Default)]
pub(super) struct Writer {
    line: Option<Line>,
    /// A change whose caller went away before it was answered. Nothing else is done before it has ended.
    unfinished: Option<Pin<Box<dyn Future<Output = Done> + Send>>>,
    /// Whether the rest is what the collection holds; not so in the beginning, and after a change that may have failed.
    is_known: bool,
    usage: Usage,
    /// The number of the last version given out.
    last: u64,
    ends: Ends,
}

impl Writer {
    /// Whether the store holds no file.
    pub(super) const fn is_empty(&self) -> bool {
        self.usage.files == 0
    }
}

impl Chroma {
    /// Ends what was begun, learns what is not known, and lets go what has reached its end.
    pub(super) async fn settle(&self, writer: &mut Writer) -> Result<(), VfsError> {
        if let Some(unfinished) = &mut writer.unfinished {
            let (line, _) = unfinished.await;
            (writer.unfinished, writer.line) = (None, line);
        }
        if !writer.is_known {
            self.learn(writer).await?;
        }
        while let Some(path) = writer.ends.due(self.clock.now()) {
            let path = RelPath::parse(&path).map_err(|_| damaged("path"))?;
            self.take(writer, path, None).await?;
        }
        Ok(())
    }

    /// Counts what the collection holds.
    async fn learn(&self, writer: &mut Writer) -> Result<(), VfsError> {
        let (mut usage, mut ends, mut offset) = (Usage::default(), Ends::default(), 0);
        let root = self.ask("get", json!({ "ids": [ROOT], "include": ["metadatas"] })).await?;
        let last = documents(&root)?.first().and_then(|root| root.metadata.get("last")?.as_u64());
        loop {
            let filter = json!({ "kind": "file" });
            let body = json!({ "where": filter, "limit": PAGE, "offset": offset, "include": ["metadatas"] });
            let found = documents(&self.ask("get", body).await?)?;
            for document in &found {
                let stat = vector::stat(&document.metadata)?;
                usage = Usage { bytes: usage.bytes.saturating_add(stat.size), files: usage.files + 1 };
                ends.set(vector::text_of(&document.metadata, "path")?, stat.expires);
            }
            if found.len() < PAGE {
                break;
            }
            offset += PAGE;
        }
        (writer.usage, writer.ends) = (usage, ends);
        writer.last = writer.last.max(last.unwrap_or(0));
        writer.is_known = true;
        Ok(())
    }

    pub(super) async fn put(
        &self,
        writer: &mut Writer,
        path: RelPath<'_>,
        write: &Write,
    ) -> Result<Written, VfsError> {
        let keeps = write.mode == WriteMode::Append;
        let include: &[&str] = if keeps { &["metadatas", "documents"] } else { &["metadatas"] };
        let (way, document) = self.look(path, include).await?;
        let version = version(self.clock.now().as_micros(), writer.last + 1);
        let change = plan(write, &way, writer.usage, version, MAX_CHROMA_FILE)?;
        let mut bytes = match (&document, at(&way)) {
            (Some(document), Ok(stat)) if keeps => content(document, &stat)?.to_vec(),
            _ => Vec::new(),
        };
        bytes.extend_from_slice(&write.data);
        let stat =
            Stat::file(change.written.size, version, change.written.labels.clone()).expiring(change.expires);
        let mut batch = self.batch(writer.last + 1);
        self.add_file(&mut batch, path, &stat, &bytes).await?;
        let directory = Stat::directory(change.written.labels.clone());
        let above = std::iter::successors(path.split_name(), |(parent, _)| parent.split_name());
        for (parent, _) in above.take(change.made) {
            batch.add(
                vector::id(parent.as_str()),
                String::new(),
                self.plain(),
                vector::metadata(parent, &directory, true),
            );
        }
        self.change(writer, "upsert", batch.into_body()).await?;
        (writer.usage, writer.last) = (change.usage, writer.last + 1);
        writer.ends.set(path.as_str(), change.expires);
        writer.is_known = true;
        Ok(change.written)
    }

    pub(super) async fn take(
        &self,
        writer: &mut Writer,
        path: RelPath<'_>,
        expected: Option<Version>,
    ) -> Result<(), VfsError> {
        let stat = at(&self.look(path, &["metadatas"]).await?.0)?;
        if stat.kind == Kind::Directory {
            return Err(VfsError::IsDirectory);
        }
        if expected.is_some() && expected != stat.version {
            return Err(VfsError::Conflict);
        }
        let mut ids = vec![vector::id(path.as_str())];
        let above = std::iter::successors(path.split_name(), |(parent, _)| parent.split_name());
        for (parent, _) in above.take_while(|(parent, _)| !parent.is_root()) {
            let (key, value) = vector::directly_in(parent);
            let body = json!({ "where": { key: value }, "limit": 2, "include": [] });
            if documents(&self.ask("get", body).await?)?.len() != 1 {
                break;
            }
            ids.push(vector::id(parent.as_str()));
        }
        self.change(writer, "delete", json!({ "ids": ids })).await?;
        writer.usage = writer.usage.without(stat.size);
        writer.ends.set(path.as_str(), None);
        writer.is_known = true;
        Ok(())
    }

    /// Has the server make a change. From here until the caller books it, nothing is known for sure.
    async fn change(&self, writer: &mut Writer, verb: &str, body: Value) -> Result<(), VfsError> {
        writer.is_known = false;
        let line = writer.line.take();
        let request = writer.unfinished.insert(Box::pin(self.collection.call(line, verb, body)));
        let (line, answer) = request.await;
        (writer.unfinished, writer.line) = (None, line);
        answer?;
        Ok(())
    }

    /// A batch that keeps `last` as the number of the last version.
    fn batch(&self, last: u64) -> Batch {
        let mut batch = Batch::default();
        let keys = [("kind".to_owned(), json!("root")), ("last".to_owned(), json!(last))];
        batch.add(ROOT.to_owned(), String::new(), self.plain(), keys.into_iter().collect());
        batch
    }

    async fn add_file(
        &self,
        batch: &mut Batch,
        path: RelPath<'_>,
        stat: &Stat,
        bytes: &[u8],
    ) -> Result<(), VfsError> {
        let (text, is_text) = vector::to_text(bytes);
        let embedding = match &self.embedder {
            Some(embedder) => {
                let text = if is_text { text.as_str() } else { "" };
                checked(embedder.dimensions(), embedder.embed(text).await?)?
            }
            None => self.plain(),
        };
        batch.add(vector::id(path.as_str()), text, embedding, vector::metadata(path, stat, is_text));
        Ok(())
    }

    /// The vector of what is not searched for.
    fn plain(&self) -> Vec<f32> {
        vec![1.0; self.embedder.as_ref().map_or(1, |embedder| embedder.dimensions())]
    }
}

/// Documents to write in one request.
#[derive(Default)]
struct Batch {
    ids: Vec<String>,
    texts: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    metadatas: Vec<Value>,
}

impl Batch {
    fn add(
        &mut self,
        id: String,
        text: String,
        embedding: Vec<f32>,
        metadata: serde_json::Map<String, Value>,
    ) {
        self.ids.push(id);
        self.texts.push(text);
        self.embeddings.push(embedding);
        self.metadatas.push(Value::Object(metadata));
    }

    fn into_body(self) -> Value {
        json!({
            "ids": self.ids,
            "documents": self.texts,
            "embeddings": self.embeddings,
            "metadatas": self.metadatas,
        })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("usage", &self.usage).field("last", &self.last).finish_non_exhaustive()
    }
}
