//! Finds the end of a ledger directory and cuts off what a crash left behind it.

use std::path::Path;

use super::fs::SegmentFs;
use super::header::{header_frame_len, segment_name};
use super::reader::{SegmentScan, damage_error, segments};
use super::scan::Damage;
use crate::{ChainVerifier, Head, LedgerError, LedgerId};

/// What opening a directory had to cut off.
///
/// None of it was acknowledged under `Always` or `Group`, unless the disk itself lost what it had confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes removed from the end; 0 after an orderly close.
    pub dropped_bytes: u64,
    /// The segment they were removed from.
    pub segment: Option<String>,
}

/// Where writing goes on.
pub(crate) struct Tail {
    /// First record of the segment to write to; `None` if a new one has to be created.
    pub(crate) segment: Option<u64>,
    /// Length of that segment.
    pub(crate) len: u64,
    /// The head of the ledger.
    pub(crate) head: Head,
    pub(crate) recovery: Recovery,
}

/// Checks every segment header and the whole last segment, and cuts a torn tail off.
///
/// Anything else that is wrong is `Corrupt` and changes nothing.
pub(crate) fn recover<F: SegmentFs>(
    fs: &F,
    dir: &Path,
    ledger: &LedgerId,
    genesis: Head,
) -> Result<Tail, LedgerError> {
    let mut names = segments(dir)?;
    if let Some(&first) = names.first().filter(|&&first| first != 0) {
        return Err(corrupt(first, 0, "the segments before this one are missing"));
    }
    let mut recovery = Recovery::default();
    if let Some(unborn) = remove_unborn(fs, dir, &names, ledger)? {
        recovery = unborn;
        names.pop();
    }
    let Some((&last, earlier)) = names.split_last() else {
        return Ok(Tail { segment: None, len: 0, head: genesis, recovery });
    };
    for &first_seq in earlier {
        open(dir, first_seq, ledger)?;
    }
    let scanned = scan_last(dir, last, ledger, genesis)?;
    if scanned.torn != 0 {
        // The segment before an unborn one was synced as a whole before that one was created.
        if recovery.segment.is_some() {
            return Err(corrupt(
                last,
                scanned.len,
                "a segment that others follow ends in an unfinished record",
            ));
        }
        let path = dir.join(segment_name(last));
        fs.truncate(&path, scanned.len).map_err(|error| LedgerError::io("truncate", &path, error))?;
        recovery = Recovery { dropped_bytes: scanned.torn, segment: Some(segment_name(last)) };
    }
    Ok(Tail { segment: Some(last), len: scanned.len, head: scanned.head, recovery })
}

/// Removes the last segment if a crash came before its header was durable, and so before it had any record.
fn remove_unborn<F: SegmentFs>(
    fs: &F,
    dir: &Path,
    names: &[u64],
    ledger: &LedgerId,
) -> Result<Option<Recovery>, LedgerError> {
    let Some(&last) = names.last() else { return Ok(None) };
    let Err(Damage::Torn { offset: 0, dropped }) = SegmentScan::open(dir, last) else { return Ok(None) };
    if header_frame_len(ledger) < dropped {
        return Err(corrupt(last, 0, "the segment header is damaged"));
    }
    let path = dir.join(segment_name(last));
    fs.remove(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
    fs.sync_dir(dir).map_err(|error| LedgerError::io("sync", dir, error))?;
    Ok(Some(Recovery { dropped_bytes: dropped, segment: Some(segment_name(last)) }))
}

struct Scanned {
    /// Bytes that are whole.
    len: u64,
    /// Bytes after them.
    torn: u64,
    head: Head,
}

fn scan_last(dir: &Path, last: u64, ledger: &LedgerId, genesis: Head) -> Result<Scanned, LedgerError> {
    let mut scan = open(dir, last, ledger)?;
    if last == 0 && scan.header.base != genesis {
        return Err(corrupt(last, 0, "the ledger does not start at its genesis"));
    }
    let mut verifier = ChainVerifier::new(scan.header.base, None);
    loop {
        let offset = scan.offset();
        let torn = match scan.next_entry() {
            Ok(Some(entry)) => {
                // Nothing is ever chained onto a record that does not hold.
                let broken = "the record does not follow from the one before, or its body was changed";
                verifier.check(&entry.as_record()).map_err(|_| corrupt(last, offset, broken))?;
                continue;
            }
            Ok(None) => 0,
            Err(Damage::Torn { dropped, .. }) => dropped,
            Err(damage) => return Err(damage_error(dir, last, damage)),
        };
        if torn != 0 && scan.length_lies().map_err(|damage| damage_error(dir, last, damage))? {
            return Err(corrupt(last, offset, "the length of a frame is damaged"));
        }
        return Ok(Scanned { len: offset, torn, head: verifier.head() });
    }
}

fn open(dir: &Path, first_seq: u64, ledger: &LedgerId) -> Result<SegmentScan, LedgerError> {
    let scan = SegmentScan::open(dir, first_seq).map_err(|damage| match damage {
        Damage::Torn { offset, .. } => corrupt(first_seq, offset, "the segment header is damaged"),
        other => damage_error(dir, first_seq, other),
    })?;
    if scan.header.ledger == *ledger {
        return Ok(scan);
    }
    Err(LedgerError::WrongLedger { wanted: ledger.to_string(), found: scan.header.ledger.to_string() })
}

fn corrupt(first_seq: u64, offset: u64, reason: &'static str) -> LedgerError {
    LedgerError::Corrupt { segment: segment_name(first_seq), offset, reason }
}
