//! Why a ledger refuses.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why an operation on a ledger was refused. Cheap to clone: one failure reaches every waiter.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The body does not fit one record.
    #[error("a body of {len} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Bytes in the body.
        len: usize,
        /// [`crate::MAX_BODY_BYTES`].
        limit: usize,
    },
    /// The buffer of records that wait for the disk is full. Passes once some of them are durable.
    #[error("{buffered} bytes wait for the disk, the limit is {limit}")]
    Full {
        /// Bytes in the buffer.
        buffered: usize,
        /// [`crate::LedgerOptions::max_buffered_bytes`].
        limit: usize,
    },
    /// A store with a fixed size has no room and was told to refuse.
    #[error("the store is full at {records} records and {bytes} bytes")]
    StoreFull {
        /// Records held.
        records: u64,
        /// Bytes held.
        bytes: u64,
    },
    /// Reading or writing failed. After a failed write every later append fails the same way until the ledger is
    /// opened again.
    #[error("cannot {operation} `{path}`: {source}")]
    Io {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The thread that writes ended without finishing its work.
    #[error("the thread that writes the ledger has ended")]
    Stopped,
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// Another process, or another handle in this one, writes to the directory.
    #[error("another writer holds `{dir}`")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// The bytes of a segment are not what was written.
    #[error("segment `{segment}` is damaged at byte {offset}: {reason}")]
    Corrupt {
        /// File name of the segment.
        segment: String,
        /// Where the damaged frame starts.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The last segment ends in the middle of a record, as after a crash. Opening it for writing cuts that off.
    #[error("segment `{segment}` ends in an unfinished record: {dropped_bytes} bytes from byte {offset}")]
    TornTail {
        /// File name of the segment.
        segment: String,
        /// Where the unfinished record starts.
        offset: u64,
        /// Bytes from there to the end of the file.
        dropped_bytes: u64,
    },
    /// A segment in a format that this version does not read.
    #[error("segment `{segment}` has format {version}, this version reads 1")]
    UnsupportedFormat {
        /// File name of the segment.
        segment: String,
        /// The version it states.
        version: u32,
    },
    /// The directory holds a ledger of another name.
    #[error("the directory holds the ledger `{found}`, not `{wanted}`")]
    WrongLedger {
        /// The name asked for.
        wanted: String,
        /// The name found.
        found: String,
    },
    /// The directory has no segments.
    #[error("`{dir}` holds no ledger")]
    NotALedger {
        /// The directory.
        dir: PathBuf,
    },
    /// A record that has not been appended yet.
    #[error("record {seq} does not exist, the ledger has {count}")]
    Unknown {
        /// The position asked for.
        seq: u64,
        /// How many records there are.
        count: u64,
    },
    /// A record that a bounded store has dropped.
    #[error("record {seq} was dropped, the oldest kept is {first}")]
    Dropped {
        /// The position asked for.
        seq: u64,
        /// The oldest position kept.
        first: u64,
    },
    /// A record that the store should have and does not give.
    #[error("record {seq} is missing from the store")]
    Missing {
        /// The position asked for.
        seq: u64,
    },
    /// The last seal does not fit the records before it, so nothing is sealed on top of it.
    #[error("the checkpoint in record {seq} does not hold: {reason}")]
    BadCheckpoint {
        /// Where it stands.
        seq: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// More anchors than [`crate::MAX_ANCHORS`].
    #[error("a ledger has at most 8 anchors")]
    TooManyAnchors,
    /// A record that only the ledger itself writes.
    #[error("a `{kind}` is appended by the ledger itself")]
    NotAppendable {
        /// Its kind.
        kind: crate::EntryKind,
    },
    /// A record whose body cannot be erased.
    #[error("record {seq} cannot be erased: {reason}")]
    NotErasable {
        /// The position of the record.
        seq: u64,
        /// Why not.
        reason: &'static str,
    },
    /// Not a name for a ledger.
    #[error("a ledger name has 1 to 128 bytes and no control characters")]
    BadLedgerId,
    /// A record in a database is not what was written.
    #[error("record {seq} in `{store}` is damaged: {reason}")]
    Damaged {
        /// The table or other place.
        store: String,
        /// The position of the record.
        seq: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl LedgerError {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "AK0801",
            Self::Full { .. } => "AK0802",
            Self::StoreFull { .. } => "AK0803",
            Self::Io { .. } => "AK0804",
            Self::Stopped => "AK0805",
            Self::Closed => "AK0806",
            Self::Locked { .. } => "AK0807",
            Self::Corrupt { .. } => "AK0808",
            Self::TornTail { .. } => "AK0809",
            Self::UnsupportedFormat { .. } => "AK0810",
            Self::WrongLedger { .. } => "AK0811",
            Self::NotALedger { .. } => "AK0812",
            Self::Unknown { .. } => "AK0813",
            Self::Dropped { .. } => "AK0814",
            Self::Missing { .. } => "AK0815",
            Self::BadLedgerId => "AK0816",
            Self::NotErasable { .. } => "AK0719",
            Self::Damaged { .. } => "AK0819",
            Self::NotAppendable { .. } => "AK0820",
            Self::BadCheckpoint { .. } => "AK0817",
            Self::TooManyAnchors => "AK0818",
        }
    }

    /// Wraps what the operating system said; stores outside this crate use it too.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source: Arc::new(source) }
    }
}
