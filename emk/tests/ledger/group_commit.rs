//! One sync serves everyone who waits.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use emk::{Durability, EntryKind, Ledger, LedgerError, LedgerOptions, SegmentOptions, SegmentStore};

use crate::faulty_fs::FaultyFs;
use crate::{id, options};

fn open(fs: &FaultyFs, dir: &tempfile::TempDir, options: LedgerOptions) -> Ledger {
    let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SegmentOptions::default()).unwrap();
    Ledger::open(store, options).unwrap()
}

/// A ledger whose committer is stuck in a sync of record 0.
fn stuck(options: LedgerOptions) -> (tempfile::TempDir, FaultyFs, Ledger) {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open(&fs, &dir, LedgerOptions { durability: Durability::Always, ..options });
    fs.hold_syncs(true);
    let begun = fs.begun();
    ledger.append(EntryKind::Event, b"first").unwrap();
    fs.wait_for_sync(begun + 1);
    (dir, fs, ledger)
}

#[test]
fn everyone_who_arrives_during_a_sync_shares_the_next() {
    let (_dir, fs, ledger) = stuck(LedgerOptions::default());
    let before = fs.syncs();
    let seqs: Vec<u64> = (0..64).map(|_| ledger.append(EntryKind::Event, b"x").unwrap().seq).collect();
    std::thread::scope(|scope| {
        for seq in seqs {
            let ledger = &ledger;
            scope.spawn(move || ledger.durable_blocking(seq).unwrap());
        }
        fs.hold_syncs(false);
    });
    assert_eq!(fs.syncs() - before, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_wait_without_blocking_each_other() {
    let (_dir, fs, ledger) = stuck(LedgerOptions::default());
    let before = fs.syncs();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let ledger = ledger.clone();
            let seq = ledger.append(EntryKind::Event, b"x").unwrap().seq;
            tokio::spawn(async move { ledger.durable(seq).await })
        })
        .collect();
    fs.hold_syncs(false);
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(fs.syncs() - before, 2);
}

#[test]
fn nothing_is_acknowledged_before_its_sync() {
    let (_dir, fs, ledger) = stuck(LedgerOptions::default());
    let mut wait = pin!(ledger.durable(0));
    let mut context = Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(&mut context).is_pending());
    fs.hold_syncs(false);
    ledger.flush().unwrap();
    assert!(matches!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(()))));
}

#[test]
fn a_dropped_wait_changes_nothing() {
    let (_dir, fs, ledger) = stuck(LedgerOptions::default());
    let seq = ledger.append(EntryKind::Event, b"x").unwrap().seq;
    let mut wait = Box::pin(ledger.durable(seq));
    assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(wait);
    fs.hold_syncs(false);
    ledger.durable_blocking(seq).unwrap();
    assert_eq!(ledger.read(seq).count(), 1);
}

#[test]
fn records_are_readable_while_they_wait() {
    let (_dir, _fs, ledger) = stuck(LedgerOptions::default());
    ledger.append(EntryKind::Event, b"second").unwrap();
    let bodies: Vec<_> = ledger.read(0).map(|entry| entry.unwrap().body).collect();
    assert_eq!(bodies, ["first", "second"]);
    assert_eq!(ledger.verify(None, Some(ledger.head()), |_| {}).unwrap().entries, 2);
    _fs.hold_syncs(false);
}

#[test]
fn a_full_buffer_refuses_until_the_disk_has_caught_up() {
    let (_dir, fs, ledger) = stuck(LedgerOptions { max_buffered_bytes: 1_000, ..LedgerOptions::default() });
    let refused = (0..20).find_map(|_| ledger.append(EntryKind::Event, &[0; 19]).err()).unwrap();
    // The record that is being written takes 86 bytes; nine more of 100 fit beside it.
    assert!(matches!(refused, LedgerError::Full { buffered: 986, limit: 1_000 }), "{refused}");
    assert_eq!(ledger.head().count, 10);
    fs.hold_syncs(false);
    ledger.flush().unwrap();
    ledger.append(EntryKind::Event, &[0; 5_000]).unwrap();
    ledger.flush().unwrap();
    assert_eq!(ledger.verify(None, None, |_| {}).unwrap().entries, 11);
}

#[test]
fn a_group_starts_when_someone_waits() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open(&fs, &dir, options(Durability::Group(Duration::from_secs(3600))));
    let before = fs.syncs();
    for _ in 0..10 {
        ledger.append(EntryKind::Event, b"x").unwrap();
    }
    assert_eq!(fs.syncs(), before);
    ledger.flush().unwrap();
    assert_eq!(fs.syncs(), before + 1);
}

#[test]
fn a_group_starts_when_its_window_ends() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open(&fs, &dir, options(Durability::Group(Duration::from_millis(1))));
    let begun = fs.begun();
    ledger.append(EntryKind::Event, b"x").unwrap();
    fs.wait_for_sync(begun + 1);
}

#[test]
fn a_group_starts_when_it_is_large() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open(&fs, &dir, options(Durability::Group(Duration::from_secs(3600))));
    let begun = fs.begun();
    ledger.append(EntryKind::Event, &[0; 1]).unwrap();
    ledger.append(EntryKind::Event, &vec![0; 2 << 20]).unwrap();
    fs.wait_for_sync(begun + 1);
}

#[test]
fn os_durability_never_syncs_a_record() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let ledger = open(&fs, &dir, options(Durability::Os));
    let before = fs.syncs();
    ledger.append(EntryKind::Event, b"x").unwrap();
    ledger.flush().unwrap();
    assert_eq!(fs.syncs(), before);
    assert_eq!(crate::entries(dir.path()).len(), 1);
}

#[test]
fn dropping_the_last_handle_writes_what_waits() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(&FaultyFs::default(), &dir, options(Durability::Group(Duration::from_secs(3600))));
    ledger.append(EntryKind::Event, b"x").unwrap();
    drop(ledger);
    assert_eq!(crate::entries(dir.path()).len(), 1);
}
