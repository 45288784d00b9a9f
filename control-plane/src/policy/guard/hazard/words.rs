//! Sequences of words, for detectors that read prose.

use std::ops::{Deref, Range};

/// The words of a text in small letters, apostrophes left out; `.` stands where a sentence ends and `,` where it pauses.
///
/// Sorted once, so that looking for a set costs the size of the set and not of the text.
pub(super) struct Words {
    list: Vec<String>,
    /// Places in `list`, ordered by the words there.
    sorted: Vec<usize>,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let list = words(text);
        let mut sorted: Vec<usize> = (0..list.len()).collect();
        sorted.sort_by_key(|place| list.get(*place).map_or("", String::as_str));
        Self { list, sorted }
    }

    /// The places of the words of a set.
    fn places(&self, set: Set) -> impl Iterator<Item = usize> {
        set.split(' ').flat_map(|known| self.sorted.get(self.range(known)).unwrap_or_default()).copied()
    }

    /// Where in `sorted` the words are that match one entry of a set.
    fn range(&self, known: &str) -> Range<usize> {
        let (stem, open) = known.strip_suffix('*').map_or((known, false), |stem| (stem, true));
        let word = |place: &usize| self.list.get(*place).map_or("", String::as_str);
        let start = self.sorted.partition_point(|place| word(place) < stem);
        let rest = self.sorted.get(start..).unwrap_or_default();
        let fits = |place: &usize| if open { word(place).starts_with(stem) } else { word(place) == stem };
        start..start + rest.partition_point(fits)
    }

    /// Where a word of `first` is followed by all `steps` in turn; `fits` may turn a place down.
    pub(super) fn found(&self, first: Set, steps: &[Step], fits: impl Fn(usize) -> bool) -> bool {
        self.places(first).any(|place| fits(place) && self.follows(place, steps, false))
    }

    /// The same where sentences may end between the words.
    pub(super) fn found_across(&self, first: Set, steps: &[Step]) -> bool {
        self.places(first).any(|place| self.follows(place, steps, true))
    }

    /// Tries every place for each step; the gaps are small constants, and so is the cost.
    fn follows(&self, place: usize, steps: &[Step], across: bool) -> bool {
        let Some((Step(gap, set), rest)) = steps.split_first() else { return true };
        let mut left = *gap;
        for (at, word) in self.list.iter().enumerate().skip(place + 1) {
            match word.as_str() {
                "." if !across => return false,
                "," | "." => {}
                word if is(word, set) && self.follows(at, rest, across) => return true,
                _ if left == 0 => return false,
                _ => left -= 1,
            }
        }
        false
    }

    /// Whether the phrase, words parted by blanks, stands in the text.
    pub(super) fn says(&self, phrase: &str) -> bool {
        let first = phrase.split(' ').next().unwrap_or_default();
        let starts = self.sorted.get(self.range(first)).unwrap_or_default();
        starts.iter().any(|start| {
            let mut rest = self.list.iter().skip(*start);
            phrase.split(' ').all(|known| rest.next().is_some_and(|word| word == known))
        })
    }

    /// The word before `place`, pauses included.
    pub(super) fn before(&self, place: usize) -> &str {
        place.checked_sub(1).and_then(|at| self.list.get(at)).map_or("", String::as_str)
    }
}

impl Deref for Words {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.list
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let end = |word: &mut String, words: &mut Vec<String>| {
        if !word.is_empty() {
            words.push(std::mem::take(word));
        }
    };
    for char in text.chars() {
        match char {
            '\'' | '\u{2019}' => {}
            char if char.is_alphanumeric() => word.extend(char.to_lowercase()),
            '.' | '!' | '?' | ';' | '\n' => {
                end(&mut word, &mut words);
                words.push(".".to_owned());
            }
            ',' | ':' => {
                end(&mut word, &mut words);
                words.push(",".to_owned());
            }
            _ => end(&mut word, &mut words),
        }
    }
    end(&mut word, &mut words);
    words
}

/// Words of a closed list, parted by blanks; `*` at the end of one stands for any ending.
pub(super) type Set = &'static str;

pub(super) fn is(word: &str, set: Set) -> bool {
    set.split(' ').any(|known| match known.strip_suffix('*') {
        Some(stem) => word.starts_with(stem),
        None => word == known,
    })
}

/// A word of a set, after at most so many other words of the same sentence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step(pub(super) usize, pub(super) Set);
