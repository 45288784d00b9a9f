//! Reading and verifying a record, live or long after its kernel is gone.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use agent_primitives::Digest;
use bytes::Bytes;
use emk::{Entry, EntryKind, LedgerError, SegmentReader};
use serde_json::Value;

use super::chain::{Lives, NOT_AN_EVENT};
use super::index::{Index, lock};
use super::{EVENT_VERSION, Event, Head, Page, Prover, Query, Trust, VerifyError, VerifyReport};

/// A recording on disk, opened for reading only: nothing is locked and nothing is repaired.
#[derive(Debug)]
pub struct Recording {
    segments: SegmentReader,
    folder: PathBuf,
    index: Mutex<Index>,
    /// What the files looked like when the index was brought up to date.
    indexed: Mutex<Option<Stamp>>,
}

/// How many segments there are, the name of the last one and its length.
type Stamp = (usize, std::ffi::OsString, u64);

/// Why a recording cannot be read, or does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// The folder holds no recording, or cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A record does not hold.
    #[error("the recording does not verify: {0}")]
    Tampered(#[from] VerifyError),
    /// There should be records, by a head kept elsewhere, and there are none.
    #[error("record 0: the recording is gone, and should have {expected} records")]
    Gone {
        /// How many there should be.
        expected: u64,
    },
    /// More records than a [`Prover`] takes.
    #[error("proofs are made for recordings of up to {limit} records")]
    TooLong {
        /// How many.
        limit: u64,
    },
    /// A record that is no event of a version this library knows.
    #[error("record {seq} is not an event: {reason}")]
    NotAnEvent {
        /// Its sequence number.
        seq: u64,
        /// Why not.
        reason: String,
    },
}

impl RecordingError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.code(),
            Self::Tampered(error) => error.code(),
            Self::NotAnEvent { .. } => NOT_AN_EVENT,
            Self::Gone { .. } => "AK0841",
            Self::TooLong { .. } => "AK0847",
        }
    }

    /// Whether the recording was read and found wanting, rather than not read at all.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        match self {
            Self::TooLong { .. } => false,
            Self::Tampered(_) | Self::NotAnEvent { .. } | Self::Gone { .. } => true,
            Self::Ledger(error) => matches!(
                error,
                LedgerError::Corrupt { .. }
                    | LedgerError::TornTail { .. }
                    | LedgerError::Missing { .. }
                    | LedgerError::UnsupportedFormat { .. }
                    | LedgerError::WrongLedger { .. }
            ),
        }
    }
}

impl Recording {
    /// Opens the recording in a folder.
    ///
    /// # Errors
    /// There is none, or its first file is damaged.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let folder = folder.as_ref().to_owned();
        let (index, indexed) = (Mutex::default(), Mutex::default());
        Ok(Self { segments: SegmentReader::open(&folder)?, folder, index, indexed })
    }

    /// Answers a query.
    ///
    /// The first query reads all segments once and builds an index in memory; later ones read only what was added to the
    /// files since. Of a recording that is being written, that is all that has reached the files; a record whose end has not
    /// yet is left out. Blocks on the disk.
    ///
    /// # Errors
    /// A record that cannot be read. Hashes are not checked: see [`Recording::verify`].
    pub fn query(&self, query: &Query) -> Result<Page, RecordingError> {
        let mut index = lock(&self.index);
        let mut indexed = self.indexed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let stamp = self.stamp();
        if stamp.is_none() || stamp != *indexed {
            for entry in self.segments.entries(index.next())? {
                match entry {
                    Ok(entry) => index.add(&Stored::new(entry))?,
                    Err(LedgerError::TornTail { .. }) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            *indexed = stamp;
        }
        let read = |from| {
            let entries = self.segments.entries(from)?;
            Ok(Box::new(events(entries)) as _)
        };
        index.query(query, 0, &read)
    }

    /// `None` where that cannot be found out; then the files are looked at.
    fn stamp(&self) -> Option<Stamp> {
        let names =
            std::fs::read_dir(&self.folder).ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
        let mut segments: Vec<_> =
            names.filter(|name| Path::new(name).extension().is_some_and(|ext| ext == "seg")).collect();
        segments.sort_unstable();
        let last = segments.pop()?;
        let length = std::fs::metadata(self.folder.join(&last)).ok()?.len();
        Some((segments.len(), last, length))
    }

    /// Checks every byte of every file and every hash, in bounded memory. `progress` hears the number of records
    /// checked so far. Without `expected`, a head kept elsewhere, a tail that was cut off cleanly does not show.
    ///
    /// # Errors
    /// The first record that does not hold: its number, its file and where in it.
    pub fn verify(
        &self,
        expected: Option<Head>,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, RecordingError> {
        let trust = expected.into_iter().fold(Trust::default(), Trust::head);
        self.verify_against(&trust, progress)
    }

    /// As [`Recording::verify`], against everything that is known from elsewhere: heads, keys, anchored checkpoints.
    ///
    /// # Errors
    /// The first record that does not hold: its number, its file and where in it.
    pub fn verify_against(
        &self,
        trust: &Trust,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, RecordingError> {
        let mut lives = Lives::new(0);
        Ok(self.segments.verify_against(trust, |record| lives.check(record), progress)?)
    }

    /// Reads all of the recording, to make proofs about it. What it reads is not checked: a proof about a record that was
    /// tampered with proves nothing to whom it is given.
    ///
    /// # Errors
    /// The recording is damaged, or longer than [`super::MAX_PROVABLE`].
    pub fn prover(&self) -> Result<Prover, RecordingError> {
        Prover::read(emk::chain::genesis(self.segments.ledger()), self.segments.entries(0)?)
    }

    /// The events from sequence number `from` on, seals left out. Their hashes are not checked: see [`Recording::verify`].
    ///
    /// # Errors
    /// The folder cannot be listed. Damage comes as the last item.
    pub fn events(
        &self,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<Stored, RecordingError>> + use<>, RecordingError> {
        Ok(events(self.segments.entries(from)?))
    }
}

/// The records that are not seals.
pub(super) fn events<I>(entries: I) -> impl Iterator<Item = Result<Stored, RecordingError>> + use<I>
where
    I: Iterator<Item = Result<Entry, LedgerError>>,
{
    let wanted = |entry: &Result<Entry, LedgerError>| {
        entry.as_ref().map_or(true, |entry| entry.kind != EntryKind::Checkpoint)
    };
    entries.filter(wanted).map(|entry| entry.map(Stored::new).map_err(RecordingError::from))
}

/// One record of a recording.
#[derive(Clone, Debug)]
pub struct Stored {
    entry: Entry,
}

impl Stored {
    pub(super) fn new(entry: Entry) -> Self {
        Self { entry }
    }

    /// The same record, which holds no more memory than its own.
    pub(super) fn detached(&self) -> Self {
        Self { entry: Entry { body: Bytes::copy_from_slice(&self.entry.body), ..self.entry.clone() } }
    }

    /// Whether it is a seal of the record itself, not an event.
    pub(super) fn is_seal(&self) -> bool {
        self.entry.kind == EntryKind::Checkpoint
    }

    /// Bytes of its event.
    pub(super) fn size(&self) -> usize {
        self.entry.body.len()
    }

    pub(super) const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The event's bytes: what was hashed, and what a proof is checked with.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.entry.body
    }

    /// Digest of [`Stored::bytes`]: what the next event of the same life names.
    #[must_use]
    pub fn content_id(&self) -> Digest {
        self.entry.content_id
    }

    /// Its sequence number.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.entry.seq
    }

    /// Its hash, which covers all records before it.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.entry.hash
    }

    /// The event in it.
    ///
    /// # Errors
    /// The record holds something else, or an event of a later version.
    pub fn event(&self) -> Result<Event<'_>, RecordingError> {
        let not = |reason: String| RecordingError::NotAnEvent { seq: self.entry.seq, reason };
        if self.entry.kind != EntryKind::Event {
            return Err(not(format!("its kind is {}", self.entry.kind)));
        }
        match self.entry.body.first() {
            Some(&EVENT_VERSION) => {}
            version => return Err(not(format!("version {version:?} is not known"))),
        }
        let (event, rest) = postcard::take_from_bytes::<Event<'_>>(&self.entry.body)
            .map_err(|error| not(error.to_string()))?;
        if rest.is_empty() { Ok(event) } else { Err(not(format!("{} bytes follow it", rest.len()))) }
    }

    /// The event as one JSON object with its sequence number and hash, for export: one line each.
    ///
    /// # Errors
    /// As [`Stored::event`].
    pub fn to_json(&self) -> Result<Value, RecordingError> {
        let mut line = self.event()?.to_json();
        if let Value::Object(line) = &mut line {
            line.insert("seq".to_owned(), self.entry.seq.into());
            line.insert("hash".to_owned(), self.entry.hash.to_string().into());
        }
        Ok(line)
    }
}
