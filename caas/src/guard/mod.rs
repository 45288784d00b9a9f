//! The only way to documents that not everyone may read.
//!
//! A guard owns the indexes and gives none of them out. Who asks is named by the host, never by the question. Nothing is
//! open unless the host has opened it; what may be read becomes part of the search itself, and every hit is looked at once
//! more before it leaves. Each attempt is recorded, refused ones too, before anything is answered: without a record there is
//! no answer.

mod audit;
mod error;
mod reader;
mod release;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use agent_primitives::{Digest, Gcra, Rate, TenantId, Timer};

pub use audit::{Attempt, AuditKey, AuditSink, Outcome, Withheld};
pub use error::{Denied, GuardError};
pub use reader::{Collection, Reader};
pub use release::{Action, Release};

use crate::index::{Document, Findings, Index, Put, Query};
use crate::model::DocumentId;

/// What a reader may take out of a collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowance {
    /// Who may search: principals and groups, by name. They share one space of names: a host that lets people choose their names
    /// marks which is which, as in `group:hr`.
    pub readers: std::collections::BTreeSet<String>,
    /// Searches of one principal.
    pub rate: Rate,
    /// Most chunks of one answer.
    pub chunks: usize,
    /// Most bytes of text of one answer.
    pub bytes: usize,
    /// What leaves, and how.
    pub release: Release,
}

struct Guarded {
    index: Index,
    allowance: Allowance,
}

/// Most principals whose searches are counted at a time. Beyond it a search is refused, unless somebody's count has run out.
const MAX_COUNTED: usize = 100_000;

/// Documents behind access rules.
pub struct Guard {
    collections: BTreeMap<(TenantId, Collection), Guarded>,
    key: AuditKey,
    audit: Arc<dyn AuditSink>,
    timer: Arc<dyn Timer>,
    /// What each principal has used, for each tenant and collection.
    counts: Mutex<BTreeMap<(TenantId, Collection, String), Gcra>>,
}

impl Guard {
    /// A guard of nothing, which refuses everything.
    ///
    /// `key` hides what was asked in the record: without it, questions cannot be guessed from their digests.
    #[must_use]
    pub fn new(key: AuditKey, audit: Arc<dyn AuditSink>, timer: Arc<dyn Timer>) -> Self {
        Self { collections: BTreeMap::new(), key, audit, timer, counts: Mutex::default() }
    }

    /// Takes an index of one tenant in, under a name.
    ///
    /// # Errors
    /// `AlreadyThere`; `NoReaders` or `NothingAllowed` for an allowance under which nobody could ever read.
    pub fn guard(
        mut self,
        tenant: TenantId,
        collection: Collection,
        index: Index,
        allowance: Allowance,
    ) -> Result<Self, GuardError> {
        if allowance.readers.is_empty() {
            return Err(GuardError::NoReaders(collection));
        }
        if allowance.chunks == 0 || allowance.bytes == 0 {
            return Err(GuardError::NothingAllowed(collection));
        }
        let key = (tenant, collection);
        if self.collections.contains_key(&key) {
            return Err(GuardError::AlreadyThere(key.1));
        }
        self.collections.insert(key, Guarded { index, allowance });
        Ok(self)
    }

    /// What a reader may see of what a search finds. `query` narrows it down, and can open nothing. Hits are in their order and
    /// have no scores: how rare a word is follows from all documents of the collection, those of others included. A document
    /// whose place was taken by one that the reader may not see is found as if it had not been.
    ///
    /// # Errors
    /// `Denied`, in the same words whether a collection is not there or not open to the reader; `Audit` where the attempt could not
    /// be recorded; `Index`.
    ///
    /// # Cancel safety
    /// Dropping the future answers nothing. Its attempt may count against the rate and not be recorded.
    pub async fn search(
        &self,
        reader: &Reader,
        collection: &Collection,
        query: Query,
    ) -> Result<Findings, GuardError> {
        let began = self.timer.monotonic();
        let digest = self.key.digest(&query.text);
        let answered = self.answer(reader, collection, query).await;
        let (outcome, answer) = match answered {
            Ok((findings, withheld)) => (Outcome::answered(&findings, withheld), Ok(findings)),
            Err(error) => (Outcome::of(&error), Err(error)),
        };
        let attempt = Attempt {
            tenant: reader.tenant().clone(),
            principal: reader.principal().to_owned(),
            clearance: reader.clearance(),
            collection: collection.clone(),
            at: self.timer.now(),
            query: digest,
            outcome,
            took: self.timer.monotonic().since(began),
        };
        self.audit.record(&attempt).map_err(|source| GuardError::Audit { source })?;
        answer
    }

    async fn answer(
        &self,
        reader: &Reader,
        collection: &Collection,
        mut query: Query,
    ) -> Result<(Findings, Vec<Withheld>), GuardError> {
        let key = (reader.tenant().clone(), collection.clone());
        let guarded =
            self.collections.get(&key).filter(|guarded| reader.is_any_of(&guarded.allowance.readers));
        let Some(Guarded { index, allowance }) = guarded else {
            return Err(GuardError::Denied(Denied::Collection(collection.clone())));
        };
        self.count(reader, collection, &allowance.rate)?;
        query.k = query.k.min(allowance.chunks);
        let open = reader.filter();
        let findings = index.search_open(&query, &open).await?;
        let mut checked =
            findings.hits.iter().map(|hit| (hit.chunk.id, open.admits(&hit.document, &hit.metadata)));
        if let Some((leaked, _)) = checked.find(|(_, admitted)| !admitted) {
            return Err(crate::index::IndexError::BackendLeak(leaked).into());
        }
        release::release(findings, allowance).map_err(GuardError::Denied)
    }

    fn count(&self, reader: &Reader, collection: &Collection, rate: &Rate) -> Result<(), GuardError> {
        let now = self.timer.monotonic();
        let key = (reader.tenant().clone(), collection.clone(), reader.principal().to_owned());
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if MAX_COUNTED <= counts.len() && !counts.contains_key(&key) {
            counts.retain(|_, count| now < count.whole_at());
            if MAX_COUNTED <= counts.len() {
                return Err(GuardError::Denied(Denied::Busy));
            }
        }
        let count = counts.entry(key).or_default();
        count.check(rate, now).map_err(|wait| GuardError::Denied(Denied::Rate(wait.0)))
    }

    /// Puts documents into a collection, as [`Index::put_batch`] does. The host calls it, no reader.
    ///
    /// # Errors
    /// `Denied` where there is no such collection; `Index`.
    pub async fn put(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        documents: Vec<Document>,
    ) -> Result<Vec<Put>, GuardError> {
        Ok(self.of_host(tenant, collection)?.put_batch(documents).await?)
    }

    /// Deletes a document from everything the collection has of it, as [`Index::forget`] does.
    ///
    /// # Errors
    /// As [`Guard::put`].
    pub async fn forget(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        document: &DocumentId,
    ) -> Result<Option<usize>, GuardError> {
        Ok(self.of_host(tenant, collection)?.forget(document).await?)
    }

    /// Deletes many documents, as [`Index::forget_batch`] does.
    ///
    /// # Errors
    /// As [`Guard::put`].
    pub async fn forget_batch(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        documents: &[DocumentId],
    ) -> Result<Vec<Option<usize>>, GuardError> {
        Ok(self.of_host(tenant, collection)?.forget_batch(documents).await?)
    }

    /// Leaves nothing of deleted documents on the shelf of a collection, as [`Index::compact`] does.
    ///
    /// # Errors
    /// As [`Guard::put`].
    pub async fn compact(&self, tenant: &TenantId, collection: &Collection) -> Result<(), GuardError> {
        Ok(self.of_host(tenant, collection)?.compact().await?)
    }

    /// The digest of a document, if it is there. The host calls it, no reader.
    ///
    /// # Errors
    /// `Denied` where there is no such collection.
    pub async fn version(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        document: &DocumentId,
    ) -> Result<Option<Digest>, GuardError> {
        Ok(self.of_host(tenant, collection)?.version(document).await)
    }

    fn of_host(&self, tenant: &TenantId, collection: &Collection) -> Result<&Index, GuardError> {
        let guarded = self.collections.get(&(tenant.clone(), collection.clone()));
        let denied = || GuardError::Denied(Denied::Collection(collection.clone()));
        guarded.map(|guarded| &guarded.index).ok_or_else(denied)
    }
}

impl fmt::Debug for Guard {
    /// Names no document.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.collections.keys().collect();
        f.debug_struct("Guard").field("collections", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
