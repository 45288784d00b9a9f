//! What the database holds, and under which keys.

use std::collections::BTreeSet;
use std::io;
use std::ops::Bound;

use redb::{
    Database, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableHandle, Value,
    WriteTransaction,
};

use super::record::{damaged, decode, encode, to_bytes, to_vector};
use crate::ingest::{Known, Stamp};
use crate::model::{ChunkId, DocumentId};
use crate::shelf::{Change, Kept, Making, ShelfError, Stamps};

/// The form of what is written.
pub(super) const FORMAT: &str = "agent-os caas shelf 1";

/// See the names below.
const SETTINGS: TableDefinition<'static, &str, &str> = TableDefinition::new("settings");
/// What is held of each document, by its name.
const DOCUMENTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("documents");
/// The vector of each chunk, by its document and id. Apart, so that what did not change is not written again.
const VECTORS: TableDefinition<'static, (&str, u128), &[u8]> = TableDefinition::new("vectors");
/// What is known of the file of a document, by the document and the folder.
const STAMPS: TableDefinition<'static, (&str, &str), &[u8]> = TableDefinition::new("stamps");

const FORMAT_KEY: &str = "format";
const CHUNKER: &str = "chunker";
const MODEL: &str = "model";
const DIMENSIONS: &str = "dimensions";

/// What an error of the engine means here.
pub(super) fn failed(error: impl Into<redb::Error>) -> ShelfError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => ShelfError::InUse,
        redb::Error::PreviousIo | redb::Error::LockPoisoned(_) => ShelfError::Broken,
        redb::Error::UpgradeRequired(version) => {
            ShelfError::Format { found: format!("redb file format {version}"), expected: FORMAT }
        }
        // Shorter than it says, or not what it should be: no fault of the disk.
        redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
        {
            damaged(&error)
        }
        redb::Error::Io(error) => ShelfError::Io(error),
        error => damaged(&error),
    }
}

/// Makes the tables of an empty database.
pub(super) fn create(database: &Database) -> Result<(), ShelfError> {
    change(database, |transaction| {
        transaction.open_table(SETTINGS).map_err(failed)?.insert(FORMAT_KEY, FORMAT).map_err(failed)?;
        transaction.open_table(DOCUMENTS).map_err(failed)?;
        transaction.open_table(VECTORS).map_err(failed)?;
        transaction.open_table(STAMPS).map_err(failed)?;
        Ok(true)
    })
    .map(|_| ())
}

/// Whether the database is one of ours, and whole.
pub(super) fn check(database: &mut Database) -> Result<(), ShelfError> {
    // All checksums. After commits of two phases a wrong one is an error; what is mended here is lists of free pages alone.
    database.check_integrity().map_err(failed)?;
    let reading = database.begin_read().map_err(failed)?;
    let foreign = |found: &str| ShelfError::Format { found: found.to_owned(), expected: FORMAT };
    if !reading.list_tables().map_err(failed)?.any(|table| table.name() == SETTINGS.name()) {
        return Err(foreign("a database of something else"));
    }
    let settings = reading.open_table(SETTINGS).map_err(|_| foreign("a database of something else"))?;
    match settings.get(FORMAT_KEY).map_err(failed)? {
        Some(format) if format.value() == FORMAT => Ok(()),
        Some(format) => Err(foreign(format.value())),
        None => Err(foreign("a database of something else")),
    }
}

/// Does `work` in one step that is on the disk when this returns, unless `work` says that nothing came of it.
pub(super) fn change(
    database: &Database,
    work: impl FnOnce(&WriteTransaction) -> Result<bool, ShelfError>,
) -> Result<bool, ShelfError> {
    let mut transaction = database.begin_write().map_err(failed)?;
    // Texts of strangers are written. With one phase a text made for it could pass for a page after a crash.
    transaction.set_two_phase_commit(true);
    // Work that fails leaves by the `?`, and is undone.
    let changed = work(&transaction)?;
    if changed {
        transaction.commit().map_err(failed)?;
    }
    Ok(changed)
}

/// What is kept of the making, and whether that is new.
pub(super) fn bind(transaction: &WriteTransaction, making: &Making) -> Result<(Making, bool), ShelfError> {
    let empty = transaction.open_table(DOCUMENTS).map_err(failed)?.first().map_err(failed)?.is_none();
    let mut settings = transaction.open_table(SETTINGS).map_err(failed)?;
    if empty {
        settings.insert(CHUNKER, making.chunker.as_str()).map_err(failed)?;
        settings.remove(MODEL).map_err(failed)?;
        settings.remove(DIMENSIONS).map_err(failed)?;
        if let Some((model, dimensions)) = &making.model {
            settings.insert(MODEL, model.as_str()).map_err(failed)?;
            settings.insert(DIMENSIONS, dimensions.to_string().as_str()).map_err(failed)?;
        }
    }
    let text = |key: &str| -> Result<Option<String>, ShelfError> {
        Ok(settings.get(key).map_err(failed)?.map(|value| value.value().to_owned()))
    };
    let model = match (text(MODEL)?, text(DIMENSIONS)?) {
        (Some(model), Some(dimensions)) => {
            Some((model, dimensions.parse().map_err(|error| damaged(&error))?))
        }
        _ => None,
    };
    let chunker = text(CHUNKER)?.ok_or_else(|| damaged(&"it names no chunker"))?;
    Ok((Making { chunker, model }, empty))
}

pub(super) fn put(
    transaction: &WriteTransaction,
    changes: &[Change<'_>],
    stamps: Option<Stamps<'_>>,
) -> Result<(), ShelfError> {
    let mut documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    let mut vectors = transaction.open_table(VECTORS).map_err(failed)?;
    for change in changes {
        let id = change.id.as_str();
        let kept: BTreeSet<u128> = change.vectors.kept.iter().map(|chunk| chunk.0).collect();
        let mut found = 0;
        let keeps = |(_, chunk): (&str, u128), _: &[u8]| {
            let keeps = kept.contains(&chunk);
            found += usize::from(keeps);
            keeps
        };
        vectors.retain_in((id, 0)..=(id, u128::MAX), keeps).map_err(failed)?;
        if found != kept.len() {
            return Err(damaged(&"a vector is missing"));
        }
        for (chunk, vector) in &change.vectors.new {
            vectors.insert((id, chunk.0), to_bytes(vector).as_slice()).map_err(failed)?;
        }
        documents.insert(id, encode(change.held)?.as_slice()).map_err(failed)?;
    }
    let Some(Stamps { folder, files }) = stamps else { return Ok(()) };
    let mut table = transaction.open_table(STAMPS).map_err(failed)?;
    for (id, stamp) in files {
        let stamp = postcard::to_stdvec(stamp).map_err(|error| damaged(&error))?;
        table.insert((id.as_str(), folder), stamp.as_slice()).map_err(failed)?;
    }
    Ok(())
}

/// Whether there was anything.
pub(super) fn forget(transaction: &WriteTransaction, forgotten: &[DocumentId]) -> Result<bool, ShelfError> {
    let mut documents = transaction.open_table(DOCUMENTS).map_err(failed)?;
    let mut vectors = transaction.open_table(VECTORS).map_err(failed)?;
    let mut stamps = transaction.open_table(STAMPS).map_err(failed)?;
    let mut there = false;
    for document in forgotten {
        let id = document.as_str();
        there |= documents.remove(id).map_err(failed)?.is_some();
        vectors.retain_in((id, 0)..=(id, u128::MAX), |_, _| false).map_err(failed)?;
        // No name holds a control character, so nothing is between the keys of one document and this.
        let behind = format!("{id}\0");
        let forgets = |_: (&str, &str), _: &[u8]| {
            there = true;
            false
        };
        stamps.retain_in((id, "")..(behind.as_str(), ""), forgets).map_err(failed)?;
    }
    Ok(there)
}

pub(super) fn page(
    reading: &ReadTransaction,
    after: Option<&DocumentId>,
    most: usize,
) -> Result<Vec<Kept>, ShelfError> {
    let documents = reading.open_table(DOCUMENTS).map_err(failed)?;
    let vectors = reading.open_table(VECTORS).map_err(failed)?;
    let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_str()));
    let mut page = Vec::new();
    for found in documents.range::<&str>((from, Bound::Unbounded)).map_err(failed)?.take(most) {
        let (id, held) = found.map_err(failed)?;
        let mut own = Vec::new();
        for vector in vectors.range((id.value(), 0)..=(id.value(), u128::MAX)).map_err(failed)? {
            let (key, vector) = vector.map_err(failed)?;
            own.push((ChunkId(key.value().1), to_vector(vector.value())?));
        }
        let id = id.value().parse().map_err(|error| damaged(&error))?;
        page.push(Kept { id, held: decode(held.value())?, vectors: own });
    }
    Ok(page)
}

pub(super) fn vectors(
    reading: &ReadTransaction,
    document: &DocumentId,
    chunks: &[ChunkId],
) -> Result<Vec<(ChunkId, Vec<f32>)>, ShelfError> {
    let vectors = reading.open_table(VECTORS).map_err(failed)?;
    let find = |chunk: &ChunkId| {
        let found = vectors.get((document.as_str(), chunk.0)).map_err(failed)?;
        let found = found.ok_or_else(|| damaged(&"a vector is missing"))?;
        Ok((*chunk, to_vector(found.value())?))
    };
    chunks.iter().map(find).collect()
}

pub(super) fn stamps(reading: &ReadTransaction, folder: &str) -> Result<Known, ShelfError> {
    let mut known = Known::new();
    for found in reading.open_table(STAMPS).map_err(failed)?.iter().map_err(failed)? {
        let (key, stamp) = found.map_err(failed)?;
        let (document, of) = key.value();
        if of == folder {
            let stamp: Stamp = postcard::from_bytes(stamp.value()).map_err(|error| damaged(&error))?;
            known.insert(document.parse().map_err(|error| damaged(&error))?, stamp);
        }
    }
    Ok(known)
}

/// Everything of one database into an empty one.
pub(super) fn copy(from: &ReadTransaction, to: &WriteTransaction) -> Result<(), ShelfError> {
    copy_table(from, to, SETTINGS)?;
    copy_table(from, to, DOCUMENTS)?;
    copy_table(from, to, VECTORS)?;
    copy_table(from, to, STAMPS)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), ShelfError> {
    let mut copy = to.open_table(table).map_err(failed)?;
    for entry in from.open_table(table).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = entry.map_err(failed)?;
        copy.insert(key.value(), value.value()).map_err(failed)?;
    }
    Ok(())
}
