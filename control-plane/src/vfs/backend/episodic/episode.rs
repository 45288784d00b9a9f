//! One episode, as it is written and as the ledger keeps it.

use agent_primitives::LabelSet;
use agent_primitives::json;
use agent_primitives::search::tokenise;
use serde::{Deserialize, Serialize};

use crate::vfs::{RelPath, VfsError};

/// Longest episode in bytes.
pub const MAX_EPISODE_BYTES: usize = 64 << 10;

/// The texts that every episode has, and is found by.
const TEXTS: [&str; 4] = ["goal", "action", "result", "reflection"];

/// The body of a record, encoded with postcard. New fields go to the end.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    pub(super) labels: LabelSet,
    /// The episode as it was written.
    pub(super) text: &'a str,
}

impl<'a> Stored<'a> {
    /// The episode `data`, under its name.
    ///
    /// # Errors
    /// `TooLarge`; `InvalidPath` when the name or the content is none of an episode.
    pub(super) fn new(path: RelPath<'a>, data: &'a [u8], labels: &LabelSet) -> Result<Self, VfsError> {
        if MAX_EPISODE_BYTES < data.len() {
            return Err(VfsError::TooLarge);
        }
        let name = path.as_str();
        let text = std::str::from_utf8(data).map_err(|_| VfsError::InvalidPath)?;
        if name.contains('/') || name.strip_suffix(".json").is_none_or(str::is_empty) {
            return Err(VfsError::InvalidPath);
        }
        let stored = Self { name, labels: labels.clone(), text };
        stored.words()?;
        Ok(stored)
    }

    /// # Errors
    /// `Backend` for bytes that are no episode.
    pub(super) fn decode(body: &'a [u8]) -> Result<Self, VfsError> {
        let stored: Self = postcard::from_bytes(body).map_err(|_| VfsError::Backend)?;
        let path = RelPath::parse(stored.name).map_err(|_| VfsError::Backend)?;
        Self::new(path, stored.text.as_bytes(), &stored.labels).map_err(|_| VfsError::Backend)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, VfsError> {
        postcard::to_stdvec(self).map_err(|_| VfsError::Backend)
    }

    /// The words of its texts.
    ///
    /// # Errors
    /// `InvalidPath` when it is no JSON object with these texts.
    pub(super) fn words(&self) -> Result<Vec<String>, VfsError> {
        let value =
            json::parse(self.text.as_bytes(), &json::Limits::DEFAULT).map_err(|_| VfsError::InvalidPath)?;
        let mut words = Vec::new();
        for text in TEXTS {
            let text = value.get(text).and_then(json::Value::as_str).ok_or(VfsError::InvalidPath)?;
            words.extend(tokenise(text));
        }
        Ok(words)
    }
}
