//! The operations on a folder that change it, blocking.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent_primitives::{LabelSet, Timestamp};
use cap_std::fs::{Dir, OpenOptions};

use super::end;
use super::error::classify;
use super::file::{Found, STAGED, Seen, readable, remove_if_there, seen, version};
use super::folder::{Folder, micros, step};
use super::labels;
use super::survey::Claim;
use crate::vfs::backend::blocking::Commit;
use crate::vfs::backend::ends::Ends;
use crate::vfs::{RelPath, Usage, Version, VfsError, Write, WriteMode, Written};

/// What the one that writes to a folder knows.
pub(super) struct Writer {
    usage: Usage,
    /// The modification time of the last write. No write gets one that is not later.
    last_write: SystemTime,
    ends: Ends,
    /// Keeps other writers out.
    _claim: Claim,
}

/// What a file has besides its content.
struct Attributes {
    labels: LabelSet,
    end: Option<Timestamp>,
}

impl Folder {
    pub(super) fn usage(&self) -> Usage {
        self.writer().map(|writer| writer.usage).unwrap_or_default()
    }

    pub(super) fn write(
        &self,
        path: RelPath<'_>,
        write: &Write,
        commit: &Commit,
    ) -> Result<Written, VfsError> {
        let mut writer = self.writer()?;
        drop(commit.begin()?);
        let appends = write.mode == WriteMode::Append;
        let found = match self.parent(path).and_then(|(parent, name)| Found::open(&parent, name, appends)) {
            Err(VfsError::NotFound) => None,
            found => Some(found?),
        };
        write.admit(found.as_ref().map(|found| version(&found.metadata)))?;
        let old = found.as_ref().map(|found| found.metadata.len());
        let usage = write.quota.admit(writer.usage, old, write.size_after(old.unwrap_or(0))?)?;
        let (old_labels, old_end) = match &found {
            Some(found) if appends => (labels::load(&found.file)?, end::load(&found.file)?),
            _ => (LabelSet::EMPTY, None),
        };
        let attributes =
            Attributes { labels: write.labels_after(&old_labels)?, end: write.expires_after(old_end) };
        let metadata = match found {
            // Appending in place would reach whatever else the host has linked the file to; and data and attributes change
            // in one step only where the file is replaced.
            Some(found)
                if appends
                    && found.metadata.nlink() == 1
                    && attributes.labels == old_labels
                    && attributes.end == old_end =>
            {
                self.append(&mut writer, found, write, commit)?
            }
            found => self.replace(&mut writer, path, found, write, &attributes, commit)?,
        };
        writer.usage = usage;
        self.note_end(&mut writer, path.as_str(), attributes.end);
        Ok(Written::new(version(&metadata), metadata.len(), attributes.labels))
    }

    pub(super) fn remove(
        &self,
        path: RelPath<'_>,
        expected: Option<Version>,
        commit: &Commit,
    ) -> Result<(), VfsError> {
        let mut writer = self.writer()?;
        let (parent, name) = self.parent(path)?;
        let Seen::File { size, version: current } = seen(&parent, name)? else {
            return Err(VfsError::IsDirectory);
        };
        if expected.is_some_and(|expected| expected != current) {
            return Err(VfsError::Conflict);
        }
        let _changing = self.changing.write().map_err(|_| VfsError::Backend)?;
        let _wanted = commit.begin()?;
        parent.remove_file(name).map_err(|error| classify(&error))?;
        writer.usage = writer.usage.without(size);
        self.note_end(&mut writer, path.as_str(), None);
        self.prune(path, 0);
        Ok(())
    }

    /// Removes the files that have reached their end by `now`. Every operation begins with this.
    pub(super) fn clear_away(&self, now: Timestamp) -> Result<(), VfsError> {
        if now.as_micros() < self.first_end.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut writer = self.writer()?;
        while let Some(path) = writer.ends.due(now) {
            let path = RelPath::parse(&path)?;
            let cleared = self.clear(&mut writer, path, now).unwrap_or_else(|error| {
                if error != VfsError::NotFound {
                    tracing::warn!(%error, "a file that has reached its end stays in its folder, unseen");
                }
                None
            });
            self.note_end(&mut writer, path.as_str(), cleared);
        }
        Ok(())
    }

    /// Removes the file at `path` if it has reached its end; what another program has put in its place is left alone.
    /// Answers an end that lies ahead.
    fn clear(
        &self,
        writer: &mut Writer,
        path: RelPath<'_>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, VfsError> {
        let (parent, name) = self.parent(path)?;
        let Found { file, metadata } = Found::open(&parent, name, false)?;
        let end = end::load(&file)?;
        if end.is_none_or(|end| now < end) {
            return Ok(end);
        }
        let _changing = self.changing.write().map_err(|_| VfsError::Backend)?;
        parent.remove_file(name).map_err(|error| classify(&error))?;
        writer.usage = writer.usage.without(metadata.len());
        self.prune(path, 0);
        Ok(None)
    }

    fn note_end(&self, writer: &mut Writer, path: &str, end: Option<Timestamp>) {
        writer.ends.set(path, end);
        self.first_end.store(micros(writer.ends.first()), Ordering::Release);
    }

    /// Adds to a file where it is. What was written of it is taken back when the rest cannot be.
    fn append(
        &self,
        writer: &mut Writer,
        found: Found,
        write: &Write,
        commit: &Commit,
    ) -> Result<Metadata, VfsError> {
        let Found { mut file, metadata } = found;
        let _changing = self.changing.write().map_err(|_| VfsError::Backend)?;
        let _wanted = commit.begin()?;
        file.write_all(&write.data).and_then(|()| writer.stamp(&file)).map_err(|failure| {
            if let Err(error) = file.set_len(metadata.len()) {
                tracing::warn!(%error, "part of an append that failed stays in its file");
            }
            classify(&failure)
        })
    }

    /// Writes the whole file aside, in the innermost folder there is, and then gives it its name.
    fn replace(
        &self,
        writer: &mut Writer,
        path: RelPath<'_>,
        found: Option<Found>,
        write: &Write,
        attributes: &Attributes,
        commit: &Commit,
    ) -> Result<Metadata, VfsError> {
        let labels = &attributes.labels;
        let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
        let (base, depth) = self.enter_existing(parent)?;
        let publish = |staged: File| {
            let _changing = self.changing.write().map_err(|_| VfsError::Backend)?;
            let _wanted = commit.begin()?;
            let exclusive = write.mode == WriteMode::CreateNew;
            make_folders(&base, parent.segments().skip(depth), labels)
                .and_then(|parent| rename(&base, &parent, name, exclusive.then_some(labels)))
                .inspect_err(|_| self.prune(path, depth))?;
            // Asked of the open file: the name may by now stand for what another program put there.
            staged.metadata().map_err(|error| classify(&error))
        };
        stage(&base, writer, found, write, attributes).and_then(publish).inspect_err(|_| {
            if let Err(error) = remove_if_there(&base, STAGED) {
                tracing::warn!(%error, "a file that was not finished is left behind");
            }
        })
    }

    /// Removes the folders on the way to `path` that are empty, from the innermost on, but not the outermost `keep`.
    fn prune(&self, path: RelPath<'_>, keep: usize) {
        let mut path = path;
        while let Some((folder, _)) = path.split_name().filter(|(folder, _)| keep < folder.segments().count())
        {
            let removed = self
                .parent(folder)
                .and_then(|(above, name)| above.remove_dir(name).map_err(|error| classify(&error)));
            match removed {
                // A change that failed may not have come to make it.
                Ok(()) | Err(VfsError::NotFound) => path = folder,
                Err(_) => return,
            }
        }
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, VfsError> {
        // What the lock guards is changed in one step, so a poisoned lock guards nothing unsound.
        Ok(self.writer.as_ref().ok_or(VfsError::ReadOnly)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Writer {
    pub(super) fn new(claim: Claim, usage: Usage, ends: Ends) -> Self {
        Self { usage, last_write: UNIX_EPOCH, ends, _claim: claim }
    }

    /// Gives `file` a modification time later than that of every write before, unless it has one.
    fn stamp(&mut self, file: &File) -> io::Result<Metadata> {
        let mut metadata = file.metadata()?;
        if metadata.modified()? <= self.last_write {
            let later = self.last_write.checked_add(Duration::from_nanos(1));
            file.set_modified(later.ok_or(io::ErrorKind::InvalidData)?)?;
            metadata = file.metadata()?;
            if metadata.modified()? <= self.last_write {
                return Err(io::Error::other(
                    "the file system keeps times too coarsely to tell versions apart",
                ));
            }
        }
        self.last_write = metadata.modified()?;
        Ok(metadata)
    }
}

/// Writes what the file will be under another name, and has it on the disk before it gets its own.
fn stage(
    folder: &Dir,
    writer: &mut Writer,
    found: Option<Found>,
    write: &Write,
    attributes: &Attributes,
) -> Result<File, VfsError> {
    let staged = remove_if_there(folder, STAGED).and_then(|()| create_new(folder, STAGED));
    let staged = staged.map_err(|error| classify(&error))?;
    // Before it gets permissions, which may forbid this.
    labels::store(&staged, &attributes.labels)?;
    end::store(&staged, attributes.end)?;
    fill(staged, writer, found, write).map_err(|error| classify(&error))
}

fn fill(mut staged: File, writer: &mut Writer, found: Option<Found>, write: &Write) -> io::Result<File> {
    if let Some(Found { file, metadata }) = found {
        staged.set_permissions(metadata.permissions())?;
        if write.mode == WriteMode::Append {
            io::copy(&mut file.take(metadata.len()), &mut staged)?;
        }
    }
    staged.write_all(&write.data)?;
    writer.stamp(&staged)?;
    // Not only the data: the labels have to be there too.
    staged.sync_all()?;
    Ok(staged)
}

fn make_folders<'a>(
    base: &Dir,
    names: impl Iterator<Item = &'a str>,
    labels: &LabelSet,
) -> Result<Dir, VfsError> {
    let mut folder = base.try_clone().map_err(|error| classify(&error))?;
    for name in names {
        let made = folder.create_dir(name);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(classify(&error)),
            _ => folder = step(&folder, name)?,
        }
        if made.is_ok() {
            labels::store(readable(&folder)?, labels)?;
        }
    }
    Ok(folder)
}

/// Gives the staged file its name. An exclusive one is taken first, so that another program's file is not overwritten, and
/// carries the labels from then on.
fn rename(base: &Dir, parent: &Dir, name: &str, exclusive: Option<&LabelSet>) -> Result<(), VfsError> {
    let placeholder =
        exclusive.map(|_| create_new(parent, name)).transpose().map_err(|error| classify(&error))?;
    let labelled = match (&placeholder, exclusive) {
        (Some(placeholder), Some(labels)) => labels::store(placeholder, labels),
        _ => Ok(()),
    };
    let rename = || base.rename(STAGED, parent, name).map_err(|error| classify(&error));
    labelled.and_then(|()| rename()).inspect_err(|_| {
        if placeholder.is_some()
            && let Err(error) = remove_if_there(parent, name)
        {
            tracing::warn!(%error, "an empty file is left where one could not be created");
        }
    })
}

fn create_new(folder: &Dir, name: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    folder.open_with(name, &options).map(cap_std::fs::File::into_std)
}
