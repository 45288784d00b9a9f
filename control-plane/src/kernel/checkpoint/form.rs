//! What a checkpoint is made of, and its one text form.

use agent_primitives::{AgentId, Digest, LabelSet, Signal, TenantId, Timestamp, TooManyLabels};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::MAX_CHECKPOINT_BYTES;
use crate::budget::BudgetState;
use crate::vfs::namespace::snapshot::{Kept, Opened};
use crate::vfs::{Descriptor, OpenFlags};

/// Which form this is.
pub(super) const VERSION: u32 = 1;

/// What an agent held at one moment, under a digest of all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub(super) content: Content,
    pub(super) digest: Digest,
}

/// What an agent can read of itself: nothing in it counts what others do, as a generation or the length of the record would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Content {
    pub(super) version: u32,
    pub(super) agent: AgentId,
    pub(super) tenant: Option<TenantId>,
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub(super) taken: Timestamp,
    /// What judged the agent.
    pub(super) policy: Digest,
    pub(super) policy_generation: u64,
    /// How many calls it had made in its life.
    pub(super) calls: u64,
    /// Calls that were under way.
    pub(super) in_flight: u64,
    pub(super) labels: LabelSet,
    pub(super) masked: Vec<Signal>,
    pub(super) pending: Vec<Signal>,
    /// For the reader: it is not given back.
    pub(super) budgets: Vec<BudgetState>,
    pub(super) descriptors: Vec<OpenDescriptor>,
    pub(super) memory: Vec<File>,
}

impl Content {
    /// What all of it carries: what the agent did, and what each file does. A file may keep a label that was taken off the
    /// agent since, and may have been written by another.
    pub(super) fn carried(&self) -> Result<LabelSet, TooManyLabels> {
        self.memory.iter().try_fold(self.labels.clone(), |labels, file| labels.join(&file.labels))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenDescriptor {
    pub(super) descriptor: Descriptor,
    pub(super) path: String,
    pub(super) flags: OpenFlags,
    pub(super) position: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Below the working memory.
    pub(super) path: String,
    pub(super) labels: LabelSet,
    pub(super) expires: Option<Timestamp>,
    pub(super) base64: String,
}

/// Text that is no checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no checkpoint: {reason}")]
pub struct BadCheckpoint {
    pub(super) reason: String,
}

impl BadCheckpoint {
    /// Stable code.
    pub const CODE: &'static str = "AK0960";
}

impl Checkpoint {
    /// The agent it is of.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.content.agent
    }

    /// When it was taken.
    #[must_use]
    pub fn taken(&self) -> Timestamp {
        self.content.taken
    }

    /// The digest of all it holds.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The checkpoint as JSON: the bytes that are kept.
    ///
    /// # Errors
    /// It has no encoding, which would be a bug.
    pub fn to_bytes(&self) -> Result<Bytes, BadCheckpoint> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|error| BadCheckpoint { reason: error.to_string() })
    }

    /// Reads back the bytes of a checkpoint. That they are unchanged is found out where they are used: see
    /// [`Kernel::restore`](crate::Kernel::restore).
    ///
    /// # Errors
    /// Anything but the very bytes that [`Checkpoint::to_bytes`] gives for what is read.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadCheckpoint> {
        let bad = |reason: &str| BadCheckpoint { reason: reason.to_owned() };
        if MAX_CHECKPOINT_BYTES < bytes.len() {
            return Err(bad("it is too long"));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| bad(&error.to_string()))?;
        if read.content.version != VERSION {
            return Err(bad("its version is unknown"));
        }
        if read.to_bytes()? != bytes { Err(bad("it is written in another way")) } else { Ok(read) }
    }
}

impl From<Opened> for OpenDescriptor {
    fn from(open: Opened) -> Self {
        let Opened { descriptor, path, flags, position } = open;
        Self { descriptor, path: path.as_str().to_owned(), flags, position }
    }
}

impl From<Kept> for File {
    fn from(file: Kept) -> Self {
        let Kept { path, data, labels, expires } = file;
        Self { path, labels, expires, base64: BASE64.encode(data) }
    }
}

impl File {
    /// Its content; `None` when that is no base64.
    pub(super) fn data(&self) -> Option<Bytes> {
        BASE64.decode(&self.base64).ok().map(Bytes::from)
    }
}
