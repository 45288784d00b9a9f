//! What was found on the way to a path, and what a write makes of it.

use agent_primitives::{LabelSet, Timestamp};

use super::VfsError;
use crate::vfs::backend::{Kind, Stat, Usage, Version, Write, Written};

/// What is at the end of a way: `way` holds what was found at each segment of a path, from the root down.
pub(in crate::vfs::backend) fn at(way: &[Option<Stat>]) -> Result<Stat, VfsError> {
    let Some((last, above)) = way.split_last() else { return Ok(Stat::directory(LabelSet::EMPTY)) };
    for stat in above {
        match stat {
            Some(stat) if stat.kind == Kind::File => return Err(VfsError::NotDirectory),
            Some(_) => {}
            None => return Err(VfsError::NotFound),
        }
    }
    last.clone().ok_or(VfsError::NotFound)
}

/// What a write changes.
#[derive(Debug, PartialEq)]
pub(in crate::vfs::backend) struct Change {
    /// The file afterwards.
    pub(in crate::vfs::backend) written: Written,
    /// When it will cease to exist.
    pub(in crate::vfs::backend) expires: Option<Timestamp>,
    /// What the store holds afterwards.
    pub(in crate::vfs::backend) usage: Usage,
    /// How many directories at the end of the way, the file itself not counted, have to be made; they carry what the
    /// file does.
    pub(in crate::vfs::backend) made: usize,
    /// Whether the file is new.
    pub(in crate::vfs::backend) is_new: bool,
}

/// Holds every law of a write against what is there. `limit` is the longest file the store can keep.
pub(in crate::vfs::backend) fn plan(
    write: &Write,
    way: &[Option<Stat>],
    usage: Usage,
    version: Version,
    limit: u64,
) -> Result<Change, VfsError> {
    let old = match at(way) {
        Ok(stat) if stat.kind == Kind::Directory => return Err(VfsError::IsDirectory),
        Ok(stat) => Some(stat),
        Err(VfsError::NotFound) => None,
        Err(error) => return Err(error),
    };
    write.admit(old.as_ref().and_then(|old| old.version))?;
    let held = old.as_ref().map(|old| old.size);
    let size = write.size_after(held.unwrap_or(0))?;
    if limit < size {
        return Err(VfsError::TooLarge);
    }
    let usage = write.quota.admit(usage, held, size)?;
    let labels = write.labels_after(old.as_ref().map_or(&LabelSet::EMPTY, |old| &old.labels))?;
    let expires = write.expires_after(old.as_ref().and_then(|old| old.expires));
    let above = way.split_last().map_or(way, |(_, above)| above);
    let made = above.iter().filter(|stat| stat.is_none()).count();
    Ok(Change { written: Written::new(version, size, labels), expires, usage, made, is_new: old.is_none() })
}
