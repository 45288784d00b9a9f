//! The documents of one collection.

use std::sync::Arc;

use serde_json::{Value, json};

use super::http::{Done, Failure, Line, Server};
use super::{ENGINE, StoreError, VfsError};
use crate::vfs::backend::remote::damaged;

/// The form of collection this version reads and writes.
const FORMAT: &str = "agent-os files 1";

const COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// Where a collection is.
#[derive(Debug)]
pub(super) struct Collection {
    server: Arc<Server>,
    id: String,
}

/// A document as it was found. What was not asked for is null.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) metadata: Value,
    pub(super) text: Value,
    /// How far it lies from what was looked for.
    pub(super) distance: Value,
}

impl Collection {
    /// The collection `name` with vectors of `dimensions` numbers, made if it is not there.
    pub(super) async fn open(server: Server, name: &str, dimensions: usize) -> Result<Self, StoreError> {
        let failed = |reason: &str| StoreError::Server { engine: ENGINE, reason: reason.to_owned() };
        let (line, found) = server.call(None, &format!("{COLLECTIONS}/{name}"), None).await;
        let found = match found {
            Err(Failure::Missing) => {
                let new = json!({
                    "name": name,
                    "get_or_create": true,
                    "metadata": { "format": FORMAT, "dimensions": dimensions },
                    "configuration": { "hnsw": { "space": "cosine" } },
                });
                server.call(line, COLLECTIONS, Some(&new)).await.1
            }
            found => found,
        };
        let found = found.map_err(|_| failed("it cannot be reached, or refused; the log says more"))?;
        let metadata = found.get("metadata");
        let format = metadata.and_then(|keys| keys.get("format")).and_then(Value::as_str);
        let numbers = metadata.and_then(|keys| keys.get("dimensions")).and_then(Value::as_u64);
        if format != Some(FORMAT) || numbers != Some(dimensions as u64) {
            let found = format!("{}, {} dimensions", format.unwrap_or("unknown"), numbers.unwrap_or(0));
            return Err(StoreError::Format { engine: ENGINE, found });
        }
        let id = found.get("id").and_then(Value::as_str).ok_or_else(|| failed("the collection has no id"))?;
        Ok(Self { server: Arc::new(server), id: id.to_owned() })
    }

    pub(super) async fn connect(&self) -> Result<Line, VfsError> {
        self.server.connect().await
    }

    /// Sends `body` to `verb`. The future owns what it needs, so it can be kept and ended by somebody else.
    pub(super) fn call(
        &self,
        line: Option<Line>,
        verb: &str,
        body: Value,
    ) -> impl Future<Output = Done> + Send + use<> {
        let (server, path) = (Arc::clone(&self.server), format!("{COLLECTIONS}/{}/{verb}", self.id));
        async move { server.call(line, &path, Some(&body)).await }
    }
}

/// The documents in the answer of a `get`.
pub(super) fn documents(answer: &Value) -> Result<Vec<Document>, VfsError> {
    let ids = answer.get("ids").and_then(Value::as_array).ok_or_else(|| damaged("answer"))?;
    let column = |name, row| answer.get(name).and_then(|list| list.get(row)).cloned().unwrap_or_default();
    let rows = ids.iter().enumerate().map(|(row, id)| {
        Ok(Document {
            id: id.as_str().ok_or_else(|| damaged("answer"))?.to_owned(),
            metadata: column("metadatas", row),
            text: column("documents", row),
            distance: column("distances", row),
        })
    });
    rows.collect()
}

/// The documents in the answer of a `query` for one vector.
pub(super) fn nearest(answer: &Value) -> Result<Vec<Document>, VfsError> {
    let first = |name| answer.get(name).and_then(|lists| lists.get(0)).cloned().unwrap_or_default();
    documents(&json!({
        "ids": first("ids"),
        "metadatas": first("metadatas"),
        "documents": first("documents"),
        "distances": first("distances"),
    }))
}
