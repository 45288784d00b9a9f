//! What led to what.
//!
//! A cause is an earlier record, so the graph has no cycle by construction.

use std::collections::{BTreeMap, HashMap};

use super::MemoryError;

/// Which way a chain is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what led to an episode.
    Backward,
    /// To what it led to.
    Forward,
    /// Both ways from the start; the causes of an effect that are no effects of the start are not among them.
    Both,
}

/// One episode of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its position.
    pub seq: u64,
    /// The fewest steps that lead to it from the start.
    pub depth: u32,
}

/// Edges between positions. Records without edges are not in here.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    causes: HashMap<u64, Box<[u64]>>,
    effects: HashMap<u64, Vec<u64>>,
}

impl Graph {
    /// Whether `cause` may lead to the record `seq`: it is another one, and there.
    pub(crate) fn check(seq: u64, cause: u64, exists: impl Fn(u64) -> bool) -> Result<(), EdgeError> {
        if cause == seq {
            return Err(EdgeError::SelfCause);
        }
        if exists(cause) { Ok(()) } else { Err(EdgeError::UnknownCause) }
    }

    pub(crate) fn insert(&mut self, seq: u64, causes: Vec<u64>) {
        if causes.is_empty() {
            return;
        }
        for &cause in &causes {
            self.effects.entry(cause).or_default().push(seq);
        }
        self.causes.insert(seq, causes.into());
    }

    /// Forgets what led to a record, as its body is gone.
    pub(crate) fn forget_causes(&mut self, seq: u64) {
        for cause in self.causes.remove(&seq).unwrap_or_default() {
            if let Some(effects) = self.effects.get_mut(&cause) {
                effects.retain(|&effect| effect != seq);
            }
        }
    }

    pub(crate) fn causes(&self, seq: u64) -> &[u64] {
        self.causes.get(&seq).map_or(&[], |causes| causes)
    }

    pub(crate) fn effects(&self, seq: u64) -> &[u64] {
        self.effects.get(&seq).map_or(&[], |effects| effects)
    }

    /// What lies within `max_depth` steps of `start`, itself included, each at its shortest depth, by position. Breadth
    /// first: a long way to a record never hides a short one.
    pub(crate) fn chain(
        &self,
        start: u64,
        direction: Direction,
        max_depth: u32,
        exists: impl Fn(u64) -> bool,
    ) -> Result<Vec<Link>, MemoryError> {
        if !exists(start) {
            return Err(MemoryError::UnknownEpisode { seq: start });
        }
        let mut found = BTreeMap::from([(start, 0)]);
        if direction != Direction::Forward {
            walk(start, max_depth, &mut found, |seq| self.causes(seq));
        }
        if direction != Direction::Backward {
            walk(start, max_depth, &mut found, |seq| self.effects(seq));
        }
        Ok(found.into_iter().map(|(seq, depth)| Link { seq, depth }).collect())
    }
}

/// Why an edge cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EdgeError {
    SelfCause,
    UnknownCause,
}

fn walk<'g>(start: u64, max_depth: u32, found: &mut BTreeMap<u64, u32>, next: impl Fn(u64) -> &'g [u64]) {
    let mut level = vec![start];
    for depth in 1..=max_depth {
        let mut following = Vec::new();
        for &seq in level.iter().flat_map(|&seq| next(seq)) {
            found.entry(seq).or_insert_with(|| {
                following.push(seq);
                depth
            });
        }
        if following.is_empty() {
            break;
        }
        level = following;
    }
}
