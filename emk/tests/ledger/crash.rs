//! Directories as a crash leaves them.

use std::path::Path;
use std::time::Duration;

use emk::store::LedgerStore;
use emk::{
    Durability, EntryKind, Head, Ledger, LedgerError, LedgerOptions, SegmentOptions, SegmentReader,
    SegmentStore,
};

use crate::faulty_fs::FaultyFs;
use crate::{SMALL, entries, id, open, options, segments};

/// A ledger of several segments, with the bytes of each and the head after each acknowledged record.
struct Written {
    segments: Vec<(String, Vec<u8>)>,
    /// Bytes in all segments, and the head, after each acknowledgement.
    acknowledged: Vec<(usize, Head)>,
}

fn written() -> Written {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let total = || segments(dir.path()).iter().map(|name| read(dir.path(), name).len()).sum();
    let mut acknowledged = vec![(total(), ledger.head())];
    for number in 0..24usize {
        let seq = ledger.append(EntryKind::Event, &vec![b'x'; number * 7 % 90]).unwrap().seq;
        ledger.durable_blocking(seq).unwrap();
        acknowledged.push((total(), ledger.head()));
    }
    ledger.close().unwrap();
    let segments =
        segments(dir.path()).into_iter().map(|name| (name.clone(), read(dir.path(), &name))).collect();
    Written { segments, acknowledged }
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap()
}

impl Written {
    fn len(&self) -> usize {
        self.segments.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// The directory with only its first `point` bytes, and `tail` behind them.
    fn crashed_at(&self, point: usize, tail: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut left = point;
        for (name, bytes) in &self.segments {
            let mut kept = bytes[..bytes.len().min(left)].to_vec();
            left -= kept.len();
            if left == 0 {
                kept.extend_from_slice(tail);
            }
            std::fs::write(dir.path().join(name), kept).unwrap();
            if left == 0 {
                break;
            }
        }
        dir
    }

    fn acknowledged_by(&self, point: usize) -> Head {
        let (_, head) =
            self.acknowledged.iter().rfind(|(bytes, _)| *bytes <= point).unwrap_or(&self.acknowledged[0]);
        *head
    }

    fn check_recovery(&self, point: usize, tail: &[u8]) {
        let dir = self.crashed_at(point, tail);
        let acknowledged = self.acknowledged_by(point);
        let ledger = open(dir.path()).unwrap_or_else(|error| panic!("crash at {point}: {error}"));
        assert_eq!(ledger.head(), acknowledged, "crash at {point}");
        let appended = ledger.append(EntryKind::Event, b"after the crash").unwrap();
        assert_eq!(appended.seq, acknowledged.count);
        ledger.close().unwrap();
        let report = SegmentReader::open(dir.path()).unwrap().verify(Some(acknowledged), |_| {}).unwrap();
        assert_eq!(report.head, ledger.head());
        assert!(
            entries(dir.path()).iter().map(|entry| entry.seq).eq(0..=acknowledged.count),
            "none lost or doubled"
        );
    }
}

#[test]
fn a_crash_at_any_byte_keeps_what_was_acknowledged() {
    let written = written();
    assert!(3 < written.segments.len());
    let boundaries = written.acknowledged.iter().flat_map(|(end, _)| [end - 1, *end, end + 1]);
    // Some 200 more, at every distance from a boundary.
    for point in boundaries.chain((0..written.len()).step_by(13)) {
        written.check_recovery(point.min(written.len()), &[]);
    }
}

#[test]
fn a_tail_of_zeros_is_cut_off() {
    let written = written();
    for (point, _) in &written.acknowledged {
        for zeros in [1, 8, 600_000] {
            written.check_recovery(*point, &vec![0; zeros]);
        }
    }
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open(store, options(Durability::Group(Duration::from_secs(3600)))).unwrap();
    for round in 0..40usize {
        // One batch, which often reaches into the next segment or two.
        for number in 0..round % 13 + 1 {
            ledger.append(EntryKind::Event, &vec![b'x'; number * 11]).unwrap();
        }
        ledger.flush().unwrap();
        let cut = fs.power_cut();
        let after = open(cut.path()).unwrap();
        assert_eq!(after.verify(None, Some(ledger.head()), |_| {}).unwrap().head, ledger.head());
    }
}

#[test]
fn a_damaged_length_does_not_pass_for_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let open = || SegmentStore::open_on(FaultyFs::default(), dir.path(), id(), SegmentOptions::default());
    let ledger = Ledger::open(open().unwrap(), LedgerOptions::default()).unwrap();
    for number in 0..6 {
        ledger.append(EntryKind::Event, &[number; 30]).unwrap();
    }
    ledger.close().unwrap();
    let path = dir.path().join(&segments(dir.path())[0]);
    let bytes = std::fs::read(&path).unwrap();
    let mut start = 0;
    while start < bytes.len() {
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
        for bit in 0..32 {
            let mut damaged = bytes.clone();
            damaged[start..start + 4].copy_from_slice(&(length ^ 1 << bit).to_le_bytes());
            std::fs::write(&path, damaged).unwrap();
            let refused = open().map(|store| store.head().count);
            assert!(
                matches!(refused, Err(LedgerError::Corrupt { .. })),
                "bit {bit} at byte {start}: {refused:?}"
            );
        }
        start += 8 + usize::try_from(length).unwrap();
    }
}

#[test]
fn what_was_cut_is_reported_once() {
    let written = written();
    let (end, head) = written.acknowledged[written.acknowledged.len() - 2];
    let dir = written.crashed_at(end + 30, &[]);
    let error = SegmentReader::open(dir.path()).unwrap().verify(Some(head), |_| {}).unwrap_err();
    assert_eq!((error.code(), error.seq), ("AK0827", head.count));
    let last = SegmentReader::open(dir.path()).unwrap().entries(0).unwrap().last().unwrap();
    assert!(matches!(last, Err(LedgerError::TornTail { dropped_bytes: 30, .. })), "{last:?}");

    let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    assert_eq!(store.recovery().dropped_bytes, 30);
    assert_eq!(store.recovery().segment.as_ref(), segments(dir.path()).last());
    drop(store);
    assert_eq!(SegmentStore::open(dir.path(), id(), SMALL).unwrap().recovery().dropped_bytes, 0);
}

#[test]
fn a_tail_that_no_crash_explains_is_left_alone() {
    let written = written();
    let (name, bytes) = written.segments.last().unwrap();
    let cases: [(usize, &[u8], &str); 3] = [
        (written.len(), &[0, 0, 0, 0, 1, 2, 3, 4, 5], "a frame of length zero"),
        (written.len(), &[0xff; 9], "a frame longer than any record"),
        (written.len() - 1, &[bytes[bytes.len() - 1] ^ 1, 1], "the checksum does not match"),
    ];
    for (point, tail, expected) in cases {
        let dir = written.crashed_at(point, tail);
        let before = read(dir.path(), name);
        let refused = SegmentStore::open(dir.path(), id(), SMALL);
        assert!(
            matches!(&refused, Err(LedgerError::Corrupt { reason, .. }) if *reason == expected),
            "{refused:?}"
        );
        assert_eq!(read(dir.path(), name), before);
    }
}

#[test]
fn missing_segments_are_found() {
    let written = written();
    for missing in 0..written.segments.len() - 1 {
        let dir = written.crashed_at(written.len(), &[]);
        std::fs::remove_file(dir.path().join(&written.segments[missing].0)).unwrap();
        let found = SegmentReader::open(dir.path()).unwrap().verify(None, |_| {}).unwrap_err();
        assert_eq!(found.code(), "AK0828", "{found}");
    }
}
