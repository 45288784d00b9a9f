//! Reads the segments of a directory without locking or repairing anything.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::header::{BadHeader, SegmentHeader, parse_segment_name, segment_name};
use super::places::{Place as At, Places};
use super::scan::{Damage, FrameScanner};
use super::{EntryIter, LedgerReader, frame};
use crate::trust::SealVerifier;
use crate::verify::{PROGRESS_EVERY, Place};
use crate::{
    ChainVerifier, Entry, Finding, Head, LedgerError, LedgerId, Record, Trust, VerifyError, VerifyReport,
};

/// Reads and verifies a ledger directory as it is.
///
/// Takes no lock and changes nothing, so it also works on a copy, on a read-only disk and beside a running writer; a
/// writer caught in the middle of a record looks like a torn tail.
#[derive(Clone, Debug)]
pub struct SegmentReader {
    dir: PathBuf,
    ledger: LedgerId,
}

impl SegmentReader {
    /// Opens a directory and reads the name of its ledger.
    ///
    /// # Errors
    /// `NotALedger` without a first segment, `Io`, or `Corrupt` and the like if its header cannot be read.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let dir = dir.as_ref().to_owned();
        let first = *segments(&dir)?.first().ok_or_else(|| LedgerError::NotALedger { dir: dir.clone() })?;
        let ledger =
            SegmentScan::open(&dir, first).map_err(|damage| damage_error(&dir, first, damage))?.header.ledger;
        Ok(Self { dir, ledger })
    }

    /// The ledger that the first segment names.
    #[must_use]
    pub const fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// The entries from position `from` on. The body of no entry is checked against the chain: see
    /// [`SegmentReader::verify`].
    ///
    /// # Errors
    /// `Io`, if the directory cannot be listed. Damage comes as the last item, a torn tail as `TornTail`.
    pub fn entries(&self, from: u64) -> Result<SegmentEntries, LedgerError> {
        SegmentEntries::new(&self.dir, from, None)
    }

    /// Reads every byte of every segment and checks it.
    ///
    /// `expected` is a head that was kept elsewhere; without one, records cut off at the end and a history that was
    /// recomputed as a whole cannot be told from the real one. `progress` hears the number of records checked so far.
    ///
    /// # Errors
    /// The first finding, with the position of the record, the segment and the byte offset.
    pub fn verify(
        &self,
        expected: Option<Head>,
        progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let trust = Trust { head: expected, ..Trust::default() };
        self.verify_against(&trust, |_| Ok(()), progress)
    }

    /// As [`SegmentReader::verify`], against everything that is known from elsewhere. `also` is asked about every record
    /// that follows from the one before, and may have a finding of its own.
    ///
    /// # Errors
    /// As [`SegmentReader::verify`].
    pub fn verify_against(
        &self,
        trust: &Trust,
        mut also: impl FnMut(&Record<'_>) -> Result<(), Finding>,
        mut progress: impl FnMut(u64),
    ) -> Result<VerifyReport, VerifyError> {
        let genesis = Head { count: 0, hash: crate::chain::genesis(&self.ledger) };
        let mut verifier = ChainVerifier::new(genesis, trust.head);
        let mut seals = SealVerifier::new(&self.ledger, trust);
        let names = segments(&self.dir).map_err(|error| VerifyError::at(0, Finding::Unreadable(error)))?;
        for (index, &first_seq) in names.iter().enumerate() {
            let last = index + 1 == names.len();
            let scan = self.open_segment(first_seq, last, verifier.head())?;
            let mut check = |record: &Record<'_>, place: &Place| {
                verifier.check(record)?;
                seals.check(record, || Some(place.clone()))?;
                also(record).map_err(|finding| VerifyError::at(record.seq, finding))?;
                if (record.seq + 1).is_multiple_of(PROGRESS_EVERY) {
                    progress(record.seq + 1);
                }
                Ok(())
            };
            self.verify_segment(scan, last, &mut check)?;
        }
        progress(verifier.head().count);
        let report = seals.finish(verifier.finish()?)?;
        Ok(VerifyReport { segments: names.len() as u64, ..report })
    }

    fn open_segment(&self, first_seq: u64, last: bool, head: Head) -> Result<SegmentScan, VerifyError> {
        let scan = SegmentScan::open(&self.dir, first_seq)
            .map_err(|damage| damage_finding(&self.dir, first_seq, head.count, last, damage))?;
        if scan.header.base != head || scan.header.ledger != self.ledger {
            let reason = "the segment does not follow from the one before";
            let error = VerifyError::at(head.count, Finding::Corrupt { reason });
            return Err(error.with_place(&segment_name(first_seq), 0));
        }
        Ok(scan)
    }

    fn verify_segment(
        &self,
        mut scan: SegmentScan,
        last: bool,
        check: &mut impl FnMut(&Record<'_>, &Place) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let first_seq = scan.first_seq;
        let mut place = Place { segment: segment_name(first_seq), offset: 0 };
        loop {
            place.offset = scan.offset();
            let next = scan.next_entry();
            let next =
                next.map_err(|damage| damage_finding(&self.dir, first_seq, scan.next_seq, last, damage))?;
            let Some(entry) = next else { return Ok(()) };
            check(&entry.as_record(), &place)
                .map_err(|error| error.with_place(&place.segment, place.offset))?;
        }
    }
}

/// Entries of a directory in order; ends after the first error.
#[derive(Debug)]
pub struct SegmentEntries {
    dir: PathBuf,
    next: u64,
    scan: Option<SegmentScan>,
    /// The segment that was opened a second time, because others follow it and it ended early.
    again: Option<u64>,
    /// Where it begins, a segment has only just been begun: the one thing there is to tell.
    unborn: Option<LedgerError>,
    /// Where to begin, and where to note places.
    places: Option<Arc<Places>>,
    /// A record that was read to see whether a place is right.
    first: Option<Entry>,
}

impl SegmentEntries {
    pub(crate) fn new(dir: &Path, from: u64, places: Option<Arc<Places>>) -> Result<Self, LedgerError> {
        let names = segments(dir)?;
        let before = names.partition_point(|&first_seq| first_seq <= from);
        let Some(&first_seq) = before.checked_sub(1).and_then(|index| names.get(index)) else {
            return match names.first() {
                Some(&first) => Err(LedgerError::Dropped { seq: from, first }),
                None => Err(LedgerError::NotALedger { dir: dir.to_owned() }),
            };
        };
        if let Some((scan, first)) = places.as_deref().and_then(|places| jump(dir, first_seq, from, places)) {
            let dir = dir.to_owned();
            return Ok(Self {
                dir,
                next: from,
                scan: Some(scan),
                again: None,
                unborn: None,
                places,
                first: Some(first),
            });
        }
        let (scan, unborn) = match SegmentScan::open(dir, first_seq) {
            Ok(scan) => (Some(scan), None),
            Err(damage @ Damage::Torn { .. }) if names.last() == Some(&first_seq) && first_seq != 0 => {
                (None, Some(damage_error(dir, first_seq, damage)))
            }
            Err(damage) => return Err(damage_error(dir, first_seq, damage)),
        };
        Ok(Self { dir: dir.to_owned(), next: from, scan, again: None, unborn, places, first: None })
    }

    fn step(&mut self) -> Result<Option<Entry>, LedgerError> {
        if let Some(entry) = self.first.take().filter(|entry| entry.seq == self.next) {
            self.next = entry.seq + 1;
            return Ok(Some(entry));
        }
        while let Some(scan) = &mut self.scan {
            let first_seq = scan.first_seq;
            if let Some(places) =
                self.places.as_deref().filter(|_| scan.noted + Places::STEP <= scan.offset())
            {
                places.note(first_seq, &scan.header, At { seq: scan.next_seq, offset: scan.offset() });
                scan.noted = scan.offset();
            }
            match scan.next_entry() {
                Ok(Some(entry)) if entry.seq < self.next => {}
                Ok(Some(entry)) => {
                    self.next = entry.seq + 1;
                    return Ok(Some(entry));
                }
                Ok(None) => {
                    let following = scan.next_seq;
                    self.scan = match self.open_following(following, first_seq)? {
                        None if self.is_followed(first_seq)? => {
                            let missing = || LedgerError::Missing { seq: following };
                            Some(self.look_again(first_seq)?.ok_or_else(missing)?)
                        }
                        found => found,
                    };
                }
                Err(Damage::Torn { offset, .. }) if self.is_followed(first_seq)? => {
                    let again = self.look_again(first_seq)?;
                    let corrupt = || damage_error(&self.dir, first_seq, followed_and_torn(offset));
                    self.scan = Some(again.ok_or_else(corrupt)?);
                }
                Err(damage) => return Err(damage_error(&self.dir, first_seq, damage)),
            }
        }
        Ok(None)
    }

    /// A segment is named after its first record, so the one that follows has a known name.
    fn open_following(&self, first_seq: u64, current: u64) -> Result<Option<SegmentScan>, LedgerError> {
        if first_seq == current {
            return Ok(None);
        }
        match SegmentScan::open(&self.dir, first_seq) {
            Ok(scan) => Ok(Some(scan)),
            Err(Damage::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(Damage::Torn { offset, .. }) if self.is_followed(first_seq)? => {
                Err(damage_error(&self.dir, first_seq, followed_and_torn(offset)))
            }
            Err(damage) => Err(damage_error(&self.dir, first_seq, damage)),
        }
    }

    /// Whether the ledger goes on in a segment behind this one, so that this one cannot end early.
    fn is_followed(&self, first_seq: u64) -> Result<bool, LedgerError> {
        Ok(segments(&self.dir)?.last().is_some_and(|&last| first_seq < last))
    }

    /// The segment from its beginning, in case a writer came to its end only after it was opened; `None` the second time.
    fn look_again(&mut self, first_seq: u64) -> Result<Option<SegmentScan>, LedgerError> {
        if self.again.replace(first_seq) == Some(first_seq) {
            return Ok(None);
        }
        let scan = SegmentScan::open(&self.dir, first_seq);
        scan.map(Some).map_err(|damage| damage_error(&self.dir, first_seq, damage))
    }
}

impl Iterator for SegmentEntries {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(unborn) = self.unborn.take() {
            return Some(Err(unborn));
        }
        let step = self.step();
        if step.is_err() {
            self.scan = None;
        }
        step.transpose()
    }
}

/// Goes to a place before the record `from`, if one is known and holds: in a segment that was written anew meanwhile it does
/// not.
fn jump(dir: &Path, first_seq: u64, from: u64, places: &Places) -> Option<(SegmentScan, Entry)> {
    let (header, at) = places.before(first_seq, from)?;
    let mut scan = SegmentScan::open_at(dir, header, at).ok()?;
    let entry = scan.next_entry().ok().flatten()?;
    Some((scan, entry))
}

/// Reads a directory that its [`super::SegmentStore`] is writing to.
#[derive(Debug)]
pub(crate) struct LiveReader {
    pub(crate) dir: PathBuf,
    pub(crate) base: Head,
    pub(crate) places: Arc<Places>,
}

impl LedgerReader for LiveReader {
    fn base(&self) -> Head {
        self.base
    }

    fn entries(&self, from: u64) -> Result<EntryIter, LedgerError> {
        // The record being written right now looks torn; for this reader the ledger ends before it.
        let whole = |step: &Result<Entry, LedgerError>| !matches!(step, Err(LedgerError::TornTail { .. }));
        match SegmentEntries::new(&self.dir, from, Some(Arc::clone(&self.places))) {
            Ok(entries) => Ok(Box::new(entries.take_while(whole))),
            Err(LedgerError::TornTail { .. }) => Ok(Box::new(std::iter::empty())),
            Err(error) => Err(error),
        }
    }
}

/// Reads one segment.
#[derive(Debug)]
pub(crate) struct SegmentScan {
    pub(crate) first_seq: u64,
    pub(crate) header: SegmentHeader,
    pub(crate) next_seq: u64,
    /// The offset up to which places were noted.
    noted: u64,
    frames: FrameScanner<File>,
}

impl SegmentScan {
    /// Opens the segment named after `first_seq` and reads its header.
    pub(crate) fn open(dir: &Path, first_seq: u64) -> Result<Self, Damage> {
        let file = File::open(dir.join(segment_name(first_seq)))?;
        let len = file.metadata()?.len();
        let mut frames = FrameScanner::new(file, len);
        let payload = frames.next_payload()?.ok_or(Damage::Torn { offset: 0, dropped: 0 })?;
        let corrupt = |reason| Damage::Corrupt { offset: 0, reason };
        let header = SegmentHeader::decode(&payload).map_err(|bad| match bad {
            BadHeader::Version(version) => Damage::Format(version),
            BadHeader::NotASegment => corrupt("the first frame is not a segment header"),
        })?;
        if header.base.count != first_seq {
            return Err(corrupt("the file name and the header name different records"));
        }
        Ok(Self { first_seq, header, next_seq: first_seq, noted: 0, frames })
    }

    /// Opens the segment with this header at a place. Whether a record begins there shows when it is read.
    fn open_at(dir: &Path, header: SegmentHeader, at: At) -> std::io::Result<Self> {
        let first_seq = header.base.count;
        let mut file = File::open(dir.join(segment_name(first_seq)))?;
        let len = file.metadata()?.len().saturating_sub(at.offset);
        file.seek(SeekFrom::Start(at.offset))?;
        let frames = FrameScanner::new_at(file, at.offset, len);
        Ok(Self { first_seq, header, next_seq: at.seq, noted: at.offset, frames })
    }

    /// Where the next record starts.
    pub(crate) const fn offset(&self) -> u64 {
        self.frames.offset()
    }

    /// The next record; `None` at a clean end.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>, Damage> {
        let offset = self.offset();
        let corrupt = |reason| Damage::Corrupt { offset, reason };
        let Some(payload) = self.frames.next_payload()? else { return Ok(None) };
        let entry = frame::entry(&payload).ok_or_else(|| corrupt("the frame holds no record"))?;
        if entry.seq != self.next_seq {
            return Err(corrupt("the record stands in the wrong place"));
        }
        self.next_seq += 1;
        Ok(Some(entry))
    }

    /// See [`FrameScanner::length_lies`].
    pub(crate) fn length_lies(&mut self) -> Result<bool, Damage> {
        self.frames.length_lies()
    }
}

/// The first positions of the segments in `dir`, in order.
pub(crate) fn segments(dir: &Path) -> Result<Vec<u64>, LedgerError> {
    let list = |error| LedgerError::io("list", dir, error);
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).map_err(list)? {
        let name = item.map_err(list)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".seg")) else { continue };
        let reason = "the file name is not that of a segment";
        let first_seq = parse_segment_name(name).ok_or_else(|| LedgerError::Corrupt {
            segment: name.to_owned(),
            offset: 0,
            reason,
        })?;
        found.push(first_seq);
    }
    found.sort_unstable();
    Ok(found)
}

/// A segment that others follow is whole.
const fn followed_and_torn(offset: u64) -> Damage {
    Damage::Corrupt { offset, reason: "a segment that others follow ends in an unfinished record" }
}

/// What `damage` means to someone who reads or writes.
pub(crate) fn damage_error(dir: &Path, first_seq: u64, damage: Damage) -> LedgerError {
    let segment = segment_name(first_seq);
    match damage {
        Damage::Torn { offset, dropped } => LedgerError::TornTail { segment, offset, dropped_bytes: dropped },
        Damage::Corrupt { offset, reason } => LedgerError::Corrupt { segment, offset, reason },
        Damage::Format(version) => LedgerError::UnsupportedFormat { segment, version },
        Damage::Io(error) => {
            LedgerError::Io { operation: "read", path: dir.join(segment), source: Arc::new(error) }
        }
    }
}

/// What `damage` means to someone who verifies.
fn damage_finding(dir: &Path, first_seq: u64, seq: u64, last: bool, damage: Damage) -> VerifyError {
    let (offset, finding) = match damage {
        Damage::Torn { offset, dropped } if last => (offset, Finding::TornTail { dropped_bytes: dropped }),
        Damage::Torn { offset, .. } => {
            (offset, Finding::Corrupt { reason: "a segment that others follow ends in an unfinished record" })
        }
        Damage::Corrupt { offset, reason } => (offset, Finding::Corrupt { reason }),
        other => (0, Finding::Unreadable(damage_error(dir, first_seq, other))),
    };
    VerifyError::at(seq, finding).with_place(&segment_name(first_seq), offset)
}
