//! What a ledger is made of: entries, their kinds, and the head that stands for all of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use agent_primitives::Digest;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::LedgerError;
use crate::store::frame;

/// Largest body of one record: 16 MiB less the 73 bytes of the record's own fields.
pub const MAX_BODY_BYTES: usize = frame::MAX_PAYLOAD - frame::RECORD_FIELDS;

/// What a record is. The number is part of the entry hash, so it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// An experience of an agent.
    Episode,
    /// Says that an earlier record was erased.
    Tombstone,
    /// A rule distilled from episodes.
    Rule,
    /// A Merkle root over the records before it.
    Checkpoint,
    /// An event of the kernel's flight recorder.
    Event,
}

impl EntryKind {
    /// Every kind, by number.
    pub const ALL: [Self; 5] = [Self::Episode, Self::Tombstone, Self::Rule, Self::Checkpoint, Self::Event];

    /// The number that is stored and hashed.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Episode => 0,
            Self::Tombstone => 1,
            Self::Rule => 2,
            Self::Checkpoint => 3,
            Self::Event => 4,
        }
    }

    /// Whether the body of such a record can be erased. What a kernel or a seal has put on record stays.
    #[must_use]
    pub const fn is_erasable(self) -> bool {
        matches!(self, Self::Episode | Self::Rule)
    }

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The lower-case name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Episode => "episode",
            Self::Tombstone => "tombstone",
            Self::Rule => "rule",
            Self::Checkpoint => "checkpoint",
            Self::Event => "event",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record, borrowed: what a store writes and a verifier checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Position in the ledger, from 0.
    pub seq: u64,
    /// What the record is.
    pub kind: EntryKind,
    /// Digest of the body in the domain of the kind.
    pub content_id: Digest,
    /// Digest that chains this record to the one before.
    pub hash: Digest,
    /// The body; empty if it was erased.
    pub body: &'a [u8],
    /// The body was erased: only its digest is left.
    pub erased: bool,
}

impl fmt::Debug for Record<'_> {
    /// Bodies may hold prompts and secrets, so only their length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let erased = if self.erased { ", erased" } else { "" };
        write!(f, "Record({} {} {}, {} bytes{erased})", self.seq, self.kind, self.hash, self.body.len())
    }
}

/// One record, owned: what reading a ledger gives.
///
/// The body shares its allocation (up to 256 KiB) with its neighbours; copy it to keep it for long.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Position in the ledger, from 0.
    pub seq: u64,
    /// What the record is.
    pub kind: EntryKind,
    /// Digest of the body in the domain of the kind.
    pub content_id: Digest,
    /// Digest that chains this record to the one before.
    pub hash: Digest,
    /// The body; empty if it was erased.
    pub body: Bytes,
    /// The body was erased: only its digest is left.
    pub erased: bool,
}

impl Entry {
    /// The entry as a borrowed record.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            seq: self.seq,
            kind: self.kind,
            content_id: self.content_id,
            hash: self.hash,
            body: &self.body,
            erased: self.erased,
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_record().fmt(f)
    }
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its position in the ledger.
    pub seq: u64,
    /// Its entry hash; together with `seq` the head of the ledger at that moment.
    pub hash: Digest,
    /// The digest of its body.
    pub content_id: Digest,
}

/// The head of a ledger: how many records it has and the hash of the last one.
///
/// Whoever knows an earlier head can tell whether the records below it are still the same; keep heads outside the
/// machine that keeps the ledger. Prints and parses as `count:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Number of records.
    pub count: u64,
    /// Hash of the last record; of an empty ledger its genesis hash.
    pub hash: Digest,
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.count, self.hash)
    }
}

/// Text that is not `count:hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a head is a count, a colon and 64 lower-case hex digits")]
pub struct BadHead;

impl FromStr for Head {
    type Err = BadHead;

    fn from_str(text: &str) -> Result<Self, BadHead> {
        let (count, hash) = text.split_once(':').ok_or(BadHead)?;
        let head =
            Self { count: count.parse().map_err(|_| BadHead)?, hash: hash.parse().map_err(|_| BadHead)? };
        // One head has one spelling: `+3` and `03` are refused.
        if head.to_string() == text { Ok(head) } else { Err(BadHead) }
    }
}

/// The name of a ledger. Two ledgers with different names never share a hash.
///
/// INVARIANT: 1 to [`LedgerId::MAX_BYTES`] bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LedgerId(Arc<str>);

impl LedgerId {
    /// Longest name in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`LedgerError::BadLedgerId`] if it is empty, too long or holds a control character.
    pub fn new(name: &str) -> Result<Self, LedgerError> {
        if name.is_empty() || Self::MAX_BYTES < name.len() || name.chars().any(char::is_control) {
            return Err(LedgerError::BadLedgerId);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LedgerId {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        Self::new(&text)
    }
}

impl From<LedgerId> for String {
    fn from(id: LedgerId) -> Self {
        id.as_str().to_owned()
    }
}

impl FromStr for LedgerId {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_one_spelling() {
        let head = Head { count: 42, hash: Digest::of("agent-os test v1", b"x") };
        let text = head.to_string();
        assert_eq!(text.parse(), Ok(head));
        for bad in
            ["", "42", &format!("+{text}"), &format!("0{text}"), &text.to_uppercase(), &format!("{text} ")]
        {
            assert_eq!(bad.parse::<Head>(), Err(BadHead), "{bad}");
        }
    }

    #[test]
    fn kinds_are_numbered_by_position() {
        for (number, kind) in (0u8..).zip(EntryKind::ALL) {
            assert_eq!((kind.number(), EntryKind::from_number(number)), (number, Some(kind)));
        }
        assert_eq!(EntryKind::from_number(5), None);
    }

    #[test]
    fn ledger_names_are_bounded_text() {
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert!(LedgerId::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(LedgerId::new(&"x".repeat(128)).unwrap().as_str().len(), 128);
    }
}
