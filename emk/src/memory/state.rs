//! What a memory keeps in memory: some 200 bytes for each episode and no text but of the last ones.

use std::collections::HashMap;

use agent_primitives::{AgentId, Digest, Timestamp};

use super::graph::Graph;
use super::mark::{Mark, MarkKind};
use super::near::Windows;
use super::tokens::Tokens;
use super::valid::{Fact, Revised};
use super::{MemoryError, MemoryOptions, Rule};
use crate::EntryKind;
use crate::episode::{Episode, Outcome, Revision};

/// What is known of a record without reading it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// Its position.
    pub seq: u64,
    /// [`EntryKind::Episode`] or [`EntryKind::Rule`].
    pub kind: EntryKind,
    /// Whose it is; unknown once it is erased and the memory was opened again.
    pub agent: Option<AgentId>,
    /// When it happened or was made; as for the agent.
    pub timestamp: Option<Timestamp>,
    /// Bytes of its body.
    pub bytes: u32,
    /// The body is gone.
    pub erased: bool,
    /// It is hidden, itself or for what it was made from.
    pub quarantined: bool,
    /// A rule stands for it.
    pub compacted: bool,
    /// No sleep touches it.
    pub pinned: bool,
    /// A later episode says that it was wrong.
    pub corrected: bool,
    /// A later episode says what is true since.
    pub superseded: bool,
    /// A rule: something that it was made from was erased.
    pub flagged: bool,
    /// How often it was retrieved, as far as [`super::EpisodicMemory::touch`] was told since the memory was opened.
    pub accesses: u32,
}

impl Status {
    /// Whether it may be shown at all.
    #[must_use]
    pub const fn is_visible(&self) -> bool {
        !self.erased && !self.quarantined
    }

    /// Whether it stands for what is remembered now: it may be shown, was not wrong, and no rule stands for it.
    #[must_use]
    pub const fn is_current(&self) -> bool {
        self.is_visible() && !self.compacted && !self.corrected
    }
}

const ERASED: u8 = 1;
const QUARANTINED: u8 = 1 << 1;
const COMPACTED: u8 = 1 << 2;
const PINNED: u8 = 1 << 3;
const FLAGGED: u8 = 1 << 4;
const IS_RULE: u8 = 1 << 5;
/// The body was gone when the record was read.
const BODILESS: u8 = 1 << 6;

const NO_AGENT: u32 = u32::MAX;

/// One episode or rule.
pub(super) struct Slot {
    pub(super) seq: u64,
    pub(super) timestamp: Timestamp,
    valid_from: Timestamp,
    valid_to: Option<Timestamp>,
    pub(super) bytes: u32,
    agent: u32,
    accesses: u32,
    flags: u8,
    pub(super) outcome: Outcome,
    pub(super) importance: u8,
}

impl Slot {
    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(super) const fn is_rule(&self) -> bool {
        self.has(IS_RULE)
    }

    pub(super) const fn is_erased(&self) -> bool {
        self.has(ERASED | BODILESS)
    }

    /// Whether a mark says that a rule stands for it.
    pub(super) const fn is_marked_compacted(&self) -> bool {
        self.has(COMPACTED)
    }

    pub(super) const fn is_pinned(&self) -> bool {
        self.has(PINNED)
    }
}

#[derive(Default)]
pub(super) struct State {
    /// By position.
    pub(super) slots: Vec<Slot>,
    ids: HashMap<Digest, u32>,
    agents: Vec<AgentId>,
    agent_numbers: HashMap<AgentId, u32>,
    pub(super) graph: Graph,
    /// By the position of what is revised: the later record, and how.
    revised: HashMap<u64, Vec<(u64, Revised)>>,
    /// By the position of the later record: what it revises.
    revises: HashMap<u64, u64>,
    /// What a rule was made from, and which rules an episode went into.
    pub(super) rules: HashMap<u64, MadeFrom>,
    rules_of: HashMap<u64, Vec<u64>>,
    /// What erased rules were made from, as long as that is known.
    erased_rules: HashMap<u64, Box<[u64]>>,
    pub(super) windows: Windows,
    /// Records that a mark says are erased, and whose bodies were there when they were read.
    pub(super) unfinished: Vec<u64>,
}

pub(super) struct MadeFrom {
    pub(super) sources: Box<[u64]>,
    pub(super) quotes: Box<[u64]>,
}

/// What an episode points to, by position.
pub(super) struct Pointers {
    pub(super) causes: Vec<u64>,
    pub(super) revised: Option<u64>,
}

impl State {
    pub(super) fn index_of(&self, seq: u64) -> Option<usize> {
        self.slots.binary_search_by_key(&seq, |slot| slot.seq).ok()
    }

    pub(super) fn slot(&self, seq: u64) -> Option<&Slot> {
        self.slots.get(self.index_of(seq)?)
    }

    fn slot_mut(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = self.index_of(seq)?;
        self.slots.get_mut(index)
    }

    pub(super) fn find(&self, id: &Digest) -> Option<u64> {
        let index = usize::try_from(*self.ids.get(id)?).ok()?;
        self.slots.get(index).map(|slot| slot.seq)
    }

    pub(super) fn agent_of(&self, slot: &Slot) -> Option<&AgentId> {
        self.agents.get(usize::try_from(slot.agent).ok()?)
    }

    /// The number of an agent, which is new if it was not heard of.
    pub(super) fn number_of(&mut self, agent: &AgentId) -> u32 {
        if let Some(&number) = self.agent_numbers.get(agent) {
            return number;
        }
        // INVARIANT: there are no more agents than slots, which are counted in 32 bits.
        let number = u32::try_from(self.agents.len()).unwrap_or(NO_AGENT);
        self.agents.push(agent.clone());
        self.agent_numbers.insert(agent.clone(), number);
        number
    }

    /// Whether another record has room.
    pub(super) fn admit(&self, options: &MemoryOptions) -> Result<(), MemoryError> {
        let limit = options.max_records.min(u32::MAX as usize - 1);
        if self.slots.len() < limit { Ok(()) } else { Err(MemoryError::Full { limit }) }
    }

    /// Where the episode at `seq` points to.
    pub(super) fn pointers(&self, seq: u64, episode: &Episode) -> Result<Pointers, MemoryError> {
        if episode.caused_by().contains(&episode.content_id()) {
            return Err(MemoryError::SelfCause);
        }
        let find = |field, id: &Digest| {
            let unknown = || MemoryError::UnknownCause { field, id: *id };
            let found = self.find(id).ok_or_else(unknown)?;
            Graph::check(seq, found, |seq| self.slot(seq).is_some_and(|slot| !slot.is_rule()))
                .map_err(|_| unknown())
                .map(|()| found)
        };
        let causes = episode.caused_by().iter().map(|id| find("caused_by", id));
        let revised = episode.revision().map(|revision| {
            let field = match revision {
                Revision::Corrects(_) => "corrects",
                Revision::Supersedes(_) => "supersedes",
            };
            let target = find(field, &revision.target())?;
            // What one agent believes is not for another one to take back. Whose an erased episode was is not known any more.
            let owner = self.slot(target).and_then(|slot| self.agent_of(slot));
            match owner.is_none_or(|owner| owner == episode.agent()) {
                true => Ok(target),
                false => Err(MemoryError::UnknownCause { field, id: revision.target() }),
            }
        });
        Ok(Pointers { causes: causes.collect::<Result<_, _>>()?, revised: revised.transpose()? })
    }

    /// Takes in an episode. Its tokens are given if they are known.
    pub(super) fn take_episode(
        &mut self,
        seq: u64,
        bytes: usize,
        episode: &Episode,
        pointers: Pointers,
        tokens: Option<Tokens>,
    ) {
        let agent = self.number_of(episode.agent());
        match tokens {
            Some(tokens) => self.windows.push_tokens(agent, seq, tokens),
            None => self.windows.push_text(agent, seq, episode),
        }
        self.graph.insert(seq, pointers.causes);
        if let (Some(target), Some(revision)) = (pointers.revised, episode.revision()) {
            let revised = revised(episode.timestamp(), episode.valid_from(), revision);
            self.revised.entry(target).or_default().push((seq, revised));
            self.revises.insert(seq, target);
        }
        self.push(
            episode.content_id(),
            Slot {
                seq,
                timestamp: episode.timestamp(),
                valid_from: episode.valid_from(),
                valid_to: episode.valid_to(),
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                agent,
                accesses: 0,
                flags: 0,
                outcome: episode.outcome(),
                importance: episode.importance(),
            },
        );
    }

    pub(super) fn take_rule(&mut self, seq: u64, bytes: usize, id: Digest, rule: &Rule) {
        for &source in &rule.sources {
            self.rules_of.entry(source).or_default().push(seq);
        }
        let made_from =
            MadeFrom { sources: rule.sources.as_slice().into(), quotes: rule.quotes.as_slice().into() };
        self.rules.insert(seq, made_from);
        let agent = self.number_of(&rule.agent_id);
        self.push(
            id,
            Slot {
                seq,
                timestamp: rule.timestamp,
                valid_from: rule.timestamp,
                valid_to: None,
                bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
                agent,
                accesses: 0,
                flags: IS_RULE,
                outcome: rule.majority,
                importance: crate::episode::DEFAULT_IMPORTANCE,
            },
        );
    }

    /// Takes in a record whose body is gone.
    pub(super) fn take_erased(&mut self, seq: u64, kind: EntryKind, id: Digest) {
        let unknown = Timestamp::default();
        let is_rule = if kind == EntryKind::Rule { IS_RULE } else { 0 };
        self.push(
            id,
            Slot {
                seq,
                timestamp: unknown,
                valid_from: unknown,
                valid_to: None,
                bytes: 0,
                agent: NO_AGENT,
                accesses: 0,
                flags: BODILESS | is_rule,
                outcome: Outcome::Unknown,
                importance: 0,
            },
        );
    }

    fn push(&mut self, id: Digest, slot: Slot) {
        // INVARIANT: `admit` keeps the number of slots within 32 bits.
        self.ids.insert(id, u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(slot);
    }

    /// Does what a mark says. Records that a bounded store has dropped are passed over.
    pub(super) fn apply(&mut self, mark: &Mark) {
        let (set, clear) = match mark.mark {
            MarkKind::Erased => (ERASED, 0),
            MarkKind::Compacted => (COMPACTED, 0),
            MarkKind::Quarantined => (QUARANTINED, 0),
            MarkKind::Released => (0, QUARANTINED),
            MarkKind::Pinned => (PINNED, 0),
            MarkKind::Unpinned => (0, PINNED),
        };
        for &seq in &mark.seqs {
            let Some(slot) = self.slot_mut(seq) else { continue };
            slot.flags = (slot.flags | set) & !clear;
            let (agent, is_bodiless) = (slot.agent, slot.has(BODILESS));
            match mark.mark {
                MarkKind::Erased => self.forget(seq, agent, is_bodiless),
                MarkKind::Quarantined => self.windows.remove(agent, seq),
                _ => {}
            }
        }
        for residue in &mark.revisions {
            let Some(revision) = residue.revision() else { continue };
            let revised = revised(residue.recorded, residue.valid_from, revision);
            if let Some(target) = self.find(&revision.target()) {
                let revisions = self.revised.entry(target).or_default();
                revisions.retain(|(later, _)| *later != residue.seq);
                revisions.push((residue.seq, revised));
                self.revises.insert(residue.seq, target);
            }
        }
    }

    /// Forgets whatever was in the body of a record, but for what it did to others.
    fn forget(&mut self, seq: u64, agent: u32, is_bodiless: bool) {
        if !is_bodiless {
            self.unfinished.push(seq);
        }
        self.windows.remove(agent, seq);
        self.graph.forget_causes(seq);
        if let Some(made) = self.rules.remove(&seq) {
            self.erased_rules.insert(seq, made.sources);
        }
        if let Some(slot) = self.slot_mut(seq) {
            *slot = Slot {
                seq,
                timestamp: Timestamp::default(),
                valid_from: Timestamp::default(),
                valid_to: None,
                bytes: 0,
                agent: NO_AGENT,
                accesses: slot.accesses,
                flags: slot.flags,
                outcome: Outcome::Unknown,
                importance: 0,
            };
        }
        for rule in self.rules_of.get(&seq).cloned().unwrap_or_default() {
            if let Some(rule) = self.slot_mut(rule) {
                rule.flags |= FLAGGED;
            }
        }
    }

    /// The bodies of these records are gone now.
    pub(super) fn finished(&mut self, seqs: &[u64]) {
        self.unfinished.retain(|seq| !seqs.contains(seq));
        for &seq in seqs {
            if let Some(slot) = self.slot_mut(seq) {
                slot.flags |= BODILESS;
            }
        }
    }

    /// Hidden itself, or as a rule for what it was made from.
    pub(super) fn is_quarantined(&self, slot: &Slot) -> bool {
        let hidden = |seq: &u64| self.slot(*seq).is_some_and(|source| source.has(QUARANTINED));
        slot.has(QUARANTINED) || self.rules.get(&slot.seq).is_some_and(|made| made.sources.iter().any(hidden))
    }

    /// Whether a rule stands for it that is there and not hidden.
    pub(super) fn is_compacted(&self, slot: &Slot) -> bool {
        let stands = |rule: &u64| self.slot(*rule).is_some_and(|rule| self.is_visible(rule));
        slot.has(COMPACTED) && self.rules_of.get(&slot.seq).is_some_and(|rules| rules.iter().any(stands))
    }

    pub(super) fn is_visible(&self, slot: &Slot) -> bool {
        !slot.is_erased() && !self.is_quarantined(slot)
    }

    /// What later records that count say about this one: those erased count too, those hidden do not.
    pub(super) fn revisions(&self, seq: u64) -> impl Iterator<Item = (u64, Revised)> + '_ {
        let all = self.revised.get(&seq).map_or(&[][..], Vec::as_slice).iter().copied();
        all.filter(|(later, _)| self.slot(*later).is_none_or(|slot| !self.is_quarantined(slot)))
    }

    /// The records whose standing may change with that of the one at `seq`: itself, what it revises, and what went into it
    /// or was made from it.
    pub(super) fn touched_by(&self, seq: u64) -> Vec<u64> {
        let made_from =
            self.rules.get(&seq).map(|made| &made.sources).or_else(|| self.erased_rules.get(&seq));
        let made_from = made_from.map_or(&[][..], |sources| sources);
        let made_into = self.rules_of.get(&seq).map_or(&[][..], Vec::as_slice);
        // A rule that is hidden stands for nothing, so what went into it with this one comes back.
        let siblings =
            made_into.iter().filter_map(|rule| self.rules.get(rule)).flat_map(|made| made.sources.iter());
        let mut touched = vec![seq];
        touched.extend(self.revises.get(&seq));
        touched.extend(made_from.iter().chain(made_into).chain(siblings).copied());
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    pub(super) fn is_corrected(&self, seq: u64) -> bool {
        self.revisions(seq).any(|(_, revised)| matches!(revised, Revised::Corrected { .. }))
    }

    pub(super) fn fact(slot: &Slot) -> Fact {
        Fact { recorded: slot.timestamp, from: slot.valid_from, to: slot.valid_to }
    }

    /// The rules that repeat words of this episode.
    pub(super) fn quoting(&self, seq: u64) -> impl Iterator<Item = u64> + '_ {
        let rules = self.rules_of.get(&seq).map_or(&[][..], Vec::as_slice).iter().copied();
        rules.filter(move |rule| self.rules.get(rule).is_some_and(|made| made.quotes.contains(&seq)))
    }

    pub(super) fn status(&self, seq: u64) -> Option<Status> {
        let slot = self.slot(seq)?;
        let agent = self.agent_of(slot).cloned();
        let superseded = |(_, revised)| matches!(revised, Revised::Superseded { .. });
        Some(Status {
            seq,
            kind: if slot.is_rule() { EntryKind::Rule } else { EntryKind::Episode },
            timestamp: agent.is_some().then_some(slot.timestamp),
            agent,
            bytes: slot.bytes,
            erased: slot.is_erased(),
            quarantined: self.is_quarantined(slot),
            compacted: self.is_compacted(slot),
            pinned: slot.is_pinned(),
            corrected: self.is_corrected(seq),
            superseded: self.revisions(seq).any(superseded),
            flagged: slot.has(FLAGGED) && !slot.is_erased(),
            accesses: slot.accesses,
        })
    }

    pub(super) fn touch(&mut self, seq: u64) {
        if let Some(slot) = self.slot_mut(seq) {
            slot.accesses = slot.accesses.saturating_add(1);
        }
    }

    pub(super) fn accesses(slot: &Slot) -> u32 {
        slot.accesses
    }
}

const fn revised(recorded: Timestamp, from: Timestamp, revision: Revision) -> Revised {
    match revision {
        Revision::Corrects(_) => Revised::Corrected { recorded },
        Revision::Supersedes(_) => Revised::Superseded { recorded, from },
    }
}
