//! The labels of a file or folder, kept in an extended attribute of it: they are as durable as it is, move with it when it
//! is renamed, and go with it.

use std::os::fd::AsFd;

use agent_primitives::{Label, LabelSet};

use crate::vfs::VfsError;

/// The attribute that holds the labels, separated by commas.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
const ATTRIBUTE: &str = "user.agentos.labels";

/// Longest attribute in bytes, which is Linux's own bound. Many file systems hold less.
const MAX_STORED: usize = 64 << 10;

/// What most attributes fit in.
const USUAL: usize = 512;

/// What `file` carries; nothing if it has no such attribute, as what the host has put there.
///
/// # Errors
/// `Backend` when there is something else in the attribute. What it was meant to say cannot be known.
pub(super) fn load(file: impl AsFd) -> Result<LabelSet, VfsError> {
    let stored = match attribute::get(&file, &mut [0; USUAL])? {
        attribute::Got::TooLong => match attribute::get(&file, &mut vec![0; MAX_STORED])? {
            attribute::Got::TooLong => return Err(VfsError::Backend),
            got => got,
        },
        got => got,
    };
    match stored {
        attribute::Got::Bytes(bytes) => decoded(&bytes),
        _ => Ok(LabelSet::EMPTY),
    }
}

/// Has `file`, which carries nothing yet, carry `labels`.
///
/// # Errors
/// `NotSupported` when the file system keeps no such attributes; `TooManyLabels` or `NoSpace` when it has no room for this
/// one. Never fewer labels than asked for.
pub(super) fn store(file: impl AsFd, labels: &LabelSet) -> Result<(), VfsError> {
    if labels.is_empty() {
        return Ok(());
    }
    let words: Vec<&str> = labels.iter().map(Label::as_str).collect();
    let text = words.join(",");
    if MAX_STORED < text.len() {
        return Err(VfsError::TooManyLabels);
    }
    attribute::set(file, text.as_bytes())
}

fn decoded(bytes: &[u8]) -> Result<LabelSet, VfsError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, "the labels of a file in a folder of the host cannot be read");
        VfsError::Backend
    };
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let labels: Result<Vec<Label>, _> = text.split(',').map(str::parse).collect();
    LabelSet::new(labels.map_err(|error| unreadable(&error))?).map_err(|error| unreadable(&error))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod attribute {
    use std::os::fd::AsFd;

    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    use rustix::io::Errno;

    use super::ATTRIBUTE;
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

    pub(super) fn get(file: impl AsFd, buffer: &mut [u8]) -> Result<Got, VfsError> {
        match fgetxattr(file, ATTRIBUTE, &mut *buffer) {
            Ok(length) => Ok(Got::Bytes(buffer.get(..length).unwrap_or_default().to_vec())),
            // A file system without attributes holds none, so nothing that was stored is lost.
            Err(ABSENT | Errno::NOTSUP | Errno::NOSYS) => Ok(Got::Nothing),
            Err(Errno::RANGE) => Ok(Got::TooLong),
            Err(error) => Err(classify(&error.into())),
        }
    }

    pub(super) fn set(file: impl AsFd, value: &[u8]) -> Result<(), VfsError> {
        fsetxattr(file, ATTRIBUTE, value, XattrFlags::empty()).map_err(|error| match error {
            Errno::NOTSUP | Errno::NOSYS => VfsError::NotSupported,
            Errno::TOOBIG | Errno::RANGE => VfsError::TooManyLabels,
            error => classify(&error.into()),
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
mod attribute {
    use std::os::fd::AsFd;

    use crate::vfs::VfsError;

    pub(super) enum Got {
        Bytes(Vec<u8>),
        Nothing,
        TooLong,
    }

    pub(super) fn get(_: impl AsFd, _: &mut [u8]) -> Result<Got, VfsError> {
        Ok(Got::Nothing)
    }

    pub(super) fn set(_: impl AsFd, _: &[u8]) -> Result<(), VfsError> {
        Err(VfsError::NotSupported)
    }
}
