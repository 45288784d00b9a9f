//! Looking things up.

use agent_primitives::{Digest, Timestamp};

use super::state::State;
use super::valid;
use super::{Direction, EpisodicMemory, Link, MemoryError, Rule, Status};
use crate::episode::Episode;
use crate::ledger::Entries;
use crate::{Entry, EntryKind};

/// An episode or a rule.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a ledger holds no other thing that is remembered")]
pub enum Found {
    /// An episode.
    Episode(Box<Episode>),
    /// A rule.
    Rule(Box<Rule>),
}

impl EpisodicMemory {
    /// The episode at `seq`; `None` if it was erased or is hidden. Blocks on the store.
    ///
    /// # Errors
    /// `UnknownEpisode` if none stands there; `Ledger`; `Unusable`.
    pub fn get(&self, seq: u64) -> Result<Option<Episode>, MemoryError> {
        match self.found(seq, false)? {
            Some(Found::Episode(episode)) => Ok(Some(*episode)),
            Some(Found::Rule(_)) => Err(MemoryError::UnknownEpisode { seq }),
            None => Ok(None),
        }
    }

    /// The episode with this content id, and where it stands; `None` if there is none, it was erased or is hidden.
    ///
    /// # Errors
    /// `Ledger`; `Unusable`.
    pub fn get_by_id(&self, id: &Digest) -> Result<Option<(u64, Episode)>, MemoryError> {
        let Some(seq) = self.position(id) else { return Ok(None) };
        match self.found(seq, false)? {
            Some(Found::Episode(episode)) => Ok(Some((seq, *episode))),
            _ => Ok(None),
        }
    }

    /// The rule at `seq`; `None` if it was erased or is hidden.
    ///
    /// # Errors
    /// `UnknownEpisode` if none stands there; `Ledger`; `Unusable`.
    pub fn rule(&self, seq: u64) -> Result<Option<Rule>, MemoryError> {
        match self.found(seq, false)? {
            Some(Found::Rule(rule)) => Ok(Some(*rule)),
            Some(Found::Episode(_)) => Err(MemoryError::UnknownEpisode { seq }),
            None => Ok(None),
        }
    }

    /// What stands at `seq`, hidden or not, for whoever has to judge it; `None` if it was erased.
    ///
    /// # Errors
    /// As [`EpisodicMemory::get`].
    pub fn inspect(&self, seq: u64) -> Result<Option<Found>, MemoryError> {
        self.found(seq, true)
    }

    fn found(&self, seq: u64, hidden_too: bool) -> Result<Option<Found>, MemoryError> {
        let state = self.state();
        let slot = state.slot(seq).ok_or(MemoryError::UnknownEpisode { seq })?;
        if slot.is_erased() || !(hidden_too || state.is_visible(slot)) {
            return Ok(None);
        }
        drop(state);
        let entry = self.ledger().read(seq).next().ok_or(MemoryError::UnknownEpisode { seq })??;
        found(&entry)
    }

    /// Where the episode or rule with this content id stands, erased or not.
    #[must_use]
    pub fn position(&self, id: &Digest) -> Option<u64> {
        self.state().find(id)
    }

    /// What is known of the record at `seq` without reading it; `None` if no episode or rule stands there.
    #[must_use]
    pub fn status(&self, seq: u64) -> Option<Status> {
        self.state().status(seq)
    }

    /// How many episodes and rules there are, erased and hidden ones too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().slots.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The episodes and rules from position `from` on that are neither erased nor hidden, in order, read as they are asked
    /// for. Ends after the first error. Blocks on the store.
    #[must_use]
    pub fn episodes(&self, from: u64) -> Episodes {
        Episodes {
            memory: self.clone(),
            entries: Some(self.ledger().read(from.max(self.ledger().base().count))),
        }
    }

    /// Notes that these records were retrieved. Counts live beside the ledger and end with the process.
    pub fn touch(&self, seqs: impl IntoIterator<Item = u64>) {
        let mut state = self.state_mut();
        seqs.into_iter().for_each(|seq| state.touch(seq));
    }

    /// What led to the episode at `seq`, in the order in which it was named. Hidden ones are left out.
    ///
    /// # Errors
    /// `UnknownEpisode`.
    pub fn causes(&self, seq: u64) -> Result<Vec<u64>, MemoryError> {
        self.neighbours(seq, |state| state.graph.causes(seq).to_vec())
    }

    /// What the episode at `seq` led to, in the order of the ledger. Hidden ones are left out.
    ///
    /// # Errors
    /// `UnknownEpisode`.
    pub fn effects(&self, seq: u64) -> Result<Vec<u64>, MemoryError> {
        self.neighbours(seq, |state| state.graph.effects(seq).to_vec())
    }

    fn neighbours(&self, seq: u64, of: impl FnOnce(&State) -> Vec<u64>) -> Result<Vec<u64>, MemoryError> {
        let state = self.state();
        state.slot(seq).ok_or(MemoryError::UnknownEpisode { seq })?;
        Ok(of(&state).into_iter().filter(|&seq| is_shown(&state, seq)).collect())
    }

    /// What is at most `max_depth` steps from the episode at `seq`, itself included, each at its shortest depth, in the
    /// order of the ledger. Hidden ones are left out; what lies behind them is not.
    ///
    /// # Errors
    /// `UnknownEpisode`.
    pub fn chain(&self, seq: u64, direction: Direction, max_depth: u32) -> Result<Vec<Link>, MemoryError> {
        let state = self.state();
        let mut links = state.graph.chain(seq, direction, max_depth, |seq| state.slot(seq).is_some())?;
        links.retain(|link| is_shown(&state, link.seq));
        Ok(links)
    }

    /// The later records that correct or supersede the one at `seq`, in order. Hidden ones do not count.
    #[must_use]
    pub fn revised_by(&self, seq: u64) -> Vec<u64> {
        self.state().revisions(seq).map(|(later, _)| later).collect()
    }

    /// The records whose [`Status`] may change with that of the one at `seq`, in order: itself, what it revises, what it was
    /// made from, the rules made from it, and what else went into these. For whoever keeps an index of what stands.
    #[must_use]
    pub fn touched_by(&self, seq: u64) -> Vec<u64> {
        self.state().touched_by(seq)
    }

    /// Whether what the episode at `seq` says was true at `valid`, as far as was on record at `known`: time intervals are
    /// half open, one that supersedes ends an older one when it becomes true itself, one that corrects makes it never
    /// true. What is erased or hidden is not true at any time; a rule is no fact.
    #[must_use]
    pub fn holds(&self, seq: u64, valid: Timestamp, known: Timestamp) -> bool {
        let state = self.state();
        state.index_of(seq).is_some_and(|index| holds(&state, index, valid, known))
    }

    /// All episodes that [hold](EpisodicMemory::holds), in the order of the ledger.
    #[must_use]
    pub fn as_of(&self, valid: Timestamp, known: Timestamp) -> Vec<u64> {
        let state = self.state();
        let holding = (0..state.slots.len()).filter(|&index| holds(&state, index, valid, known));
        holding.filter_map(|index| state.slots.get(index)).map(|slot| slot.seq).collect()
    }
}

fn is_shown(state: &State, seq: u64) -> bool {
    state.slot(seq).is_some_and(|slot| !state.is_quarantined(slot))
}

fn holds(state: &State, index: usize, valid: Timestamp, known: Timestamp) -> bool {
    let Some(slot) = state.slots.get(index).filter(|slot| !slot.is_rule() && state.is_visible(slot)) else {
        return false;
    };
    let revisions = state.revisions(slot.seq).map(|(_, revised)| revised);
    valid::holds(State::fact(slot), revisions, valid, known)
}

/// What is in a record; `None` if it was erased.
pub(super) fn found(entry: &Entry) -> Result<Option<Found>, MemoryError> {
    let seq = entry.seq;
    match entry.kind {
        _ if entry.erased => Ok(None),
        EntryKind::Episode => {
            let episode = Episode::decode(&entry.body).map_err(|error| MemoryError::unusable(seq, error))?;
            Ok(Some(Found::Episode(Box::new(episode))))
        }
        EntryKind::Rule => Ok(Some(Found::Rule(Box::new(Rule::decode(seq, &entry.body)?)))),
        _ => Err(MemoryError::UnknownEpisode { seq }),
    }
}

/// Episodes and rules in order; ends after the first error.
#[derive(Debug)]
pub struct Episodes {
    memory: EpisodicMemory,
    entries: Option<Entries>,
}

impl Episodes {
    fn step(&mut self) -> Result<Option<(u64, Found)>, MemoryError> {
        let Some(entries) = &mut self.entries else { return Ok(None) };
        for entry in entries {
            let entry = entry?;
            let state = self.memory.state();
            let is_visible = state.slot(entry.seq).is_some_and(|slot| state.is_visible(slot));
            drop(state);
            if is_visible && let Some(found) = found(&entry)? {
                return Ok(Some((entry.seq, found)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Episodes {
    type Item = Result<(u64, Found), MemoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.entries = None;
        }
        step.transpose()
    }
}
