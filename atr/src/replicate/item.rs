//! What replicas hold: records and revocations, in one form on the wire and in the journal.

use agent_primitives::{Digest, ToolId};
use emk::PublicKey;
use serde::{Deserialize, Serialize};

use super::record::{RawRecord, SignedRecord, malformed};
use super::revocation::{RawRevocation, Revocation};
use super::trust::TrustError;

/// Largest encoded item.
pub const MAX_ITEM_BYTES: usize = 1 << 20;

const DOMAIN: &str = "agent-os atr replica item v1";

/// A signed record or a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A contract that a publisher vouches for.
    Record(SignedRecord),
    /// A contract that a publisher takes back.
    Revocation(Revocation),
}

#[derive(Serialize, Deserialize)]
enum Raw {
    Record(RawRecord),
    Revocation(RawRevocation),
}

impl Item {
    /// The item's bytes. Equal items have equal bytes.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, TrustError> {
        let raw = match self {
            Self::Record(record) => Raw::Record(record.raw()),
            Self::Revocation(revocation) => Raw::Revocation(revocation.raw()),
        };
        let bytes = postcard::to_stdvec(&raw).map_err(malformed)?;
        if MAX_ITEM_BYTES < bytes.len() {
            return Err(TrustError::TooLarge { limit: MAX_ITEM_BYTES });
        }
        Ok(bytes)
    }

    /// Parses an item and checks its signature. Whether its signer is to be believed is another question.
    ///
    /// # Errors
    /// [`TrustError::TooLarge`], [`TrustError::Malformed`], [`TrustError::SignatureInvalid`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TrustError> {
        if MAX_ITEM_BYTES < bytes.len() {
            return Err(TrustError::TooLarge { limit: MAX_ITEM_BYTES });
        }
        let (raw, rest) = postcard::take_from_bytes::<Raw>(bytes).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed("bytes follow the item"));
        }
        let item = match raw {
            Raw::Record(raw) => Self::Record(SignedRecord::parse(raw)?),
            Raw::Revocation(raw) => Self::Revocation(Revocation::parse(raw)?),
        };
        // Two encodings of one item would be two items to the summary.
        if item.encode()? != bytes {
            return Err(malformed("the item is not encoded in the shortest way"));
        }
        Ok(item)
    }

    /// The tool it speaks of.
    #[must_use]
    pub fn tool(&self) -> &ToolId {
        match self {
            Self::Record(record) => record.id(),
            Self::Revocation(revocation) => revocation.id(),
        }
    }

    /// Who signed it.
    #[must_use]
    pub fn publisher(&self) -> PublicKey {
        match self {
            Self::Record(record) => record.publisher(),
            Self::Revocation(revocation) => revocation.publisher(),
        }
    }
}

impl From<SignedRecord> for Item {
    fn from(record: SignedRecord) -> Self {
        Self::Record(record)
    }
}

impl From<Revocation> for Item {
    fn from(revocation: Revocation) -> Self {
        Self::Revocation(revocation)
    }
}

/// The name of encoded bytes.
pub(super) fn name(encoded: &[u8]) -> Digest {
    Digest::of(DOMAIN, encoded)
}
