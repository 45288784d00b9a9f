//! The words of a text as they are indexed.

use std::sync::LazyLock;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization;

/// Words too frequent to tell texts apart; in ascending order.
pub const STOP_WORDS: [&str; 67] = [
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "for", "from",
    "had", "has", "have", "he", "her", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it",
    "its", "me", "my", "of", "on", "or", "our", "she", "so", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "to", "too", "us", "was", "we", "were", "what", "when", "where",
    "which", "who", "whom", "why", "will", "with", "would", "you", "your",
];

/// Longest word that is stemmed, in bytes; no word of English is longer, and an identifier has no stem.
const MAX_STEMMED: usize = 64;

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// The tokens of a text, in order: NFKC, lower case, runs of letters and digits. Runs of Han, kana or Hangul become their
/// pairs of neighbours, a single character stays. Stop words and single ASCII characters are dropped; other ASCII words
/// are stemmed (Snowball, English).
///
/// There are no more tokens than characters in the normalised text.
#[must_use]
pub fn tokenise(text: &str) -> Vec<String> {
    let text: String = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfkc().flat_map(char::to_lowercase).collect()
    };
    let mut tokens = Vec::new();
    for run in text.split(|char: char| !char.is_alphanumeric()) {
        if run.is_ascii() {
            tokens.extend(word(run));
            continue;
        }
        for part in run.chars().collect::<Vec<_>>().chunk_by(|a, b| is_cjk(*a) == is_cjk(*b)) {
            match part {
                [first, _, ..] if is_cjk(*first) => tokens.extend(part.windows(2).map(String::from_iter)),
                _ => tokens.extend(word(&part.iter().collect::<String>())),
            }
        }
    }
    tokens
}

fn word(word: &str) -> Option<String> {
    if !word.is_ascii() {
        return Some(word.to_owned());
    }
    if word.len() <= 1 || STOP_WORDS.binary_search(&word).is_ok() {
        return None;
    }
    if MAX_STEMMED < word.len() {
        return Some(word.to_owned());
    }
    Some(ENGLISH.stem(word).into_owned())
}

/// Han, kana and Hangul: written without blanks, or with blanks that tell little.
const fn is_cjk(char: char) -> bool {
    matches!(char,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}
