//! The bounds of the memory store.

use emk::{
    EntryKind, Finding, Head, Ledger, LedgerError, LedgerOptions, MemoryLimits, MemoryStore, WhenFull,
};

use crate::id;

fn ledger(records: u64, bytes: u64, when_full: WhenFull) -> Ledger {
    let store = MemoryStore::new(id(), MemoryLimits { records, bytes, when_full });
    Ledger::open(store, LedgerOptions::default()).unwrap()
}

#[test]
fn a_full_store_refuses_and_stays_whole() {
    // A record with a body of 19 bytes takes 100.
    for (records, bytes) in [(3, u64::MAX), (u64::MAX, 399)] {
        let ledger = ledger(records, bytes, WhenFull::Refuse);
        for _ in 0..3 {
            ledger.append(EntryKind::Event, &[0; 19]).unwrap();
        }
        let head = ledger.head();
        for _ in 0..2 {
            let refused = ledger.append(EntryKind::Event, &[0; 19]);
            assert!(matches!(refused, Err(LedgerError::StoreFull { records: 3, bytes: 300 })), "{refused:?}");
        }
        assert_eq!(ledger.head(), head);
        assert_eq!(ledger.verify(None, Some(head), |_| {}).unwrap().entries, 3);
    }
}

#[test]
fn a_store_that_forgets_counts_what_it_forgot_and_verifies_the_rest() {
    for (records, bytes) in [(3, u64::MAX), (u64::MAX, 399)] {
        let ledger = ledger(records, bytes, WhenFull::DropOldest);
        let mut heads = vec![ledger.head()];
        for number in 0..10 {
            ledger.append(EntryKind::Event, &[number; 19]).unwrap();
            heads.push(ledger.head());
        }
        assert_eq!(ledger.base(), heads[7]);
        assert_eq!(ledger.verify(None, Some(heads[10]), |_| {}).unwrap().entries, 3);
        let dropped = ledger.read(6).next().unwrap();
        assert!(matches!(dropped, Err(LedgerError::Dropped { seq: 6, first: 7 })), "{dropped:?}");
        let error = ledger.verify(None, Some(heads[5]), |_| {}).unwrap_err();
        assert!(matches!(error.finding, Finding::HeadDropped));
    }
}

#[test]
fn a_reader_that_is_overtaken_is_told() {
    let ledger = ledger(1_000, u64::MAX, WhenFull::DropOldest);
    let body = [0; 1_000];
    for _ in 0..1_000 {
        ledger.append(EntryKind::Event, &body).unwrap();
    }
    let mut reading = ledger.read(0);
    assert_eq!(reading.next().unwrap().unwrap().seq, 0);
    for _ in 0..1_000 {
        ledger.append(EntryKind::Event, &body).unwrap();
    }
    let rest: Vec<_> = reading.collect();
    assert!(matches!(rest.last(), Some(Err(LedgerError::Dropped { first: 1_000, .. }))));
    assert_eq!(rest.iter().filter(|item| item.is_err()).count(), 1);
}

#[test]
fn a_record_larger_than_the_store_costs_nothing() {
    let ledger = ledger(10, 400, WhenFull::DropOldest);
    ledger.append(EntryKind::Event, &[0; 19]).unwrap();
    assert!(matches!(ledger.append(EntryKind::Event, &[0; 400]), Err(LedgerError::StoreFull { .. })));
    assert_eq!((ledger.base().count, ledger.read(0).count()), (0, 1));
}

#[test]
fn forgetting_gives_runs_back() {
    let ledger = ledger(u64::MAX, 3 << 20, WhenFull::DropOldest);
    let body = vec![0; 100_000];
    for _ in 0..200 {
        ledger.append(EntryKind::Event, &body).unwrap();
    }
    let Head { count: dropped, .. } = ledger.base();
    assert_eq!(200 - dropped, (3 << 20) / (100_000 + 81));
    assert_eq!(ledger.verify(None, Some(ledger.head()), |_| {}).unwrap().entries, 200 - dropped);
}
