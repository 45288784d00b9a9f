//! Files in a folder of the host.

mod attribute;
mod change;
mod end;
mod error;
mod file;
mod folder;
mod labels;
mod survey;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use agent_primitives::{Clock, Timestamp};
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::blocking::{Blocking, Commit};
use super::{
    Answer, Content, Listing, MemoryBackend, Page, RelPath, Stat, Usage, Version, VfsError, Write, Written,
};
use file::usable;
use folder::Folder;

pub use error::DirectoryError;

/// A folder of the host, opened once and never left.
///
/// **Confinement.** Paths are walked from the opened folder, segment by segment, and no link is followed, not even one
/// that stays inside: policy judges paths, so a file has to have one. Links, devices, pipes and names that no
/// [`RelPath`] can spell are not listed, and refused. A file system that folds case gives a file several paths; mount one
/// only where a rule covers the whole of it.
///
/// **Writing.** A file is replaced as a whole: written aside, synced and renamed, so that after a crash it is the old one
/// or the new one. Appending to a file happens in place, and a crash may leave the front of it. What was cut short is
/// removed when the folder is opened next. That a write survives a power cut is not promised.
///
/// **Labels** lie in the extended attribute `user.agentos.labels` of each file, and of each folder made here, so they are
/// part of what a rename puts in place. A file never changes its labels: appending to one what carries more replaces it.
/// What the host has put there carries none, and a copy it makes with a program that leaves attributes out carries none
/// either; say with [`Mount::labels`](crate::vfs::Mount::labels) what such a folder holds. A file system without such
/// attributes takes no data that carries a label, and one with little room for them (4 KiB in ext4) refuses longer sets. An
/// attribute that holds something else makes its file unreadable. A crash may leave an empty file or folder that was just
/// being made, without its labels.
///
/// **Ends** lie in the attribute `user.agentos.expires` in the same way. A file that has reached its end is removed by the
/// first operation after it; a folder opened for reading only removes nothing, so there the file is gone and the folder it
/// lies in is still seen. An end that another program sets counts for what changes a file from the next opening on.
///
/// **Versions** are digests of the file's inode number, length and times, and each write here gets a modification time
/// later than the one before, so no two of its states share a version. What another program writes is told apart as far
/// as the times of the file system do. Such a program can still come between the comparison and the change, and what it
/// adds is counted against the quota from the next opening on.
///
/// **Cancelling.** Operations run on tokio's blocking pool; without a runtime they fail. A dropped future revokes its
/// operation: a change that has not begun never happens. Only if the change itself (a rename, an unlink, an append) is
/// being made does the drop wait for it.
pub struct Directory(Blocking<Folder>);

impl Directory {
    /// Opens the folder at `path` for reading and writing, blocking. It belongs to this value until that is dropped.
    ///
    /// Counts what is in it, and clears away what a crash left behind.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] when there is no such folder, or part of it cannot be read; [`DirectoryError::InUse`] when
    /// it is open already, here or in another process; [`DirectoryError::TooManyEntries`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let path = path.as_ref();
        let root = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|error| DirectoryError::io(path, error))?;
        let lock = survey::claim(&root, path)?;
        let (usage, ends) = survey::count(&root, path)?;
        Ok(Self::over(Folder::writable(root, lock, usage, ends)))
    }

    /// Opens the folder at `path` for reading only, blocking. Others may have it open too.
    ///
    /// # Errors
    /// [`DirectoryError::Io`] when there is no such folder.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let path = path.as_ref();
        let root = Dir::open_ambient_dir(path, ambient_authority())
            .map_err(|error| DirectoryError::io(path, error))?;
        Ok(Self::over(Folder::read_only(root)))
    }

    /// What the folder holds, as counted when it was opened and changed here since; nothing when opened for reading only.
    /// Waits for a write in flight.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.0.store().usage()
    }

    fn over(folder: Folder) -> Self {
        Self(Blocking::new(folder))
    }

    /// The same folder, whose files reach their ends by another clock than the machine's.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self(self.0.clock(clock))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder, &Commit, Timestamp) -> Result<T, VfsError> + Send + 'static,
    ) -> Result<T, VfsError> {
        let whole = |folder: &Folder, commit: &Commit, now| {
            folder.clear_away(now)?;
            work(folder, commit, now)
        };
        self.0.run(whole).await
    }
}

impl MemoryBackend for Directory {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        let path = path.as_str().to_owned();
        Box::pin(self.run(move |folder, _, now| folder.read(usable(&path)?, offset, length, now)))
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        let path = path.as_str().to_owned();
        Box::pin(self.run(move |folder, commit, _| folder.write(usable(&path)?, &write, commit)))
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        let path = path.as_str().to_owned();
        Box::pin(self.run(move |folder, commit, _| folder.remove(usable(&path)?, expected, commit)))
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        let path = path.as_str().to_owned();
        let (after, limit) = (page.after.map(str::to_owned), page.limit);
        Box::pin(
            self.run(move |folder, _, now| {
                folder.list(usable(&path)?, Page::new(after.as_deref(), limit), now)
            }),
        )
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        let path = path.as_str().to_owned();
        Box::pin(self.run(move |folder, _, now| folder.stat(usable(&path)?, now)))
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}
