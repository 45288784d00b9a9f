//! What the database holds, and under which keys.

use agent_primitives::{LabelSet, Timestamp};
use redb::{AccessGuard, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::error::failed;
use crate::vfs::{RelPath, Stat, Version, VfsError};

/// What is known of each file and directory but the root, by the directory it lies in and its name there: so what a
/// directory holds lies side by side, in the order it is listed in.
pub(super) const ENTRIES: TableDefinition<'static, (&str, &str), &[u8]> = TableDefinition::new("entries");
/// The bytes of each file, by path. Apart, so that listing does not pass over them.
pub(super) const CONTENTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("contents");
/// Each file that has an end, by when that is, in microseconds since 1970.
pub(super) const ENDS: TableDefinition<'static, (i64, &str), ()> = TableDefinition::new("ends");
/// See the names below.
pub(super) const COUNTS: TableDefinition<'static, &str, u128> = TableDefinition::new("counts");

/// The last version given out.
pub(super) const VERSION: &str = "version";
/// Bytes of all files.
pub(super) const BYTES: &str = "bytes";
/// All files.
pub(super) const FILES: &str = "files";

/// A file or directory. New fields and variants go to the end: files of databases outlive the program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    File {
        size: u64,
        version: u128,
        labels: LabelSet,
        expires: Option<Timestamp>,
    },
    /// INVARIANT: `children` is how many entries lie directly in it, and not zero.
    Folder {
        children: u64,
        labels: LabelSet,
    },
}

impl Entry {
    /// What is at `path`, which is not the root.
    ///
    /// # Errors
    /// `IsDirectory` for the root; `NotFound`; `NotDirectory` when a file lies on the way.
    pub(super) fn find(
        entries: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
        path: RelPath<'_>,
    ) -> Result<Self, VfsError> {
        let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
        if let Some(found) = Self::get(entries, parent, name)? {
            return Ok(found);
        }
        let mut above = parent;
        while let Some((parent, name)) = above.split_name() {
            match Self::get(entries, parent, name)? {
                Some(Self::File { .. }) => return Err(VfsError::NotDirectory),
                Some(Self::Folder { .. }) => return Err(VfsError::NotFound),
                None => above = parent,
            }
        }
        Err(VfsError::NotFound)
    }

    pub(super) fn get(
        entries: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
        parent: RelPath<'_>,
        name: &str,
    ) -> Result<Option<Self>, VfsError> {
        let stored = entries.get((parent.as_str(), name)).map_err(failed)?;
        stored.map(|stored| Self::decode(&stored)).transpose()
    }

    pub(super) fn decode(stored: &AccessGuard<'_, &'static [u8]>) -> Result<Self, VfsError> {
        postcard::from_bytes(stored.value()).map_err(|error| {
            tracing::warn!(%error, "an entry of a database cannot be read");
            VfsError::Backend
        })
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, VfsError> {
        postcard::to_stdvec(self).map_err(|error| {
            tracing::warn!(%error, "an entry of a database cannot be written");
            VfsError::Backend
        })
    }

    pub(super) fn into_stat(self) -> Stat {
        match self {
            Self::File { size, version, labels, expires } => {
                Stat::file(size, Version::from_u128(version), labels).expiring(expires)
            }
            Self::Folder { labels, .. } => Stat::directory(labels),
        }
    }
}
