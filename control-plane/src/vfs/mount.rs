//! Which store serves which part of a tree.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use agent_primitives::{LabelSet, Timer};

use super::{
    Answer, Content, Hit, Listing, MemoryBackend, Page, Quota, RelPath, Search, Stat, Version, VfsError,
    VfsPath, Write, WriteMode, Written,
};

/// Most mounts of one agent.
pub const MAX_MOUNTS: usize = 64;

/// A store, where an agent finds it, and what the agent may do there.
#[derive(Clone, Debug)]
pub struct Mount {
    point: VfsPath,
    backend: Arc<dyn MemoryBackend>,
    access: Access,
    labels: LabelSet,
    deadline: Option<Duration>,
    timer: Option<Arc<dyn Timer>>,
}

/// What a mount permits, whatever policy says. The one place that decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// Reading.
    ReadOnly,
    /// Reading, writing and removing, within the quota.
    ReadWrite(Quota),
    /// Reading, creating files and appending to them, within the quota.
    AppendOnly(Quota),
}

impl Mount {
    /// `backend` at `point`.
    #[must_use]
    pub fn new(point: VfsPath, backend: Arc<dyn MemoryBackend>, access: Access) -> Self {
        Self { point, backend, access, labels: LabelSet::EMPTY, deadline: None, timer: None }
    }

    /// The same mount, where all that is read carries `labels` besides its own: contents, names and listings. Nothing is
    /// stored on that account. For what others put into the store, such as a folder of downloads.
    #[must_use]
    pub fn labels(mut self, labels: LabelSet) -> Self {
        self.labels = labels;
        self
    }

    /// The same mount, where each operation on the store has `deadline` to end in; otherwise it is dropped and answered
    /// with `Timeout`. A call of an agent may take several, and has
    /// [`FILE_DEADLINE`](crate::kernel::FILE_DEADLINE) for all of them.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// What all that is read here carries besides its own labels.
    #[must_use]
    pub const fn added_labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Where the mount is.
    #[must_use]
    pub const fn point(&self) -> &VfsPath {
        &self.point
    }

    /// What the mount permits.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The same mount, which keeps its deadline by `timer`.
    pub(super) fn timed(mut self, timer: Option<&Arc<dyn Timer>>) -> Result<Self, VfsError> {
        self.timer = match (self.deadline, timer) {
            (Some(_), None) => return Err(VfsError::NotSupported),
            (_, timer) => timer.cloned(),
        };
        Ok(self)
    }
}

/// The operations on the store, each within the deadline.
impl Mount {
    pub(super) async fn read(
        &self,
        path: RelPath<'_>,
        offset: u64,
        length: usize,
    ) -> Result<Content, VfsError> {
        self.in_time(self.backend.read(path, offset, length)).await
    }

    pub(super) async fn write(&self, path: RelPath<'_>, write: Write) -> Result<Written, VfsError> {
        self.in_time(self.backend.write(path, write)).await
    }

    pub(super) async fn remove(&self, path: RelPath<'_>, expected: Option<Version>) -> Result<(), VfsError> {
        self.in_time(self.backend.remove(path, expected)).await
    }

    pub(super) async fn list(&self, path: RelPath<'_>, page: Page<'_>) -> Result<Listing, VfsError> {
        self.in_time(self.backend.list(path, page)).await
    }

    pub(super) async fn stat(&self, path: RelPath<'_>) -> Result<Stat, VfsError> {
        self.in_time(self.backend.stat(path)).await
    }

    pub(super) async fn search(&self, path: RelPath<'_>, query: Search<'_>) -> Result<Vec<Hit>, VfsError> {
        self.in_time(self.backend.search(path, query)).await
    }

    async fn in_time<T>(&self, mut answer: Answer<'_, T>) -> Result<T, VfsError> {
        let (Some(deadline), Some(timer)) = (self.deadline, &self.timer) else { return answer.await };
        let mut over = timer.sleep_until(timer.monotonic().after(deadline));
        poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Pending => over.as_mut().poll(context).map(|()| Err(VfsError::Timeout)),
            ready => ready,
        })
        .await
    }
}

impl Access {
    /// What the mount permits, in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite(_) => "read-write",
            Self::AppendOnly(_) => "append-only",
        }
    }

    /// The quota a write in `mode` has to keep.
    ///
    /// # Errors
    /// `ReadOnly` when nothing may be written; `AccessDenied` when what is written may not be overwritten.
    pub fn permit_write(self, mode: WriteMode) -> Result<Quota, VfsError> {
        match (self, mode) {
            (Self::ReadOnly, _) => Err(VfsError::ReadOnly),
            (Self::AppendOnly(_), WriteMode::Replace) => Err(VfsError::AccessDenied),
            (Self::AppendOnly(quota) | Self::ReadWrite(quota), _) => Ok(quota),
        }
    }

    /// Whether files may be removed.
    ///
    /// # Errors
    /// `ReadOnly` when nothing may be written; `AccessDenied` when files may only grow.
    pub const fn permit_removal(self) -> Result<(), VfsError> {
        match self {
            Self::ReadOnly => Err(VfsError::ReadOnly),
            Self::AppendOnly(_) => Err(VfsError::AccessDenied),
            Self::ReadWrite(_) => Ok(()),
        }
    }
}

/// The mounts of one tree.
///
/// INVARIANT: no two have the same point, longer points come first, and there are at most [`MAX_MOUNTS`].
#[derive(Debug, Default)]
pub(super) struct MountTable(Vec<Arc<Mount>>);

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// To no mount.
    Nowhere,
    /// To a mount point, or to a directory that exists because something is mounted below it. What a store holds under
    /// the same path cannot be reached, but for the entries of a directory.
    Junction(Option<(Arc<Mount>, RelPath<'a>)>),
    /// To a path inside a mount, not its root.
    Inside(Arc<Mount>, RelPath<'a>),
}

impl MountTable {
    pub(super) fn insert(&mut self, mount: Mount) -> Result<(), VfsError> {
        if self.0.iter().any(|other| other.point == mount.point) {
            return Err(VfsError::Exists);
        }
        if MAX_MOUNTS <= self.0.len() {
            return Err(VfsError::NoSpace);
        }
        let length = mount.point.as_str().len();
        let at = self.0.partition_point(|other| length < other.point.as_str().len());
        self.0.insert(at, Arc::new(mount));
        Ok(())
    }

    pub(super) fn remove(&mut self, point: &VfsPath) -> Result<(), VfsError> {
        let at = self.0.iter().position(|mount| mount.point == *point).ok_or(VfsError::NotFound)?;
        self.0.remove(at);
        Ok(())
    }

    /// Every mount point and what is permitted there in one word, in ascending order.
    pub(super) fn points(&self) -> Vec<(VfsPath, &'static str)> {
        let mut points: Vec<_> =
            self.0.iter().map(|mount| (mount.point.clone(), mount.access.name())).collect();
        points.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        points
    }

    /// The longest mount point at or above `path` wins, by whole segments.
    pub(super) fn locate<'a>(&self, path: &'a VfsPath) -> Place<'a> {
        let mut junction = false;
        for mount in &self.0 {
            if path.as_str().len() < mount.point.as_str().len() {
                junction = junction || mount.point.below(path).is_some();
            } else if let Some(relative) = RelPath::below(path, &mount.point) {
                if junction || relative.is_root() {
                    return Place::Junction(Some((Arc::clone(mount), relative)));
                }
                return Place::Inside(Arc::clone(mount), relative);
            }
        }
        if junction || path.name().is_none() { Place::Junction(None) } else { Place::Nowhere }
    }

    /// The names directly in `directory` that lead to mount points.
    pub(super) fn names_in(&self, directory: &VfsPath) -> BTreeSet<String> {
        let below = self.0.iter().filter_map(|mount| RelPath::below(&mount.point, directory));
        below.filter_map(|path| path.segments().next().map(str::to_owned)).collect()
    }
}
