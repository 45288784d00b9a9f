//! Words as numbers, alike where their stems are.

use std::collections::HashMap;
use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};

/// Words that are looked for, by what they say in a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// They do not say what a sentence is about.
    Stop,
    /// Behind them a place, a part or a purpose is named.
    Place,
    Formerly,
    Was,
    Until,
    Supposes,
    Doubts,
    Advises,
    /// A time, and no length of one, comes next.
    Points,
    /// They tie what is before them to a value.
    Ties,
    /// A number behind them names nothing.
    NoName,
    Per,
    Returns,
    Is,
    Equals,
    IsOrTo,
    Version,
    Requires,
    Beyond,
    Below,
    OrMore,
    Joins,
    Least,
    Guarantees,
    Most,
    Limits,
    Switches,
    Compares,
}

const LISTS: [(List, &str); 28] = [
    (
        List::Stop,
        "a an the this that these those it its he she we you they i me my our your their them his her who which \
         what is are was were be been being am has have had do does did done can could may might will would shall should must \
         and or but nor so yet if then else than as when while because since until once after before there here \
         in on at of to for from by with within without into over under per via about against between through during up down out \
         not no never cannot only just really actually now currently still also again too very already even both each every any all \
         some more most less least much many such same other own ago however please note see set use uses using get gets got \
         maximum max minimum min limited guarantee guarantees guaranteed exceed exceeds exactly approximately approx roughly around nearly almost yes nope well \
         yesterday today fyi btw etc eg ie warn info error debug warning",
    ),
    (List::Place, "in on for of with from at to per by"),
    (List::Formerly, "previously formerly"),
    (List::Was, "was were"),
    (List::Until, "until before"),
    (List::Supposes, "if suppose assuming imagine"),
    (List::Doubts, "maybe perhaps probably guess"),
    (List::Advises, "recommend recommends recommended suggest suggested ideally"),
    (List::Points, "last this next"),
    (List::Ties, "is are was were has have must should can may"),
    (List::NoName, "port return returns returned version include includes equals"),
    (List::Per, "per a an every"),
    (List::Returns, "return returns returned"),
    (List::Is, "is are"),
    (List::Equals, "is are equals"),
    (List::IsOrTo, "is are to"),
    (List::Version, "version versions"),
    (List::Requires, "require requires required needs need"),
    (List::Beyond, "exceed exceeds above over more longer larger greater higher"),
    (List::Below, "below fewer less under"),
    (List::OrMore, "newer later higher more greater above"),
    (List::Joins, "or and"),
    (List::Least, "least"),
    (List::Guarantees, "minimum min guarantee guarantees guaranteed"),
    (List::Most, "most within"),
    (List::Limits, "maximum max limit limited"),
    (List::Switches, "on off"),
    (List::Compares, "exceed more longer larger less fewer below above over under"),
];

static LISTED: LazyLock<HashMap<&str, Lists>> = LazyLock::new(|| {
    let mut listed: HashMap<&str, Lists> = HashMap::new();
    for (list, words) in LISTS {
        for word in words.split_ascii_whitespace() {
            listed.entry(word).or_default().0 |= 1 << list as u32;
        }
    }
    listed
});

/// The lists that a word is in, or some words together; a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists(u32);

impl Lists {
    pub(super) const NONE: Self = Self(0);

    pub(super) fn of(word: &str) -> Self {
        LISTED.get(word).copied().unwrap_or_default()
    }

    pub(super) const fn hold(self, list: List) -> bool {
        self.0 >> list as u32 & 1 == 1
    }
}

impl FromIterator<Self> for Lists {
    fn from_iter<I: IntoIterator<Item = Self>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |bits, lists| bits | lists.0))
    }
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
        let lists = Lists::of(word);
        let known = Known { id, stop: lists.hold(List::Stop), place: lists.hold(List::Place) };
        self.known.insert(word.to_owned(), known);
        known
    }

    pub(super) fn name(&self, id: u32) -> &str {
        usize::try_from(id).ok().and_then(|id| self.names.get(id)).map_or("", String::as_str)
    }
}
