//! Words as numbers, alike where their stems are.

use std::collections::HashMap;

use rust_stemmers::{Algorithm, Stemmer};

/// Words that do not say what a sentence is about.
const STOP: &str = " a an the this that these those it its he she we you they i me my our your their them his her who which \
    what is are was were be been being am has have had do does did done can could may might will would shall should must \
    and or but nor so yet if then else than as when while because since until once after before there here \
    in on at of to for from by with within without into over under per via about against between through during up down out \
    not no never cannot only just really actually now currently still also again too very already even both each every any all \
    some more most less least much many such same other own ago however please note see set use uses using get gets got \
    maximum max minimum min limited guarantee guarantees guaranteed exceed exceeds exactly approximately approx roughly around nearly almost yes nope well \
    yesterday today fyi btw etc eg ie warn info error debug warning ";

/// Words behind which a place, a part or a purpose is named.
const PLACES: &str = " in on for of with from at to per by ";

pub(super) fn is_stop(word: &str) -> bool {
    listed(STOP, word)
}

pub(super) fn is_place(word: &str) -> bool {
    listed(PLACES, word)
}

/// Whether a list between blanks holds a word.
pub(super) fn listed(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split_ascii_whitespace().any(|known| known == word)
}

pub(super) fn negates(word: &str) -> bool {
    matches!(word, "not" | "cannot" | "never" | "no") || word.ends_with("n't") || word.ends_with("n\u{2019}t")
}

/// What a word is, as far as claims go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its stem's number.
    pub(super) id: u32,
    pub(super) stop: bool,
    pub(super) place: bool,
}

/// All words that were met.
pub(super) struct Words {
    known: HashMap<String, Known>,
    stems: HashMap<String, u32>,
    /// A word for each stem, the first that was met.
    names: Vec<String>,
    stemmer: Stemmer,
}

impl Words {
    pub(super) fn new() -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        Self { known: HashMap::new(), stems: HashMap::new(), names: Vec::new(), stemmer }
    }

    pub(super) fn know(&mut self, word: &str) -> Known {
        if let Some(known) = self.known.get(word) {
            return *known;
        }
        let stem = self.stemmer.stem(word);
        let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        let id = *self.stems.entry(stem.into_owned()).or_insert(next);
        if id == next {
            self.names.push(word.to_owned());
        }
        let known = Known { id, stop: is_stop(word), place: is_place(word) };
        self.known.insert(word.to_owned(), known);
        known
    }

    pub(super) fn name(&self, id: u32) -> &str {
        usize::try_from(id).ok().and_then(|id| self.names.get(id)).map_or("", String::as_str)
    }
}
