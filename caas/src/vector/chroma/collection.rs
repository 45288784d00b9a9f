//! What is asked of one collection, and what it answers.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ChromaError;
use super::claims::{Record, Written};
use super::http::Server;
use crate::model::DocumentId;
use crate::vector::VectorError;

/// The form of what is written.
const FORMAT: &str = "agent-os caas vectors 1";

const COLLECTIONS: &str = "/api/v2/tenants/default_tenant/databases/default_database/collections";

/// Records asked for, and components of vectors sent, at a time. A server takes some 5000 records and 40 MB.
const PAGE: usize = 1000;
const COMPONENTS: usize = 1 << 18;

/// The key of a record's document.
const DOCUMENT: &str = "document";

/// Where a collection is.
#[derive(Clone, Debug)]
pub(super) struct Collection(String);

#[derive(Serialize)]
struct Upsert<'u> {
    ids: Vec<String>,
    embeddings: Vec<&'u [f32]>,
    metadatas: Vec<Value>,
}

#[derive(Deserialize)]
struct Listed {
    ids: Vec<String>,
    metadatas: Vec<Option<Value>>,
}

#[derive(Deserialize)]
struct Nearest {
    ids: Vec<Vec<String>>,
    distances: Vec<Vec<f64>>,
}

impl Collection {
    /// The collection `name`, made if it is not there.
    ///
    /// # Errors
    /// `EmbedderMismatch` where it has vectors of another model; `Store`.
    pub(super) async fn open(
        server: &Server,
        name: &str,
        model: &str,
        dimensions: usize,
    ) -> Result<Self, VectorError> {
        let mut found = server.call(&format!("{COLLECTIONS}/{name}"), None).await?;
        if found.is_none() {
            let new = json!({
                "name": name,
                "get_or_create": true,
                "metadata": { "format": FORMAT, "model": model, "dimensions": dimensions },
                "configuration": { "hnsw": { "space": "cosine" } },
            });
            found = server.call(COLLECTIONS, Some(new.to_string().into_bytes())).await?;
        }
        let found: Value = read(found.as_deref().unwrap_or_default())?;
        let text = |key: &str| found.pointer(key).and_then(Value::as_str);
        let (format, space) = (text("/metadata/format"), text("/configuration_json/hnsw/space"));
        if format != Some(FORMAT) || space != Some("cosine") {
            let found = format!("{}, distances `{}`", format.unwrap_or("none"), space.unwrap_or("none"));
            return Err(ChromaError::Foreign { found }.into());
        }
        let held = text("/metadata/model").unwrap_or_default();
        let held_dimensions = found.pointer("/metadata/dimensions").and_then(Value::as_u64).unwrap_or(0);
        if held != model || held_dimensions != dimensions as u64 {
            return Err(VectorError::EmbedderMismatch {
                held: held.to_owned(),
                held_dimensions: usize::try_from(held_dimensions).unwrap_or(usize::MAX),
                asked: model.to_owned(),
                dimensions,
            });
        }
        let id = text("/id").ok_or_else(|| ChromaError::server("names no id of its collection"))?;
        Ok(Self(id.to_owned()))
    }

    /// All records that are there, by their documents.
    pub(super) async fn list(
        &self,
        server: &Server,
    ) -> Result<HashMap<DocumentId, BTreeSet<Record>>, VectorError> {
        let mut all: HashMap<DocumentId, BTreeSet<Record>> = HashMap::new();
        for offset in (0..).step_by(PAGE) {
            let body = json!({ "limit": PAGE, "offset": offset, "include": ["metadatas"] });
            let page: Listed = read(&self.ask(server, "get", body.to_string().into_bytes()).await?)?;
            for (id, metadata) in page.ids.iter().zip(&page.metadatas) {
                let document =
                    metadata.as_ref().and_then(|metadata| metadata.get(DOCUMENT)?.as_str()?.parse().ok());
                let (Some(document), Some(record)) = (document, record(id)) else {
                    return Err(
                        ChromaError::Foreign { found: "records of another program".to_owned() }.into()
                    );
                };
                all.entry(document).or_default().insert(record);
            }
            if page.ids.len() < PAGE {
                break;
            }
        }
        Ok(all)
    }

    /// Writes records of a document, in as many requests as it takes.
    pub(super) async fn upsert(
        &self,
        server: &Server,
        document: &DocumentId,
        written: &[Written],
    ) -> Result<(), VectorError> {
        let dimensions = written.first().map_or(1, |(_, vector)| vector.len().max(1));
        for batch in written.chunks((COMPONENTS / dimensions).clamp(1, PAGE)) {
            let body = Upsert {
                ids: batch.iter().map(|(record, _)| id(*record)).collect(),
                embeddings: batch.iter().map(|(_, vector)| vector.as_slice()).collect(),
                metadatas: batch.iter().map(|_| json!({ DOCUMENT: document })).collect(),
            };
            let body = serde_json::to_vec(&body).map_err(ChromaError::server)?;
            self.ask(server, "upsert", body).await?;
        }
        Ok(())
    }

    pub(super) async fn delete(&self, server: &Server, records: &[Record]) -> Result<(), VectorError> {
        let ids: Vec<String> = records.iter().map(|record| id(*record)).collect();
        self.ask(server, "delete", json!({ "ids": ids }).to_string().into_bytes()).await?;
        Ok(())
    }

    /// Deletes all records of a document, also those that nobody here knows of.
    pub(super) async fn delete_all(&self, server: &Server, document: &DocumentId) -> Result<(), VectorError> {
        let body = json!({ "where": { DOCUMENT: { "$eq": document } } });
        self.ask(server, "delete", body.to_string().into_bytes()).await?;
        Ok(())
    }

    /// The nearest records, with their cosines.
    pub(super) async fn nearest(
        &self,
        server: &Server,
        query: &[f32],
        most: usize,
    ) -> Result<Vec<(Record, f64)>, VectorError> {
        let body = json!({ "query_embeddings": [query], "n_results": most, "include": ["distances"] });
        let nearest: Nearest = read(&self.ask(server, "query", body.to_string().into_bytes()).await?)?;
        let (ids, distances) = (nearest.ids.into_iter().flatten(), nearest.distances.into_iter().flatten());
        // A name that is none of ours is nobody's vector.
        let found = ids.zip(distances).filter_map(|(id, distance)| Some((record(&id)?, distance)));
        Ok(found.map(|(record, distance)| (record, (1.0 - distance).clamp(-1.0, 1.0) + 0.0)).collect())
    }

    async fn ask(&self, server: &Server, verb: &str, body: Vec<u8>) -> Result<bytes::Bytes, VectorError> {
        let answer = server.call(&format!("{COLLECTIONS}/{}/{verb}", self.0), Some(body)).await?;
        Ok(answer.ok_or_else(|| ChromaError::server("has the collection no more"))?)
    }
}

fn read<'a, T: Deserialize<'a>>(answer: &'a [u8]) -> Result<T, ChromaError> {
    serde_json::from_slice(answer)
        .map_err(|error| ChromaError::server(format!("cannot be understood: {error}")))
}

fn id(record: Record) -> String {
    format!("{record:032x}")
}

fn record(id: &str) -> Option<Record> {
    Record::from_str_radix(id, 16).ok().filter(|record| self::id(*record) == id)
}
