//! The best of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Keep, LexicalHit};

/// The best `k` hits that were offered, and let through.
pub(super) struct Top<'k> {
    k: usize,
    keep: Keep<'k>,
    worst_first: BinaryHeap<Ranked>,
}

impl<'k> Top<'k> {
    pub(super) fn new(k: usize, keep: Keep<'k>) -> Self {
        Self { k, keep, worst_first: BinaryHeap::new() }
    }

    /// Takes a hit in if it is among the best so far. Whether it is let through is asked only then.
    pub(super) fn offer(&mut self, hit: LexicalHit) {
        let full = self.k <= self.worst_first.len();
        let beaten = self.worst_first.peek().is_none_or(|worst| *worst <= Ranked(hit));
        if hit.score <= 0.0 || (full && beaten) || !(self.keep)(hit.chunk) {
            return;
        }
        if full {
            self.worst_first.pop();
        }
        self.worst_first.push(Ranked(hit));
    }

    /// Best first, ties by chunk id.
    pub(super) fn into_hits(self) -> Vec<LexicalHit> {
        self.worst_first.into_sorted_vec().into_iter().map(|Ranked(hit)| hit).collect()
    }
}

/// The better is the lesser.
struct Ranked(LexicalHit);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.chunk.cmp(&other.0.chunk))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}
