//! The labels of a file or folder, kept in an extended attribute of it.

use std::os::fd::AsFd;

use agent_primitives::{Label, LabelSet};

use super::attribute::{self, MAX_STORED};
use crate::vfs::VfsError;

/// The attribute that holds the labels, separated by commas.
const ATTRIBUTE: &str = "user.agentos.labels";

/// What `file` carries; nothing if it has no such attribute, as what the host has put there.
///
/// # Errors
/// `Backend` when there is something else in the attribute. What it was meant to say cannot be known.
pub(super) fn load(file: impl AsFd) -> Result<LabelSet, VfsError> {
    attribute::get(file, ATTRIBUTE)?.map_or(Ok(LabelSet::EMPTY), |bytes| decoded(&bytes))
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
    attribute::set(file, ATTRIBUTE, text.as_bytes())
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
