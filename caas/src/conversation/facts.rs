//! What is remembered of what has left: numbers, names, paths and codes, in the words around them.

use std::collections::VecDeque;

use super::elide::border;
use crate::tokens::TokenCounter;

/// Most facts of one text.
const MAX_FACTS: usize = 32;
/// Longest word that is a fact, in bytes; longer ones are data.
const MAX_WORD: usize = 128;
/// Longest fact in bytes: a row of numbers is many facts, and none that takes the room of all others.
const MAX_FACT: usize = 256;
/// Bytes of a text that are looked at.
const MAX_TEXT: usize = 64 << 10;
/// Words before a fact that say what it is.
const BEFORE: usize = 2;

/// The facts of a text, in order and each once: words with a digit, and paths, addresses and identifiers, with up to two
/// words before them in the same sentence. They are quoted, not understood.
///
/// At most 32 of at most 256 bytes, of the first 64 KiB.
#[must_use]
pub fn facts(text: &str) -> Vec<&str> {
    let text = text.get(..border(text, MAX_TEXT)).unwrap_or(text);
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut before: VecDeque<usize> = VecDeque::new();
    for (start, end) in words(text) {
        let word = text.get(start..end).unwrap_or_default();
        let kept = word.trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '"', '\'']);
        if is_fact(kept) {
            let from = before.front().copied().unwrap_or(start);
            let until = start + kept.len();
            let fits = |from: usize| until - from <= MAX_FACT;
            let full = found.len() == MAX_FACTS;
            match found.last_mut() {
                // Two facts that share words are one, as long as that is not too long.
                Some((first, last)) if from <= *last && fits(*first) => *last = until,
                _ if full => break,
                last => {
                    let behind = last.map_or(0, |(_, last)| *last);
                    let from = before.iter().copied().find(|from| behind <= *from && fits(*from));
                    found.push((from.unwrap_or(start), until));
                }
            }
        }
        let ends = word.ends_with(['.', ',', ';', '!', '?'])
            || text.get(end..).is_some_and(|rest| rest.starts_with('\n'));
        if ends {
            before.clear();
        } else {
            before.push_back(start);
            if BEFORE < before.len() {
                before.pop_front();
            }
        }
    }
    let mut facts: Vec<&str> = Vec::new();
    for fact in found.into_iter().filter_map(|(from, until)| text.get(from..until)) {
        if !facts.contains(&fact) {
            facts.push(fact);
        }
    }
    facts
}

/// Where words begin and end.
fn words(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let start = text.as_ptr() as usize;
    text.split_whitespace().map(move |word| {
        let from = word.as_ptr() as usize - start;
        (from, from + word.len())
    })
}

fn is_fact(word: &str) -> bool {
    if MAX_WORD < word.len() || !word.contains(char::is_alphanumeric) {
        return false;
    }
    let inside = |mark: char| {
        word.split_once(mark).is_some_and(|(left, right)| {
            left.ends_with(char::is_alphanumeric) && right.starts_with(char::is_alphanumeric)
        })
    };
    word.contains(|char: char| char.is_ascii_digit())
        || word.starts_with('/') && word.len() > 1
        || ['.', '_', '@', '/', ':', '='].into_iter().any(inside)
}

/// The newest facts that fit.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts(VecDeque<String>);

impl Facts {
    /// Takes in the facts of a text and lets the oldest go until what is left has at most `tokens`. One that is too large
    /// alone is left out: it would take the room of all and have none itself.
    pub(super) fn take(&mut self, text: &str, tokens: usize, counter: &dyn TokenCounter) {
        for fact in facts(text).into_iter().filter(|fact| counter.count(fact) <= tokens) {
            self.0.retain(|known| known != fact);
            self.0.push_back(fact.to_owned());
        }
        while tokens < self.tokens(counter) {
            self.0.pop_front();
        }
    }

    /// Tokens of all of them, a line each.
    pub(super) fn tokens(&self, counter: &dyn TokenCounter) -> usize {
        let lines: Vec<&str> = self.iter().collect();
        counter.count(&lines.join("\n"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
