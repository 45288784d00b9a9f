//! Files in a redb database.

mod entry;
mod error;
mod look;
mod tree;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use agent_primitives::{Clock, Timestamp};
use redb::{Database, ReadableDatabase};

use super::blocking::{Blocking, Commit};
use super::{
    Answer, Content, Listing, MemoryBackend, Page, RelPath, Stat, Usage, Version, VfsError, Write, Written,
};
use error::failed;
use look::Look;
use tree::Tree;

pub use error::RedbError;

/// A store in one file of the host, which is a redb database.
///
/// **Durable.** What a write or removal has answered is on the disk, with labels, end and what counts towards the quota: one
/// transaction each, synced before the answer. A process that is killed leaves the state of the last one that was
/// answered, or of the one it was about to answer; opening the file afterwards checks all of it, which takes as long as
/// reading it.
///
/// **Costs.** A directory is listed by reading what it holds, a page at a time, however many files lie elsewhere. Changes
/// follow each other; each takes a sync of the disk. Appending writes the whole file anew: keep logs in files of moderate
/// length, or in a [`Directory`](super::Directory).
///
/// **Cancelling.** Operations block, so they run on tokio's blocking pool; without a runtime they fail. A dropped future
/// revokes its operation: a change that has not begun to be committed never happens.
pub struct Redb(Blocking<Database>);

impl Redb {
    /// Opens the database at `path`, or makes one; blocking. Only one process, and one value in it, has it open.
    ///
    /// # Errors
    /// [`RedbError::InUse`]; [`RedbError::Open`] when it cannot be read or written, or is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RedbError> {
        let path = path.as_ref();
        let database = Database::create(path).map_err(|error| RedbError::opening(path, error))?;
        tree::create(&database).map_err(|error| RedbError::opening(path, error))?;
        Ok(Self(Blocking::new(database)))
    }

    /// The same store by another clock than the machine's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self(self.0.clock(clock))
    }

    /// What the store holds, blocking. Files that have reached their end count until the next operation.
    ///
    /// # Errors
    /// `Backend` when the file cannot be read.
    pub fn usage(&self) -> Result<Usage, VfsError> {
        Look::at(&self.0.store().begin_read().map_err(failed)?)?.usage()
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Look) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, VfsError> {
        let run = |database: &Database, _: &Commit, now| {
            clear_away(database, now)?;
            look(&Look::at(&database.begin_read().map_err(failed)?)?)
        };
        self.0.run(run).await
    }

    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tree<'_>) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, VfsError> {
        let run = |database: &Database, commit: &Commit, now| {
            clear_away(database, now)?;
            let transaction = database.begin_write().map_err(failed)?;
            // A change that is refused leaves by the `?`, and what it began is undone.
            let changed = change(&mut Tree::open(&transaction)?)?;
            let _wanted = commit.begin()?;
            transaction.commit().map_err(failed)?;
            Ok(changed)
        };
        self.0.run(run).await
    }
}

/// Removes the files that have reached their end by `now`. Every operation begins with this.
fn clear_away(database: &Database, now: Timestamp) -> Result<(), VfsError> {
    while Look::at(&database.begin_read().map_err(failed)?)?.first_end()?.is_some_and(|end| end <= now) {
        let mut transaction = database.begin_write().map_err(failed)?;
        // Lost in a crash, it is done again: the end is on the disk.
        transaction.set_durability(redb::Durability::None).map_err(failed)?;
        Tree::open(&transaction)?.sweep(now)?;
        transaction.commit().map_err(failed)?;
    }
    Ok(())
}

impl MemoryBackend for Redb {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        let path = path.as_str().to_owned();
        Box::pin(self.look(move |look| look.read(RelPath::parse(&path)?, offset, length)))
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        let path = path.as_str().to_owned();
        Box::pin(self.change(move |tree| tree.write(RelPath::parse(&path)?, &write)))
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        let path = path.as_str().to_owned();
        Box::pin(self.change(move |tree| tree.remove(RelPath::parse(&path)?, expected)))
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        let path = path.as_str().to_owned();
        let (after, limit) = (page.after.map(str::to_owned), page.limit);
        Box::pin(self.look(move |look| look.list(RelPath::parse(&path)?, Page::new(after.as_deref(), limit))))
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        let path = path.as_str().to_owned();
        Box::pin(self.look(move |look| look.stat(RelPath::parse(&path)?)))
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").finish_non_exhaustive()
    }
}
