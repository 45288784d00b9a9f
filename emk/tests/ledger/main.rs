//! Tests of the ledger through its public interface.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
#![expect(clippy::print_stdout, reason = "a writer that is killed tells what it was promised")]
#![expect(clippy::panic, reason = "a test may fail loudly")]
#![expect(clippy::indexing_slicing, reason = "a test may fail loudly")]

mod conformance;
mod crash;
mod erase;
mod faults;
mod faulty_fs;
mod group_commit;
mod kill;
mod memory;
#[cfg(all(feature = "postgres", unix))]
mod postgres;
#[cfg(all(feature = "postgres", unix))]
#[path = "../servers/process.rs"]
mod process;
#[cfg(feature = "sign")]
mod seals;
#[cfg(all(feature = "postgres", unix))]
#[path = "../servers/postgres.rs"]
mod server;
#[cfg(all(feature = "postgres", unix))]
#[path = "../servers/shared.rs"]
mod shared;
mod tamper;

use std::path::Path;

use faulty_fs::FaultyFs;

use emk::{
    Durability, Entry, EntryKind, Ledger, LedgerError, LedgerId, LedgerOptions, SegmentOptions,
    SegmentReader, SegmentStore,
};

fn id() -> LedgerId {
    LedgerId::new("test-ledger").unwrap()
}

fn options(durability: Durability) -> LedgerOptions {
    LedgerOptions { durability, ..LedgerOptions::default() }
}

/// Segments of a few records each, so that every test crosses from one to the next.
const SMALL: SegmentOptions = SegmentOptions { segment_bytes: 500 };

fn open(dir: &Path) -> Result<Ledger, LedgerError> {
    let store = SegmentStore::open_on(FaultyFs::default(), dir, id(), SMALL)?;
    Ledger::open(store, options(Durability::Always))
}

/// What others than the ledger itself append.
const KINDS: [EntryKind; 4] = [EntryKind::Episode, EntryKind::Tombstone, EntryKind::Rule, EntryKind::Event];

fn entries(dir: &Path) -> Vec<Entry> {
    SegmentReader::open(dir).unwrap().entries(0).unwrap().map(Result::unwrap).collect()
}

/// File names of the segments, in order.
fn segments(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".seg")).collect();
    names.sort();
    names
}
