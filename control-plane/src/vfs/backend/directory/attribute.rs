//! Extended attributes of a file or folder of the host: they are as durable as it is, move with it when it is renamed, and
//! go with it.

use std::os::fd::AsFd;

use crate::vfs::VfsError;

/// Longest attribute in bytes, which is Linux's own bound. Many file systems hold less.
pub(super) const MAX_STORED: usize = 64 << 10;

/// What most attributes fit in.
const USUAL: usize = 512;

/// The attribute `name` of `file`, if it has one. A file system without attributes holds none, so nothing that was stored
/// is lost.
pub(super) fn get(file: impl AsFd, name: &str) -> Result<Option<Vec<u8>>, VfsError> {
    match host::get(&file, name, &mut [0; USUAL])? {
        host::Got::TooLong => match host::get(&file, name, &mut vec![0; MAX_STORED])? {
            host::Got::TooLong => Err(VfsError::Backend),
            host::Got::Bytes(bytes) => Ok(Some(bytes)),
            host::Got::Nothing => Ok(None),
        },
        host::Got::Bytes(bytes) => Ok(Some(bytes)),
        host::Got::Nothing => Ok(None),
    }
}

pub(super) use host::set;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod host {
    use std::os::fd::AsFd;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    use rustix::io::Errno;

    use crate::vfs::VfsError;
    use crate::vfs::backend::directory::error::classify;

    #[cfg(target_vendor = "apple")]
    const ABSENT: Errno = Errno::NOATTR;
    #[cfg(not(target_vendor = "apple"))]
    const ABSENT: Errno = Errno::NODATA;

    pub(super) enum Got {
        Bytes(Vec<u8>),
        Nothing,
        TooLong,
    }

    pub(super) fn get(file: impl AsFd, name: &str, buffer: &mut [u8]) -> Result<Got, VfsError> {
        match fgetxattr(file, name, &mut *buffer) {
            Ok(length) => Ok(Got::Bytes(buffer.get(..length).unwrap_or_default().to_vec())),
            Err(ABSENT | Errno::NOTSUP | Errno::NOSYS) => Ok(Got::Nothing),
            Err(Errno::RANGE) => Ok(Got::TooLong),
            Err(error) => Err(classify(&error.into())),
        }
    }

    /// # Errors
    /// `NotSupported` when the file system keeps no such attributes; `TooManyLabels` or `NoSpace` when it has no room for
    /// this one.
    pub(in super::super) fn set(file: impl AsFd, name: &str, value: &[u8]) -> Result<(), VfsError> {
        fsetxattr(file, name, value, XattrFlags::empty()).map_err(|error| match error {
            Errno::NOTSUP | Errno::NOSYS => VfsError::NotSupported,
            Errno::TOOBIG | Errno::RANGE => VfsError::TooManyLabels,
            error => classify(&error.into()),
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod host {
    use std::os::fd::AsFd;

    use crate::vfs::VfsError;

    pub(super) enum Got {
        Bytes(Vec<u8>),
        Nothing,
        TooLong,
    }

    pub(super) fn get(_: impl AsFd, _: &str, _: &mut [u8]) -> Result<Got, VfsError> {
        Ok(Got::Nothing)
    }

    pub(in super::super) fn set(_: impl AsFd, _: &str, _: &[u8]) -> Result<(), VfsError> {
        Err(VfsError::NotSupported)
    }
}
