//! A writer that is killed for real.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agent_primitives::Digest;
use emk::{Durability, EntryKind, Ledger, SegmentOptions, SegmentReader, SegmentStore};

use crate::{id, options};

const DIR: &str = "EMK_TEST_WRITER_DIR";
const ROUNDS: usize = 5;
const ACKNOWLEDGED_PER_ROUND: usize = 300;

/// Several small segments per round.
const SEGMENTS: SegmentOptions = SegmentOptions { segment_bytes: 20_000 };

#[test]
fn a_killed_writer_has_lost_nothing_it_acknowledged() {
    if let Some(dir) = std::env::var_os(DIR) {
        return write_until_killed(PathBuf::from(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, Digest)> = Vec::new();
    for _ in 0..ROUNDS {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::a_killed_writer_has_lost_nothing_it_acknowledged", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let before = acknowledged.len();
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            if let Some((seq, hash)) = line
                .unwrap()
                .rsplit_once("durable ")
                .map(|(_, pair)| pair)
                .and_then(|pair| pair.split_once(' '))
            {
                // The kill may cut the last line short.
                let Ok(hash) = hash.parse() else { continue };
                acknowledged.push((seq.parse().unwrap(), hash));
            }
            if acknowledged.len() == before + ACKNOWLEDGED_PER_ROUND {
                writer.kill().unwrap();
            }
        }
        writer.wait().unwrap();
        assert!(before + ACKNOWLEDGED_PER_ROUND <= acknowledged.len(), "the writer ended by itself");
    }

    let ledger =
        Ledger::open(SegmentStore::open(dir.path(), id(), SEGMENTS).unwrap(), options(Durability::Always))
            .unwrap();
    let hashes: Vec<Digest> = ledger.read(0).map(|entry| entry.unwrap().hash).collect();
    for (seq, hash) in acknowledged {
        assert_eq!(hashes[usize::try_from(seq).unwrap()], hash, "record {seq}");
    }
    ledger.close().unwrap();
    let report = SegmentReader::open(dir.path()).unwrap().verify(Some(ledger.head()), |_| {}).unwrap();
    assert_eq!(report.entries, hashes.len() as u64);
}

/// The process that the test above starts and kills.
fn write_until_killed(dir: PathBuf) {
    let store = SegmentStore::open(dir, id(), SEGMENTS).unwrap();
    let ledger = Ledger::open(store, options(Durability::default())).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4usize {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in 0.. {
                    let body = vec![b'x'; (writer * 31 + number * 17) % 300];
                    let appended = ledger.append(EntryKind::Event, &body).unwrap();
                    ledger.durable_blocking(appended.seq).unwrap();
                    println!("durable {} {}", appended.seq, appended.hash);
                }
            });
        }
    });
}
