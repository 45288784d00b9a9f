//! What is recorded of every attempt to read.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use agent_primitives::detect::Kind;
use agent_primitives::{Digest, TenantId, Timestamp};

use super::{Collection, GuardError};
use crate::index::Findings;
use crate::model::{ChunkId, Classification, DocumentId};

/// A secret of the host, under which questions are digested.
#[derive(Clone)]
pub struct AuditKey([u8; 32]);

impl AuditKey {
    /// From 32 bytes that nobody else knows.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A digest that says whether two questions are the same, and nothing about either to who has no key (keyed BLAKE3).
    #[must_use]
    pub fn digest(&self, query: &str) -> Digest {
        Digest::from_bytes(*blake3::keyed_hash(&self.0, query.as_bytes()).as_bytes())
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

/// Why a chunk that was found did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Withheld {
    /// It holds something of this kind.
    Sensitive(ChunkId, Kind),
    /// Its wording resembles orders to a model.
    Orders(ChunkId),
    /// The answer was as large as it may be.
    TooMuch(ChunkId),
}

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// The chunks that left, in order, each with its document and the document's digest.
        released: Vec<(ChunkId, DocumentId, Digest)>,
        /// The chunks that did not, and why.
        withheld: Vec<Withheld>,
        /// Whether a leg of the search did not answer.
        degraded: bool,
    },
    /// It was refused, with this code.
    Refused(&'static str),
    /// It failed, with this code.
    Failed(&'static str),
}

impl Outcome {
    pub(super) fn answered(findings: &Findings, withheld: Vec<Withheld>) -> Self {
        let released =
            findings.hits.iter().map(|hit| (hit.chunk.id, hit.document.clone(), hit.version)).collect();
        Self::Answered { released, withheld, degraded: !findings.degraded.is_empty() }
    }

    pub(super) const fn of(error: &GuardError) -> Self {
        match error {
            GuardError::Denied(_) => Self::Refused(error.code()),
            error => Self::Failed(error.code()),
        }
    }
}

/// An attempt to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Of which tenant.
    pub tenant: TenantId,
    /// By whom.
    pub principal: String,
    /// With what clearance.
    pub clearance: Classification,
    /// From what.
    pub collection: Collection,
    /// When it ended.
    pub at: Timestamp,
    /// The digest of the question under the host's key.
    pub query: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Where attempts are recorded. A guard can add to it, and nothing else.
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Records an attempt. What was found is answered only when this has.
    ///
    /// # Errors
    /// Whatever the record says; the reader gets no answer.
    fn record(&self, attempt: &Attempt) -> Result<(), Box<dyn Error + Send + Sync>>;
}
