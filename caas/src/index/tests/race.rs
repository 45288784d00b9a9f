use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fixture::{document, fixture, id, wait};
use crate::index::{IndexOptions, Query};

/// Rounds of the writer; each is seen by the readers many times over or not at all.
const ROUNDS: usize = 1000;

#[test]
fn a_reader_sees_all_of_a_version_or_none_of_it() {
    let fixture = fixture(IndexOptions { collapse: false, ..IndexOptions::default() });
    let old = ["old one", "old two", "old three", "old four", "old five"];
    let new = ["new one", "new two", "new three"];
    wait(fixture.index.put(document("a", &old))).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let read = || {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let findings = wait(fixture.index.search(&Query::new("old new", 100))).unwrap();
                let versions: BTreeSet<_> = findings.hits.iter().map(|hit| hit.version.to_string()).collect();
                let old = findings.hits.iter().filter(|hit| hit.chunk.text.starts_with("old")).count();
                assert_eq!(versions.len(), usize::from(!findings.hits.is_empty()));
                assert!([(5, 0), (0, 3), (0, 0)].contains(&(old, findings.hits.len() - old)), "{findings:?}");
                seen.insert(findings.hits.len());
            }
            seen
        };
        let readers = [scope.spawn(read), scope.spawn(read)];
        for round in 0..ROUNDS {
            match round % 3 {
                0 => drop(wait(fixture.index.put(document("a", &new))).unwrap()),
                1 => drop(wait(fixture.index.forget(&id("a"))).unwrap()),
                _ => drop(wait(fixture.index.put(document("a", &old))).unwrap()),
            }
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(!reader.join().unwrap().is_empty());
        }
    });
}
