//! The file service: an agent's tree, reachable by permit only.

use agent_primitives::LabelSet;

use crate::call::{Change, Reply};
use crate::error::CallError;
use crate::policy::permit::Permit;
use crate::policy::request::{CloseFile, How, OpenFile, ReadFile, WriteFile};
use crate::vfs::namespace::snapshot::{Kept, Opened};
use crate::vfs::{Descriptor, Mount, Namespace, PathError, Quota, VfsError, VfsPath, WriteMode};

/// The tree of one agent. The namespace inside is private to this module, so no file is touched without a permit.
#[derive(Debug)]
pub(crate) struct Files(Namespace);

impl Files {
    /// A tree with these mounts.
    pub(crate) fn new(mounts: impl IntoIterator<Item = Mount>) -> Result<Self, PathError> {
        let tree = Namespace::new();
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

    /// The files below `folder`, the open ones and what `meanwhile` answers, all of one moment. For the kernel, which hands
    /// none of it to the agent but as a file of its own.
    pub(crate) async fn picture<T>(
        &self,
        folder: &VfsPath,
        most: Quota,
        meanwhile: impl Fn() -> T,
    ) -> Result<(Vec<Kept>, Vec<Opened>, T), PathError> {
        let look = || Ok((self.0.open_files()?, meanwhile()));
        let (files, (open, other)) = self.0.picture(folder, most, look).await?;
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
        self.0.keep(folder, file, most, is_ours).await
    }

    /// The files that the kernel keeps in a folder.
    pub(crate) async fn kept(&self, folder: &VfsPath, most: Quota) -> Result<Vec<Kept>, PathError> {
        Ok(self.0.picture(folder, most, || Ok(())).await?.0)
    }

    /// Puts back what a checkpoint holds, at the host's word.
    pub(crate) async fn put_back(&self, path: &VfsPath, file: Kept) -> Result<(), PathError> {
        self.0.put_back(path, file).await
    }

    /// Opens again what a checkpoint says was open, at the host's word.
    pub(crate) async fn open_again(&self, open: &Opened) -> Result<Descriptor, PathError> {
        self.0.open_again(open).await
    }

    /// The open files; one that is in use at its position is left out.
    pub(crate) fn open_files(&self) -> Result<Vec<Opened>, VfsError> {
        self.0.open_files()
    }

    pub(crate) fn mounted(&self) -> Vec<(VfsPath, &'static str)> {
        self.0.mounted()
    }

    pub(crate) async fn read(&self, permit: Permit<ReadFile>) -> Result<Reply, CallError> {
        let ReadFile { path, descriptor, offset, length } = permit.redeem();
        let read = match descriptor {
            Some(descriptor) => self.0.read_open(descriptor, offset, length).await?,
            None => self.0.read(&path, offset.unwrap_or(0), length).await?,
        };
        Ok(Reply::Data { data: read.bytes, version: read.version, labels: read.labels })
    }

    /// `labels` is what the agent's data carries.
    pub(crate) async fn write(
        &self,
        permit: Permit<WriteFile>,
        labels: LabelSet,
    ) -> Result<Reply, CallError> {
        let WriteFile { path, how, data } = permit.redeem();
        let bytes = data.len() as u64;
        let (mode, expected) = match how {
            How::Descriptor { descriptor, offset } => {
                let written = self.0.write_open(descriptor, offset, data, labels).await?;
                return Ok(Reply::Written { bytes, version: Some(written.version) });
            }
            How::Path { change: Change::Remove, expected } => {
                self.0.remove(&path, expected).await?;
                return Ok(Reply::Written { bytes, version: None });
            }
            How::Path { change: Change::Replace, expected } => (WriteMode::Replace, expected),
            How::Path { change: Change::Append, expected } => (WriteMode::Append, expected),
            How::Path { change: Change::CreateNew, expected } => (WriteMode::CreateNew, expected),
        };
        let written = self.0.write(&path, mode, data, labels, expected).await?;
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
