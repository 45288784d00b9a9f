//! When a file ceases to exist, kept in an extended attribute of it.

use std::os::fd::AsFd;

use agent_primitives::Timestamp;

use super::attribute;
use crate::vfs::VfsError;

/// The attribute that holds the end, in microseconds since 1970 as decimal text.
const ATTRIBUTE: &str = "user.agentos.expires";

/// When `file` ends; never, if it has no such attribute.
///
/// # Errors
/// `Backend` when there is something else in the attribute.
pub(super) fn load(file: impl AsFd) -> Result<Option<Timestamp>, VfsError> {
    let Some(bytes) = attribute::get(file, ATTRIBUTE)? else { return Ok(None) };
    let micros = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    let micros = micros.ok_or_else(|| {
        tracing::warn!("the end of a file in a folder of the host cannot be read");
        VfsError::Backend
    })?;
    Ok(Some(Timestamp::from_micros(micros)))
}

/// Has `file`, which has no end yet, end at `end`.
///
/// # Errors
/// `NotSupported` when the file system keeps no such attributes; `NoSpace` when it has no room for this one.
pub(super) fn store(file: impl AsFd, end: Option<Timestamp>) -> Result<(), VfsError> {
    let Some(end) = end else { return Ok(()) };
    match attribute::set(file, ATTRIBUTE, end.as_micros().to_string().as_bytes()) {
        Err(VfsError::TooManyLabels) => Err(VfsError::NoSpace),
        stored => stored,
    }
}
