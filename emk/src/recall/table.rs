//! What is known of each indexed episode besides its words: everything a filter looks at.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use agent_primitives::{AgentId, SessionId, Timestamp};

use super::lexical::push_tight;
use super::mask::Mask;
use super::query::{Filter, SourceTrust};
use super::sieve::{Numbers, Sieve, bit};
use crate::EntryKind;
use crate::episode::{DEFAULT_IMPORTANCE, Episode, Outcome};
use crate::memory::{Found, Rule};

/// One episode. The fields stand in an order that leaves no holes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    /// Where its tags begin in the list of all; they end where those of the next row begin.
    tags: u32,
    kind: EntryKind,
    pub(super) outcome: Outcome,
    /// Who vouches for it, a bit for each.
    sources: u8,
    pub(super) importance: u8,
    pub(super) shown: Shown,
}

/// Who may see an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Everybody.
    Yes,
    /// Who asks for the past: a rule stands for it.
    Compacted,
    /// Who asks for the past: it was wrong.
    Corrected,
    /// Nobody, for now: it is quarantined, or was made from what is.
    Hidden,
    /// Nobody, for good: it is erased.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Whose each is: what filters ask for most stands by itself.
    agent_of: Vec<u32>,
    tags: Vec<u32>,
    agents: HashMap<AgentId, u32>,
    sessions: HashMap<SessionId, u32>,
    /// Numbers of sessions given out, those of episodes without one included.
    session_count: u32,
    tag_numbers: HashMap<Box<str>, u32>,
    /// For each outcome its episodes, ascending.
    by_outcome: [Vec<u32>; 4],
    not_shown: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn row(&self, document: u32) -> Option<&Row> {
        self.rows.get(document as usize)
    }

    /// The number of an episode here.
    pub(super) fn document(&self, seq: u64) -> Option<u32> {
        let found = self.rows.binary_search_by_key(&seq, |row| row.seq).ok()?;
        u32::try_from(found).ok()
    }

    /// Adds an episode or rule and returns the number of its session; one without a session has one of its own.
    pub(super) fn push(&mut self, seq: u64, found: &Found) -> u32 {
        let (session, row) = match found {
            Found::Episode(episode) => (self.session(episode.session()), self.episode(seq, episode)),
            Found::Rule(rule) => (self.session(None), self.rule(seq, rule)),
        };
        if let Some(list) = self.by_outcome.get_mut(slot(row.outcome)) {
            push_tight(list, self.rows.len() as u32);
        }
        let agent = match found {
            Found::Episode(episode) => episode.agent(),
            Found::Rule(rule) => &rule.agent_id,
        };
        let agent = number(&mut self.agents, agent.as_str(), || agent.clone());
        push_tight(&mut self.agent_of, agent);
        push_tight(&mut self.rows, row);
        session
    }

    fn episode(&mut self, seq: u64, episode: &Episode) -> Row {
        let tags = self.tags.len() as u32;
        for tag in episode.tags() {
            let tag = number(&mut self.tag_numbers, tag, || tag.as_str().into());
            push_tight(&mut self.tags, tag);
        }
        Row {
            seq,
            time: episode.timestamp(),
            tags,
            kind: EntryKind::Episode,
            outcome: episode.outcome(),
            sources: bit(episode.source()),
            importance: episode.importance(),
            shown: Shown::Yes,
        }
    }

    fn rule(&mut self, seq: u64, rule: &Rule) -> Row {
        Row {
            seq,
            time: rule.timestamp,
            tags: self.tags.len() as u32,
            kind: EntryKind::Rule,
            outcome: rule.majority,
            sources: rule.vouched_by.iter().fold(0, |bits, source| bits | bit(*source)),
            importance: DEFAULT_IMPORTANCE,
            shown: Shown::Yes,
        }
    }

    fn session(&mut self, session: Option<&SessionId>) -> u32 {
        let next = self.session_count;
        let number = session.map_or(next, |session| {
            number_or(&mut self.sessions, session.as_str(), next, || session.clone())
        });
        self.session_count = next.max(number + 1);
        number
    }

    /// Shows, hides or buries an episode; what is gone stays gone. Whether anything changed.
    pub(super) fn show(&mut self, document: u32, shown: Shown) -> bool {
        let Some(row) = self.rows.get_mut(document as usize) else { return false };
        if row.shown == Shown::Gone || row.shown == shown {
            return false;
        }
        self.not_shown += usize::from(row.shown == Shown::Yes);
        self.not_shown -= usize::from(shown == Shown::Yes);
        row.shown = shown;
        true
    }

    /// The episodes that a filter lets pass and that are shown.
    pub(super) fn mask(&self, filter: &Filter, trust: &SourceTrust, sessions: &[u32]) -> Mask {
        self.mask_of(&self.sieve(filter, trust), sessions)
    }

    /// The same for attempts: one that a rule stands for was made all the same.
    pub(super) fn attempts_mask(&self, filter: &Filter, trust: &SourceTrust, sessions: &[u32]) -> Mask {
        self.mask_of(&self.sieve(filter, trust).with_compacted(), sessions)
    }

    /// One condition after another, each over one list: that is quicker than all of them for one episode after another.
    fn mask_of(&self, sieve: &Sieve<'_>, sessions: &[u32]) -> Mask {
        let filter = sieve.filter;
        if filter.is_open() && self.not_shown == 0 {
            return Mask::All;
        }
        if sieve.impossible {
            return Mask::none(self.rows.len());
        }
        let mut mask = self.of_outcomes(&filter.outcomes);
        if self.not_shown != 0 {
            mask.keep(&self.rows, |row| sieve.shows(row.shown));
        }
        if !filter.agents.is_empty() {
            mask.keep(&self.agent_of, |agent| sieve.agents.have(*agent));
        }
        if !filter.sessions.is_empty() {
            mask.keep(sessions, |session| sieve.sessions.have(*session));
        }
        if !filter.kinds.is_empty() {
            mask.keep(&self.rows, |row| filter.kinds.contains(&row.kind));
        }
        if sieve.weighs_sources() {
            mask.keep(&self.rows, |row| sieve.believes(row.sources));
        }
        if filter.from.is_some() || filter.until.is_some() {
            mask.keep(&self.rows, |row| sieve.is_within(row.time));
        }
        if !sieve.tags.is_empty() {
            mask.keep_places(|place| self.has_tags(place, sieve));
        }
        mask
    }

    /// The episodes with one of some outcomes; all where none is named.
    fn of_outcomes(&self, outcomes: &[Outcome]) -> Mask {
        if outcomes.is_empty() {
            return Mask::every(self.rows.len());
        }
        let mut mask = Mask::none(self.rows.len());
        for document in outcomes.iter().filter_map(|outcome| self.by_outcome.get(slot(*outcome))).flatten() {
            mask.set(*document as usize);
        }
        mask
    }

    /// Up to `k` of the episodes with one outcome that pass, newest first.
    pub(super) fn newest(
        &self,
        outcome: Outcome,
        k: usize,
        filter: &Filter,
        trust: &SourceTrust,
        sessions: &[u32],
    ) -> Vec<u64> {
        let sieve = self.sieve(filter, trust);
        let list = self.by_outcome.get(slot(outcome)).map_or(&[][..], Vec::as_slice);
        let passing = list.iter().rev().filter_map(|document| {
            let place = *document as usize;
            let row = self.rows.get(place)?;
            self.passes(place, row, sessions, &sieve).then_some(row.seq)
        });
        passing.take(k).collect()
    }

    /// As [`Table::mask_of`] has it, for a single episode.
    fn passes(&self, place: usize, row: &Row, sessions: &[u32], sieve: &Sieve<'_>) -> bool {
        let filter = sieve.filter;
        let have = |numbers: &Numbers, list: &[u32]| list.get(place).is_some_and(|one| numbers.have(*one));
        !sieve.impossible
            && sieve.shows(row.shown)
            && (filter.outcomes.is_empty() || filter.outcomes.contains(&row.outcome))
            && (filter.kinds.is_empty() || filter.kinds.contains(&row.kind))
            && sieve.believes(row.sources)
            && sieve.is_within(row.time)
            && (filter.agents.is_empty() || have(&sieve.agents, &self.agent_of))
            && (filter.sessions.is_empty() || have(&sieve.sessions, sessions))
            && self.has_tags(place, sieve)
    }

    fn has_tags(&self, place: usize, sieve: &Sieve<'_>) -> bool {
        let begin = |place: usize| self.rows.get(place).map_or(self.tags.len(), |row| row.tags as usize);
        let tags = self.tags.get(begin(place)..begin(place + 1)).unwrap_or_default();
        sieve.tags.iter().all(|tag| tags.contains(tag))
    }

    /// A filter with its names as the numbers they have here.
    fn sieve<'f>(&self, filter: &'f Filter, trust: &SourceTrust) -> Sieve<'f> {
        let tags: Vec<Option<u32>> =
            filter.tags.iter().map(|tag| self.tag_numbers.get(tag.as_str()).copied()).collect();
        let agents = filter.agents.iter().filter_map(|agent| self.agents.get(agent).copied());
        let sessions = filter.sessions.iter().filter_map(|name| self.sessions.get(name).copied());
        Sieve::new(filter, trust, agents.collect(), sessions.collect(), &tags)
    }

    /// Bytes on the heap, as far as the types tell.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists: usize = self.by_outcome.iter().map(|list| list.capacity() * 4).sum();
        let names = |texts: usize, slots: usize| texts + slots * 8 / 7 * 25;
        self.rows.capacity() * size_of::<Row>()
            + self.agent_of.capacity() * 4
            + self.tags.capacity() * 4
            + lists
            + names(self.sessions.keys().map(|name| name.as_str().len() + 16).sum(), self.sessions.capacity())
            + names(self.agents.keys().map(|name| name.as_str().len() + 16).sum(), self.agents.capacity())
            + names(self.tag_numbers.keys().map(|tag| tag.len()).sum(), self.tag_numbers.capacity())
    }
}

/// The number of a name, a new one if it has none.
fn number<K: Borrow<str> + Hash + Eq>(
    numbers: &mut HashMap<K, u32>,
    name: &str,
    own: impl FnOnce() -> K,
) -> u32 {
    let next = numbers.len() as u32;
    number_or(numbers, name, next, own)
}

fn number_or<K: Borrow<str> + Hash + Eq>(
    numbers: &mut HashMap<K, u32>,
    name: &str,
    next: u32,
    own: impl FnOnce() -> K,
) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    numbers.insert(own(), next);
    next
}

const fn slot(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Failure => 0,
        Outcome::Partial => 1,
        Outcome::Success => 2,
        Outcome::Unknown => 3,
    }
}
