//! The best few of many, without keeping the many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Keeps the `k` highest scores, ties by lower number.
#[derive(Debug)]
pub(super) struct Top<T> {
    k: usize,
    /// The worst of those kept is at the top.
    kept: BinaryHeap<Item<T>>,
}

#[derive(Debug)]
struct Item<T> {
    score: f64,
    number: u32,
    what: T,
}

impl<T> Top<T> {
    pub(super) fn new(k: usize) -> Self {
        Self { k, kept: BinaryHeap::new() }
    }

    /// Whether this would be kept.
    #[inline]
    pub(super) fn wants(&self, score: f64, number: u32) -> bool {
        let better = |worst: &Item<T>| {
            worst.score < score || worst.score.total_cmp(&score).is_eq() && number < worst.number
        };
        self.kept.len() < self.k || self.kept.peek().is_some_and(better)
    }

    /// What a score has to exceed, or reach with a lower number; 0 as long as there is room.
    pub(super) fn floor(&self) -> f64 {
        self.kept.peek().filter(|_| self.k <= self.kept.len()).map_or(0.0, |worst| worst.score)
    }

    pub(super) fn push(&mut self, score: f64, number: u32, what: T) {
        if !self.wants(score, number) {
            return;
        }
        if self.k <= self.kept.len() {
            self.kept.pop();
        }
        self.kept.push(Item { score, number, what });
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<(u32, T)> {
        self.kept.into_sorted_vec().into_iter().map(|item| (item.number, item.what)).collect()
    }
}

/// Worse is greater.
impl<T> Ord for Item<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.number.cmp(&other.number))
    }
}

impl<T> PartialOrd for Item<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Item<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Item<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sort_that_was_cut(
            scores in proptest::collection::vec(0u8..20, 0..200),
            k in 0usize..30,
            backwards: bool,
        ) {
            let mut top = Top::new(k);
            let mut numbered: Vec<(u32, &u8)> = (0u32..).zip(&scores).collect();
            if backwards {
                numbered.reverse();
            }
            numbered.iter().for_each(|(number, score)| top.push(f64::from(**score), *number, ()));
            let mut all: Vec<(u32, u8)> = (0u32..).zip(scores).collect();
            all.sort_by_key(|(number, score)| (u8::MAX - score, *number));
            all.truncate(k);
            let kept: Vec<u32> = top.into_sorted().into_iter().map(|(number, ())| number).collect();
            prop_assert_eq!(kept, all.into_iter().map(|(number, _)| number).collect::<Vec<_>>());
        }
    }
}
