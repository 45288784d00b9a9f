//! What of an episode is searched.

use std::hash::{DefaultHasher, Hash, Hasher};

use agent_primitives::Timestamp;
use agent_primitives::search::tokenise;

use crate::episode::Episode;

const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
];

/// The tokens of goal, action, result, reflection, reason of failure, tags, agent and date.
pub(super) fn tokens(episode: &Episode) -> Vec<String> {
    let mut tokens = Vec::new();
    let reason = episode.failure().map(|failure| failure.reason.as_str());
    let tags = episode.tags().iter().map(String::as_str);
    for text in episode.texts().into_iter().chain(reason).chain(tags).chain([episode.agent().as_str()]) {
        tokens.append(&mut tokenise(text));
    }
    tokens.append(&mut tokenise(&date(episode.timestamp())));
    tokens
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
pub(super) fn passage(episode: &Episode) -> String {
    let texts = episode.texts().into_iter().chain(episode.failure().map(|failure| failure.reason.as_str()));
    texts.map(str::trim).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}

/// How much text that is, in bytes.
pub(super) fn bytes(episode: &Episode) -> u64 {
    let texts = episode.texts().into_iter().chain(episode.failure().map(|failure| failure.reason.as_str()));
    let names = episode.tags().iter().map(String::as_str).chain([episode.agent().as_str()]);
    texts.chain(names).map(|text| text.len() as u64).sum()
}

/// The words, sorted, each once.
pub(super) fn distinct(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words.dedup();
    words
}

/// A set of words by their hashes, sorted.
pub(super) fn hashes(words: &[String]) -> Vec<u64> {
    let hash = |word: &String| {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        hasher.finish()
    };
    let mut hashes: Vec<u64> = words.iter().map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// The share of words that two texts have in common (Jaccard), from their [`hashes`]: 1 for the same words, 0 if either has
/// none.
pub(super) fn likeness(a: &[u64], b: &[u64]) -> f64 {
    let (mut ours, mut theirs) = (a.iter().peekable(), b.iter().peekable());
    let mut common = 0usize;
    while let (Some(one), Some(other)) = (ours.peek(), theirs.peek()) {
        let order = one.cmp(other);
        common += usize::from(order.is_eq());
        if order.is_le() {
            ours.next();
        }
        if order.is_ge() {
            theirs.next();
        }
    }
    let all = a.len() + b.len() - common;
    if a.is_empty() || b.is_empty() { 0.0 } else { common as f64 / all as f64 }
}
