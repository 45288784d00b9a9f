//! The file service: an agent's tree, reachable by permit only.

use agent_primitives::LabelSet;

use super::ipc::Messages;
use crate::call::{Change, Reply};
use crate::error::CallError;
use crate::ipc::{self, Port};
use crate::policy::permit::Permit;
use crate::policy::request::{CloseFile, How, OpenFile, ReadFile, WriteFile};
use crate::vfs::{Descriptor, Mount, Namespace, PathError, VfsError, VfsPath, WriteMode};

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
    ) -> Result<Self, PathError> {
        let tree = Namespace::new();
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

    pub(crate) async fn read(&self, permit: Permit<ReadFile>) -> Result<Reply, CallError> {
        if let Some(name) = ipc::named_by(&permit.request().path) {
            return self.messages.read(&self.tree, &name, permit).await;
        }
        let ReadFile { path, descriptor, offset, length, nonblock: _ } = permit.redeem();
        let read = match descriptor {
            Some(descriptor) => self.tree.read_open(descriptor, offset, length).await?,
            None => self.tree.read(&path, offset.unwrap_or(0), length).await?,
        };
        Ok(Reply::Data { data: read.bytes, version: read.version, labels: read.labels })
    }

    /// `labels` is what the agent's data carries.
    pub(crate) async fn write(
        &self,
        permit: Permit<WriteFile>,
        labels: LabelSet,
    ) -> Result<Reply, CallError> {
        if let Some(name) = ipc::named_by(&permit.request().path) {
            return self.messages.send(&self.tree, &name, permit, labels);
        }
        let WriteFile { path, how, data } = permit.redeem();
        let bytes = data.len() as u64;
        let (mode, expected) = match how {
            How::Descriptor { descriptor, offset } => {
                let written = self.tree.write_open(descriptor, offset, data, labels).await?;
                return Ok(Reply::Written { bytes, version: Some(written.version) });
            }
            How::Path { change: Change::Remove, expected } => {
                self.tree.remove(&path, expected).await?;
                return Ok(Reply::Written { bytes, version: None });
            }
            How::Path { change: Change::Replace, expected } => (WriteMode::Replace, expected),
            How::Path { change: Change::Append, expected } => (WriteMode::Append, expected),
            How::Path { change: Change::CreateNew, expected } => (WriteMode::CreateNew, expected),
        };
        let written = self.tree.write(&path, mode, data, labels, expected).await?;
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
