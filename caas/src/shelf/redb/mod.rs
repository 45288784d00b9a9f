//! A shelf in a redb database.

mod place;
mod record;
mod tables;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, StorageBackend};

use super::{Change, Kept, Making, Shelf, ShelfError, Stamps};
use crate::ingest::Known;
use crate::model::{ChunkId, DocumentId};
use place::Place;
use tables::failed;

/// Memory of the engine: the index has in its own what it needs.
const CACHE: usize = 16 << 20;

/// A shelf in one file of the host.
///
/// **Durable.** What a call has answered is on the disk. A process that is killed leaves the documents of the last change that
/// was answered, or of the one that it was about to answer. Only one process, and one value in it, has the file open.
///
/// **Opening** checks all of the file, so it takes as long as reading it. What does not agree with its checksums, is cut short or is
/// something else is an error, and is left as it is.
///
/// **Deleted** documents can be found no more, in the index or through the shelf, but the file's free pages may hold their bytes until
/// others take their place. [`Shelf::compact`] writes a new file in the place of the old, and nothing of them is in it. What the
/// file system makes of the blocks of deleted files, its snapshots and copies among them, is beyond this.
///
/// **Failing.** A file that was deleted or replaced is noticed before each change (`Gone`). After the disk has failed in the middle of a
/// change everything is refused (`Broken`) until the shelf is opened again, and then holds all of the change or nothing of it; an
/// index goes on with what is in memory meanwhile.
///
/// The file is readable to its owner alone, and not encrypted.
pub struct RedbShelf(Mutex<State>);

struct State {
    /// Nothing once the engine has failed in a way that it does not know itself.
    database: Option<Database>,
    /// Nothing where it is on no file.
    place: Option<Place>,
}

impl RedbShelf {
    /// Opens the shelf at `path`, or makes one; blocking.
    ///
    /// # Errors
    /// `InUse`, `Format`, `Damaged`; `Io` where it cannot be read, written or made.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ShelfError> {
        let (place, file) = Place::open(path.as_ref(), |file| make(backend(file)?))?;
        let database = open(backend(file)?)?;
        place.tidy()?;
        Ok(Self(Mutex::new(State { database: Some(database), place: Some(place) })))
    }

    /// On storage of any kind, which is empty or holds a shelf.
    #[cfg(test)]
    pub(super) fn on(storage: impl StorageBackend + Clone) -> Result<Self, ShelfError> {
        if storage.len().map_err(ShelfError::Io)? == 0 {
            make(storage.clone())?;
        }
        Ok(Self(Mutex::new(State { database: Some(open(storage)?), place: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, ShelfError>) -> Result<T, ShelfError> {
        self.state().guarded(|database, _| read(&database.begin_read().map_err(failed)?))
    }

    fn change(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<bool, ShelfError>,
    ) -> Result<bool, ShelfError> {
        self.state().guarded(|database, place| {
            place.map_or(Ok(()), Place::check)?;
            tables::change(database, work)
        })
    }
}

impl State {
    /// Damage may make the engine panic. Then nothing is known of it, and it is not used again.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&Database, Option<&Place>) -> Result<T, ShelfError>,
    ) -> Result<T, ShelfError> {
        let Self { database, place } = self;
        let open = database.as_ref().ok_or(ShelfError::Broken)?;
        catch(|| work(open, place.as_ref())).unwrap_or_else(|| {
            discard(database.take());
            Err(panicked())
        })
    }

    fn compact(&mut self) -> Result<(), ShelfError> {
        let Some(place) = self.place.clone() else { return Ok(()) };
        place.check()?;
        let (path, file) = place.beside()?;
        let copied = self.guarded(|database, _| {
            let new = builder().create_with_backend(backend(file)?).map_err(failed)?;
            let reading = database.begin_read().map_err(failed)?;
            tables::change(&new, |transaction| tables::copy(&reading, transaction).map(|()| true))?;
            Ok(new)
        });
        let replaced = copied.and_then(|new| Ok((new, place.replace(&path)?)));
        let (new, place) = replaced.inspect_err(|_| {
            // It is deleted when the shelf is opened again, if it cannot be now.
            let _ = place.tidy();
        })?;
        self.place = Some(place.clone());
        discard(self.database.replace(new));
        place.sync()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        discard(self.database.take());
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn backend(file: std::fs::File) -> Result<FileBackend, ShelfError> {
    FileBackend::new(file).map_err(failed)
}

fn make(storage: impl StorageBackend) -> Result<(), ShelfError> {
    let mut slot = None;
    let made = catch(|| {
        let database = slot.insert(builder().create_with_backend(storage).map_err(failed)?);
        tables::create(database)
    });
    discard(slot);
    made.unwrap_or_else(|| Err(panicked()))
}

fn open(storage: impl StorageBackend) -> Result<Database, ShelfError> {
    // Not dropped while a panic unwinds: another one would end the process.
    let mut slot = None;
    let checked = catch(|| {
        let database = slot.insert(builder().create_with_backend(storage).map_err(failed)?);
        tables::check(database)
    });
    match (checked, slot) {
        (Some(Ok(())), Some(database)) => Ok(database),
        (checked, slot) => {
            discard(slot);
            Err(checked.and_then(Result::err).unwrap_or_else(panicked))
        }
    }
}

fn catch<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn discard(database: Option<Database>) {
    let _ = catch(|| drop(database));
}

fn panicked() -> ShelfError {
    ShelfError::Damaged("the engine cannot make sense of it".to_owned())
}

impl Shelf for RedbShelf {
    fn bind(&self, making: &Making) -> Result<Making, ShelfError> {
        let mut held = None;
        self.change(|transaction| {
            let (making, is_new) = tables::bind(transaction, making)?;
            held = Some(making);
            Ok(is_new)
        })?;
        held.ok_or(ShelfError::Broken)
    }

    fn page(&self, after: Option<&DocumentId>, most: usize) -> Result<Vec<Kept>, ShelfError> {
        self.read(|reading| tables::page(reading, after, most))
    }

    fn vectors(
        &self,
        document: &DocumentId,
        chunks: &[ChunkId],
    ) -> Result<Vec<(ChunkId, Vec<f32>)>, ShelfError> {
        self.read(|reading| tables::vectors(reading, document, chunks))
    }

    fn put(&self, changes: &[Change<'_>], stamps: Option<Stamps<'_>>) -> Result<(), ShelfError> {
        let done = self.change(|transaction| tables::put(transaction, changes, stamps).map(|()| true));
        done.map(|_| ())
    }

    fn forget(&self, documents: &[DocumentId]) -> Result<bool, ShelfError> {
        self.change(|transaction| tables::forget(transaction, documents))
    }

    fn stamps(&self, folder: &str) -> Result<Known, ShelfError> {
        self.read(|reading| tables::stamps(reading, folder))
    }

    fn compact(&self) -> Result<(), ShelfError> {
        self.state().compact()
    }
}

impl fmt::Debug for RedbShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RedbShelf")
            .field("path", &state.place.as_ref().map(Place::path))
            .finish_non_exhaustive()
    }
}
