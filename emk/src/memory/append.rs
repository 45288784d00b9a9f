//! Remembering.

use agent_primitives::Digest;

use super::state::State;
use super::tokens::Tokens;
use super::{DedupPolicy, EpisodicMemory, MemoryError};
use crate::episode::{Episode, Source};
use crate::{Appended, EntryKind, LedgerError};

/// Where an episode went.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stored {
    /// Its position in the ledger.
    pub seq: u64,
    /// Its content id.
    pub content_id: Digest,
    /// The hash of its record.
    pub hash: Digest,
    /// An earlier episode of the agent that says nearly the same: its position, and the share of tokens that both have.
    pub near_duplicate_of: Option<(u64, f64)>,
}

impl EpisodicMemory {
    /// Remembers an episode. Never waits for a disk; it is durable when [`EpisodicMemory::durable`] says so.
    ///
    /// What it points to has to be there already, so causes are earlier and no circle can come to be. Its timestamp may be
    /// before that of earlier ones: the position is the order.
    ///
    /// # Errors
    /// Nothing was written: `Duplicate`, `UnknownCause`, `SelfCause`, `Recalled`, `NearDuplicate` if such are refused,
    /// `Full`, or `Ledger`.
    pub fn append(&self, episode: &Episode) -> Result<Stored, MemoryError> {
        let options = &self.0.options;
        if episode.source() == Source::Recalled && !options.accept_recalled {
            return Err(MemoryError::Recalled);
        }
        // What takes time is done before the lock.
        let (body, tokens) = (episode.as_bytes(), Tokens::of_episode(episode));
        let mut guard = self.state_mut();
        let state: &mut State = &mut guard;
        if let Some(seq) = state.find(&episode.content_id()) {
            return Err(MemoryError::Duplicate { seq });
        }
        state.admit(options)?;
        let pointers = state.pointers(self.0.ledger.head().count, episode)?;
        let agent = state.number_of(episode.agent());
        let near = state.windows.nearest(agent, &tokens, options.near_threshold);
        if let Some((seq, jaccard)) = near.filter(|_| options.dedup == DedupPolicy::Refuse) {
            return Err(MemoryError::NearDuplicate { seq, jaccard });
        }
        let appended = self.0.ledger.append_hashed(EntryKind::Episode, episode.content_id(), body)?;
        state.take_episode(appended.seq, body.len(), episode, pointers, Some(tokens));
        Ok(Stored {
            seq: appended.seq,
            content_id: appended.content_id,
            hash: appended.hash,
            near_duplicate_of: near,
        })
    }

    /// Appends a record; waits for the disk where the buffer is full. For work of many records.
    pub(super) fn append_patiently(&self, kind: EntryKind, body: &[u8]) -> Result<Appended, LedgerError> {
        match self.0.ledger.append(kind, body) {
            Err(LedgerError::Full { .. }) => {
                self.0.ledger.flush()?;
                self.0.ledger.append(kind, body)
            }
            appended => appended,
        }
    }

    /// Waits until the record `seq`, and so every record before it, is durable. Needs no runtime.
    ///
    /// # Errors
    /// `Ledger`.
    ///
    /// # Cancel safety
    /// As [`crate::Ledger::durable`]: dropping the future only forgets the wait.
    pub async fn durable(&self, seq: u64) -> Result<(), MemoryError> {
        Ok(self.0.ledger.durable(seq).await?)
    }
}
