//! What can be asked of one state of the database.

use std::ops::Bound;

use agent_primitives::{LabelSet, Timestamp};
use redb::{ReadOnlyTable, ReadTransaction};

use super::entry::{BYTES, CONTENTS, COUNTS, ENDS, ENTRIES, Entry, FILES};
use super::error::failed;
use crate::vfs::{Content, Entry as Listed, Listing, Page, RelPath, Stat, Usage, Version, VfsError};

/// One state, which does not change while it is looked at.
pub(super) struct Look {
    entries: ReadOnlyTable<(&'static str, &'static str), &'static [u8]>,
    contents: ReadOnlyTable<&'static str, &'static [u8]>,
    ends: ReadOnlyTable<(i64, &'static str), ()>,
    counts: ReadOnlyTable<&'static str, u128>,
}

impl Look {
    pub(super) fn at(transaction: &ReadTransaction) -> Result<Self, VfsError> {
        Ok(Self {
            entries: transaction.open_table(ENTRIES).map_err(failed)?,
            contents: transaction.open_table(CONTENTS).map_err(failed)?,
            ends: transaction.open_table(ENDS).map_err(failed)?,
            counts: transaction.open_table(COUNTS).map_err(failed)?,
        })
    }

    pub(super) fn usage(&self) -> Result<Usage, VfsError> {
        let count = |name: &str| -> Result<u64, VfsError> {
            let count = self.counts.get(name).map_err(failed)?.map_or(0, |count| count.value());
            u64::try_from(count).map_err(|_| VfsError::Backend)
        };
        Ok(Usage { bytes: count(BYTES)?, files: count(FILES)? })
    }

    /// When the first file ends.
    pub(super) fn first_end(&self) -> Result<Option<Timestamp>, VfsError> {
        let mut ends = self.ends.range::<(i64, &str)>(..).map_err(failed)?;
        let first = ends.next().transpose().map_err(failed)?;
        Ok(first.map(|(key, _)| Timestamp::from_micros(key.value().0)))
    }

    pub(super) fn read(&self, path: RelPath<'_>, offset: u64, length: usize) -> Result<Content, VfsError> {
        let Entry::File { version, labels, .. } = Entry::find(&self.entries, path)? else {
            return Err(VfsError::IsDirectory);
        };
        let stored = self.contents.get(path.as_str()).map_err(failed)?.ok_or(VfsError::Backend)?;
        let bytes = stored.value();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        let part = bytes.get(start..end).unwrap_or_default().to_vec();
        Ok(Content::new(part.into(), Version::from_u128(version), labels))
    }

    pub(super) fn stat(&self, path: RelPath<'_>) -> Result<Stat, VfsError> {
        if path.is_root() {
            return Ok(Stat::directory(LabelSet::EMPTY));
        }
        Entry::find(&self.entries, path).map(Entry::into_stat)
    }

    pub(super) fn list(&self, path: RelPath<'_>, page: Page<'_>) -> Result<Listing, VfsError> {
        if !path.is_root() && matches!(Entry::find(&self.entries, path)?, Entry::File { .. }) {
            return Err(VfsError::NotDirectory);
        }
        let directory = path.as_str();
        let from = match page.after {
            Some(after) => Bound::Excluded((directory, after)),
            None => Bound::Included((directory, "")),
        };
        let mut entries = Vec::new();
        for item in self.entries.range::<(&str, &str)>((from, Bound::Unbounded)).map_err(failed)? {
            let (key, stored) = item.map_err(failed)?;
            let (parent, name) = key.value();
            if parent != directory {
                break;
            }
            if entries.len() == page.limit {
                let next = entries.last().map(|last: &Listed| last.name.clone());
                return Ok(Listing::new(entries, next));
            }
            entries.push(Listed::new(name.to_owned(), Entry::decode(&stored)?.into_stat()));
        }
        Ok(Listing::new(entries, None))
    }
}
