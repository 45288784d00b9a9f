//! One name in one folder of the host.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use agent_primitives::{Digest, LabelSet};
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, OpenOptions};

use super::end;
use super::error::classify;
use super::folder::step;
use super::labels;
use crate::vfs::{RelPath, Stat, Version, VfsError};

/// The name a file is written under before it gets its own. No agent may use it.
pub(super) const STAGED: &str = ".agent-os-staged";

const VERSION_DOMAIN: &str = "agent-os vfs directory version v1";

/// The path of a call, unless it uses [`STAGED`]. Every operation starts here.
pub(super) fn usable(path: &str) -> Result<RelPath<'_>, VfsError> {
    let path = RelPath::parse(path)?;
    if path.segments().any(|name| name == STAGED) { Err(VfsError::InvalidPath) } else { Ok(path) }
}

/// A plain file as it was found.
pub(super) struct Found {
    pub(super) file: File,
    pub(super) metadata: std::fs::Metadata,
}

impl Found {
    /// Opens a file for reading, and for appending too if need be. Does not wait for the other end of a pipe.
    pub(super) fn open(parent: &Dir, name: &str, append: bool) -> Result<Self, VfsError> {
        let mut options = OpenOptions::new();
        options.read(true).append(append).follow(FollowSymlinks::No).nonblock(true);
        let file =
            parent.open_with(name, &options).map_err(|error| refused(parent, name, &error))?.into_std();
        let metadata = file.metadata().map_err(|error| classify(&error))?;
        match metadata.file_type() {
            kind if kind.is_file() => Ok(Self { file, metadata }),
            kind if kind.is_dir() => Err(VfsError::IsDirectory),
            _ => Err(VfsError::AccessDenied),
        }
    }
}

/// What is at `name`. Opens it, because labels can be had no other way.
pub(super) fn stat(parent: &Dir, name: &str) -> Result<Stat, VfsError> {
    match seen(parent, name)? {
        Seen::Directory => Ok(Stat::directory(folder_labels(&step(parent, name)?)?)),
        Seen::File { .. } => {
            let Found { file, metadata } = Found::open(parent, name, false)?;
            let stat = Stat::file(metadata.len(), version(&metadata), labels::load(&file)?);
            Ok(stat.expiring(end::load(&file)?))
        }
    }
}

/// The labels of a folder. A [`Dir`] may be open for nothing but passing through it.
fn folder_labels(folder: &Dir) -> Result<LabelSet, VfsError> {
    labels::load(readable(folder)?)
}

/// The folder itself, open for reading.
pub(super) fn readable(folder: &Dir) -> Result<File, VfsError> {
    folder.open(".").map(cap_std::fs::File::into_std).map_err(|error| classify(&error))
}

/// What can be told from outside.
pub(super) enum Seen {
    Directory,
    File { size: u64, version: Version },
}

pub(super) fn seen(parent: &Dir, name: &str) -> Result<Seen, VfsError> {
    use cap_std::fs::MetadataExt;

    let metadata = parent.symlink_metadata(name).map_err(|error| classify(&error))?;
    match metadata.file_type() {
        kind if kind.is_dir() => Ok(Seen::Directory),
        kind if kind.is_file() => {
            let modified = (metadata.mtime(), metadata.mtime_nsec());
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            let version = digest(metadata.ino(), metadata.len(), modified, changed);
            Ok(Seen::File { size: metadata.len(), version })
        }
        _ => Err(VfsError::AccessDenied),
    }
}

/// The version of a file whose state is `metadata`.
pub(super) fn version(metadata: &std::fs::Metadata) -> Version {
    let modified = (metadata.mtime(), metadata.mtime_nsec());
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    digest(metadata.ino(), metadata.len(), modified, changed)
}

/// `name` if it is one that an agent can spell.
pub(super) fn spelled(name: &OsStr) -> Option<&str> {
    let name = name.to_str().filter(|name| *name != STAGED)?;
    RelPath::parse(name).ok().map(|_| name)
}

/// Links and the like give errors of their own, which differ from system to system; to an agent they are denied.
pub(super) fn refused(parent: &Dir, name: &str, error: &io::Error) -> VfsError {
    match parent.symlink_metadata(name) {
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => VfsError::AccessDenied,
        _ => classify(error),
    }
}

pub(super) fn remove_if_there(parent: &Dir, name: &str) -> io::Result<()> {
    match parent.remove_file(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn digest(inode: u64, length: u64, modified: (i64, i64), changed: (i64, i64)) -> Version {
    let times = [modified.0, modified.1, changed.0, changed.1].map(i64::cast_unsigned);
    let numbers = [inode, length].into_iter().chain(times);
    let state: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    Version::of_digest(Digest::of(VERSION_DOMAIN, &state))
}
