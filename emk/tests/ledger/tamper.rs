//! Whatever is changed is found.

use agent_primitives::Digest;
use emk::{
    ChainVerifier, Durability, Entry, EntryKind, Head, Ledger, LedgerError, LedgerOptions, MemoryLimits,
    MemoryStore, SegmentReader, SegmentStore, chain,
};
use proptest::prelude::*;

use crate::{KINDS, SMALL, id, open, options, segments};

#[test]
fn a_flipped_bit_in_any_byte_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    for number in 0..16usize {
        ledger.append(EntryKind::Event, &vec![b'a'; number * 5 % 40]).unwrap();
    }
    ledger.close().unwrap();
    let names = segments(dir.path());
    assert!(2 < names.len());
    let reader = SegmentReader::open(dir.path()).unwrap();
    for name in &names {
        let path = dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let bit = index % 8;
            let mut flipped = whole.clone();
            flipped[index] ^= 1 << bit;
            std::fs::write(&path, &flipped).unwrap();
            // The name of the ledger is read when the reader is opened, so that is part of the check.
            let found = SegmentReader::open(dir.path()).map(|reader| reader.verify(None, |_| {}));
            assert!(!matches!(found, Ok(Ok(_))), "bit {bit} of byte {index} of {name}");
            let error = reader.verify(None, |_| {}).unwrap_err();
            assert_eq!(&error.place.unwrap().segment, name);

            // Opening for writing refuses, or cuts the very last record and no other.
            if let Ok(ledger) = open(dir.path()) {
                let kept = ledger.head().count;
                let sealed = names.last() != Some(name);
                assert_eq!(kept, if sealed { 16 } else { 15 }, "bit {bit} of byte {index} of {name}");
            }
            std::fs::write(&path, &whole).unwrap();
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(reader.verify(Some(ledger.head()), |_| {}).unwrap().entries, 16);
}

#[test]
fn a_reader_never_takes_a_gap_before_later_segments_for_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    for number in 0..16usize {
        ledger.append(EntryKind::Event, &vec![b'a'; number * 5 % 40]).unwrap();
    }
    ledger.close().unwrap();
    let names = segments(dir.path());
    assert!(2 < names.len());
    let damaged = || {
        let last = SegmentReader::open(dir.path()).unwrap().entries(0).unwrap().last().unwrap();
        matches!(last, Err(LedgerError::Missing { .. } | LedgerError::Corrupt { .. }))
    };
    for (number, name) in names.iter().enumerate().take(names.len() - 1) {
        let path = dir.path().join(name);
        let whole = std::fs::read(&path).unwrap();
        if number != 0 {
            std::fs::remove_file(&path).unwrap();
            assert!(damaged(), "{name} is gone");
        }
        // The first segment has to name the ledger.
        for length in if number == 0 { 100 } else { 0 }..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(damaged(), "{name} has {length} bytes");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(!damaged());
    }
}

#[test]
fn a_reader_beside_a_writer_that_begins_segments_finds_no_damage() {
    const RECORDS: u64 = 1000;
    let dir = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open(store, options(Durability::Os)).unwrap();
    ledger.append(EntryKind::Event, b"first").unwrap();
    ledger.flush().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..RECORDS {
                ledger.append(EntryKind::Event, &number.to_le_bytes()).unwrap();
                if number.is_multiple_of(3) {
                    ledger.flush().unwrap();
                }
            }
            ledger.flush().unwrap();
        });
        let (reader, mut next) = (SegmentReader::open(dir.path()).unwrap(), 0);
        while next < RECORDS {
            for entry in reader.entries(next).unwrap() {
                match entry {
                    Ok(entry) => assert_eq!(std::mem::replace(&mut next, entry.seq + 1), entry.seq),
                    Err(LedgerError::TornTail { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
}

#[test]
fn a_rewritten_history_is_found_by_a_head_kept_elsewhere() {
    let (honest, forged) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |dir: &tempfile::TempDir, body: &[u8]| {
        let ledger = open(dir.path()).unwrap();
        for body in [b"one", body, b"three"] {
            ledger.append(EntryKind::Event, body).unwrap();
        }
        ledger.close().unwrap();
        ledger.head()
    };
    let head = write(&honest, b"two");
    write(&forged, b"too");
    let forged = SegmentReader::open(forged.path()).unwrap();
    forged.verify(None, |_| {}).unwrap();
    let error = forged.verify(Some(head), |_| {}).unwrap_err();
    assert_eq!((error.code(), error.seq), ("AK0825", 2));
}

/// What someone may do to a list of entries.
#[derive(Clone, Debug)]
enum Tampering {
    EditBody {
        at: usize,
        rehash: bool,
    },
    EditHash(usize),
    FlipKind(usize),
    Swap(usize, usize),
    Remove(usize),
    /// Inserts a copy of one entry at another place, renumbered or not.
    Replay {
        from: usize,
        to: usize,
        renumber: bool,
    },
    CutTail(usize),
    /// Edits a body and recomputes every hash after it.
    Recompute(usize),
}

impl Tampering {
    fn apply(&self, log: &mut Vec<Entry>) {
        let len = log.len();
        match *self {
            Self::EditBody { at, rehash } => {
                let entry = &mut log[at % len];
                entry.body = [&entry.body[..], b"!"].concat().into();
                if rehash {
                    entry.content_id = chain::content_id(entry.kind, &entry.body);
                }
            }
            Self::EditHash(at) => log[at % len].hash = Digest::of("agent-os test v1", b"other"),
            Self::FlipKind(at) => {
                let entry = &mut log[at % len];
                entry.kind = if entry.kind == EntryKind::Rule { EntryKind::Episode } else { EntryKind::Rule };
            }
            Self::Swap(a, b) => log.swap(a % len, b % len),
            Self::Remove(at) => drop(log.remove(at % len)),
            Self::Replay { from, to, renumber } => {
                log.insert(to % (len + 1), log[from % len].clone());
                if renumber {
                    (0u64..).zip(log).for_each(|(seq, entry)| entry.seq = seq);
                }
            }
            Self::CutTail(keep) => log.truncate(keep % len),
            Self::Recompute(at) => {
                Self::EditBody { at, rehash: true }.apply(log);
                let mut previous = chain::genesis(&id());
                for entry in log {
                    entry.hash = chain::entry_hash(&previous, entry.seq, entry.kind, &entry.content_id);
                    previous = entry.hash;
                }
            }
        }
    }
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = || 0usize..1_000;
    prop_oneof![
        (at(), any::<bool>()).prop_map(|(at, rehash)| Tampering::EditBody { at, rehash }),
        at().prop_map(Tampering::EditHash),
        at().prop_map(Tampering::FlipKind),
        (at(), at()).prop_map(|(a, b)| Tampering::Swap(a, b)),
        at().prop_map(Tampering::Remove),
        (at(), at(), any::<bool>()).prop_map(|(from, to, renumber)| Tampering::Replay { from, to, renumber }),
        at().prop_map(Tampering::CutTail),
        at().prop_map(Tampering::Recompute),
    ]
}

fn verify(log: &[Entry], head: Head) -> Result<(), emk::VerifyError> {
    let mut verifier = ChainVerifier::new(Head { count: 0, hash: chain::genesis(&id()) }, Some(head));
    log.iter().try_for_each(|entry| verifier.check(&entry.as_record()))?;
    verifier.finish().map(drop)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn every_change_to_a_list_of_entries_is_found(
        bodies in prop::collection::vec((0usize..4, "[a-z]{0,8}"), 1..10),
        tampering in tampering(),
    ) {
        let ledger = Ledger::open(MemoryStore::new(id(), MemoryLimits::default()), LedgerOptions::default()).unwrap();
        for (kind, body) in &bodies {
            ledger.append(KINDS[*kind], body.as_bytes()).unwrap();
        }
        let log: Vec<Entry> = ledger.read(0).map(Result::unwrap).collect();
        prop_assert!(verify(&log, ledger.head()).is_ok());
        let mut tampered = log.clone();
        tampering.apply(&mut tampered);
        // An entry appended again at the end lies beyond the expected head only if it also chains, which it cannot.
        prop_assert_eq!(verify(&tampered, ledger.head()).is_ok(), tampered == log);
    }
}
