//! Changes, each within one transaction.

use agent_primitives::{LabelSet, Timestamp};
use redb::{Database, Table, WriteTransaction};

use super::entry::{BYTES, CONTENTS, COUNTS, ENDS, ENTRIES, Entry, FILES, VERSION};
use super::error::failed;
use crate::vfs::{RelPath, Usage, Version, VfsError, Write, WriteMode, Written};

/// Most files one transaction removes because they have reached their end.
const MAX_SWEPT: usize = 1024;

/// Makes what a new database lacks.
pub(super) fn create(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(CONTENTS)?;
    transaction.open_table(ENDS)?;
    transaction.open_table(COUNTS)?;
    transaction.commit()?;
    Ok(())
}

/// The tables, as a transaction changes them.
pub(super) struct Tree<'t> {
    entries: Table<'t, (&'static str, &'static str), &'static [u8]>,
    contents: Table<'t, &'static str, &'static [u8]>,
    ends: Table<'t, (i64, &'static str), ()>,
    counts: Table<'t, &'static str, u128>,
}

/// A file as a change finds it.
struct Old {
    size: u64,
    version: Version,
    labels: LabelSet,
    expires: Option<Timestamp>,
}

impl<'t> Tree<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, VfsError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            contents: transaction.open_table(CONTENTS).map_err(failed)?,
            ends: transaction.open_table(ENDS).map_err(failed)?,
            counts: transaction.open_table(COUNTS).map_err(failed)?,
        })
    }

    pub(super) fn write(&mut self, path: RelPath<'_>, write: &Write) -> Result<Written, VfsError> {
        let old = self.file(path)?;
        write.admit(old.as_ref().map(|old| old.version))?;
        let old_size = old.as_ref().map(|old| old.size);
        let size = write.size_after(old_size.unwrap_or(0))?;
        let usage = write.quota.admit(self.usage()?, old_size, size)?;
        let labels = write.labels_after(old.as_ref().map_or(&LabelSet::EMPTY, |old| &old.labels))?;
        let old_end = old.as_ref().and_then(|old| old.expires);
        let expires = write.expires_after(old_end);
        let version = self.count(VERSION)?.checked_add(1).ok_or(VfsError::Backend)?;

        self.set_content(path, write)?;
        if old.is_none() {
            self.enter(path, &labels)?;
        }
        self.put(path, &Entry::File { size, version, labels: labels.clone(), expires })?;
        self.move_end(path, old_end, expires)?;
        self.set_usage(usage)?;
        self.counts.insert(VERSION, version).map_err(failed)?;
        Ok(Written::new(Version::from_u128(version), size, labels))
    }

    pub(super) fn remove(&mut self, path: RelPath<'_>, expected: Option<Version>) -> Result<(), VfsError> {
        let old = self.file(path)?.ok_or(VfsError::NotFound)?;
        if expected.is_some_and(|expected| expected != old.version) {
            return Err(VfsError::Conflict);
        }
        self.contents.remove(path.as_str()).map_err(failed)?;
        self.leave(path)?;
        self.move_end(path, old.expires, None)?;
        let usage = self.usage()?.without(old.size);
        self.set_usage(usage)
    }

    /// Removes some of the files that have reached their end by `now`.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Result<(), VfsError> {
        for _ in 0..MAX_SWEPT {
            let Some(path) = self.due(now)? else { break };
            self.remove(RelPath::parse(&path)?, None)?;
        }
        Ok(())
    }

    fn due(&self, now: Timestamp) -> Result<Option<String>, VfsError> {
        use redb::ReadableTable;

        let first = self.ends.first().map_err(failed)?;
        let due = first.filter(|(key, _)| key.value().0 <= now.as_micros());
        Ok(due.map(|(key, _)| key.value().1.to_owned()))
    }

    /// The file at `path`, if there is one and nothing stands in its way.
    fn file(&self, path: RelPath<'_>) -> Result<Option<Old>, VfsError> {
        match Entry::find(&self.entries, path) {
            Ok(Entry::File { size, version, labels, expires }) => {
                Ok(Some(Old { size, version: Version::from_u128(version), labels, expires }))
            }
            Ok(Entry::Folder { .. }) => Err(VfsError::IsDirectory),
            Err(VfsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn set_content(&mut self, path: RelPath<'_>, write: &Write) -> Result<(), VfsError> {
        use redb::ReadableTable;

        let kept = match write.mode {
            WriteMode::Append => self.contents.get(path.as_str()).map_err(failed)?,
            WriteMode::Replace | WriteMode::CreateNew => None,
        };
        let grown = kept.map(|kept| [kept.value(), &write.data].concat());
        let bytes = grown.as_deref().unwrap_or(&write.data);
        self.contents.insert(path.as_str(), bytes).map_err(failed)?;
        Ok(())
    }

    fn put(&mut self, path: RelPath<'_>, entry: &Entry) -> Result<(), VfsError> {
        let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
        self.entries.insert((parent.as_str(), name), entry.encode()?.as_slice()).map_err(failed)?;
        Ok(())
    }

    /// Counts a new entry in the directory it lies in, and makes those on the way that are missing.
    fn enter(&mut self, path: RelPath<'_>, labels: &LabelSet) -> Result<(), VfsError> {
        let mut path = path;
        while let Some((folder, _)) = path.split_name().filter(|(folder, _)| !folder.is_root()) {
            match Entry::find(&self.entries, folder) {
                Ok(Entry::Folder { children, labels }) => {
                    let children = children.saturating_add(1);
                    return self.put(folder, &Entry::Folder { children, labels });
                }
                Ok(Entry::File { .. }) => return Err(VfsError::NotDirectory),
                Err(VfsError::NotFound) => {
                    self.put(folder, &Entry::Folder { children: 1, labels: labels.clone() })?;
                    path = folder;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes an entry, and the directories that are empty without it.
    fn leave(&mut self, path: RelPath<'_>) -> Result<(), VfsError> {
        let mut path = path;
        while let Some((folder, name)) = path.split_name() {
            self.entries.remove((folder.as_str(), name)).map_err(failed)?;
            if folder.is_root() {
                break;
            }
            let Entry::Folder { children, labels } = Entry::find(&self.entries, folder)? else {
                return Err(VfsError::Backend);
            };
            match children.saturating_sub(1) {
                0 => path = folder,
                children => return self.put(folder, &Entry::Folder { children, labels }),
            }
        }
        Ok(())
    }

    fn move_end(
        &mut self,
        path: RelPath<'_>,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<(), VfsError> {
        if let Some(from) = from {
            self.ends.remove((from.as_micros(), path.as_str())).map_err(failed)?;
        }
        if let Some(to) = to {
            self.ends.insert((to.as_micros(), path.as_str()), ()).map_err(failed)?;
        }
        Ok(())
    }

    fn usage(&self) -> Result<Usage, VfsError> {
        let count = |name| u64::try_from(self.count(name)?).map_err(|_| VfsError::Backend);
        Ok(Usage { bytes: count(BYTES)?, files: count(FILES)? })
    }

    fn set_usage(&mut self, usage: Usage) -> Result<(), VfsError> {
        self.counts.insert(BYTES, u128::from(usage.bytes)).map_err(failed)?;
        self.counts.insert(FILES, u128::from(usage.files)).map_err(failed)?;
        Ok(())
    }

    fn count(&self, name: &str) -> Result<u128, VfsError> {
        use redb::ReadableTable;

        Ok(self.counts.get(name).map_err(failed)?.map_or(0, |count| count.value()))
    }
}
