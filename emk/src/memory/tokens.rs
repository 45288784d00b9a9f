//! The words of a text as a set that is quick to compare.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::search::{each_word, token_of};

use crate::episode::Episode;

/// A set of tokens by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    /// In ascending order.
    hashes: Box<[u64]>,
    /// A bit for each residue of 64, set where an odd number of hashes has it.
    parities: u64,
}

impl Tokens {
    pub(super) fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of_each(|see| texts.into_iter().for_each(see))
    }

    /// Of the texts that are shown to what is given.
    pub(crate) fn of_each(show: impl FnOnce(&mut dyn FnMut(&str))) -> Self {
        let mut memo = memos().pop().unwrap_or_default();
        let mut hashes = Vec::with_capacity(64);
        show(&mut |text| each_word(text, |word| hashes.extend(memo.token(word))));
        let mut kept = memos();
        if kept.len() < KEPT_MEMOS {
            kept.push(memo);
        }
        drop(kept);
        Self::from_hashes(hashes)
    }

    pub(super) fn of_episode(episode: &Episode) -> Self {
        Self::of(episode.texts())
    }

    pub(crate) fn from_words<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Self {
        Self::from_hashes(words.into_iter().map(|word| hash(word.as_ref())).collect())
    }

    fn from_hashes(mut hashes: Vec<u64>) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        let parities = hashes.iter().fold(0, |parities, hash| parities ^ 1 << (hash % 64));
        Self { hashes: hashes.into(), parities }
    }

    pub(super) fn as_slice(&self) -> &[u64] {
        &self.hashes
    }

    /// Share of the tokens of both that both have; 0 where there are none.
    pub(crate) fn jaccard(&self, other: &Self) -> f64 {
        let all = self.hashes.len() + other.hashes.len();
        self.shared_from(other, 0).map_or(0.0, |shared| share(shared, all))
    }

    /// The same if it is `least` or more: most sets that differ are told apart by a few of their tokens, or by none.
    pub(super) fn jaccard_from(&self, other: &Self, least: f64) -> Option<f64> {
        let all = self.hashes.len() + other.hashes.len();
        // Of two sets with a parity that differs, one has a token that the other has not.
        let apart = (self.parities ^ other.parities).count_ones() as usize;
        let most = self.hashes.len().min(other.hashes.len()).min(all.saturating_sub(apart) / 2);
        if least <= share(most, all) {
            let shared = self.shared_from(other, fewest_shared(least, all)?)?;
            Some(share(shared, all))
        } else {
            None
        }
    }

    /// How many tokens both have, if there are `least` or more.
    fn shared_from(&self, other: &Self, least: usize) -> Option<usize> {
        let (mut mine, mut theirs) = (&*self.hashes, &*other.hashes);
        let mut shared = 0;
        while let (Some((a, after)), Some((b, behind))) = (mine.split_first(), theirs.split_first()) {
            match a.cmp(b) {
                Ordering::Less => mine = after,
                Ordering::Greater => theirs = behind,
                Ordering::Equal => {
                    shared += 1;
                    (mine, theirs) = (after, behind);
                }
            }
            if shared + mine.len().min(theirs.len()) < least {
                return None;
            }
        }
        Some(shared)
    }

    /// Whether a similarity makes them near duplicates; without tokens none does.
    pub(super) fn is_near(&self, other: &Self, jaccard: f64, threshold: f64) -> bool {
        !self.hashes.is_empty() && !other.hashes.is_empty() && threshold <= jaccard
    }
}

/// The similarity of two sets with `all` tokens together, those that both have counted twice. More that are shared never
/// give less, also after rounding.
fn share(shared: usize, all: usize) -> f64 {
    let different = all.saturating_sub(shared);
    if different == 0 { 0.0 } else { shared as f64 / different as f64 }
}

/// The fewest shared tokens that give a similarity of `least`; `None` where no number does.
fn fewest_shared(least: f64, all: usize) -> Option<usize> {
    // No similarity is less than 0. This is right but for rounding.
    let least = least.max(0.0);
    let about = (least / (1.0 + least) * all as f64) as usize;
    (about.saturating_sub(1)..=all / 2).find(|shared| least <= share(*shared, all))
}

fn hash(token: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    token.hash(&mut hasher);
    hasher.finish()
}

/// What became of the last few thousand words, by hash: a word of a text that is erased is not kept here.
struct Memo(Vec<Option<Made>>);

/// The hash of a word and that of its token, if it is one.
type Made = (u64, Option<u64>);

/// Words in a memo. Texts are made of few words that are frequent.
const KEPT_WORDS: usize = 4096;
/// Memos that wait for the next text, all memories of a process together; more threads at once make their own.
const KEPT_MEMOS: usize = 4;

static MEMOS: Mutex<Vec<Memo>> = Mutex::new(Vec::new());

fn memos() -> MutexGuard<'static, Vec<Memo>> {
    MEMOS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memo {
    fn token(&mut self, word: &str) -> Option<u64> {
        let key = hash(word);
        // INVARIANT: there are `KEPT_WORDS` places.
        let kept = self.0.get_mut(key as usize % KEPT_WORDS)?;
        match kept {
            Some((held, token)) if *held == key => *token,
            _ => {
                let token = token_of(word).map(|token| hash(&token));
                *kept = Some((key, token));
                token
            }
        }
    }
}

impl Default for Memo {
    fn default() -> Self {
        Self(vec![None; KEPT_WORDS])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use agent_primitives::search::tokenise;
    use proptest::prelude::*;

    use super::*;

    /// Counted with sets of words.
    fn naive(one: &[String], other: &[String]) -> f64 {
        let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
        let shared = one.intersection(&other).count();
        let all = one.union(&other).count();
        if all == 0 { 0.0 } else { shared as f64 / all as f64 }
    }

    /// A text, and the same with some of its words exchanged.
    fn alike() -> impl Strategy<Value = (String, String)> {
        let words = || proptest::collection::vec("(work|worker|Working|the|[a-d]{1,3}|日本語)", 0..120);
        (words(), words(), proptest::collection::vec(0.0f64..1.0, 120), 0.0f64..1.0).prop_map(
            |(one, two, draws, changed)| {
                let mixed = one.iter().enumerate().map(|(place, word)| match two.get(place) {
                    Some(new) if draws.get(place).is_some_and(|draw| *draw < changed) => new.clone(),
                    _ => word.clone(),
                });
                let mixed = mixed.collect::<Vec<_>>().join(" ");
                (one.join(" "), mixed)
            },
        )
    }

    proptest! {
        #[test]
        fn a_comparison_that_ends_early_is_right(
            (one, other) in alike(),
            least in prop_oneof![0.0f64..1.0, Just(0.85), Just(0.0), Just(1.0), Just(-1.0), Just(f64::NAN)],
        ) {
            let expected = naive(&tokenise(&one), &tokenise(&other));
            let (a, b) = (Tokens::of([one.as_str()]), Tokens::of([other.as_str()]));
            prop_assert_eq!(a.jaccard(&b), expected);
            prop_assert_eq!(a.jaccard_from(&b, least), (least <= expected).then_some(expected));
            prop_assert_eq!(a.jaccard_from(&b, expected), Some(expected));
        }

        #[test]
        fn what_is_kept_of_words_changes_no_token(texts in proptest::collection::vec("\\PC{0,40}", 0..6)) {
            let words = texts.iter().flat_map(|text| tokenise(text));
            let expected = Tokens::from_words(words);
            for _ in 0..2 {
                prop_assert_eq!(&Tokens::of(texts.iter().map(String::as_str)), &expected);
            }
        }
    }
}
