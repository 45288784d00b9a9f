//! A contract that a publisher vouches for.

use std::fmt;

use agent_primitives::json::{self, Value};
use agent_primitives::{Digest, Timestamp, ToolId};
use bytes::Bytes;
use emk::{PublicKey, SigningKey};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::item::MAX_ITEM_BYTES;
use super::trust::TrustError;
use crate::contract;
use crate::{ToolContract, error::one_line};

const SIGNED: &str = "agent-os atr signed record v1";
const MAX_DEPTH: usize = 64;
const MAX_NODES: usize = 100_000;

/// A contract, and the signature of a publisher over its digest, an epoch and the end of its validity.
///
/// INVARIANT: the signature is valid, and `digest` is that of the contract. Only [`SignedRecord::sign`] and parsing make one.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedRecord {
    contract: Bytes,
    id: ToolId,
    version: Version,
    digest: Digest,
    publisher: PublicKey,
    epoch: u64,
    not_after: Timestamp,
    signature: [u8; 64],
}

/// A record as it travels.
#[derive(Serialize, Deserialize)]
pub(super) struct RawRecord {
    /// The contract without its digest, as canonical JSON.
    pub(super) contract: Vec<u8>,
    pub(super) publisher: [u8; 32],
    pub(super) epoch: u64,
    pub(super) not_after: i64,
    pub(super) signature: Vec<u8>,
}

impl SignedRecord {
    /// Vouches for a contract until `not_after`. A publisher counts its epochs up: a revocation takes back every record of
    /// the tool with a lower one.
    ///
    /// # Errors
    /// [`TrustError::Malformed`], [`TrustError::TooLarge`]: the contract cannot be written down.
    pub fn sign(
        contract: &ToolContract,
        key: &SigningKey,
        epoch: u64,
        not_after: Timestamp,
    ) -> Result<Self, TrustError> {
        let mut value = serde_json::to_value(contract).map_err(malformed)?;
        if let Some(terms) = value.as_object_mut() {
            terms.remove("digest");
        }
        let contract = json::canonical(&value).map_err(malformed)?;
        let digest = Digest::of(contract::DOMAIN, &contract);
        let signature = key.sign(message(digest, epoch, not_after).as_bytes()).to_vec();
        let publisher = key.public().to_bytes();
        Self::parse(RawRecord { contract, publisher, epoch, not_after: not_after.as_micros(), signature })
    }

    /// Checks everything that can be checked without knowing whom to trust.
    pub(super) fn parse(raw: RawRecord) -> Result<Self, TrustError> {
        let limits = json::Limits { bytes: MAX_ITEM_BYTES, depth: MAX_DEPTH, nodes: MAX_NODES };
        let value = json::parse(&raw.contract, &limits).map_err(malformed)?;
        if json::canonical(&value).map_err(malformed)? != raw.contract {
            return Err(malformed("the contract is not in canonical form"));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        if value.get("digest").is_some() {
            return Err(malformed("the contract holds its digest"));
        }
        let id = text("id").ok_or_else(|| malformed("the contract has no name"))?;
        let version = text("version").ok_or_else(|| malformed("the contract has no version"))?;
        let (id, version) = (id.parse().map_err(malformed)?, Version::parse(version).map_err(malformed)?);
        let publisher = PublicKey::from_bytes(&raw.publisher).map_err(|_| TrustError::SignatureInvalid)?;
        let signature: [u8; 64] = raw.signature.try_into().map_err(|_| TrustError::SignatureInvalid)?;
        let digest = Digest::of(contract::DOMAIN, &raw.contract);
        let not_after = Timestamp::from_micros(raw.not_after);
        if !publisher.verify(message(digest, raw.epoch, not_after).as_bytes(), &signature) {
            return Err(TrustError::SignatureInvalid);
        }
        Ok(Self {
            contract: raw.contract.into(),
            id,
            version,
            digest,
            publisher,
            epoch: raw.epoch,
            not_after,
            signature,
        })
    }

    pub(super) fn raw(&self) -> RawRecord {
        RawRecord {
            contract: self.contract.to_vec(),
            publisher: self.publisher.to_bytes(),
            epoch: self.epoch,
            not_after: self.not_after.as_micros(),
            signature: self.signature.to_vec(),
        }
    }

    /// The tool.
    #[must_use]
    pub fn id(&self) -> &ToolId {
        &self.id
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Digest of the contract: [`ToolContract::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The contract without its digest, as canonical JSON. Untrusted text.
    #[must_use]
    pub fn contract(&self) -> &Bytes {
        &self.contract
    }

    /// Who vouches for it.
    #[must_use]
    pub fn publisher(&self) -> PublicKey {
        self.publisher
    }

    /// The publisher's count of what it signed.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The last moment at which it is served.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Of two records of one contract by one publisher, the one with the greater rank stays.
    pub(super) fn rank(&self) -> (u64, Timestamp, [u8; 64]) {
        (self.epoch, self.not_after, self.signature)
    }
}

impl fmt::Debug for SignedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedRecord")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("digest", &self.digest)
            .field("publisher", &self.publisher)
            .field("epoch", &self.epoch)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// What is signed.
fn message(digest: Digest, epoch: u64, not_after: Timestamp) -> Digest {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(digest.as_bytes());
    bytes.extend_from_slice(&epoch.to_le_bytes());
    bytes.extend_from_slice(&not_after.as_micros().to_le_bytes());
    Digest::of(SIGNED, &bytes)
}

pub(super) fn malformed(reason: impl fmt::Display) -> TrustError {
    TrustError::Malformed { reason: one_line(reason, 256) }
}
