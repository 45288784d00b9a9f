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
}

impl Dictionary {
    /// Most bytes of all terms.
    pub(super) const MAX_BYTES: usize = u32::MAX as usize;

    pub(super) fn find(&self, term: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(term);
        self.numbers.find(hash, |number| text(&self.letters, &self.ends, *number) == term).copied()
    }

    /// The number of a term, which is the next one where it is new; `None` when the buffer is full.
    pub(super) fn number(&mut self, term: &str) -> Option<u32> {
        if let Some(number) = self.find(term) {
            return Some(number);
        }
        let number = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.letters.len().checked_add(term.len())?).ok()?;
        if self.letters.capacity() - self.letters.len() < term.len() {
            self.letters.reserve_exact(term.len().max(self.letters.len() / 8 + 64));
        }
        self.letters.push_str(term);
        reserve_tight(&mut self.ends, 1);
        self.ends.push(end);
        let Self { letters, ends, numbers, hasher } = self;
        let rehash = |number: &u32| hasher.hash_one(text(letters, ends, *number));
        numbers.insert_unique(hasher.hash_one(term), number, rehash);
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
        self.letters.capacity() + self.ends.capacity() * size_of::<u32>() + self.numbers.allocation_size()
    }
}

fn text<'t>(letters: &'t str, ends: &[u32], number: u32) -> &'t str {
    let place = number as usize;
    let start = place.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |end| *end as usize);
    let end = ends.get(place).map_or(0, |end| *end as usize);
    letters.get(start..end).unwrap_or_default()
}
