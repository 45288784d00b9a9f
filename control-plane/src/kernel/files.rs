//! The file service: an agent's tree, reachable by permit only.

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{LabelSet, Timer, Timestamp};

use super::ipc::Messages;
use super::search::Dive;
use crate::call::{Change, Reply};
use crate::error::CallError;
use crate::ipc::{self, Port};
use crate::policy::permit::Permit;
use crate::policy::request::{CloseFile, How, OpenFile, ReadFile, WriteFile};
use crate::vfs::namespace::snapshot::{Kept, Opened};
use crate::vfs::{Descriptor, Mount, Namespace, PathError, Quota, VfsError, VfsPath, WriteMode};

/// The tree of one agent. What is inside is private to this module, so no file is touched without a permit, and no message
/// sent or taken.
#[derive(Debug)]
pub(crate) struct Files {
    tree: Namespace,
    messages: Messages,
}

impl Files {
    /// A tree with the standard mounts and those of the host.
    pub(crate) fn new(
        standard: impl IntoIterator<Item = Mount>,
        mounts: impl IntoIterator<Item = Mount>,
        port: Port,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, PathError> {
        let tree = Namespace::new().timer(timer);
        standard.into_iter().try_for_each(|mount| tree.mount(mount))?;
        let files = Self { tree, messages: Messages::new(port) };
        mounts.into_iter().try_for_each(|mount| files.mount(mount))?;
        Ok(files)
    }

    /// Lets others send messages to the agent, whose name carries `labels`.
    pub(crate) fn open_inbox(&self, labels: LabelSet) {
        self.messages.open_inbox(labels);
    }

    /// Adds a mount, on the host's word. Where messages are there can be no store.
    pub(crate) fn mount(&self, mount: Mount) -> Result<(), PathError> {
        if ipc::is_reserved(mount.point()) {
            return Err(PathError::at(mount.point(), VfsError::Exists));
        }
        self.tree.mount(mount)
    }

    /// The path a descriptor was opened with: what a call on it is judged on.
    pub(crate) fn path_of(&self, descriptor: Descriptor) -> Result<VfsPath, PathError> {
        self.tree.opened(descriptor).map(|(path, _flags)| path)
    }

    /// Takes a mount away, on the host's word.
    pub(crate) fn unmount(&self, point: &VfsPath) -> Result<(), PathError> {
        if ipc::is_reserved(point) {
            return Err(PathError::at(point, VfsError::AccessDenied));
        }
        self.tree.unmount(point)
    }

    /// Lets go of every message, descriptor and mount, at the agent's end.
    pub(crate) fn close_all(&self) {
        self.messages.close_all();
        self.tree.close_all();
        self.tree.unmount_all();
    }

    /// The files below `folder`, the open ones and what `meanwhile` answers, all of one moment. For the kernel, which hands
    /// none of it to the agent but as a file of its own.
    pub(crate) async fn picture<T>(
        &self,
        folder: &VfsPath,
        most: Quota,
        meanwhile: impl Fn() -> T,
    ) -> Result<(Vec<Kept>, Vec<Opened>, T), PathError> {
        let look = || Ok((self.tree.open_files()?, meanwhile()));
        let (files, (open, other)) = self.tree.picture(folder, most, look).await?;
        Ok((files, open, other))
    }

    /// Keeps a file of the kernel's where the agent can only read.
    pub(crate) async fn keep(
        &self,
        folder: &VfsPath,
        file: Kept,
        most: Quota,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<(), PathError> {
        self.tree.keep(folder, file, most, is_ours).await
    }

    /// The files that the kernel keeps in a folder.
    pub(crate) async fn kept(&self, folder: &VfsPath, most: Quota) -> Result<Vec<Kept>, PathError> {
        Ok(self.tree.picture(folder, most, || Ok(())).await?.0)
    }

    /// Puts back what a checkpoint holds, at the host's word.
    pub(crate) async fn put_back(&self, path: &VfsPath, file: Kept) -> Result<(), PathError> {
        self.tree.put_back(path, file).await
    }

    /// Opens again what a checkpoint says was open, at the host's word.
    pub(crate) async fn open_again(&self, open: &Opened) -> Result<Descriptor, PathError> {
        self.tree.open_again(open).await
    }

    /// The open files; one that is in use at its position is left out.
    pub(crate) fn open_files(&self) -> Result<Vec<Opened>, VfsError> {
        self.tree.open_files()
    }

    pub(crate) fn mounted(&self) -> Vec<(VfsPath, &'static str)> {
        self.tree.mounted()
    }

    pub(crate) async fn read(&self, permit: Permit<ReadFile>) -> Result<Reply, CallError> {
        if let Some(name) = ipc::named_by(&permit.request().path) {
            return self.messages.read(&self.tree, &name, permit).await;
        }
        let ReadFile { path, descriptor, offset, length, nonblock: _, query: _ } = permit.redeem();
        let read = match descriptor {
            Some(descriptor) => self.tree.read_open(descriptor, offset, length).await?,
            None => self.tree.read(&path, offset.unwrap_or(0), length).await?,
        };
        Ok(Reply::Data { data: read.bytes, version: read.version, labels: read.labels })
    }

    /// Leaves in `dive` what is found at its depth.
    pub(crate) async fn search(&self, dive: &Dive) -> Result<Reply, CallError> {
        let (found, more) = self.tree.search_to(dive.directory(), dive.text(), dive.depth()).await?;
        dive.put(found, more);
        Ok(Reply::Done)
    }

    /// `labels` is what the agent's data carries, `now` when it writes.
    pub(crate) async fn write(
        &self,
        permit: Permit<WriteFile>,
        labels: LabelSet,
        now: Timestamp,
    ) -> Result<Reply, CallError> {
        if let Some(name) = ipc::named_by(&permit.request().path) {
            return self.messages.send(&self.tree, &name, permit, labels);
        }
        let WriteFile { path, how, data } = permit.redeem();
        let bytes = data.len() as u64;
        let (mode, expected, ttl) = match how {
            How::Descriptor { descriptor, offset } => {
                let written = self.tree.write_open(descriptor, offset, data, labels).await?;
                return Ok(Reply::Written { bytes, version: Some(written.version) });
            }
            How::Path { change: Change::Remove, expected, .. } => {
                self.tree.remove(&path, expected).await?;
                return Ok(Reply::Written { bytes, version: None });
            }
            How::Path { change: Change::Replace, expected, ttl } => (WriteMode::Replace, expected, ttl),
            How::Path { change: Change::Append, expected, ttl } => (WriteMode::Append, expected, ttl),
            How::Path { change: Change::CreateNew, expected, ttl } => (WriteMode::CreateNew, expected, ttl),
        };
        let expires = ttl.map(|ttl| after(now, ttl));
        let written = self.tree.write_until(&path, mode, data, labels, expected, expires).await?;
        Ok(Reply::Written { bytes, version: Some(written.version) })
    }

    /// `labels` is what the name of a file that this creates carries.
    pub(crate) async fn open(&self, permit: Permit<OpenFile>, labels: LabelSet) -> Result<Reply, CallError> {
        if let Some(name) = ipc::named_by(&permit.request().path) {
            return self.messages.open(&self.tree, &name, permit, labels).await;
        }
        let OpenFile { path, flags } = permit.redeem();
        Ok(Reply::Opened(self.tree.open(&path, flags, labels).await?))
    }

    pub(crate) fn close(&self, permit: Permit<CloseFile>) -> Result<Reply, CallError> {
        let descriptor = permit.redeem().descriptor;
        self.tree.close(descriptor)?;
        self.messages.closed(descriptor);
        Ok(Reply::Done)
    }
}

/// The moment `wait` after `now`; the end of time if it lies beyond that.
fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_add(wait))
}
