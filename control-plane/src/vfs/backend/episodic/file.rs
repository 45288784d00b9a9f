//! One episode, as a file.

use agent_primitives::{AgentId, LabelSet, Timestamp};
use emk::episode::{Document, Episode};

use super::super::{RelPath, Stat, Version, VfsError, Write};

/// Longest episode in bytes.
pub const MAX_EPISODE_BYTES: usize = 64 << 10;

/// What is known of a file without reading it.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// Its position in the ledger.
    pub(super) seq: u64,
    pub(super) version: Version,
    pub(super) size: u64,
    pub(super) labels: LabelSet,
}

impl File {
    pub(super) fn of(seq: u64, episode: &Episode) -> Self {
        let size = episode.document().map_or(0, |document| document.text.len() as u64);
        Self {
            seq,
            version: Version::of_digest(episode.content_id()),
            size,
            labels: episode.labels().clone(),
        }
    }

    pub(super) fn stat(&self) -> Stat {
        Stat::file(self.size, self.version, self.labels.clone())
    }
}

/// Whether a file of episodes can have this name.
pub(super) fn is_name(name: &str) -> bool {
    !name.contains('/') && name.strip_suffix(".json").is_some_and(|stem| !stem.is_empty())
}

/// The episode that is written.
///
/// # Errors
/// `TooLarge`; `InvalidPath` when the name or the content is none of an episode.
pub(super) fn episode(
    path: RelPath<'_>,
    write: &Write,
    agent: AgentId,
    now: Timestamp,
) -> Result<Episode, VfsError> {
    if MAX_EPISODE_BYTES < write.data.len() {
        return Err(VfsError::TooLarge);
    }
    if !is_name(path.as_str()) {
        return Err(VfsError::InvalidPath);
    }
    let text = std::str::from_utf8(&write.data).map_err(|_| VfsError::InvalidPath)?.to_owned();
    let document = Document { name: path.as_str().to_owned(), text };
    let episode = Episode::from_document(agent, now, document).map_err(|_| VfsError::InvalidPath)?;
    episode.labels(write.labels.clone()).build().map_err(|_| VfsError::InvalidPath)
}
