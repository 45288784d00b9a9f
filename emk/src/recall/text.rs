//! What of an episode is searched.

use agent_primitives::Timestamp;
use agent_primitives::search::{each_word, tokenise};

use super::words::Words;
use crate::memory::{Found, Tokens};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Shows what is searched, each text by itself: goal, action, result, reflection, reason of failure, tags, agent and date; of
/// a rule its text, its agent and its date.
pub(super) fn searched(found: &Found, mut see: impl FnMut(&str)) {
    each(found, &mut see);
    see(&date(match found {
        Found::Episode(episode) => episode.timestamp(),
        Found::Rule(rule) => rule.timestamp,
    }));
}

/// The numbers of the tokens of all of that. And how many of them, from the first on, are those of goal and action.
pub(super) fn numbers(found: &Found, words: &mut Words) -> (Vec<u32>, usize) {
    let (mut numbers, mut ends) = (Vec::with_capacity(64), Vec::with_capacity(16));
    searched(found, |text| {
        each_word(text, |word| numbers.extend(words.of_word(word)));
        ends.push(numbers.len());
    });
    let attempt = match found {
        Found::Episode(_) => ends.get(1).copied().unwrap_or_default(),
        Found::Rule(_) => 0,
    };
    (numbers, attempt)
}

/// The same tokens as a set, to be compared with others.
pub(super) fn tokens(found: &Found) -> Tokens {
    Tokens::of_each(|see| searched(found, see))
}

/// Every text that is searched, but for the date.
fn each(found: &Found, mut see: impl FnMut(&str)) {
    said(found, &mut see);
    match found {
        Found::Episode(episode) => {
            episode.tags().iter().for_each(|tag| see(tag));
            see(episode.agent().as_str());
        }
        Found::Rule(rule) => see(rule.agent_id.as_str()),
    }
}

/// What it says in words.
fn said(found: &Found, see: &mut impl FnMut(&str)) {
    match found {
        Found::Episode(episode) => {
            episode.texts().into_iter().for_each(&mut *see);
            if let Some(failure) = episode.failure() {
                see(&failure.reason);
            }
        }
        Found::Rule(rule) => see(&rule.text),
    }
}

/// The tokens of goal and action: what an attempt is recognised by.
pub(super) fn attempt(goal: &str, action: &str) -> Vec<String> {
    let mut tokens = tokenise(goal);
    tokens.append(&mut tokenise(action));
    tokens
}

/// A day as people ask for it, `8 May 2023`; in UTC.
fn date(time: Timestamp) -> String {
    let text = time.to_string();
    let mut parts = text.split(['-', 'T']);
    let (Some(year), Some(month), Some(day)) = (parts.next(), parts.next(), parts.next()) else {
        return String::new();
    };
    let month = month.parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    month.map_or_else(String::new, |month| format!("{} {month} {year}", day.trim_start_matches('0')))
}

/// The texts as one, for a model: those that say something, one a line.
pub(super) fn passage(found: &Found) -> String {
    let mut passage = String::new();
    said(found, &mut |text| {
        if !text.trim().is_empty() {
            passage.push_str(text.trim());
            passage.push('\n');
        }
    });
    passage
}

/// How much text that is, in bytes.
pub(super) fn bytes(found: &Found) -> u64 {
    let mut bytes = 0;
    each(found, |text| bytes += text.len() as u64);
    bytes
}

/// The words, sorted, each once.
pub(super) fn distinct(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
}
