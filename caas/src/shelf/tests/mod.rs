//! A shelf under an index, on disks that fail at any step.

mod crash;
mod damage;
mod disk;
mod reopen;

use std::sync::Arc;

use super::{RedbShelf, Shelf, ShelfError};
use crate::index::fixture::{Fixture, shelved, wait};
use crate::index::{IndexError, Mode, Query};
use disk::Disk;

/// An index on what a disk holds.
fn open(disk: &Disk) -> Result<Fixture, IndexError> {
    shelved(Arc::new(RedbShelf::on(disk.clone())?))
}

/// What is found by words that all texts of these tests have: document and text.
fn found(fixture: &Fixture) -> Vec<String> {
    let query = Query { mode: Mode::Words, ..Query::new("whale", 100) };
    let hits = wait(fixture.index.search(&query)).unwrap().hits;
    let mut found: Vec<String> =
        hits.iter().map(|hit| format!("{}: {}", hit.document, hit.chunk.text)).collect();
    found.sort();
    found
}
