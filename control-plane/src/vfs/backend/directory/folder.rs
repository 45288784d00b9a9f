//! The operations on a folder that change nothing, blocking.

use std::collections::BinaryHeap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, RwLock};

use agent_primitives::{LabelSet, Timestamp};
use cap_fs_ext::DirExt;
use cap_std::fs::Dir;

use super::change::Writer;
use super::end;
use super::error::classify;
use super::file::{Found, refused, spelled, stat, version};
use super::labels;
use super::survey::Claim;
use crate::vfs::backend::ends::Ends;
use crate::vfs::{Content, Entry, Listing, Page, RelPath, Stat, Usage, VfsError};

/// A folder of the host.
pub(super) struct Folder {
    root: Dir,
    /// There is one if the folder may be written. Changes follow each other under its lock.
    pub(super) writer: Option<Mutex<Writer>>,
    /// Held exclusively while a change is made, so that a read sees none half made.
    pub(super) changing: RwLock<()>,
    /// When the first file ends, in microseconds, as the writer knows it. So that who reads need not wait for a write.
    pub(super) first_end: AtomicI64,
}

impl Folder {
    pub(super) fn writable(root: Dir, claim: Claim, usage: Usage, ends: Ends) -> Self {
        let first_end = AtomicI64::new(micros(ends.first()));
        let writer = Some(Mutex::new(Writer::new(claim, usage, ends)));
        Self { root, writer, changing: RwLock::new(()), first_end }
    }

    pub(super) fn read_only(root: Dir) -> Self {
        Self { root, writer: None, changing: RwLock::new(()), first_end: AtomicI64::new(micros(None)) }
    }

    pub(super) fn read(
        &self,
        path: RelPath<'_>,
        offset: u64,
        length: usize,
        now: Timestamp,
    ) -> Result<Content, VfsError> {
        let (parent, name) = self.parent(path)?;
        let _unchanging = self.changing.read().map_err(|_| VfsError::Backend)?;
        // The version is taken before the bytes, so it cannot be newer than they are.
        let Found { mut file, metadata } = Found::open(&parent, name, false)?;
        living(end::load(&file)?, now)?;
        let labels = labels::load(&file)?;
        let rest = usize::try_from(metadata.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = length.min(rest);
        let mut bytes = Vec::with_capacity(length);
        file.seek(SeekFrom::Start(offset.min(metadata.len()))).map_err(|error| classify(&error))?;
        file.take(length as u64).read_to_end(&mut bytes).map_err(|error| classify(&error))?;
        Ok(Content::new(bytes.into(), version(&metadata), labels))
    }

    pub(super) fn stat(&self, path: RelPath<'_>, now: Timestamp) -> Result<Stat, VfsError> {
        if path.is_root() {
            return Ok(Stat::directory(LabelSet::EMPTY));
        }
        let (parent, name) = self.parent(path)?;
        self.stat_in(&parent, name, now)
    }

    fn stat_in(&self, parent: &Dir, name: &str, now: Timestamp) -> Result<Stat, VfsError> {
        // A name that is just being taken has its labels only once the change is through.
        let _unchanging = self.changing.read().map_err(|_| VfsError::Backend)?;
        let stat = stat(parent, name)?;
        living(stat.expires, now).map(|()| stat)
    }

    pub(super) fn list(
        &self,
        path: RelPath<'_>,
        page: Page<'_>,
        now: Timestamp,
    ) -> Result<Listing, VfsError> {
        let folder = self.enter(path)?;
        let mut names = smallest_names(&folder, page)?;
        let more = page.limit < names.len();
        names.truncate(page.limit);
        let next = names.last().filter(|_| more).cloned();
        let mut entries = Vec::with_capacity(names.len());
        for name in names {
            match self.stat_in(&folder, &name, now) {
                Ok(stat) => entries.push(Entry::new(name, stat)),
                // Gone meanwhile, or nothing an agent can open.
                Err(VfsError::NotFound | VfsError::AccessDenied) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Listing::new(entries, next))
    }

    /// The folder `path` lies in, and its name there.
    pub(super) fn parent<'a>(&self, path: RelPath<'a>) -> Result<(Dir, &'a str), VfsError> {
        let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
        Ok((self.enter(parent)?, name))
    }

    /// The innermost folder on the way to `path`, itself included, that there is, and its depth.
    pub(super) fn enter_existing(&self, path: RelPath<'_>) -> Result<(Dir, usize), VfsError> {
        let mut folder = self.root.try_clone().map_err(|error| classify(&error))?;
        for (depth, name) in path.segments().enumerate() {
            match step(&folder, name) {
                Ok(inner) => folder = inner,
                Err(VfsError::NotFound) => return Ok((folder, depth)),
                Err(error) => return Err(error),
            }
        }
        Ok((folder, path.segments().count()))
    }

    fn enter(&self, path: RelPath<'_>) -> Result<Dir, VfsError> {
        let root = self.root.try_clone().map_err(|error| classify(&error))?;
        path.segments().try_fold(root, |folder, name| step(&folder, name))
    }
}

/// # Errors
/// `NotFound` when a file that ends at `end` no longer exists.
pub(super) fn living(end: Option<Timestamp>, now: Timestamp) -> Result<(), VfsError> {
    if end.is_some_and(|end| end <= now) { Err(VfsError::NotFound) } else { Ok(()) }
}

/// `end` as [`Folder::first_end`] has it.
pub(super) fn micros(end: Option<Timestamp>) -> i64 {
    end.map_or(i64::MAX, Timestamp::as_micros)
}

/// The folder `name` in `folder`. The one place that goes down a level; it follows no link.
pub(super) fn step(folder: &Dir, name: &str) -> Result<Dir, VfsError> {
    folder.open_dir_nofollow(name).map_err(|error| refused(folder, name, &error))
}

/// The names the page may show, in order, and one more if there is one. The host lists them in no order, so the smallest
/// are picked out, without ever holding all.
fn smallest_names(folder: &Dir, page: Page<'_>) -> Result<Vec<String>, VfsError> {
    let mut smallest = BinaryHeap::new();
    for entry in folder.entries().map_err(|error| classify(&error))? {
        let name = entry.map_err(|error| classify(&error))?.file_name();
        if let Some(name) = spelled(&name).filter(|name| page.after.is_none_or(|after| after < *name)) {
            smallest.push(name.to_owned());
        }
        if page.limit.saturating_add(1) < smallest.len() {
            smallest.pop();
        }
    }
    Ok(smallest.into_sorted_vec())
}
