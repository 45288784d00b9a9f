//! The file service: an agent's tree, reachable by permit only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_primitives::{LabelSet, Timer, Timestamp};
use bytes::Bytes;
use serde::Serialize;

use crate::call::{Change, Reply};
use crate::error::CallError;
use crate::policy::permit::Permit;
use crate::policy::request::{CloseFile, How, OpenFile, ReadFile, WriteFile};
use crate::vfs::{Descriptor, Found, Mount, Namespace, PathError, VfsError, VfsPath, WriteMode};

/// The tree of one agent. The namespace inside is private to this module, so no file is touched without a permit.
#[derive(Debug)]
pub(crate) struct Files(Namespace);

impl Files {
    /// A tree with these mounts.
    pub(crate) fn new(
        mounts: impl IntoIterator<Item = Mount>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, PathError> {
        let tree = Namespace::new().timer(timer);
        mounts.into_iter().try_for_each(|mount| tree.mount(mount))?;
        Ok(Self(tree))
    }

    /// Adds a mount, on the host's word.
    pub(crate) fn mount(&self, mount: Mount) -> Result<(), PathError> {
        self.0.mount(mount)
    }

    /// The path a descriptor was opened with: what a call on it is judged on.
    pub(crate) fn path_of(&self, descriptor: Descriptor) -> Result<VfsPath, PathError> {
        self.0.opened(descriptor).map(|(path, _flags)| path)
    }

    /// Takes a mount away, on the host's word.
    pub(crate) fn unmount(&self, point: &VfsPath) -> Result<(), PathError> {
        self.0.unmount(point)
    }

    /// Lets go of every descriptor and mount, at the agent's end.
    pub(crate) fn close_all(&self) {
        self.0.close_all();
        self.0.unmount_all();
    }

    pub(crate) async fn read(&self, permit: Permit<ReadFile>) -> Result<Reply, CallError> {
        let ReadFile { path, descriptor, offset, length, query: _ } = permit.redeem();
        let read = match descriptor {
            Some(descriptor) => self.0.read_open(descriptor, offset, length).await?,
            None => self.0.read(&path, offset.unwrap_or(0), length).await?,
        };
        Ok(Reply::Data { data: read.bytes, version: read.version, labels: read.labels })
    }

    /// Leaves in `hits` what the search found.
    pub(crate) async fn search(&self, permit: Permit<ReadFile>, hits: &Hits) -> Result<Reply, CallError> {
        let ReadFile { path, offset, length, query, .. } = permit.redeem();
        let Some(query) = query else { return Ok(Reply::Done) };
        let found = self.0.search(&path, query.text(), query.limit()).await?;
        hits.put(found, offset.unwrap_or(0), length);
        Ok(Reply::Done)
    }

    /// `labels` is what the agent's data carries, `now` when it writes.
    pub(crate) async fn write(
        &self,
        permit: Permit<WriteFile>,
        labels: LabelSet,
        now: Timestamp,
    ) -> Result<Reply, CallError> {
        let WriteFile { path, how, data } = permit.redeem();
        let bytes = data.len() as u64;
        let (mode, expected, ttl) = match how {
            How::Descriptor { descriptor, offset } => {
                let written = self.0.write_open(descriptor, offset, data, labels).await?;
                return Ok(Reply::Written { bytes, version: Some(written.version) });
            }
            How::Path { change: Change::Remove, expected, .. } => {
                self.0.remove(&path, expected).await?;
                return Ok(Reply::Written { bytes, version: None });
            }
            How::Path { change: Change::Replace, expected, ttl } => (WriteMode::Replace, expected, ttl),
            How::Path { change: Change::Append, expected, ttl } => (WriteMode::Append, expected, ttl),
            How::Path { change: Change::CreateNew, expected, ttl } => (WriteMode::CreateNew, expected, ttl),
        };
        let expires = ttl.map(|ttl| after(now, ttl));
        let written = self.0.write_until(&path, mode, data, labels, expected, expires).await?;
        Ok(Reply::Written { bytes, version: Some(written.version) })
    }

    /// `labels` is what the name of a file that this creates carries.
    pub(crate) async fn open(&self, permit: Permit<OpenFile>, labels: LabelSet) -> Result<Reply, CallError> {
        let OpenFile { path, flags } = permit.redeem();
        Ok(Reply::Opened(self.0.open(&path, flags, labels).await?))
    }

    pub(crate) fn close(&self, permit: Permit<CloseFile>) -> Result<Reply, CallError> {
        self.0.close(permit.redeem().descriptor)?;
        Ok(Reply::Done)
    }
}

/// The moment `wait` after `now`; the end of time if it lies beyond that.
fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(wait))
}

/// What a search found, before policy was asked about each of it.
#[derive(Debug, Default)]
pub(crate) struct Hits(Mutex<Option<(Vec<Found>, u64, u64)>>);

/// One line of what a search reads as.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    score: f64,
    text: &'a str,
}

impl Hits {
    fn put(&self, found: Vec<Found>, offset: u64, length: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((found, offset, length));
    }

    /// The hits that the agent may read, as lines, with the labels of all of them; the part that was asked for.
    ///
    /// # Errors
    /// They carry more labels than a value can.
    pub(crate) fn reply(&self, may_read: impl Fn(&VfsPath) -> bool) -> Result<Reply, CallError> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (found, offset, length) = taken.unwrap_or_default();
        let (mut text, mut labels) = (Vec::new(), LabelSet::EMPTY);
        for hit in found.iter().filter(|hit| may_read(&hit.path)) {
            labels = labels.join(&hit.labels)?;
            let line = Line { path: hit.path.as_str(), score: hit.score, text: &hit.text };
            let failed = |_error| PathError::at(&hit.path, VfsError::Backend);
            serde_json::to_writer(&mut text, &line).map_err(failed)?;
            text.push(b'\n');
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(text.len());
        let data = Bytes::from(text).slice(start..end);
        Ok(Reply::Data { data, version: None, labels })
    }
}
