//! The tree an agent sees.

pub(crate) mod snapshot;

use std::sync::{Arc, PoisonError, RwLock};

use agent_primitives::truncate::within;
use agent_primitives::{LabelSet, Timer, Timestamp};
use bytes::Bytes;

use super::descriptor::{DescriptorTable, OpenFile};
use super::listing;
use super::mount::{MountTable, Place};
use super::{
    Descriptor, Kind, Mount, OpenFlags, PathError, RelPath, Search, Stat, Version, VfsError, VfsPath, Write,
    WriteMode, Written,
};

/// Most bytes one read or write moves, and longest file that is written in its middle.
pub const MAX_TRANSFER: u64 = 16 << 20;

/// Most bytes of text of one hit; what is longer is cut, and says so.
pub const MAX_HIT_TEXT: usize = 16 << 10;

/// How often a write into the middle of a file starts over because the file changed meanwhile.
const MAX_ATTEMPTS: usize = 16;

/// One agent's tree: its mounts and its open files.
///
/// Two namespaces share nothing but the stores the host mounts in both. What lies under no mount does not exist.
///
/// Every future does its work when polled and stops where it is dropped; what that leaves is said at each method. The
/// caller puts a deadline around it; a mount may have one of its own for each operation on its store.
#[derive(Debug, Default)]
pub struct Namespace {
    mounts: RwLock<MountTable>,
    timer: Option<Arc<dyn Timer>>,
    descriptors: DescriptorTable,
}

/// A file that fits a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// Where it is.
    pub path: VfsPath,
    /// How well it fits; comparable among the hits of one search only.
    pub score: f64,
    /// The content, or the part of it that fits, at most [`MAX_HIT_TEXT`] bytes.
    pub text: String,
    /// What the file carries, and what the mount adds.
    pub labels: LabelSet,
}

/// What a read brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read {
    /// The bytes; fewer than asked for only at the end.
    pub bytes: Bytes,
    /// The version of the file; a directory has none.
    pub version: Option<Version>,
    /// What the bytes carry: the labels of the file, or of the names in a listing, and those that the mount adds.
    pub labels: LabelSet,
}

impl Namespace {
    /// A tree with nothing in it but its root.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same tree, with a timer for the deadlines of its mounts.
    #[must_use]
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = Some(timer);
        self
    }

    /// Adds a mount, at any depth and inside another one if need be.
    ///
    /// # Errors
    /// `Exists` when something is mounted at that very point; `NoSpace` beyond [`MAX_MOUNTS`](super::MAX_MOUNTS);
    /// `NotSupported` when it has a deadline and the tree no timer.
    pub fn mount(&self, mount: Mount) -> Result<(), PathError> {
        let point = mount.point().clone();
        let mount = mount.timed(self.timer.as_ref()).map_err(|error| PathError::at(&point, error))?;
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        mounts.insert(mount).map_err(|error| PathError::at(&point, error))
    }

    /// Takes every mount away, so that what they hold can be let go. Operations in flight still end on them.
    pub fn unmount_all(&self) {
        *self.mounts.write().unwrap_or_else(PoisonError::into_inner) = MountTable::default();
    }

    /// Takes a mount away, for open descriptors too. Operations in flight still end on it.
    ///
    /// # Errors
    /// `NotFound` when nothing is mounted at that very point.
    pub fn unmount(&self, point: &VfsPath) -> Result<(), PathError> {
        let mut mounts = self.mounts.write().unwrap_or_else(PoisonError::into_inner);
        mounts.remove(point).map_err(|error| PathError::at(point, error))
    }

    /// The bytes of a file from `offset`, at most `length`, none beyond its end.
    ///
    /// A directory reads as its listing: a line per entry, in byte order of the names, each
    /// `{"name":"a","kind":"file","size":3}` (or `"directory"`, with size 0) and a line feed; `offset` and `length` count
    /// its bytes. A directory that changes between two reads may show an entry twice or not at all.
    ///
    /// Dropping the future is without consequence.
    ///
    /// # Errors
    /// `TooLarge` when `length` exceeds [`MAX_TRANSFER`]; `NotFound`; `NotDirectory` when a file lies on the way; what the
    /// store answers.
    pub async fn read(&self, path: &VfsPath, offset: u64, length: u64) -> Result<Read, PathError> {
        self.read_part(path, offset, length).await.map_err(|error| PathError::at(path, error))
    }

    /// Writes a file, all of `data` or nothing, provided it is in the version `expected`, if one is given. The file carries
    /// `labels` afterwards, and when appending also what it did before.
    ///
    /// When the future is dropped, the file is as before or as it was to become.
    ///
    /// # Errors
    /// `TooLarge` when `data` exceeds [`MAX_TRANSFER`]; `ReadOnly` or `AccessDenied` when the mount does not permit it;
    /// `NotFound` outside all mounts; `IsDirectory`; `NotDirectory` when a file lies on the way; `Exists` for
    /// [`WriteMode::CreateNew`]; `Conflict` when the version is another; `Quota`; `TooManyLabels`, or `NotSupported` when
    /// the store keeps no labels; what the store answers.
    pub async fn write(
        &self,
        path: &VfsPath,
        mode: WriteMode,
        data: Bytes,
        labels: LabelSet,
        expected: Option<Version>,
    ) -> Result<Written, PathError> {
        self.write_until(path, mode, data, labels, expected, None).await
    }

    /// Writes as [`Namespace::write`] does a file that ceases to exist at `expires`, by the clock of its store.
    ///
    /// # Errors
    /// Those of [`Namespace::write`]; `NotSupported` when the store keeps no ends.
    pub async fn write_until(
        &self,
        path: &VfsPath,
        mode: WriteMode,
        data: Bytes,
        labels: LabelSet,
        expected: Option<Version>,
        expires: Option<Timestamp>,
    ) -> Result<Written, PathError> {
        let written = self.write_file(path, mode, data, labels, (expected, expires)).await;
        written.map_err(|error| PathError::at(path, error))
    }

    /// The files below a directory that fit `text` best, at most `limit` of them, the best first. Only the store that the
    /// directory is of is searched, not what is mounted below it.
    ///
    /// Dropping the future is without consequence.
    ///
    /// # Errors
    /// `NotSupported` when the store cannot search; `NotFound`; `NotDirectory` for a file; what the store answers.
    pub async fn search(&self, path: &VfsPath, text: &str, limit: usize) -> Result<Vec<Found>, PathError> {
        Ok(self.search_to(path, text, limit).await?.0)
    }

    /// As [`Namespace::search`]; and whether the store may have more, as it answered as many as it was asked for.
    pub(crate) async fn search_to(
        &self,
        path: &VfsPath,
        text: &str,
        limit: usize,
    ) -> Result<(Vec<Found>, bool), PathError> {
        self.search_below(path, text, limit).await.map_err(|error| PathError::at(path, error))
    }

    /// Removes a file, provided it is in the version `expected`, if one is given.
    ///
    /// When the future is dropped, the file is there or gone.
    ///
    /// # Errors
    /// `ReadOnly` or `AccessDenied` when the mount does not permit it; `NotFound`; `IsDirectory` for a directory or a mount
    /// point; `NotDirectory` when a file lies on the way; `Conflict` when the version is another; what the store answers.
    pub async fn remove(&self, path: &VfsPath, expected: Option<Version>) -> Result<(), PathError> {
        self.remove_file(path, expected).await.map_err(|error| PathError::at(path, error))
    }

    /// What is at `path`. Dropping the future is without consequence.
    ///
    /// # Errors
    /// `NotFound`; `NotDirectory` when a file lies on the way; what the store answers.
    pub async fn stat(&self, path: &VfsPath) -> Result<Stat, PathError> {
        self.stat_file(path).await.map_err(|error| PathError::at(path, error))
    }

    /// Opens a file, or a directory for reading. With `create`, a missing file is created empty, and carries `labels`: its
    /// name comes from whoever opens it.
    ///
    /// When the future is dropped, no descriptor is open, but a file it was to create may be there.
    ///
    /// # Errors
    /// `InvalidPath` for flags that make no sense together; `TooManyOpen`; to write, `ReadOnly` or `AccessDenied` when the
    /// mount does not permit it, and `IsDirectory`; `NotFound` without `create`; `Exists` with `exclusive`; `Quota`;
    /// what the store answers.
    pub async fn open(
        &self,
        path: &VfsPath,
        flags: OpenFlags,
        labels: LabelSet,
    ) -> Result<Descriptor, PathError> {
        self.open_file(path, flags, labels).await.map_err(|error| PathError::at(path, error))
    }

    /// Closes a descriptor. Operations in flight on it still end.
    ///
    /// # Errors
    /// `BadDescriptor` when it is not open.
    pub fn close(&self, descriptor: Descriptor) -> Result<(), PathError> {
        self.descriptors.close(descriptor).map_err(PathError::pathless)
    }

    /// Closes every descriptor, and answers how many there were. For the end of the agent, once nothing is in flight.
    pub fn close_all(&self) -> usize {
        self.descriptors.close_all()
    }

    /// The path a descriptor was opened with, and what for.
    ///
    /// # Errors
    /// `BadDescriptor` when it is not open.
    pub fn opened(&self, descriptor: Descriptor) -> Result<(VfsPath, OpenFlags), PathError> {
        let file = self.descriptors.get(descriptor).map_err(PathError::pathless)?;
        Ok((file.path.clone(), file.flags))
    }

    /// Reads like [`Namespace::read`], from `offset` or else from the descriptor's position, which moves on by as much as
    /// was read. Reads and writes at the position of one descriptor follow each other.
    ///
    /// When the future is dropped, the position stays.
    ///
    /// # Errors
    /// `BadDescriptor` when it is not open for reading, and those of [`Namespace::read`].
    pub async fn read_open(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        length: u64,
    ) -> Result<Read, PathError> {
        let file = self.descriptors.get(descriptor).map_err(PathError::pathless)?;
        if !file.flags.read {
            return Err(PathError::at(&file.path, VfsError::BadDescriptor));
        }
        if let Some(offset) = offset {
            return self.read(&file.path, offset, length).await;
        }
        let mut position = file.position.lock().await;
        let read = self.read(&file.path, *position, length).await?;
        *position = position.saturating_add(read.bytes.len() as u64);
        Ok(read)
    }

    /// Writes all of `data` or nothing: at the end when the descriptor appends, whatever `offset` says; otherwise at
    /// `offset`, or else at the descriptor's position, which moves on behind the data. Beyond the end of the file, zeros
    /// fill the gap. Concurrent writers lose nothing to each other. The file carries `labels` and what it did before, however
    /// much of it is overwritten, and ends when it would have.
    ///
    /// Appending to a file that was removed meanwhile creates it anew; writing into it does not. When the future is
    /// dropped, the file is as before or as it was to become, and the position stays.
    ///
    /// # Errors
    /// `BadDescriptor` when it is not open for writing; `TooLarge` when not writing at the end would make or keep the file
    /// longer than [`MAX_TRANSFER`]; `Conflict` when others kept changing the file; and those of [`Namespace::write`].
    pub async fn write_open(
        &self,
        descriptor: Descriptor,
        offset: Option<u64>,
        data: Bytes,
        labels: LabelSet,
    ) -> Result<Written, PathError> {
        let file = self.descriptors.get(descriptor).map_err(PathError::pathless)?;
        self.write_descriptor(&file, offset, data, labels)
            .await
            .map_err(|error| PathError::at(&file.path, error))
    }
}

impl Namespace {
    fn locate<'a>(&self, path: &'a VfsPath) -> Place<'a> {
        self.mounts.read().unwrap_or_else(PoisonError::into_inner).locate(path)
    }

    /// The store that holds what `path` names, which is not a mount point.
    fn inside<'a>(&self, path: &'a VfsPath) -> Result<(Arc<Mount>, RelPath<'a>), VfsError> {
        match self.locate(path) {
            Place::Nowhere => Err(VfsError::NotFound),
            Place::Junction(_) => Err(VfsError::IsDirectory),
            Place::Inside(mount, relative) => Ok((mount, relative)),
        }
    }

    async fn read_part(&self, path: &VfsPath, offset: u64, length: u64) -> Result<Read, VfsError> {
        let length = transfer(length)?;
        let store = match self.locate(path) {
            Place::Nowhere => return Err(VfsError::NotFound),
            Place::Junction(store) => store,
            Place::Inside(mount, relative) => match mount.read(relative, offset, length).await {
                Err(VfsError::IsDirectory) => Some((mount, relative)),
                read => {
                    let mut content = read?;
                    // What a store returns beyond what it was asked for is not passed on.
                    content.bytes.truncate(length);
                    let labels = content.labels.join(mount.added_labels())?;
                    return Ok(Read { bytes: content.bytes, version: Some(content.version), labels });
                }
            },
        };
        let junctions = self.mounts.read().unwrap_or_else(PoisonError::into_inner).names_in(path);
        let (bytes, labels) = listing::render(store, junctions, offset, length).await?;
        Ok(Read { bytes, version: None, labels })
    }

    async fn write_file(
        &self,
        path: &VfsPath,
        mode: WriteMode,
        data: Bytes,
        labels: LabelSet,
        (expected, expires): (Option<Version>, Option<Timestamp>),
    ) -> Result<Written, VfsError> {
        transfer(data.len() as u64)?;
        let (mount, relative) = self.inside(path)?;
        let quota = mount.access().permit_write(mode)?;
        let write = Write::new(mode, data, labels, quota).expecting(expected).expiring(expires);
        mount.write(relative, write).await
    }

    async fn search_below(
        &self,
        path: &VfsPath,
        text: &str,
        limit: usize,
    ) -> Result<(Vec<Found>, bool), VfsError> {
        let (mount, relative) = match self.locate(path) {
            Place::Nowhere => return Err(VfsError::NotFound),
            Place::Junction(None) => return Err(VfsError::NotSupported),
            Place::Junction(Some(store)) => store,
            Place::Inside(mount, relative) => (mount, relative),
        };
        let hits = mount.search(relative, Search::new(text, limit)).await?;
        let more = limit <= hits.len();
        let mut found = Vec::with_capacity(hits.len().min(limit));
        for hit in hits.into_iter().take(limit) {
            let below = RelPath::parse(&hit.path).map_err(|_| VfsError::Backend)?;
            let path = path.join(below)?;
            // What another mount hides cannot be reached, and is not told of.
            if !matches!(self.locate(&path), Place::Inside(holder, _) if Arc::ptr_eq(&holder, &mount)) {
                continue;
            }
            let labels = hit.labels.join(mount.added_labels())?;
            let text = within(&hit.text, MAX_HIT_TEXT).into_owned();
            found.push(Found { path, score: hit.score, text, labels });
        }
        Ok((found, more))
    }

    async fn remove_file(&self, path: &VfsPath, expected: Option<Version>) -> Result<(), VfsError> {
        let (mount, relative) = self.inside(path)?;
        mount.access().permit_removal()?;
        mount.remove(relative, expected).await
    }

    async fn stat_file(&self, path: &VfsPath) -> Result<Stat, VfsError> {
        match self.locate(path) {
            Place::Nowhere => Err(VfsError::NotFound),
            Place::Junction(_) => Ok(Stat::directory(LabelSet::EMPTY)),
            Place::Inside(mount, relative) => {
                let mut stat = mount.stat(relative).await?;
                stat.labels = stat.labels.join(mount.added_labels())?;
                Ok(stat)
            }
        }
    }

    async fn open_file(
        &self,
        path: &VfsPath,
        flags: OpenFlags,
        labels: LabelSet,
    ) -> Result<Descriptor, VfsError> {
        flags.check()?;
        if flags.writes() {
            self.permit_opening(path, flags)?;
        }
        let room = self.descriptors.reserve()?;
        let found = if flags.exclusive { Err(VfsError::NotFound) } else { self.stat_file(path).await };
        match found {
            Ok(stat) if flags.writes() && stat.kind == Kind::Directory => return Err(VfsError::IsDirectory),
            Err(VfsError::NotFound) if flags.create => {
                match self.write_file(path, WriteMode::CreateNew, Bytes::new(), labels, (None, None)).await {
                    Err(VfsError::Exists) if !flags.exclusive => {}
                    created => drop(created?),
                }
            }
            found => drop(found?),
        }
        self.descriptors.insert(room, path.clone(), flags)
    }

    /// What the mount will refuse when written to is refused when opened.
    fn permit_opening(&self, path: &VfsPath, flags: OpenFlags) -> Result<(), VfsError> {
        let mode = if flags.append { WriteMode::Append } else { WriteMode::Replace };
        self.inside(path)?.0.access().permit_write(mode).map(drop)
    }

    async fn write_descriptor(
        &self,
        file: &OpenFile,
        offset: Option<u64>,
        data: Bytes,
        labels: LabelSet,
    ) -> Result<Written, VfsError> {
        if file.flags.append {
            return self.write_file(&file.path, WriteMode::Append, data, labels, (None, None)).await;
        }
        if !file.flags.write {
            return Err(VfsError::BadDescriptor);
        }
        if let Some(offset) = offset {
            return self.splice(&file.path, offset, data, &labels).await;
        }
        let mut position = file.position.lock().await;
        let length = data.len() as u64;
        let written = self.splice(&file.path, *position, data, &labels).await?;
        *position = position.saturating_add(length);
        Ok(written)
    }

    /// Writes `data` at `offset`: at the end of the file by appending, elsewhere by replacing the whole, and either only
    /// if the file is still the one that was looked at.
    async fn splice(
        &self,
        path: &VfsPath,
        offset: u64,
        data: Bytes,
        labels: &LabelSet,
    ) -> Result<Written, VfsError> {
        for _ in 0..MAX_ATTEMPTS {
            let (mount, relative) = self.inside(path)?;
            let stat = mount.stat(relative).await?;
            let version = stat.version.ok_or(VfsError::IsDirectory)?;
            if data.is_empty() {
                return Ok(Written::new(version, stat.size, stat.labels));
            }
            let (mode, bytes, labels) = if offset == stat.size {
                (WriteMode::Append, data.clone(), labels.clone())
            } else {
                let end = offset.checked_add(data.len() as u64).ok_or(VfsError::TooLarge)?;
                let length = transfer(end.max(stat.size))?;
                let size = transfer(stat.size)?;
                let mut old = mount.read(relative, 0, size).await?;
                if old.version != version {
                    continue;
                }
                old.bytes.truncate(size);
                (WriteMode::Replace, spliced(&old.bytes, offset, &data, length), old.labels.join(labels)?)
            };
            match self.write_file(path, mode, bytes, labels, (Some(version), stat.expires)).await {
                Err(VfsError::Conflict) => {}
                written => return written,
            }
        }
        Err(VfsError::Conflict)
    }
}

/// `old` with `data` over it from `offset` on, `length` bytes in all.
fn spliced(old: &[u8], offset: u64, data: &[u8], length: usize) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(old.get(..start).unwrap_or(old));
    bytes.resize(start.min(length), 0);
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(old.get(bytes.len()..).unwrap_or_default());
    bytes.into()
}

fn transfer(length: u64) -> Result<usize, VfsError> {
    if MAX_TRANSFER < length {
        return Err(VfsError::TooLarge);
    }
    usize::try_from(length).map_err(|_| VfsError::TooLarge)
}
