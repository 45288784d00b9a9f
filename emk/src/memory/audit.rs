//! What a memory is full of.

use std::collections::HashSet;

use agent_primitives::Digest;
use agent_primitives::redact::redact_text;

use super::near::Windows;
use super::state::State;
use super::tokens::Tokens;
use super::{EpisodicMemory, Found, MemoryError, PROGRESS_EVERY};
use crate::episode::{Episode, Source};

const SAME: &str = "agent-os emk same texts v1";

/// Counts over the episodes that are neither erased nor hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// All of them.
    pub episodes: u64,
    /// Those that say word for word what an earlier one says.
    pub exact_duplicates: u64,
    /// Those that say nearly what one of the last 64 before it of its agent says, word for word included.
    pub near_duplicates: u64,
    /// Those that were recalled and came back as news.
    pub recalled: u64,
    /// Those with a secret of a known shape in them.
    pub secrets: u64,
    /// Those that were never retrieved since the memory was opened.
    pub never_retrieved: u64,
}

impl Audit {
    /// The share of a count; 0 where there are no episodes.
    #[must_use]
    pub fn rate(&self, count: u64) -> f64 {
        if self.episodes == 0 { 0.0 } else { count as f64 / self.episodes as f64 }
    }
}

impl EpisodicMemory {
    /// Reads all episodes and counts what is wrong with them. Keeps 32 bytes for each meanwhile. `progress` hears the number
    /// of episodes read. Blocks on the store.
    ///
    /// # Errors
    /// `Ledger`; `Unusable`.
    pub fn audit(&self, mut progress: impl FnMut(u64)) -> Result<Audit, MemoryError> {
        let threshold = self.0.options.near_threshold;
        let (mut audit, mut said, mut windows) = (Audit::default(), HashSet::new(), Windows::default());
        for found in self.episodes(0) {
            let (seq, Found::Episode(episode)) = found? else { continue };
            audit.episodes += 1;
            // Between two texts stands what no text of one character run can imitate: its length.
            let framed: Vec<u8> = episode
                .texts()
                .iter()
                .flat_map(|text| (text.len() as u64).to_le_bytes().into_iter().chain(text.bytes()))
                .collect();
            audit.exact_duplicates += u64::from(!said.insert(Digest::of(SAME, &framed)));
            audit.recalled += u64::from(episode.source() == Source::Recalled);
            audit.secrets += u64::from(has_secret(&episode));
            let state = self.state();
            let slot = state.slot(seq);
            audit.never_retrieved += u64::from(slot.is_some_and(|slot| State::accesses(slot) == 0));
            drop(state);
            let agent = self.state_mut().number_of(episode.agent());
            let tokens = Tokens::of_episode(&episode);
            audit.near_duplicates += u64::from(windows.nearest(agent, &tokens, threshold).is_some());
            windows.push_tokens(agent, seq, tokens);
            if audit.episodes.is_multiple_of(PROGRESS_EVERY) {
                progress(audit.episodes);
            }
        }
        progress(audit.episodes);
        Ok(audit)
    }
}

fn has_secret(episode: &Episode) -> bool {
    let metadata = serde_json::Value::Object(episode.metadata().clone());
    let clean = agent_primitives::redact::redact(metadata.clone());
    let reason = episode.failure().map_or("", |failure| &failure.reason);
    let document = episode.document().map_or("", |document| &document.text);
    let texts = episode.texts().into_iter().chain([reason, document]);
    clean != metadata || texts.into_iter().any(|text| redact_text(text) != text)
}
