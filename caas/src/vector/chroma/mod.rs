//! Vectors in a Chroma server.

mod claims;
mod collection;
mod error;
mod http;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::Timer;

pub use error::ChromaError;
pub use http::TokenHeader;

use super::{Answer, DocumentVectors, Keep, VectorError, VectorStore, unit};
use crate::model::{ChunkId, DocumentId};
use claims::Claims;
use collection::Collection;
use http::Server;

/// Records that are deleted in one request.
const BATCH: usize = 1000;
/// How much more is asked for at each turn of a search that has too few hits.
const GROWTH: usize = 4;

/// Vectors in a Chroma server, over version 2 of its HTTP interface: one collection of its default database, with cosine distances.
///
/// The vectors are in the server; which of them belong to which chunk is in memory, some hundred bytes for each. What a process
/// has left there is nobody's until its documents are put again, and then is not sent again where it is the same. **One index, in
/// one process, uses a collection at a time.**
///
/// **Replacing** is atomic: new vectors are written beside the old ones, taken all at once in memory, and the old ones are deleted
/// then. Where that deletion fails nobody finds them, and it is tried again before each later change. A request that was given up
/// may still be done by the server later; it cannot be called back.
///
/// **Searching** is approximate, as the server is. Where filters leave too little of what it answers, it is asked for more, up to all it has.
///
/// **Failing.** Each request has a deadline, of 30 seconds unless [`Chroma::timeout`] says otherwise. One that is answered with 429, 500,
/// 502, 503 or 504 is sent three times at most; nothing here does more when it is done twice. Anything else fails at once.
///
/// TLS is not spoken: put a proxy that does on this machine. It needs a tokio runtime with its I/O to be polled in, and no task outlives
/// a call.
pub struct Chroma {
    server: Server,
    name: String,
    /// Changes, one at a time.
    changing: async_lock::Mutex<()>,
    state: Mutex<Option<State>>,
}

/// What is known once the store is bound to a model.
struct State {
    model: String,
    dimensions: usize,
    collection: Collection,
    claims: Claims,
}

impl Chroma {
    /// The vectors in the collection `name` of the server at `address`, `http://host:port`. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Unusable`: an address of another form, or a name that is not 3 to 200 letters, digits, `.`, `_` and `-` with a letter or digit at
    /// both ends.
    pub fn new(address: &str, name: &str, timer: Arc<dyn Timer>) -> Result<Self, ChromaError> {
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let plain = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte));
        if !(3..=200).contains(&bytes.len()) || !plain || !ends(bytes.first()) || !ends(bytes.last()) {
            return Err(ChromaError::Unusable(
                "a name of 3 to 200 letters, digits, `.`, `_` and `-` is needed",
            ));
        }
        let server = Server::parse(address, timer)?;
        Ok(Self {
            server,
            name: name.to_owned(),
            changing: async_lock::Mutex::new(()),
            state: Mutex::new(None),
        })
    }

    /// With a deadline of its own for each request.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.server.set_timeout(timeout);
        self
    }

    /// With a token in each request. It goes unencrypted, so only to an address of this machine.
    ///
    /// # Errors
    /// `Unusable`: the server is on another machine, or the token has characters that no header has.
    pub fn token(mut self, header: TokenHeader, token: &str) -> Result<Self, ChromaError> {
        self.server.set_token(header, token)?;
        Ok(self)
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with what is known; never while a request is on its way.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> Result<T, VectorError>) -> Result<T, VectorError> {
        let mut state = self.state();
        work(state.as_mut().ok_or(ChromaError::Unusable("it is not bound to a model"))?)
    }

    async fn bind(&self, model: &str, dimensions: usize) -> Result<(), VectorError> {
        let _changing = self.changing.lock().await;
        if let Some(State { model: held, dimensions: held_dimensions, .. }) = &*self.state() {
            if held == model && *held_dimensions == dimensions {
                return Ok(());
            }
            return Err(VectorError::EmbedderMismatch {
                held: held.clone(),
                held_dimensions: *held_dimensions,
                asked: model.to_owned(),
                dimensions,
            });
        }
        let collection = Collection::open(&self.server, &self.name, model, dimensions).await?;
        let claims = Claims::of(collection.list(&self.server).await?);
        *self.state() = Some(State { model: model.to_owned(), dimensions, collection, claims });
        Ok(())
    }

    async fn replace(&self, document: &DocumentId, vectors: &DocumentVectors) -> Result<(), VectorError> {
        let _changing = self.changing.lock().await;
        let (collection, plan) = self.with(|state| {
            let plan = state.claims.plan(document, vectors, state.dimensions)?;
            state.claims.begin(&plan);
            Ok((state.collection.clone(), plan))
        })?;
        collection.upsert(&self.server, document, &plan.written).await?;
        self.with(|state| {
            state.claims.claim(document, plan);
            Ok(())
        })?;
        // The document has its new vectors whatever becomes of the old ones.
        let _ = self.clear().await;
        Ok(())
    }

    /// Deletes what is nobody's.
    async fn clear(&self) -> Result<(), VectorError> {
        loop {
            let (collection, waste) =
                self.with(|state| Ok((state.collection.clone(), state.claims.waste(BATCH))))?;
            if waste.is_empty() {
                return Ok(());
            }
            collection.delete(&self.server, &waste).await?;
            self.with(|state| {
                state.claims.deleted(&waste);
                Ok(())
            })?;
        }
    }

    async fn delete(&self, document: &DocumentId) -> Result<(), VectorError> {
        let _changing = self.changing.lock().await;
        let (collection, had) =
            self.with(|state| Ok((state.collection.clone(), state.claims.disown(document))))?;
        collection.delete_all(&self.server, document).await?;
        self.with(|state| {
            state.claims.deleted(&had);
            Ok(())
        })?;
        // The document is gone whatever becomes of other waste.
        let _ = self.clear().await;
        Ok(())
    }

    async fn search(
        &self,
        query: &[f32],
        k: usize,
        keep: Keep<'_>,
    ) -> Result<Vec<(ChunkId, f64)>, VectorError> {
        let (collection, query, all) = self.with(|state| {
            let query = unit(query, state.dimensions, 0)?;
            Ok((state.collection.clone(), query, state.claims.records()))
        })?;
        let mut most = k.saturating_mul(2).max(16);
        loop {
            if k == 0 || all == 0 {
                return Ok(Vec::new());
            }
            let nearest = collection.nearest(&self.server, &query, most.min(all)).await?;
            let mut hits: Vec<(ChunkId, f64)> = self.with(|state| {
                let chunk = |(record, score)| Some((state.claims.chunk(record)?, score));
                Ok(nearest.into_iter().filter_map(chunk).filter(|(chunk, _)| keep(*chunk)).collect())
            })?;
            if k <= hits.len() || all <= most {
                hits.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
                hits.truncate(k);
                return Ok(hits);
            }
            most = most.saturating_mul(GROWTH);
        }
    }
}

impl From<ChromaError> for VectorError {
    fn from(error: ChromaError) -> Self {
        Self::Store { source: Box::new(error) }
    }
}

impl VectorStore for Chroma {
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()> {
        Box::pin(self.bind(model, dimensions))
    }

    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()> {
        Box::pin(async move { self.replace(document, &vectors).await })
    }

    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()> {
        Box::pin(self.delete(document))
    }

    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>> {
        Box::pin(self.search(query, k, keep))
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async { self.with(|state| Ok(state.claims.len())) })
    }
}

impl fmt::Debug for Chroma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let vectors = self.state().as_ref().map(|state| state.claims.len());
        f.debug_struct("Chroma")
            .field("server", &self.server)
            .field("name", &self.name)
            .field("vectors", &vectors)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(unix)]
pub(super) mod tests;
