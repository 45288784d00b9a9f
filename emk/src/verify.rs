//! Verification: streaming, one entry at a time, stopping at the first finding.

use std::fmt;

use agent_primitives::Digest;

use crate::{CheckpointError, EntryKind, Head, LedgerError, Record, chain};

/// How often the progress of a verification is told, in records.
pub(crate) const PROGRESS_EVERY: u64 = 4096;

/// What is wrong with a ledger.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Finding {
    /// A record says it stands elsewhere.
    #[error("the record here says it is number {found}")]
    SequenceGap {
        /// The position it claims.
        found: u64,
    },
    /// A body is not the one that was recorded.
    #[error("the body is not the one that was recorded")]
    ContentMismatch,
    /// A record does not follow from the one before.
    #[error("the record does not follow from the one before")]
    ChainBroken,
    /// Fewer records than the expected head has.
    #[error("the ledger ends here but should have {expected} records")]
    Truncated {
        /// How many there should be.
        expected: u64,
    },
    /// The records are whole, but they are not those of the expected head.
    #[error("the records are not those of the expected head")]
    HeadMismatch,
    /// The expected head lies before the oldest record that was kept, so nothing can be said about it.
    #[error("the expected head lies before the oldest record kept")]
    HeadDropped,
    /// The last segment ends in an unfinished record, as after a crash.
    #[error("the last {dropped_bytes} bytes are an unfinished record")]
    TornTail {
        /// Bytes from the start of that record to the end of the file.
        dropped_bytes: u64,
    },
    /// The bytes of a segment are not what was written.
    #[error("{reason}")]
    Corrupt {
        /// What is wrong.
        reason: &'static str,
    },
    /// A seal is not believed.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A seal is not of the records before it.
    #[error("the checkpoint of the first {size} records is not of these records")]
    SealMismatch {
        /// How many it seals.
        size: u64,
    },
    /// An anchor knows of more records than there are.
    #[error("the ledger ends here, and {size} records of it were anchored")]
    RolledBack {
        /// How many the anchor knows of.
        size: u64,
    },
    /// The records are not those that were anchored.
    #[error("the first {size} records are not those that were anchored")]
    AnchorMismatch {
        /// How many the anchor knows of.
        size: u64,
    },
    /// A key was given, and nothing in the ledger is signed.
    #[error("no record is a signed checkpoint")]
    Unsealed,
    /// A record is whole, but what it says cannot be.
    #[error("{reason}")]
    Body {
        /// Stable code of what is wrong.
        code: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The records could not be read.
    #[error(transparent)]
    Unreadable(LedgerError),
}

impl Finding {
    /// The stable code of this finding.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SequenceGap { .. } => "AK0821",
            Self::ContentMismatch => "AK0822",
            Self::ChainBroken => "AK0823",
            Self::Truncated { .. } => "AK0824",
            Self::HeadMismatch => "AK0825",
            Self::HeadDropped => "AK0826",
            Self::TornTail { .. } => "AK0827",
            Self::Corrupt { .. } => "AK0828",
            Self::Unreadable(_) => "AK0829",
            Self::Checkpoint(error) => error.code(),
            Self::SealMismatch { .. } => "AK0835",
            Self::RolledBack { .. } => "AK0836",
            Self::AnchorMismatch { .. } => "AK0837",
            Self::Unsealed => "AK0838",
            Self::Body { code, .. } => code,
        }
    }
}

/// A place in the files of a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name of the segment.
    pub segment: String,
    /// Byte offset of the frame.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at byte {}", self.segment, self.offset)
    }
}

/// The first thing found wrong with a ledger, and where.
#[derive(Clone, Debug, thiserror::Error)]
#[error("record {seq}{}: {finding}", place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default())]
pub struct VerifyError {
    /// Position of the record that broke.
    pub seq: u64,
    /// Where it lies on disk, when the verification read files directly.
    pub place: Option<Place>,
    /// What is wrong with it.
    #[source]
    pub finding: Finding,
}

impl VerifyError {
    /// The stable code of the finding.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.finding.code()
    }

    pub(crate) fn at(seq: u64, finding: Finding) -> Self {
        Self { seq, place: None, finding }
    }

    pub(crate) fn with_place(self, segment: &str, offset: u64) -> Self {
        Self { place: Some(Place { segment: segment.to_owned(), offset }), ..self }
    }
}

/// What a verification without findings has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Records checked.
    pub entries: u64,
    /// Of these, records whose body was erased and could not be checked.
    pub redacted: u64,
    /// The head that the checked records lead to.
    pub head: Head,
    /// Segment files read; 0 when records came from elsewhere.
    pub segments: u64,
    /// Seals among the records.
    pub checkpoints: u64,
    /// Records that the last seal stands for, by a signature if keys were given. Those after it are only chained.
    pub sealed: u64,
}

/// Checks records as they stream by; memory does not grow with the ledger.
#[derive(Clone, Debug)]
pub struct ChainVerifier {
    start: Head,
    head: Head,
    expected: Option<Head>,
    redacted: u64,
}

impl ChainVerifier {
    /// Expects the record after `start` next, and the head `expected` to be met on the way or at the end.
    ///
    /// Records may follow the expected head: a head taken yesterday still holds for a ledger that has grown.
    #[must_use]
    pub const fn new(start: Head, expected: Option<Head>) -> Self {
        Self { start, head: start, expected, redacted: 0 }
    }

    /// The head that the records checked so far lead to.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Checks the next record: its position, then its body unless it was erased, then its place in the chain.
    ///
    /// # Errors
    /// `SequenceGap`, `ContentMismatch`, `ChainBroken` or `HeadMismatch` at the position of this record.
    pub fn check(&mut self, record: &Record<'_>) -> Result<(), VerifyError> {
        if record.erased {
            return self.check_redacted(record.seq, record.kind, &record.content_id, record.hash);
        }
        self.check_position(record.seq)?;
        if chain::content_id(record.kind, record.body) != record.content_id {
            return Err(VerifyError::at(record.seq, Finding::ContentMismatch));
        }
        self.check_link(record.kind, &record.content_id, record.hash)
    }

    /// Checks a record whose body was erased and whose content id was kept.
    ///
    /// # Errors
    /// As [`ChainVerifier::check`], without `ContentMismatch`.
    pub fn check_redacted(
        &mut self,
        seq: u64,
        kind: EntryKind,
        content_id: &Digest,
        hash: Digest,
    ) -> Result<(), VerifyError> {
        self.check_position(seq)?;
        self.check_link(kind, content_id, hash)?;
        self.redacted += 1;
        Ok(())
    }

    /// Ends the verification.
    ///
    /// # Errors
    /// `Truncated`, `HeadMismatch` or `HeadDropped` when the expected head was not met.
    pub fn finish(self) -> Result<VerifyReport, VerifyError> {
        if let Some(expected) = self.expected {
            if expected.count < self.start.count {
                return Err(VerifyError::at(expected.count, Finding::HeadDropped));
            }
            if self.head.count < expected.count {
                let finding = Finding::Truncated { expected: expected.count };
                return Err(VerifyError::at(self.head.count, finding));
            }
            // A head that coincides with the start has no record on the way to be compared with.
            if expected.count == self.start.count && expected.hash != self.start.hash {
                return Err(head_mismatch(expected));
            }
        }
        Ok(VerifyReport {
            entries: self.head.count - self.start.count,
            redacted: self.redacted,
            head: self.head,
            segments: 0,
            checkpoints: 0,
            sealed: 0,
        })
    }

    fn check_position(&self, found: u64) -> Result<(), VerifyError> {
        if found == self.head.count {
            return Ok(());
        }
        Err(VerifyError::at(self.head.count, Finding::SequenceGap { found }))
    }

    fn check_link(&mut self, kind: EntryKind, content_id: &Digest, hash: Digest) -> Result<(), VerifyError> {
        let seq = self.head.count;
        if chain::entry_hash(&self.head.hash, seq, kind, content_id) != hash {
            return Err(VerifyError::at(seq, Finding::ChainBroken));
        }
        self.head = Head { count: seq + 1, hash };
        match self.expected {
            Some(expected) if expected.count == self.head.count && expected.hash != hash => {
                Err(head_mismatch(expected))
            }
            _ => Ok(()),
        }
    }
}

fn head_mismatch(expected: Head) -> VerifyError {
    VerifyError::at(expected.count.saturating_sub(1), Finding::HeadMismatch)
}
