//! What only the kernel does with a tree: takes a picture of it, puts one back, keeps files where the agent can only read.

use std::sync::{Arc, PoisonError};

use agent_primitives::{LabelSet, Timestamp};
use bytes::Bytes;

use super::{MAX_ATTEMPTS, Namespace, transfer};
use crate::vfs::mount::Place;
use crate::vfs::{
    Descriptor, Kind, Mount, OpenFlags, Page, PathError, Quota, RelPath, Version, VfsError, VfsPath, Write,
    WriteMode,
};

/// Entries asked for at a time.
const PAGE: usize = 256;

/// A file as it was at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Below the folder that was looked at.
    pub(crate) path: String,
    pub(crate) data: Bytes,
    pub(crate) labels: LabelSet,
    pub(crate) expires: Option<Timestamp>,
}

/// A file that was open at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) descriptor: Descriptor,
    pub(crate) path: VfsPath,
    pub(crate) flags: OpenFlags,
    pub(crate) position: u64,
}

/// What tells two states of a folder apart: the files in it, in order, each with its version.
type Survey = Vec<(String, Version, u64, Option<Timestamp>)>;

impl Namespace {
    /// All files of the store that holds `folder`, and what `meanwhile` answers, as they were at one and the same moment:
    /// between two looks at the store that saw the same versions. What is mounted below `folder` is left out.
    ///
    /// # Errors
    /// `Conflict` when the files kept changing, or `meanwhile` kept answering `Conflict`; `TooLarge` for more than `most`
    /// holds; what the store answers.
    pub(crate) async fn picture<T>(
        &self,
        folder: &VfsPath,
        most: Quota,
        meanwhile: impl Fn() -> Result<T, VfsError>,
    ) -> Result<(Vec<Kept>, T), PathError> {
        self.pictured(folder, most, meanwhile).await.map_err(|error| PathError::at(folder, error))
    }

    async fn pictured<T>(
        &self,
        folder: &VfsPath,
        most: Quota,
        meanwhile: impl Fn() -> Result<T, VfsError>,
    ) -> Result<(Vec<Kept>, T), VfsError> {
        let Some((mount, root)) = self.store_of(folder) else { return Ok((Vec::new(), meanwhile()?)) };
        for _ in 0..MAX_ATTEMPTS {
            let before = survey(&mount, root, most).await?;
            let Some(files) = read_all(&mount, root, &before).await? else { continue };
            let other = match meanwhile() {
                Err(VfsError::Conflict) => continue,
                other => other?,
            };
            if survey(&mount, root, most).await? == before {
                return Ok((files, other));
            }
        }
        Err(VfsError::Conflict)
    }

    /// Puts a file back, within what its mount permits.
    pub(crate) async fn put_back(&self, path: &VfsPath, file: Kept) -> Result<(), PathError> {
        let write = async {
            let (mount, relative) = self.inside(path)?;
            let quota = mount.access().permit_write(WriteMode::Replace)?;
            let write = Write::new(WriteMode::Replace, file.data, file.labels, quota).expiring(file.expires);
            mount.write(relative, write).await.map(drop)
        };
        write.await.map_err(|error| PathError::at(path, error))
    }

    /// Opens a file that is there, at a position.
    pub(crate) async fn open_again(&self, open: &Opened) -> Result<Descriptor, PathError> {
        let flags = OpenFlags { create: false, exclusive: false, ..open.flags };
        let descriptor = self.open(&open.path, flags, LabelSet::EMPTY).await?;
        let file = self.descriptors.get(descriptor).map_err(|error| PathError::at(&open.path, error))?;
        *file.position.lock().await = open.position;
        Ok(descriptor)
    }

    /// Keeps a new file in `folder`, whatever the agent may do there. The oldest by name that `is_ours` go first, until there
    /// are fewer than `most.files` of them and room for this one in `most.bytes`.
    ///
    /// # Errors
    /// `NotFound` when nothing is mounted there; `Exists`; `NoSpace` for a file beyond `most`; what the store answers.
    pub(crate) async fn keep(
        &self,
        folder: &VfsPath,
        file: Kept,
        most: Quota,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(), PathError> {
        let keep = async {
            let (mount, root) = self.store_of(folder).ok_or(VfsError::NotFound)?;
            let size = file.data.len() as u64;
            if most.bytes < size {
                return Err(VfsError::NoSpace);
            }
            let mut ours: Vec<(String, u64)> = match names(&mount, root).await {
                Err(VfsError::NotFound) => Vec::new(),
                names => names?.into_iter().filter(|(name, _)| is_ours(name)).collect(),
            };
            while !ours.is_empty()
                && (most.files <= ours.len() as u64
                    || most.bytes - size < ours.iter().map(|(_, size)| size).sum::<u64>())
            {
                let (oldest, _) = ours.remove(0);
                let gone = mount.remove(RelPath::parse(&joined(root, &oldest))?, None).await;
                if !matches!(gone, Err(VfsError::NotFound)) {
                    gone?;
                }
            }
            let everything = Quota { bytes: u64::MAX, files: u64::MAX };
            let write = Write::new(WriteMode::CreateNew, file.data, file.labels, everything);
            mount.write(RelPath::parse(&joined(root, &file.path))?, write).await.map(drop)
        };
        keep.await.map_err(|error| PathError::at(folder, error))
    }

    /// The open files, by descriptor.
    ///
    /// # Errors
    /// `Conflict` while one is read or written at its position.
    pub(crate) fn open_files(&self) -> Result<Vec<Opened>, VfsError> {
        let open = self.descriptors.all_open();
        let look = |(descriptor, file): (Descriptor, Arc<super::OpenFile>)| {
            let position = *file.position.try_lock().map_err(|_busy| VfsError::Conflict)?;
            Ok(Opened { descriptor, path: file.path.clone(), flags: file.flags, position })
        };
        open.into_iter().map(look).collect()
    }

    /// Where something is mounted, and what it permits in one word.
    pub(crate) fn mounted(&self) -> Vec<(VfsPath, &'static str)> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).points()
    }

    fn store_of<'a>(&self, folder: &'a VfsPath) -> Option<(Arc<Mount>, RelPath<'a>)> {
        match self.locate(folder) {
            Place::Nowhere => None,
            Place::Junction(store) => store,
            Place::Inside(mount, relative) => Some((mount, relative)),
        }
    }
}

/// Every file below `root`, folder by folder.
async fn survey(mount: &Mount, root: RelPath<'_>, most: Quota) -> Result<Survey, VfsError> {
    let (mut files, mut bytes) = (Survey::new(), 0_u64);
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = joined(root, &folder);
        let mut after: Option<String> = None;
        loop {
            let page = Page::new(after.as_deref(), PAGE);
            let listing = match mount.list(RelPath::parse(&path)?, page).await {
                // A folder that went away meanwhile is in no state: the second look tells.
                Err(VfsError::NotFound) => break,
                listing => listing?,
            };
            for entry in listing.entries {
                let name = if folder.is_empty() { entry.name } else { format!("{folder}/{}", entry.name) };
                match (entry.stat.kind, entry.stat.version) {
                    (Kind::File, Some(version)) => {
                        bytes = bytes.saturating_add(entry.stat.size);
                        files.push((name, version, entry.stat.size, entry.stat.expires));
                    }
                    (Kind::File, None) => return Err(VfsError::Backend),
                    (Kind::Directory, _) => folders.push(name),
                }
                if most.bytes < bytes || most.files < (files.len() + folders.len()) as u64 {
                    return Err(VfsError::TooLarge);
                }
            }
            match listing.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(files)
}

/// The content of each; `None` when one is no longer what was seen.
async fn read_all(mount: &Mount, root: RelPath<'_>, seen: &Survey) -> Result<Option<Vec<Kept>>, VfsError> {
    let mut files = Vec::with_capacity(seen.len());
    for (path, version, size, expires) in seen {
        let length = transfer(*size)?;
        let content = match mount.read(RelPath::parse(&joined(root, path))?, 0, length).await {
            Err(VfsError::NotFound | VfsError::IsDirectory | VfsError::NotDirectory) => return Ok(None),
            content => content?,
        };
        if content.version != *version {
            return Ok(None);
        }
        files.push(Kept {
            path: path.clone(),
            data: content.bytes,
            labels: content.labels,
            expires: *expires,
        });
    }
    Ok(Some(files))
}

/// The files directly in a folder with their sizes, in ascending order of their names.
async fn names(mount: &Mount, root: RelPath<'_>) -> Result<Vec<(String, u64)>, VfsError> {
    let (mut names, mut after) = (Vec::new(), None::<String>);
    loop {
        let listing = mount.list(root, Page::new(after.as_deref(), PAGE)).await?;
        let files = listing.entries.into_iter().filter(|entry| entry.stat.kind == Kind::File);
        names.extend(files.map(|entry| (entry.name, entry.stat.size)));
        match listing.next {
            Some(next) => after = Some(next),
            None => return Ok(names),
        }
    }
}

fn joined(root: RelPath<'_>, name: &str) -> String {
    match (root.is_root(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (false, true) => root.as_str().to_owned(),
        (false, false) => format!("{}/{name}", root.as_str()),
    }
}
