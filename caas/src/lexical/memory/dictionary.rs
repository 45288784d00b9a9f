//! Numbers for terms.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::store::reserve_tight;

/// Terms by number and numbers by term, with the letters of all terms in one buffer.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    letters: String,
    /// Where each term ends.
    ends: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// The numbers of terms that were met last, with their hashes, each at a place that follows from its hash. The key of the
    /// hash is secret, so nobody makes two terms share one.
    recent: Vec<(u64, u32)>,
}

/// Terms in `recent`. Texts are made of few terms that are frequent.
const RECENT: usize = 4096;

impl Dictionary {
    /// Most bytes of all terms.
    pub(super) const MAX_BYTES: usize = u32::MAX as usize;

    pub(super) fn find(&self, term: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(term);
        self.numbers.find(hash, |number| text(&self.letters, &self.ends, *number) == term).copied()
    }

    /// The number of a term, which is the next one where it is new; `None` when the buffer is full.
    pub(super) fn number(&mut self, term: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(term);
        let place = hash as usize % RECENT;
        if let Some((held, number)) = self.recent.get(place)
            && *held == hash
        {
            return Some(*number);
        }
        let number = self.find_or_add(term, hash)?;
        if self.recent.is_empty() {
            // No hash that belongs at a place is the complement of its number.
            self.recent = (0..RECENT as u64).map(|place| (!place, 0)).collect();
        }
        if let Some(recent) = self.recent.get_mut(place) {
            *recent = (hash, number);
        }
        Some(number)
    }

    fn find_or_add(&mut self, term: &str, hash: u64) -> Option<u32> {
        let known = self.numbers.find(hash, |number| text(&self.letters, &self.ends, *number) == term);
        if let Some(number) = known {
            return Some(*number);
        }
        let number = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.letters.len().checked_add(term.len())?).ok()?;
        if self.letters.capacity() - self.letters.len() < term.len() {
            self.letters.reserve_exact(term.len().max(self.letters.len() / 8 + 64));
        }
        self.letters.push_str(term);
        reserve_tight(&mut self.ends, 1);
        self.ends.push(end);
        let Self { letters, ends, numbers, hasher, .. } = self;
        let rehash = |number: &u32| hasher.hash_one(text(letters, ends, *number));
        numbers.insert_unique(hash, number, rehash);
        Some(number)
    }

    pub(super) fn term(&self, number: u32) -> &str {
        text(&self.letters, &self.ends, number)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn letters(&self) -> usize {
        self.letters.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.letters.capacity()
            + self.ends.capacity() * size_of::<u32>()
            + self.numbers.allocation_size()
            + self.recent.capacity() * size_of::<(u64, u32)>()
    }
}

fn text<'t>(letters: &'t str, ends: &[u32], number: u32) -> &'t str {
    let place = number as usize;
    let start = place.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
    let end = ends.get(place).map_or(0, |end| *end as usize);
    letters.get(start..end).unwrap_or_default()
}
