//! A publisher takes back what it signed.

use std::fmt;
use std::time::Duration;

use agent_primitives::{Digest, Timestamp, ToolId};
use emk::{PublicKey, SigningKey};
use serde::{Deserialize, Serialize};

use super::record::{SignedRecord, malformed};
use super::trust::TrustError;

const SIGNED: &str = "agent-os atr signed revocation v1";

/// How long a revocation is kept beyond the validity of what it takes back.
pub const KEPT_AFTER: Duration = Duration::from_secs(90 * 86_400);

/// One contract is taken back, and with it every record of the tool by the same publisher with a lower epoch.
///
/// INVARIANT: the signature is valid. Only [`Revocation::sign`] and parsing make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Revocation {
    id: ToolId,
    target: Digest,
    publisher: PublicKey,
    epoch: u64,
    keep_until: Timestamp,
    signature: [u8; 64],
}

/// A revocation as it travels.
#[derive(Serialize, Deserialize)]
pub(super) struct RawRevocation {
    pub(super) id: String,
    pub(super) target: [u8; 32],
    pub(super) publisher: [u8; 32],
    pub(super) epoch: u64,
    pub(super) keep_until: i64,
    pub(super) signature: Vec<u8>,
}

impl Revocation {
    /// Takes back a record. `epoch` is counted with the records' epochs: one that is higher than all of them takes back all
    /// that were signed for the tool so far. It is kept for [`KEPT_AFTER`] beyond the record's validity.
    ///
    /// # Errors
    /// [`TrustError::Malformed`]; not for a record that was parsed.
    pub fn sign(record: &SignedRecord, key: &SigningKey, epoch: u64) -> Result<Self, TrustError> {
        let kept = i64::try_from(KEPT_AFTER.as_micros()).unwrap_or(i64::MAX);
        let keep_until = record.not_after().as_micros().saturating_add(kept);
        let (id, target) = (record.id().clone(), record.digest());
        let message = message(&id, target, epoch, Timestamp::from_micros(keep_until));
        Self::parse(RawRevocation {
            id: id.as_str().to_owned(),
            target: *target.as_bytes(),
            publisher: key.public().to_bytes(),
            epoch,
            keep_until,
            signature: key.sign(message.as_bytes()).to_vec(),
        })
    }

    pub(super) fn parse(raw: RawRevocation) -> Result<Self, TrustError> {
        let id: ToolId = raw.id.parse().map_err(malformed)?;
        let publisher = PublicKey::from_bytes(&raw.publisher).map_err(|_| TrustError::SignatureInvalid)?;
        let signature: [u8; 64] = raw.signature.try_into().map_err(|_| TrustError::SignatureInvalid)?;
        let (target, keep_until) = (Digest::from_bytes(raw.target), Timestamp::from_micros(raw.keep_until));
        if !publisher.verify(message(&id, target, raw.epoch, keep_until).as_bytes(), &signature) {
            return Err(TrustError::SignatureInvalid);
        }
        Ok(Self { id, target, publisher, epoch: raw.epoch, keep_until, signature })
    }

    pub(super) fn raw(&self) -> RawRevocation {
        RawRevocation {
            id: self.id.as_str().to_owned(),
            target: *self.target.as_bytes(),
            publisher: self.publisher.to_bytes(),
            epoch: self.epoch,
            keep_until: self.keep_until.as_micros(),
            signature: self.signature.to_vec(),
        }
    }

    /// The tool.
    #[must_use]
    pub fn id(&self) -> &ToolId {
        &self.id
    }

    /// Digest of the contract that is taken back.
    #[must_use]
    pub fn target(&self) -> Digest {
        self.target
    }

    /// Who takes it back.
    #[must_use]
    pub fn publisher(&self) -> PublicKey {
        self.publisher
    }

    /// Records of the tool by the same publisher with a lower epoch are taken back too.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Until when it is kept at least.
    #[must_use]
    pub fn keep_until(&self) -> Timestamp {
        self.keep_until
    }

    /// Whether it takes this record back. Whoever may publish in the namespace may take back one contract by its digest;
    /// the records of lower epochs are the publisher's own.
    pub(super) fn covers(&self, record: &SignedRecord) -> bool {
        let own_and_older = self.publisher == record.publisher() && record.epoch() < self.epoch;
        self.id == *record.id() && (self.target == record.digest() || own_and_older)
    }
}

impl fmt::Debug for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocation")
            .field("id", &self.id)
            .field("target", &self.target)
            .field("publisher", &self.publisher)
            .field("epoch", &self.epoch)
            .field("keep_until", &self.keep_until)
            .finish_non_exhaustive()
    }
}

fn message(id: &ToolId, target: Digest, epoch: u64, keep_until: Timestamp) -> Digest {
    let mut bytes = Vec::with_capacity(48 + id.as_str().len());
    bytes.extend_from_slice(target.as_bytes());
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(&keep_until.as_micros().to_le_bytes());
    bytes.extend_from_slice(id.as_str().as_bytes());
    Digest::of(SIGNED, &bytes)
}
