//! What is known of each indexed episode besides its words: everything a filter looks at.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use agent_primitives::{AgentId, SessionId, Timestamp};

use super::mask::Mask;
use super::query::{Filter, SourceTrust};
use crate::EntryKind;
use crate::episode::{Episode, Outcome, Source};

/// One episode. The fields stand in an order that leaves no holes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) time: Timestamp,
    agent: u32,
    pub(super) session: u32,
    /// Where its tags begin in the list of all; they end where those of the next row begin.
    tags: u32,
    kind: EntryKind,
    pub(super) outcome: Outcome,
    source: Source,
    pub(super) importance: u8,
    pub(super) shown: Shown,
}

/// Whether anybody may see an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Yes,
    /// Quarantined, for now.
    Hidden,
    /// Erased, for good.
    Gone,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Row>,
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

    pub(super) fn last_seq(&self) -> Option<u64> {
        self.rows.last().map(|row| row.seq)
    }

    pub(super) fn row(&self, document: u32) -> Option<&Row> {
        self.rows.get(document as usize)
    }

    /// The number of an episode here.
    pub(super) fn document(&self, seq: u64) -> Option<u32> {
        let found = self.rows.binary_search_by_key(&seq, |row| row.seq).ok()?;
        u32::try_from(found).ok()
    }

    /// Adds an episode and returns the number of its session; one without a session has one of its own.
    pub(super) fn push(&mut self, seq: u64, episode: &Episode) -> u32 {
        let document = self.rows.len() as u32;
        let next_session = self.session_count;
        let session = episode.session().map_or(next_session, |session| {
            self.sessions.get(session).copied().unwrap_or_else(|| {
                self.sessions.insert(session.clone(), next_session);
                next_session
            })
        });
        self.session_count = next_session.max(session + 1);
        let agent = number(&mut self.agents, episode.agent().as_str(), || episode.agent().clone());
        let tags = self.tags.len() as u32;
        for tag in episode.tags() {
            let tag = number(&mut self.tag_numbers, tag, || tag.as_str().into());
            self.tags.push(tag);
        }
        if let Some(list) = self.by_outcome.get_mut(slot(episode.outcome())) {
            list.push(document);
        }
        self.rows.push(Row {
            seq,
            time: episode.timestamp(),
            agent,
            session,
            tags,
            kind: EntryKind::Episode,
            outcome: episode.outcome(),
            source: episode.source(),
            importance: episode.importance(),
            shown: Shown::Yes,
        });
        session
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
    pub(super) fn mask(&self, filter: &Filter, trust: &SourceTrust) -> Mask {
        if filter.is_open() && self.not_shown == 0 {
            return Mask::All;
        }
        let sieve = self.sieve(filter, trust);
        Mask::of((0u32..).zip(&self.rows).map(|(document, row)| self.passes(document, row, filter, &sieve)))
    }

    /// Up to `k` of the episodes with one outcome that pass, newest first.
    pub(super) fn newest(
        &self,
        outcome: Outcome,
        k: usize,
        filter: &Filter,
        trust: &SourceTrust,
    ) -> Vec<u64> {
        let sieve = self.sieve(filter, trust);
        let list = self.by_outcome.get(slot(outcome)).map_or(&[][..], Vec::as_slice);
        let rows = list.iter().rev().filter_map(|document| Some((*document, self.row(*document)?)));
        rows.filter(|(document, row)| self.passes(*document, row, filter, &sieve))
            .map(|(_, row)| row.seq)
            .take(k)
            .collect()
    }

    /// The names of a filter as the numbers they have here.
    fn sieve(&self, filter: &Filter, trust: &SourceTrust) -> Sieve {
        let known = |numbers: Vec<Option<u32>>| {
            let mut numbers: Vec<u32> = numbers.into_iter().flatten().collect();
            numbers.sort_unstable();
            numbers
        };
        let tags: Vec<Option<u32>> =
            filter.tags.iter().map(|tag| self.tag_numbers.get(tag.as_str()).copied()).collect();
        Sieve {
            agents: known(filter.agents.iter().map(|agent| self.agents.get(agent).copied()).collect()),
            sessions: known(filter.sessions.iter().map(|name| self.sessions.get(name).copied()).collect()),
            // A tag that nothing has lets nothing pass.
            impossible: tags.iter().any(Option::is_none),
            tags: known(tags),
            sources: Source::ALL.iter().copied().filter(|one| filter.min_trust <= trust.of(*one)).collect(),
        }
    }

    fn passes(&self, document: u32, row: &Row, filter: &Filter, sieve: &Sieve) -> bool {
        let named =
            |asked: bool, numbers: &[u32], number: u32| !asked || numbers.binary_search(&number).is_ok();
        row.shown == Shown::Yes
            && !sieve.impossible
            && (filter.outcomes.is_empty() || filter.outcomes.contains(&row.outcome))
            && (filter.kinds.is_empty() || filter.kinds.contains(&row.kind))
            && (filter.sources.is_empty() || filter.sources.contains(&row.source))
            && sieve.sources.contains(&row.source)
            && filter.from.is_none_or(|from| from <= row.time)
            && filter.until.is_none_or(|until| row.time < until)
            && named(!filter.agents.is_empty(), &sieve.agents, row.agent)
            && named(!filter.sessions.is_empty(), &sieve.sessions, row.session)
            && (sieve.tags.is_empty() || {
                let tags = self.tags_of(document, row);
                sieve.tags.iter().all(|tag| tags.contains(tag))
            })
    }

    fn tags_of(&self, document: u32, row: &Row) -> &[u32] {
        let next = self.rows.get(document as usize + 1);
        let end = next.map_or(self.tags.len(), |next| next.tags as usize);
        self.tags.get(row.tags as usize..end).unwrap_or_default()
    }

    /// Bytes on the heap, as far as the types tell.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists: usize = self.by_outcome.iter().map(|list| list.capacity() * 4).sum();
        let names = |texts: usize, slots: usize| texts + slots * 8 / 7 * 25;
        self.rows.capacity() * size_of::<Row>()
            + self.tags.capacity() * 4
            + lists
            + names(self.sessions.keys().map(|name| name.as_str().len() + 16).sum(), self.sessions.capacity())
            + names(self.agents.keys().map(|name| name.as_str().len() + 16).sum(), self.agents.capacity())
            + names(self.tag_numbers.keys().map(|tag| tag.len()).sum(), self.tag_numbers.capacity())
    }
}

struct Sieve {
    agents: Vec<u32>,
    sessions: Vec<u32>,
    tags: Vec<u32>,
    sources: Vec<Source>,
    impossible: bool,
}

/// The number of a name, a new one if it has none.
fn number<K: Borrow<str> + Hash + Eq>(
    numbers: &mut HashMap<K, u32>,
    name: &str,
    own: impl FnOnce() -> K,
) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let next = numbers.len() as u32;
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
