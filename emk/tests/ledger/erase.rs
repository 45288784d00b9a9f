//! Erasing bodies: gone everywhere, and the chain, its seals and its proofs still hold.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use agent_primitives::ManualClock;
use emk::{
    Checkpoint, Durability, EntryKind, Ledger, LedgerError, LedgerOptions, Sealing, SegmentReader,
    SegmentStore, Trust, merkle,
};

use crate::conformance::on_every_store;
use crate::faulty_fs::FaultyFs;
use crate::{SMALL, entries, id, open, options, segments};

/// Episodes at even positions, rules at every sixth, events at odd ones.
fn fill(ledger: &Ledger, count: u64) {
    for seq in 0..count {
        let kind = match seq % 6 {
            0 => EntryKind::Rule,
            2 | 4 => EntryKind::Episode,
            _ => EntryKind::Event,
        };
        ledger.append(kind, body(seq).as_bytes()).unwrap();
    }
    ledger.flush().unwrap();
}

fn body(seq: u64) -> String {
    format!("the body of {seq:04}; {}", "x".repeat(usize::try_from(seq * 7 % 90).unwrap()))
}

fn erased(ledger: &Ledger) -> Vec<u64> {
    ledger.read(0).map(Result::unwrap).filter(|entry| entry.erased).map(|entry| entry.seq).collect()
}

#[test]
fn an_erased_body_is_gone_and_the_chain_holds() {
    on_every_store(|ledger| {
        fill(ledger, 40);
        let (before, head): (Vec<_>, _) = (ledger.read(0).map(Result::unwrap).collect(), ledger.head());
        ledger.erase(&[2, 12, 38, 2]).unwrap();
        ledger.erase(&[12]).unwrap();
        assert_eq!(erased(ledger), [2, 12, 38]);
        for (old, new) in before.iter().zip(ledger.read(0).map(Result::unwrap)) {
            assert_eq!(
                (old.seq, old.kind, old.content_id, old.hash),
                (new.seq, new.kind, new.content_id, new.hash)
            );
            assert_eq!(new.body, if new.erased { &[] } else { &old.body[..] });
        }
        let report = ledger.verify(None, Some(head), |_| {}).unwrap();
        assert_eq!((report.entries, report.redacted, report.head), (40, 3, head));
        let next = ledger.append(EntryKind::Episode, b"after").unwrap();
        ledger.durable_blocking(next.seq).unwrap();
        assert_eq!(&ledger.read(40).next().unwrap().unwrap().body[..], b"after");
    });
}

#[test]
fn what_cannot_be_erased_is_refused_and_nothing_is_erased() {
    on_every_store(|ledger| {
        fill(ledger, 12);
        ledger.append(EntryKind::Tombstone, b"t").unwrap();
        for (seqs, code) in [(&[2, 3][..], "AK0719"), (&[2, 12], "AK0719"), (&[2, 13], "AK0813")] {
            assert_eq!(ledger.erase(seqs).unwrap_err().code(), code, "{seqs:?}");
        }
        let many = vec![2; emk::MAX_ERASED + 1];
        assert!(matches!(ledger.erase(&many), Err(LedgerError::NotErasable { .. })));
        ledger.erase(&[]).unwrap();
        assert!(erased(ledger).is_empty());
        ledger.close().unwrap();
        assert!(matches!(ledger.erase(&[2]), Err(LedgerError::Closed)));
    });
}

#[test]
fn a_reader_at_work_gives_out_no_body_that_is_gone() {
    on_every_store(|ledger| {
        fill(ledger, 30);
        let mut reader = ledger.read(0);
        assert_eq!(reader.next().unwrap().unwrap().seq, 0);
        ledger.erase(&[2, 28]).unwrap();
        let rest: Vec<_> = reader.map(Result::unwrap).collect();
        assert!(rest.iter().map(|entry| entry.seq).eq(1..30));
        let gone: Vec<u64> = rest.iter().filter(|entry| entry.erased).map(|entry| entry.seq).collect();
        assert_eq!(gone, [2, 28]);
        assert!(rest.iter().all(|entry| entry.erased == entry.body.is_empty()));
    });
}

#[test]
fn a_record_that_is_not_durable_yet_can_be_erased() {
    on_every_store(|ledger| {
        let seq = ledger.append(EntryKind::Episode, b"a secret").unwrap().seq;
        ledger.erase(&[seq]).unwrap();
        assert_eq!(erased(ledger), [0]);
    });
}

fn holds(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|item| {
        let bytes = std::fs::read(item.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn no_file_holds_the_body_and_a_reopened_ledger_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    fill(&ledger, 40);
    assert!(3 < segments(dir.path()).len());
    // In the first segment, in one in the middle, and in the last.
    let gone = [2, 20, 38];
    ledger.erase(&gone).unwrap();
    assert!(gone.iter().all(|&seq| !holds(dir.path(), &format!("the body of {seq:04}"))));
    assert!(holds(dir.path(), "the body of 0004"));
    fill(&ledger, 6);
    ledger.close().unwrap();
    let report = SegmentReader::open(dir.path()).unwrap().verify(Some(ledger.head()), |_| {}).unwrap();
    assert_eq!((report.entries, report.redacted), (46, 3));
    let again = open(dir.path()).unwrap();
    assert_eq!((again.head(), erased(&again)), (ledger.head(), gone.to_vec()));
}

#[test]
fn a_disk_that_is_full_leaves_the_old_segment_and_a_ledger_that_works() {
    let size = |dir: &Path| std::fs::metadata(dir.join(&segments(dir)[0])).unwrap().len();
    let sized = tempfile::tempdir().unwrap();
    fill(&open(sized.path()).unwrap(), 3);
    for room in (0..usize::try_from(size(sized.path())).unwrap() - body(2).len()).step_by(7) {
        let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
        let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SMALL).unwrap();
        let ledger = Ledger::open(store, options(Durability::Always)).unwrap();
        fill(&ledger, 3);
        let fs = fs.room(room);
        assert!(matches!(ledger.erase(&[2]), Err(LedgerError::Io { .. })), "room {room}");
        assert!(holds(dir.path(), &body(2)), "room {room}");
        let _fs = fs.room(1 << 20);
        ledger.erase(&[2]).unwrap();
        ledger.append(EntryKind::Episode, b"after").unwrap();
        assert_eq!(ledger.verify(None, Some(ledger.head()), |_| {}).unwrap().redacted, 1);
        assert!(!holds(dir.path(), &body(2)));
    }
}

#[test]
fn a_segment_that_cannot_take_its_place_leaves_the_old_one() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open(store, options(Durability::Always)).unwrap();
    fill(&ledger, 12);
    fs.fail_renames(true);
    let refused = ledger.erase(&[2, 10]).unwrap_err();
    assert!(matches!(refused, LedgerError::Io { operation: "replace", .. }), "{refused}");
    assert!(erased(&ledger).is_empty() && holds(dir.path(), &body(2)));
    fs.fail_renames(false);
    ledger.erase(&[2, 10]).unwrap();
    ledger.append(EntryKind::Episode, b"after").unwrap();
    ledger.flush().unwrap();
    let cut = fs.power_cut();
    assert!(!holds(cut.path(), &body(2)) && !holds(cut.path(), &body(10)));
    let after = open(cut.path()).unwrap();
    assert_eq!(after.verify(None, Some(ledger.head()), |_| {}).unwrap().redacted, 2);
    fs.fail_syncs();
    assert!(matches!(ledger.erase(&[4]), Err(LedgerError::Io { operation: "sync", .. })));
    assert!(holds(dir.path(), &body(4)));
}

/// Why bodies are gone is on record after them, in another segment.
#[test]
fn what_is_on_record_is_synced_before_bodies_go_whatever_the_durability() {
    for durability in [Durability::Os, Durability::Always] {
        let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
        let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SMALL).unwrap();
        let ledger = Ledger::open(store, options(durability)).unwrap();
        fill(&ledger, 12);
        let mark = ledger.append(EntryKind::Tombstone, b"why").unwrap();
        ledger.durable_blocking(mark.seq).unwrap();
        ledger.erase(&[2]).unwrap();
        assert_eq!(erased(&open(fs.power_cut().path()).unwrap()), [2], "{durability:?}");
        let found = entries(fs.power_cut().path());
        assert_eq!(found.last().map(|entry| entry.seq), Some(mark.seq), "{durability:?}");
    }
}

#[test]
fn a_sync_that_fails_erases_nothing() {
    let (dir, fs) = (tempfile::tempdir().unwrap(), FaultyFs::default());
    let store = SegmentStore::open_on(fs.clone(), dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open(store, options(Durability::Os)).unwrap();
    fill(&ledger, 3);
    fs.fail_syncs();
    assert!(matches!(ledger.erase(&[2]), Err(LedgerError::Io { operation: "sync", .. })));
    assert!(holds(dir.path(), &body(2)));
}

#[test]
fn what_a_crash_leaves_of_a_segment_written_anew_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    fill(&ledger, 40);
    ledger.close().unwrap();
    for name in segments(dir.path()) {
        let bytes = std::fs::read(dir.path().join(&name)).unwrap();
        for len in [0, 1, bytes.len() / 2, bytes.len()] {
            std::fs::write(dir.path().join(format!("{name}.anew")), &bytes[..len]).unwrap();
            assert_eq!(open(dir.path()).unwrap().head(), ledger.head());
            assert!(!dir.path().join(format!("{name}.anew")).exists());
        }
    }
    assert_eq!(entries(dir.path()).len(), 40);
}

#[test]
fn seals_and_proofs_hold_after_an_erasure() {
    let dir = tempfile::tempdir().unwrap();
    let sealing =
        || Sealing::new(Arc::new(ManualClock::default())).every(8, std::time::Duration::from_secs(600));
    let store = || SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open_sealed(store(), LedgerOptions::default(), sealing()).unwrap();
    fill(&ledger, 30);
    ledger.seal().unwrap();
    let checkpoint: Checkpoint = ledger.seals().unwrap().checkpoint.unwrap();
    let entry = ledger.read(2).next().unwrap().unwrap();
    let mut tree: merkle::Tree = merkle::Tree::new();
    ledger.read(0).map(Result::unwrap).for_each(|entry| tree.push(entry.hash.as_bytes()));
    let path = tree.inclusion(2, checkpoint.size).unwrap();
    let proven = |path: &[agent_primitives::Digest]| {
        merkle::verify_inclusion::<merkle::Blake3>(
            entry.hash.as_bytes(),
            2,
            checkpoint.size,
            path,
            &checkpoint.root,
        )
    };
    let erasable: Vec<u64> = ledger
        .read(0)
        .map(Result::unwrap)
        .filter(|entry| entry.kind.is_erasable())
        .map(|entry| entry.seq)
        .collect();
    ledger.erase(&erasable).unwrap();
    proven(&path).unwrap();
    let trust = Trust::default().head(ledger.head()).anchored([checkpoint.clone()]);
    let report = ledger.verify_against(None, &trust, |_| Ok(()), |_| {}).unwrap();
    assert_eq!(report.redacted, erasable.len() as u64);
    ledger.close().unwrap();
    let again = Ledger::open_sealed(store(), LedgerOptions::default(), sealing()).unwrap();
    fill(&again, 10);
    again.close().unwrap();
    let report = SegmentReader::open(dir.path()).unwrap().verify_against(&trust, |_| Ok(()), |_| {}).unwrap();
    assert!(1 < report.checkpoints && report.redacted == erasable.len() as u64);
}

#[test]
fn an_event_cannot_be_made_to_look_erased() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let seq = ledger.append(EntryKind::Event, b"what happened").unwrap().seq;
    ledger.durable_blocking(seq).unwrap();
    ledger.close().unwrap();
    let path = dir.path().join(&segments(dir.path())[0]);
    let bytes = std::fs::read(&path).unwrap();
    let start = bytes.len() - (8 + 73 + 13);
    // The same record with the bit set, no body and a checksum that holds.
    let mut payload = bytes[start + 8..start + 8 + 73].to_vec();
    payload[0] |= 0x80;
    let crc = crc32c::crc32c(&payload);
    let forged = [&bytes[..start], &73u32.to_le_bytes(), &crc.to_le_bytes(), &payload].concat();
    std::fs::write(&path, forged).unwrap();
    let found = SegmentReader::open(dir.path()).unwrap().verify(None, |_| {}).unwrap_err();
    assert_eq!((found.code(), found.seq), ("AK0828", 0));
}

const DIR: &str = "EMK_TEST_ERASER_DIR";
const RECORDS: u64 = 600;

#[test]
fn a_killed_eraser_leaves_every_record_whole_or_gone() {
    if let Some(dir) = std::env::var_os(DIR) {
        return erase_until_killed(PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let ledger = open_large(dir.path());
    fill(&ledger, RECORDS);
    let head = ledger.head();
    ledger.close().unwrap();
    let mut told: BTreeSet<u64> = BTreeSet::new();
    for round in 1..=8usize {
        let test = "erase::a_killed_eraser_leaves_every_record_whole_or_gone";
        let mut eraser = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let before = told.len();
        for line in BufReader::new(eraser.stdout.take().unwrap()).lines() {
            // The kill may cut the last line short.
            let line = line.unwrap();
            if let Some(seq) = line.rsplit_once("erased ").and_then(|(_, seq)| seq.strip_suffix('.')) {
                told.insert(seq.parse().unwrap());
            }
            if told.len() == before + 5 * round {
                eraser.kill().unwrap();
            }
        }
        eraser.wait().unwrap();
        assert!(before + 5 * round <= told.len(), "the eraser ended by itself");
        let ledger = open_large(dir.path());
        let names = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap());
        assert!(!names.into_iter().any(|name| name.ends_with(".anew")));
        ledger.verify(None, Some(head), |_| {}).unwrap();
        for entry in ledger.read(0).map(Result::unwrap) {
            assert!(entry.erased || entry.body == body(entry.seq).as_bytes());
            assert!(entry.erased || !told.contains(&entry.seq), "{} was said to be erased", entry.seq);
        }
        ledger.close().unwrap();
    }
}

fn open_large(dir: &Path) -> Ledger {
    let options = emk::SegmentOptions { segment_bytes: 20_000 };
    Ledger::open(SegmentStore::open(dir, id(), options).unwrap(), LedgerOptions::default()).unwrap()
}

/// The process that the test above starts and kills.
fn erase_until_killed(dir: PathBuf) {
    let ledger = open_large(&dir);
    let left: Vec<u64> = ledger
        .read(0)
        .map(Result::unwrap)
        .filter(|entry| entry.kind.is_erasable() && !entry.erased)
        .map(|entry| entry.seq)
        .collect();
    for seq in left {
        ledger.erase(&[seq]).unwrap();
        println!("erased {seq}.");
    }
}

#[test]
fn a_record_is_found_wherever_it_lies_before_and_after_its_segment_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let options = emk::SegmentOptions { segment_bytes: 600_000 };
    let ledger =
        Ledger::open(SegmentStore::open(dir.path(), id(), options).unwrap(), LedgerOptions::default())
            .unwrap();
    let text = |seq: u64| format!("{seq} {}", "y".repeat(usize::try_from(seq * 31 % 700).unwrap()));
    for seq in 0..4000 {
        ledger.append(EntryKind::Episode, text(seq).as_bytes()).unwrap();
    }
    ledger.flush().unwrap();
    assert!(2 < segments(dir.path()).len());
    let mut gone = BTreeSet::new();
    for round in 0..4u64 {
        // The first round notes where records lie, in no order.
        for number in 0..800u64 {
            let seq = (number * 2741 + round) % 4000;
            let entry = ledger.read(seq).next().unwrap().unwrap();
            let expected = if gone.contains(&seq) { String::new() } else { text(seq) };
            assert_eq!(
                (entry.seq, &entry.body[..], entry.erased),
                (seq, expected.as_bytes(), gone.contains(&seq))
            );
        }
        assert_eq!(ledger.read(0).map(Result::unwrap).filter(|entry| entry.erased).count(), gone.len());
        let more: Vec<u64> = (0..40).map(|number| (number * 977 + round * 13) % 4000).collect();
        ledger.erase(&more).unwrap();
        gone.extend(more);
    }
}
