//! The words of a text as they are indexed and asked for.

mod code;
mod english;
mod exact;
mod script;
mod tokens;

use std::sync::LazyLock;

use agent_primitives::search::STOP_WORDS;
use rust_stemmers::{Algorithm, Stemmer};

use crate::Language;

pub use tokens::Tokens;

/// Longest word that is stemmed, in bytes; no word of English is longer.
const MAX_STEMMED: usize = 64;
/// Longest token that is kept, in bytes. What is longer (a key, encoded data) is not looked for by its letters.
const MAX_TOKEN: usize = 128;

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// How a text is taken apart.
///
/// Both give, beside the parts, error codes, paths, versions and the like as they stand (`e-1234`, `api/users/123`,
/// `0.27.1`, `c++`), and both give texts without blanks between words (Han, kana, Hangul, Thai, …) as pairs of neighbours.
/// Their stems are the same, so that a question in English finds the comments of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Analyzer {
    /// Words by UAX #29, NFKC, lower case, without stop words, stemmed (Snowball, English) where they are ASCII.
    English,
    /// Identifiers whole, and their parts as words: `getHTTPResponse2` is also `get`, `http`, `response` and `2`.
    Code,
}

impl Analyzer {
    /// The one for a chunk.
    #[must_use]
    pub const fn of(language: Option<Language>) -> Self {
        match language {
            Some(_) => Self::Code,
            None => Self::English,
        }
    }

    /// The tokens of a text, in order. There are at most two for each character of the normalised text.
    #[must_use]
    pub fn analyze(self, text: &str) -> Tokens {
        let mut tokens = Tokens::default();
        match self {
            Self::English => english::analyze(text, &mut tokens),
            Self::Code => code::analyze(text, &mut tokens),
        }
        tokens
    }
}

/// Adds a lower-case word by its stem, unless it is too frequent to tell texts apart.
fn push_word(word: &str, tokens: &mut Tokens) {
    let word = word.strip_suffix("'s").unwrap_or(word).trim_matches('\'');
    if STOP_WORDS.binary_search(&word).is_ok() {
        return;
    }
    if word.is_ascii() && word.len() <= MAX_STEMMED {
        tokens.push(&ENGLISH.stem(word));
    } else {
        tokens.push(word);
    }
}

#[cfg(test)]
mod tests;
