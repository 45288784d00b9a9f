#![doc = include_str!("../README.md")]

pub mod chain;
mod entry;
mod error;
#[cfg(test)]
mod golden;
mod ledger;
pub mod store;
mod verify;

pub use entry::{Appended, BadHead, Entry, EntryKind, Head, LedgerId, MAX_BODY_BYTES, Record};
pub use error::LedgerError;
pub use ledger::{Durability, Entries, Ledger, LedgerOptions};
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
pub use store::{MemoryLimits, MemoryStore, Recovery, SegmentOptions, SegmentReader, SegmentStore, WhenFull};
pub use verify::{ChainVerifier, Finding, Place, VerifyError, VerifyReport};
