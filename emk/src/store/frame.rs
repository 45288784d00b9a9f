//! Frames and the records in them.
//!
//! ```text
//! frame   length u32le │ CRC-32C of the payload u32le │ payload
//! record  kind u8 │ seq u64le │ content id 32 │ entry hash 32 │ body
//! ```
//!
//! The highest bit of the kind says that the body was erased; there are no bytes of it then.
//!
//! The functions here work on bytes that were encoded in this process. Bytes from a disk go through `scan`.

use std::collections::BTreeSet;

use agent_primitives::Digest;
use bytes::Bytes;

use crate::{Entry, EntryKind, Record};

/// Largest payload of a frame: 16 MiB. A length beyond it is damage, so no damage can make a reader allocate more.
pub(crate) const MAX_PAYLOAD: usize = 16 << 20;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEADER: usize = 8;
/// The bit of a kind that says that the body was erased.
pub(crate) const ERASED: u8 = 0x80;
/// Bytes of a record before its body.
pub(crate) const RECORD_FIELDS: usize = 1 + 8 + 32 + 32;

/// Bytes that a record with a body of `body` bytes takes.
pub(crate) const fn record_frame_len(body: usize) -> usize {
    FRAME_HEADER + RECORD_FIELDS + body
}

/// Appends a frame to `out`, with the payload that `write` appends.
pub(crate) fn encode(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER]);
    write(out);
    let Some((header, payload)) =
        out.get_mut(start..).and_then(|frame| frame.split_at_mut_checked(FRAME_HEADER))
    else {
        return;
    };
    // INVARIANT: callers bound the payload by MAX_PAYLOAD, so its length fits.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc32c::crc32c(payload).to_le_bytes();
    for (slot, byte) in header.iter_mut().zip(length.into_iter().chain(crc)) {
        *slot = byte;
    }
}

/// Appends a record to `out`, framed.
pub(crate) fn encode_record(out: &mut Vec<u8>, record: &Record<'_>) {
    out.reserve(record_frame_len(record.body.len()));
    encode(out, |out| {
        out.push(kind_byte(record.kind, record.erased));
        out.extend_from_slice(&record.seq.to_le_bytes());
        out.extend_from_slice(record.content_id.as_bytes());
        out.extend_from_slice(record.hash.as_bytes());
        if !record.erased {
            out.extend_from_slice(record.body);
        }
    });
}

/// The kind as it is stored.
pub(crate) const fn kind_byte(kind: EntryKind, erased: bool) -> u8 {
    if erased { kind.number() | ERASED } else { kind.number() }
}

/// The kind in a stored byte, and whether the body was erased; `None` for a kind that is unknown or never erased.
pub(crate) fn kind_of(byte: u8) -> Option<(EntryKind, bool)> {
    let kind = EntryKind::from_number(byte & !ERASED)?;
    let erased = byte & ERASED != 0;
    (!erased || kind.is_erasable()).then_some((kind, erased))
}

/// The length and the CRC that a frame states.
pub(crate) fn frame_header(bytes: &[u8]) -> Option<(usize, u32)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, _) = rest.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, u32::from_le_bytes(*crc)))
}

/// Reads the record in `payload`; `None` if it is too short or of an unknown kind.
pub(crate) fn record(payload: &[u8]) -> Option<Record<'_>> {
    let (&kind, rest) = payload.split_first()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (content_id, rest) = rest.split_first_chunk::<32>()?;
    let (hash, body) = rest.split_first_chunk::<32>()?;
    let (kind, erased) = kind_of(kind)?;
    if erased && !body.is_empty() {
        return None;
    }
    Some(Record {
        seq: u64::from_le_bytes(*seq),
        kind,
        content_id: Digest::from_bytes(*content_id),
        hash: Digest::from_bytes(*hash),
        body,
        erased,
    })
}

/// The record in `payload`, with a body that shares its allocation.
pub(crate) fn entry(payload: &Bytes) -> Option<Entry> {
    let Record { seq, kind, content_id, hash, erased, .. } = record(payload)?;
    Some(Entry { seq, kind, content_id, hash, body: payload.slice(RECORD_FIELDS..), erased })
}

/// The records in `frames`, up to the first that is not whole.
pub(crate) fn records(mut frames: &[u8]) -> impl Iterator<Item = Record<'_>> {
    std::iter::from_fn(move || {
        let (frame, rest) = split_frame(frames)?;
        frames = rest;
        record(frame.get(FRAME_HEADER..)?)
    })
}

/// A copy of `frames` without the bodies of the records at `seqs`.
fn without_bodies(frames: &[u8], seqs: &BTreeSet<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len());
    let mut rest = frames;
    while let Some((frame, behind)) = split_frame(rest) {
        match record(frame.get(FRAME_HEADER..).unwrap_or_default()) {
            Some(found) if seqs.contains(&found.seq) => {
                encode_record(&mut out, &Record { erased: true, body: &[], ..found });
            }
            _ => out.extend_from_slice(frame),
        }
        rest = behind;
    }
    out
}

/// Splits the first frame off.
pub(crate) fn split_frame(frames: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, _) = frame_header(frames)?;
    frames.split_at_checked(FRAME_HEADER.checked_add(length)?)
}

/// Every how many records a run knows where one begins.
const MARK_EVERY: u64 = 64;

/// A run of encoded records that grows at its end.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Position of the first record.
    pub(crate) first_seq: u64,
    /// Number of records.
    pub(crate) count: u64,
    /// Their frames.
    pub(crate) frames: Vec<u8>,
    /// Where the first of them begins, and every 64th after it.
    marks: Vec<usize>,
}

impl Run {
    /// An empty run, with room to write to.
    pub(crate) const fn new(first_seq: u64, room: Vec<u8>) -> Self {
        Self { first_seq, count: 0, frames: room, marks: Vec::new() }
    }

    /// Counts a record whose frame `write` appends.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.count == self.marks.len() as u64 * MARK_EVERY {
            self.marks.push(self.frames.len());
        }
        write(&mut self.frames);
        self.count += 1;
    }

    /// Adds the records in `frames`.
    pub(crate) fn extend(&mut self, mut frames: &[u8]) {
        while let Some((frame, rest)) = split_frame(frames) {
            self.push(|out| out.extend_from_slice(frame));
            frames = rest;
        }
    }

    /// Takes the bodies of the records at `seqs` out, by copying all else.
    pub(crate) fn erase(&mut self, seqs: &BTreeSet<u64>) {
        let kept = without_bodies(&self.frames, seqs);
        *self = Self::new(self.first_seq, Vec::with_capacity(kept.len()));
        self.extend(&kept);
    }

    /// The position after the last record.
    pub(crate) const fn end(&self) -> u64 {
        self.first_seq + self.count
    }

    /// A copy of whole records from position `from` on: at least one, and no more than fit `limit` bytes otherwise.
    /// `None` if `from` is not in this run.
    pub(crate) fn page(&self, from: u64, limit: usize) -> Option<Page> {
        if from < self.first_seq || self.end() <= from {
            return None;
        }
        let place = usize::try_from((from - self.first_seq) / MARK_EVERY).ok()?;
        let marked = self.marks.get(place).map(|offset| (place as u64 * MARK_EVERY, *offset));
        let (before, offset) = marked.unwrap_or_default();
        let mut rest = self.frames.get(offset..)?;
        for _ in self.first_seq + before..from {
            (_, rest) = split_frame(rest)?;
        }
        let mut taken = 0;
        let mut tail = rest;
        while let Some((frame, next)) = split_frame(tail) {
            if taken != 0 && limit < taken + frame.len() {
                break;
            }
            taken += frame.len();
            tail = next;
        }
        rest.get(..taken).map(|frames| Page(Bytes::copy_from_slice(frames)))
    }
}

/// Encoded records, handed out as entries.
#[derive(Debug, Default)]
pub(crate) struct Page(Bytes);

impl Iterator for Page {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let (length, _) = frame_header(&self.0)?;
        let end = FRAME_HEADER.checked_add(length).filter(|&end| end <= self.0.len())?;
        let frame = self.0.split_to(end);
        entry(&frame.slice(FRAME_HEADER..))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_page_begins_where_it_is_asked_to(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..200),
            erased in prop::collection::btree_set(0u64..200, 0..5),
            first_seq in 0u64..1000,
        ) {
            let mut run = Run::new(first_seq, Vec::new());
            for (seq, body) in (first_seq..).zip(&bodies) {
                let (content_id, hash) = (Digest::ZERO, Digest::ZERO);
                let record = Record { seq, kind: EntryKind::Rule, content_id, hash, body, erased: false };
                run.push(|frames| encode_record(frames, &record));
            }
            let erased: BTreeSet<u64> = erased.into_iter().map(|place| first_seq + place).collect();
            run.erase(&erased);
            prop_assert_eq!(run.end(), first_seq + bodies.len() as u64);
            for (from, body) in (first_seq..).zip(&bodies) {
                let entry = run.page(from, 100).and_then(|mut page| page.next()).unwrap();
                let body = if erased.contains(&from) { &[][..] } else { body };
                prop_assert_eq!((entry.seq, &*entry.body), (from, body));
            }
            prop_assert!(run.page(run.end(), 100).is_none());
        }
    }
}
