//! Checkpoints: what a ledger was at one moment, in a few bytes that can be signed and kept elsewhere.

use std::fmt;

use agent_primitives::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

#[cfg(feature = "sign")]
use crate::key::{PublicKey, SigningKey};
use crate::merkle::Accumulator;
use crate::{Head, LedgerId, hex};

/// Longest encoding of a checkpoint that is read, in bytes. A real one has some 500.
pub const MAX_CHECKPOINT_BYTES: usize = 4 << 10;
/// Longest body of a checkpoint record that is read: a checkpoint, and at most 64 peaks.
const MAX_SEAL_BYTES: usize = MAX_CHECKPOINT_BYTES + (8 << 10);
const FORMAT: u32 = 1;
#[cfg(feature = "sign")]
const SIGNED: &[u8] = b"agent-os emk checkpoint v1\0";

/// The state of a ledger at one moment. As text it is one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Version of this form: 1.
    pub format: u32,
    /// The ledger.
    pub ledger: LedgerId,
    /// How many records it had.
    pub size: u64,
    /// Root of the Merkle tree over their hashes.
    pub root: Digest,
    /// Hash of the last of them, which chains all of them.
    pub head: Digest,
    /// When, by the clock of the writer.
    #[serde(with = "agent_primitives::timestamp::rfc3339")]
    pub time: Timestamp,
    /// Who vouches for it, if anybody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// An ed25519 signature and whose it is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SignatureText", into = "SignatureText")]
pub struct Signature {
    key: Digest,
    bytes: [u8; 64],
}

impl Signature {
    /// The id of the key: see `PublicKey::id`.
    #[must_use]
    pub const fn key(&self) -> Digest {
        self.key
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(by {})", self.key)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureText {
    key: Digest,
    ed25519: String,
}

impl From<Signature> for SignatureText {
    fn from(signature: Signature) -> Self {
        Self { key: signature.key, ed25519: hex::encode(&signature.bytes) }
    }
}

impl TryFrom<SignatureText> for Signature {
    type Error = &'static str;

    fn try_from(text: SignatureText) -> Result<Self, &'static str> {
        let bytes = hex::decode(&text.ed25519).ok_or("a signature is 128 lower-case hex digits")?;
        Ok(Self { key: text.key, bytes })
    }
}

/// Why a checkpoint is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The bytes are no checkpoint.
    #[error("it is no checkpoint: {reason}")]
    Malformed {
        /// Why not.
        reason: String,
    },
    /// It is of another ledger.
    #[error("it is of the ledger `{found}`")]
    OtherLedger {
        /// Which.
        found: LedgerId,
    },
    /// It carries no signature, and one is asked for.
    #[error("it is not signed")]
    Unsigned,
    /// It is signed with a key that is not trusted.
    #[error("it is signed by the key {key}, which is not trusted")]
    OtherKey {
        /// The id of the key.
        key: Digest,
    },
    /// The signature is not one of the key it names.
    #[error("its signature is not valid")]
    BadSignature,
}

impl CheckpointError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "AK0830",
            Self::OtherLedger { .. } => "AK0831",
            Self::Unsigned => "AK0832",
            Self::OtherKey { .. } => "AK0833",
            Self::BadSignature => "AK0834",
        }
    }

    pub(crate) fn malformed(reason: impl fmt::Display) -> Self {
        Self::Malformed { reason: reason.to_string() }
    }
}

impl Checkpoint {
    /// The state that `tree` and `head`, the hash of its last leaf, are of. Not signed.
    pub(crate) fn of(ledger: LedgerId, tree: &Accumulator, head: Digest, time: Timestamp) -> Self {
        Self { format: FORMAT, ledger, size: tree.size(), root: tree.root(), head, time, signature: None }
    }

    /// The head that was sealed.
    #[must_use]
    pub const fn sealed_head(&self) -> Head {
        Head { count: self.size, hash: self.head }
    }

    /// The checkpoint as one line of JSON, without the end of the line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // INVARIANT: a struct of numbers and text has a JSON form, whatever is in it.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads [`Checkpoint::to_json`]. Says nothing about whether it is true: see `Checkpoint::verify`.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_json(text: &[u8]) -> Result<Self, CheckpointError> {
        if MAX_CHECKPOINT_BYTES < text.len() {
            return Err(CheckpointError::malformed("it is too long"));
        }
        let checkpoint: Self = serde_json::from_slice(text).map_err(CheckpointError::malformed)?;
        checkpoint.known()
    }

    fn known(self) -> Result<Self, CheckpointError> {
        if self.format == FORMAT {
            Ok(self)
        } else {
            Err(CheckpointError::malformed("its format is not known"))
        }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// `Unsigned`, `OtherKey` or `BadSignature`.
    #[cfg(feature = "sign")]
    pub fn verify(&self, key: &PublicKey) -> Result<(), CheckpointError> {
        let signature = self.signed_by(std::slice::from_ref(key))?;
        let valid = key.verify(&self.message(), &signature.bytes);
        if valid { Ok(()) } else { Err(CheckpointError::BadSignature) }
    }

    /// The signature, if one of `keys` is said to have made it. Does not check that it did.
    #[cfg(feature = "sign")]
    pub(crate) fn signed_by(&self, keys: &[PublicKey]) -> Result<&Signature, CheckpointError> {
        let signature = self.signature.as_ref().ok_or(CheckpointError::Unsigned)?;
        let known = keys.iter().any(|key| key.id() == signature.key);
        if known { Ok(signature) } else { Err(CheckpointError::OtherKey { key: signature.key }) }
    }

    #[cfg(feature = "sign")]
    pub(crate) fn sign(&mut self, key: &SigningKey) {
        let bytes = key.sign(&self.message());
        self.signature = Some(Signature { key: key.public().id(), bytes });
    }

    /// What is signed: every field, of fixed length or with its length before it, in a domain of its own.
    #[cfg(feature = "sign")]
    fn message(&self) -> Vec<u8> {
        let ledger = self.ledger.as_str().as_bytes();
        [
            SIGNED,
            &self.format.to_le_bytes(),
            &(ledger.len() as u64).to_le_bytes(),
            ledger,
            &self.size.to_le_bytes(),
            self.root.as_bytes(),
            self.head.as_bytes(),
            &self.time.as_micros().to_le_bytes(),
        ]
        .concat()
    }
}

/// The body of a [`crate::EntryKind::Checkpoint`] record: the checkpoint, and what a writer needs to go on from it.
///
/// The checkpoint seals the first `size` records. Its own record comes later: others may have been appended meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Seal {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// [`Accumulator::peaks`] of its tree.
    pub peaks: Vec<Digest>,
}

impl Seal {
    /// Reads the body of a checkpoint record. The peaks are those of the root, or it is `Malformed`.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_body(body: &[u8]) -> Result<Self, CheckpointError> {
        if MAX_SEAL_BYTES < body.len() {
            return Err(CheckpointError::malformed("it is too long"));
        }
        let Self { checkpoint, peaks } = serde_json::from_slice(body).map_err(CheckpointError::malformed)?;
        let seal = Self { checkpoint: checkpoint.known()?, peaks };
        let tree =
            seal.tree().ok_or_else(|| CheckpointError::malformed("it has the wrong number of peaks"))?;
        if tree.root() == seal.checkpoint.root {
            Ok(seal)
        } else {
            Err(CheckpointError::malformed("its peaks are not those of its root"))
        }
    }

    pub(crate) fn to_body(&self) -> Vec<u8> {
        // INVARIANT: as for `Checkpoint::to_json`.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn tree(&self) -> Option<Accumulator> {
        Accumulator::resume(self.checkpoint.size, self.peaks.clone())
    }
}
