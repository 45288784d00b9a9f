//! Disks that fill up, write short or fail to sync; stores that break.

use std::io::ErrorKind;
use std::sync::Arc;

use emk::store::{Batch, LedgerReader, LedgerStore};
use emk::{
    Durability, EntryKind, Head, Ledger, LedgerError, LedgerId, LedgerOptions, MemoryLimits, MemoryStore,
    SegmentReader, SegmentStore,
};

use crate::faulty_fs::FaultyFs;
use crate::{SMALL, id, open, options};

fn open_on(fs: FaultyFs, dir: &tempfile::TempDir) -> Result<Ledger, LedgerError> {
    Ledger::open(SegmentStore::open_on(fs, dir.path(), id(), SMALL)?, options(Durability::Always))
}

/// Appends and waits until something fails; gives the acknowledged head and the failure.
fn write_until_failure(ledger: &Ledger) -> (Head, LedgerError) {
    let mut acknowledged = ledger.head();
    for number in 0..200u64 {
        let written = ledger
            .append(EntryKind::Event, &number.to_le_bytes())
            .and_then(|appended| ledger.durable_blocking(appended.seq));
        match written {
            Ok(()) => acknowledged = ledger.head(),
            Err(error) => return (acknowledged, error),
        }
    }
    panic!("nothing failed");
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing_acknowledged() {
    for room in (71..2_000).step_by(13) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = open_on(FaultyFs::default().room(room), &dir).unwrap();
        let (acknowledged, error) = write_until_failure(&ledger);
        assert!(
            matches!(&error, LedgerError::Io { source, .. } if source.kind() == ErrorKind::StorageFull),
            "{error}"
        );
        let again = ledger.append(EntryKind::Event, b"x").unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
        assert!(ledger.flush().is_err());
        if let Some(last) = acknowledged.count.checked_sub(1) {
            ledger.durable_blocking(last).unwrap();
        }
        drop(ledger);

        let ledger = open(dir.path()).unwrap();
        ledger.append(EntryKind::Event, b"after").unwrap();
        ledger.close().unwrap();
        let report = SegmentReader::open(dir.path()).unwrap().verify(Some(acknowledged), |_| {}).unwrap();
        assert_eq!(report.entries, ledger.head().count, "room for {room} bytes");
    }
}

#[test]
fn a_disk_too_small_for_a_header_opens_nothing_and_breaks_nothing() {
    for room in 0..71 {
        let dir = tempfile::tempdir().unwrap();
        let refused = open_on(FaultyFs::default().room(room), &dir);
        assert!(matches!(refused, Err(LedgerError::Io { .. })), "room for {room} bytes");
        let ledger = open(dir.path()).unwrap();
        ledger.append(EntryKind::Event, b"x").unwrap();
        ledger.close().unwrap();
        assert_eq!(crate::entries(dir.path()).len(), 1);
    }
}

/// The system goes on writing to a file that was deleted, and syncs it without a word.
#[cfg(unix)]
#[test]
fn a_ledger_whose_files_are_deleted_confirms_nothing_more() {
    for everything in [true, false] {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("ledger");
        let store = SegmentStore::open(&dir, id(), SMALL).unwrap();
        let ledger = Ledger::open(store, options(Durability::Always)).unwrap();
        let before = ledger.append(EntryKind::Event, b"before").unwrap();
        ledger.durable_blocking(before.seq).unwrap();
        if everything {
            std::fs::remove_dir_all(&dir).unwrap();
        } else {
            std::fs::remove_file(dir.join("00000000000000000000.seg")).unwrap();
        }
        let after = ledger.append(EntryKind::Event, b"after").unwrap();
        let error = ledger.durable_blocking(after.seq).unwrap_err();
        assert!(
            matches!(&error, LedgerError::Io { source, .. } if source.kind() == ErrorKind::NotFound),
            "{error}"
        );
        assert!(ledger.close().is_err());
    }
}

#[test]
fn short_writes_are_finished() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open_on(FaultyFs::default().short_writes(7), &dir).unwrap();
    for _ in 0..20 {
        ledger.append(EntryKind::Event, b"some body").unwrap();
    }
    ledger.close().unwrap();
    let report = SegmentReader::open(dir.path()).unwrap().verify(Some(ledger.head()), |_| {}).unwrap();
    assert_eq!(report.entries, 20);
}

#[test]
fn a_failed_sync_reaches_every_waiter_and_every_later_append() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open_on(fs.clone(), &dir).unwrap();
    ledger.append(EntryKind::Event, b"good").unwrap();
    ledger.flush().unwrap();
    fs.hold_syncs(true);
    let begun = fs.begun();
    ledger.append(EntryKind::Event, b"bad").unwrap();
    fs.wait_for_sync(begun + 1);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let seq = ledger.append(EntryKind::Event, b"bad too").unwrap().seq;
                let ledger = &ledger;
                scope.spawn(move || ledger.durable_blocking(seq))
            })
            .collect();
        fs.fail_syncs();
        fs.hold_syncs(false);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap_err().code(), "AK0804");
        }
    });
    assert_eq!(ledger.append(EntryKind::Event, b"x").unwrap_err().code(), "AK0804");
    assert_eq!(ledger.close().unwrap_err().code(), "AK0804");
    ledger.durable_blocking(0).unwrap();
    assert_eq!(open(dir.path()).unwrap().read(0).next().unwrap().unwrap().body, "good");
}

#[test]
fn a_poisoned_ledger_lets_go_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let poisoned = open_on(FaultyFs::default().room(100), &dir).unwrap();
    write_until_failure(&poisoned);
    poisoned.close().unwrap_err();
    open(dir.path()).unwrap();
}

#[test]
fn one_directory_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(LedgerError::Locked { .. })));
    first.close().unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn another_ledger_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).unwrap();
    let other = LedgerId::new("other").unwrap();
    let refused = SegmentStore::open(dir.path(), other, SMALL);
    assert!(matches!(refused, Err(LedgerError::WrongLedger { .. })), "{refused:?}");
}

#[test]
fn a_directory_without_segments_is_no_ledger() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(SegmentReader::open(dir.path()).unwrap_err().code(), "AK0812");
    assert_eq!(SegmentReader::open(dir.path().join("none")).unwrap_err().code(), "AK0804");
}

/// A store whose sync panics.
struct Broken(MemoryStore);

impl LedgerStore for Broken {
    fn ledger(&self) -> &LedgerId {
        self.0.ledger()
    }

    fn head(&self) -> Head {
        self.0.head()
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        let records: Vec<_> = batch.records().collect();
        assert_eq!(records.len() as u64, batch.count());
        assert_eq!(records.first().map(|record| record.seq), Some(batch.first_seq()));
        self.0.append(batch)
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        panic!("the disk is on fire")
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        self.0.reader()
    }
}

#[test]
fn a_store_that_panics_leaves_nobody_waiting() {
    let store = Broken(MemoryStore::new(id(), MemoryLimits::default()));
    let ledger = Ledger::open(store, LedgerOptions::default()).unwrap();
    let seq = ledger.append(EntryKind::Event, b"x").unwrap().seq;
    assert!(matches!(ledger.durable_blocking(seq), Err(LedgerError::Stopped)));
    assert!(matches!(ledger.append(EntryKind::Event, b"x"), Err(LedgerError::Stopped)));
}
