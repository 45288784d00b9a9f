//! Numbers for words.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use agent_primitives::search::token_of;
use hashbrown::HashTable;

use super::lexical::push_tight;

/// Tokens by number, and numbers by token, with the letters of all tokens in one buffer: an index looks them up more often
/// than it does anything else, and finds them in the processor's caches.
#[derive(Debug)]
pub(super) struct Words {
    letters: String,
    /// Where each token ends.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
    hasher: RandomState,
    /// What became of the last few thousand words as they stand in texts, each at a place that follows from its hash: the hash,
    /// and the number of its token or [`NONE`]. The key of the hash is secret, so nobody makes two words share one.
    made: Vec<(u64, u32)>,
}

/// No token.
const NONE: u32 = u32::MAX;

/// Words that are kept in `made`. Texts are made of few words that are frequent.
const MADE: usize = 4096;

impl Words {
    pub(super) fn new() -> Self {
        Self {
            letters: String::new(),
            ends: Vec::new(),
            numbers: HashTable::new(),
            hasher: RandomState::new(),
            made: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn find(&self, token: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(token);
        self.numbers.find(hash, |number| text(&self.letters, &self.ends, *number) == token).copied()
    }

    /// The number of a token, which is the next one where it is new; `None` where there are 2^32 - 1 already.
    pub(super) fn number(&mut self, token: &str) -> Option<u32> {
        if let Some(number) = self.find(token) {
            return Some(number);
        }
        let number = u32::try_from(self.ends.len()).ok().filter(|number| *number != NONE)?;
        self.letters.push_str(token);
        push_tight(&mut self.ends, self.letters.len());
        let Self { letters, ends, numbers, hasher, .. } = self;
        let rehash = |number: &u32| hasher.hash_one(text(letters, ends, *number));
        numbers.insert_unique(hasher.hash_one(token), number, rehash);
        Some(number)
    }

    /// The number of the token of a word; `None` where the word is none.
    pub(super) fn of_word(&mut self, word: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(word);
        let place = hash as usize % MADE;
        if let Some((held, number)) = self.made.get(place)
            && *held == hash
        {
            return (*number != NONE).then_some(*number);
        }
        let number = token_of(word).and_then(|token| self.number(&token));
        if self.made.is_empty() {
            // No word has the hash of its place's complement, so nothing is taken for known.
            self.made.extend((0..MADE as u64).map(|place| (!place, NONE)));
        }
        if let Some(made) = self.made.get_mut(place) {
            *made = (hash, number.unwrap_or(NONE));
        }
        number
    }

    /// The same with only those tokens for which `keep` holds of their numbers. They are numbered anew in the same order.
    pub(super) fn only(&self, keep: impl Fn(u32) -> bool) -> Self {
        let mut kept = Self::new();
        for number in (0..).take(self.len()).filter(|number| keep(*number)) {
            kept.number(text(&self.letters, &self.ends, number));
        }
        kept
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.letters.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.numbers.allocation_size()
            + self.made.capacity() * size_of::<(u64, u32)>()
    }
}

fn text<'t>(letters: &'t str, ends: &[usize], number: u32) -> &'t str {
    let place = number as usize;
    let start = place.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
    let end = ends.get(place).copied().unwrap_or(0);
    letters.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use agent_primitives::search::{each_word, tokenise};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_have_the_numbers_of_their_tokens(texts in prop::collection::vec("([a-zé]{1,4}(s|ing)? |\\PC){0,20}", 1..20)) {
            let (mut by_word, mut by_token) = (Words::new(), Words::new());
            for text in &texts {
                let mut numbers = Vec::new();
                each_word(text, |word| numbers.extend(by_word.of_word(word)));
                let tokens = tokenise(text);
                let expected: Vec<u32> = tokens.iter().filter_map(|token| by_token.number(token)).collect();
                prop_assert_eq!(&numbers, &expected);
                prop_assert!(tokens.iter().all(|token| by_word.find(token) == by_token.find(token)));
            }
            let odd = by_word.only(|number| number % 2 == 1);
            for number in 0..by_word.len() as u32 {
                let token = text(&by_word.letters, &by_word.ends, number);
                prop_assert_eq!(odd.find(token), (number % 2 == 1).then_some(number / 2));
            }
        }
    }
}
