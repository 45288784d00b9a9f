//! What a replica has accepted, in a file that survives.
//!
//! Entries are only ever appended: four marking bytes, the length (u32, little-endian), the BLAKE3 hash of the entry, the
//! entry. A torn end is cut off; an entry with a changed byte is reported and skipped, and reading goes on at the next
//! place where a whole entry begins.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use agent_primitives::{Digest, Timestamp};
use bytes::Bytes;

use super::item::MAX_ITEM_BYTES;
use super::replica::{Replica, Report};

const MARK: [u8; 4] = *b"\xa7rj1";
const HEAD: usize = 4 + 4 + 32;
const ENTRY: &str = "agent-os atr journal entry v1";
/// Largest journal that is opened.
const MAX_BYTES: u64 = 4 << 30;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal cannot be used: {0}")]
    Io(#[from] io::Error),
    /// It is larger than is ever read.
    #[error("the journal is larger than {limit} bytes")]
    #[non_exhaustive]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

impl JournalError {
    /// Stable code, `AK0610` or `AK0611`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io(_) => "AK0610",
            Self::TooLarge { .. } => "AK0611",
        }
    }
}

/// What was found in a journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many whole entries there were.
    pub entries: usize,
    /// Where bytes were skipped that are no whole entry, as offsets in the file.
    pub skipped: Vec<u64>,
    /// How many bytes of an unfinished entry were cut off.
    pub cut: u64,
    /// What the replica made of the entries. Those that have expired meanwhile, or whose publisher is trusted no longer,
    /// stay in the file and out of the replica.
    pub report: Report,
}

/// The file behind a replica.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens a journal, or makes one, and fills the replica with what is in it. Blocks.
    ///
    /// # Errors
    /// [`JournalError`]. A damaged entry is none: see [`Recovery`].
    pub fn open(
        path: &Path,
        replica: &mut Replica,
        now: Timestamp,
    ) -> Result<(Self, Recovery), JournalError> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if MAX_BYTES < file.metadata()?.len() {
            return Err(JournalError::TooLarge { limit: MAX_BYTES });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut recovery = Recovery::default();
        let (mut at, mut whole_until, mut in_damage) = (0usize, 0usize, false);
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            if let Some(entry) = whole(rest) {
                recovery.entries += 1;
                replica.take(entry, now, &mut recovery.report);
                at += HEAD + entry.len();
                (whole_until, in_damage) = (at, false);
                continue;
            }
            if !in_damage {
                in_damage = true;
                recovery.skipped.push(u64::try_from(at).unwrap_or(u64::MAX));
            }
            let next = rest.iter().skip(1).position(|byte| MARK.first() == Some(byte));
            at = next.map_or(bytes.len(), |next| at + 1 + next);
        }
        if in_damage && is_torn(bytes.get(whole_until..).unwrap_or_default()) {
            // The end of an entry that was never acknowledged.
            recovery.skipped.pop();
            recovery.cut = u64::try_from(bytes.len() - whole_until).unwrap_or(u64::MAX);
            file.set_len(u64::try_from(whole_until).unwrap_or(u64::MAX))?;
            file.sync_all()?;
        }
        Ok((Self { path: path.to_owned(), file }, recovery))
    }

    /// Keeps what a replica has accepted. When this returns, it is on the disk. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Io`]; what was written of the entries is cut off or skipped when the journal is next opened.
    pub fn append(&mut self, accepted: &[Bytes]) -> Result<(), JournalError> {
        if accepted.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        accepted.iter().for_each(|entry| frame(entry, &mut bytes));
        self.file.write_all(&bytes)?;
        Ok(self.file.sync_data()?)
    }

    /// Writes the journal anew with what the replica holds now: what was replaced or forgotten is gone. The old file is
    /// there until the new one is whole. Blocks.
    ///
    /// # Errors
    /// [`JournalError::Io`]; the old file is in use then.
    pub fn compact(&mut self, replica: &Replica) -> Result<(), JournalError> {
        let mut beside = self.path.clone().into_os_string();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let mut file = File::create(&beside)?;
        let mut bytes = Vec::new();
        for entry in replica.encoded() {
            frame(entry, &mut bytes);
            if MAX_ITEM_BYTES < bytes.len() {
                file.write_all(&bytes)?;
                bytes.clear();
            }
        }
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)?;
        if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        self.file = OpenOptions::new().read(true).append(true).open(&self.path)?;
        Ok(())
    }
}

fn frame(entry: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&MARK);
    into.extend_from_slice(&u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes());
    into.extend_from_slice(Digest::of(ENTRY, entry).as_bytes());
    into.extend_from_slice(entry);
}

/// Whether these bytes are the beginning of an entry whose end is missing.
fn is_torn(bytes: &[u8]) -> bool {
    let Some((mark, rest)) = bytes.split_at_checked(4) else { return MARK.starts_with(bytes) };
    let length = rest.get(..4).and_then(|length| length.try_into().ok()).map(u32::from_le_bytes);
    let length = length.and_then(|length| usize::try_from(length).ok());
    mark == MARK && length.is_none_or(|length| bytes.len() < HEAD.saturating_add(length))
}

/// The whole entry that these bytes begin with.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (mark, rest) = bytes.split_at_checked(4)?;
    let (length, rest) = rest.split_at_checked(4)?;
    let (hash, rest) = rest.split_at_checked(32)?;
    let length = usize::try_from(u32::from_le_bytes(length.try_into().ok()?)).ok()?;
    if mark != MARK || MAX_ITEM_BYTES < length {
        return None;
    }
    let entry = rest.get(..length)?;
    (Digest::of(ENTRY, entry).as_bytes() == hash).then_some(entry)
}
