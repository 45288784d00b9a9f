//! What every store has to do, run on each of them.

use emk::{
    ChainVerifier, Durability, EntryKind, Head, Ledger, LedgerError, LedgerOptions, MAX_BODY_BYTES,
    MemoryLimits, MemoryStore, SegmentStore, chain,
};

use crate::{KINDS, SMALL, id, options};

pub(crate) fn on_every_store(check: impl Fn(&Ledger)) {
    let memory = MemoryStore::new(id(), MemoryLimits::default());
    check(&Ledger::open(memory, LedgerOptions::default()).unwrap());
    for durability in [Durability::Always, Durability::default(), Durability::Os] {
        let dir = tempfile::tempdir().unwrap();
        let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
        check(&Ledger::open(store, options(durability)).unwrap());
    }
    #[cfg(all(feature = "postgres", unix))]
    crate::postgres::on_a_server(check);
}

#[test]
fn an_empty_ledger_stands_at_its_genesis() {
    on_every_store(|ledger| {
        let genesis = Head { count: 0, hash: chain::genesis(&id()) };
        assert_eq!((ledger.head(), ledger.base()), (genesis, genesis));
        assert_eq!(ledger.verify(None, Some(genesis), |_| {}).unwrap().entries, 0);
        assert!(ledger.read(0).next().is_none());
        ledger.flush().unwrap();
    });
}

#[test]
fn an_append_is_readable_at_once_and_chained() {
    on_every_store(|ledger| {
        let mut previous = ledger.head().hash;
        for (seq, kind) in (0..20).zip(KINDS.into_iter().cycle()) {
            let body = format!("body {seq}");
            let appended = ledger.append(kind, body.as_bytes()).unwrap();
            let entry = ledger.read(seq).next().unwrap().unwrap();
            assert_eq!((entry.seq, entry.kind, &entry.body[..]), (seq, kind, body.as_bytes()));
            assert_eq!(entry.content_id, chain::content_id(kind, body.as_bytes()));
            assert_eq!(entry.hash, chain::entry_hash(&previous, seq, kind, &entry.content_id));
            assert_eq!((appended.seq, appended.hash), (seq, entry.hash));
            previous = entry.hash;
            assert_eq!(ledger.head(), Head { count: seq + 1, hash: previous });
        }
    });
}

#[test]
fn reading_starts_anywhere_and_ends_at_the_head() {
    on_every_store(|ledger| {
        for number in 0..30u64 {
            ledger.append(EntryKind::Event, &number.to_le_bytes()).unwrap();
            if number == 17 {
                ledger.flush().unwrap();
            }
        }
        for from in 0..32 {
            let seqs: Vec<u64> = ledger.read(from).map(|entry| entry.unwrap().seq).collect();
            assert_eq!(seqs, (from..30).collect::<Vec<_>>(), "from {from}");
        }
    });
}

#[test]
fn bodies_of_every_size_come_back() {
    on_every_store(|ledger| {
        let sizes = [0, 1, 419, 420, 500, 70_000, 300_000, MAX_BODY_BYTES];
        for size in sizes {
            ledger.append(EntryKind::Event, &vec![7; size]).unwrap();
        }
        let found: Vec<usize> = ledger.read(0).map(|entry| entry.unwrap().body.len()).collect();
        assert_eq!(found, sizes);
        ledger.flush().unwrap();
        let found: Vec<usize> = ledger.read(0).map(|entry| entry.unwrap().body.len()).collect();
        assert_eq!(found, sizes);
    });
}

#[test]
fn a_body_that_fits_no_record_is_refused() {
    on_every_store(|ledger| {
        let refused = ledger.append(EntryKind::Event, &vec![0; MAX_BODY_BYTES + 1]);
        assert!(matches!(refused, Err(LedgerError::TooLarge { limit: MAX_BODY_BYTES, .. })));
        assert_eq!(ledger.head().count, 0);
    });
}

#[test]
fn durable_answers_for_every_record_there_is_and_no_other() {
    on_every_store(|ledger| {
        for _ in 0..5 {
            ledger.append(EntryKind::Event, b"x").unwrap();
        }
        for seq in [4, 0, 3] {
            ledger.durable_blocking(seq).unwrap();
        }
        assert!(matches!(ledger.durable_blocking(5), Err(LedgerError::Unknown { seq: 5, count: 5 })));
    });
}

#[test]
fn a_closed_ledger_refuses_appends_and_still_reads() {
    on_every_store(|ledger| {
        ledger.append(EntryKind::Event, b"x").unwrap();
        ledger.clone().close().unwrap();
        assert!(matches!(ledger.append(EntryKind::Event, b"y"), Err(LedgerError::Closed)));
        assert_eq!(ledger.read(0).count(), 1);
        ledger.durable_blocking(0).unwrap();
        ledger.close().unwrap();
    });
}

#[test]
fn verification_starts_at_a_trusted_head_and_meets_the_expected_one() {
    on_every_store(|ledger| {
        let mut heads = vec![ledger.head()];
        for number in 0..10u8 {
            ledger.append(EntryKind::Event, &[number]).unwrap();
            heads.push(ledger.head());
        }
        let mut heard = Vec::new();
        let report = ledger.verify(Some(heads[4]), Some(heads[9]), |count| heard.push(count)).unwrap();
        assert_eq!((report.entries, report.head, heard), (6, heads[10], vec![10]));
        let wrong = |count: usize| Head { hash: heads[0].hash, ..heads[count] };
        let cases = [
            (Some(wrong(4)), None, "AK0825", 3),
            (None, Some(wrong(7)), "AK0825", 6),
            (None, Some(Head { count: 11, ..heads[10] }), "AK0824", 10),
            (Some(Head { count: 12, ..heads[10] }), None, "AK0824", 10),
            (Some(heads[4]), Some(heads[3]), "AK0826", 3),
            (Some(heads[4]), Some(wrong(4)), "AK0825", 3),
        ];
        for (from, expected, code, seq) in cases {
            let error = ledger.verify(from, expected, |_| {}).unwrap_err();
            assert_eq!((error.code(), error.seq), (code, seq), "{from:?} {expected:?}");
        }
    });
}

#[test]
fn threads_that_append_together_make_one_chain() {
    on_every_store(|ledger| {
        std::thread::scope(|scope| {
            for writer in 0..4u8 {
                scope.spawn(move || {
                    for number in 0..50u8 {
                        let appended = ledger.append(EntryKind::Event, &[writer, number]).unwrap();
                        ledger.durable_blocking(appended.seq).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                while ledger.head().count < 200 {
                    let mut verifier = ChainVerifier::new(ledger.base(), None);
                    for entry in ledger.read(0) {
                        verifier.check(&entry.unwrap().as_record()).unwrap();
                    }
                }
            });
        });
        assert_eq!(ledger.verify(None, Some(ledger.head()), |_| {}).unwrap().entries, 200);
        for writer in 0..4 {
            let own = ledger.read(0).map(Result::unwrap).filter(|entry| entry.body[0] == writer);
            assert!(own.map(|entry| entry.body[1]).eq(0..50), "each writer's records keep their order");
        }
    });
}
