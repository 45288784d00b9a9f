#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod anchor;
pub mod chain;
mod checkpoint;
mod entry;
pub mod episode;
mod error;
#[cfg(test)]
mod golden;
mod hex;
#[cfg(feature = "sign")]
mod key;
mod ledger;
pub mod memory;
pub mod merkle;
mod proof;
pub mod recall;
pub mod store;
mod trust;
mod verify;

/// The crate of the types that this one takes and gives: times, clocks, agents, labels, digests, failures, embedders.
pub use agent_primitives as primitives;
pub use checkpoint::{Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES, Seal, Signature};
pub use entry::{Appended, BadHead, Entry, EntryKind, Head, LedgerId, MAX_BODY_BYTES, Record};
pub use error::LedgerError;
#[cfg(feature = "sign")]
pub use key::{BadKey, PublicKey, SigningKey};
pub use ledger::{
    AnchorStatus, Durability, Entries, Ledger, LedgerOptions, MAX_ANCHORS, MAX_ERASED, MAX_SEAL_LAG,
    MAX_SEAL_RECORDS, MAX_UNANCHORED, SealStatus, Sealing,
};
pub use proof::{ConsistencyProof, InclusionProof};
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
pub use store::{MemoryLimits, MemoryStore, Recovery, SegmentOptions, SegmentReader, SegmentStore, WhenFull};
pub use trust::Trust;
pub use verify::{ChainVerifier, Finding, Place, VerifyError, VerifyReport};
