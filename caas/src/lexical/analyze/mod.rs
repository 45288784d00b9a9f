//! The words of a text as they are indexed and asked for.

mod code;
mod english;
mod exact;
mod script;
mod stems;
mod tokens;

use agent_primitives::search::STOP_WORDS;

use crate::Language;

pub(super) use stems::Stems;
pub use tokens::Tokens;

/// Longest word that is stemmed, in bytes; no word of English is longer.
const MAX_STEMMED: usize = 64;
/// Longest token that is kept, in bytes. What is longer (a key, encoded data) is not looked for by its letters.
const MAX_TOKEN: usize = 128;

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
        self.analyze_with(text, &mut Stems::for_bytes(0))
    }

    /// The same with what is known from other texts.
    pub(super) fn analyze_with(self, text: &str, stems: &mut Stems) -> Tokens {
        let mut tokens = Tokens::default();
        match self {
            Self::English => english::analyze(text, &mut tokens, stems),
            Self::Code => code::analyze(text, &mut tokens, stems),
        }
        tokens
    }
}

/// Adds a lower-case word by its stem, unless it is too frequent to tell texts apart.
fn push_word(word: &str, tokens: &mut Tokens, stems: &mut Stems) {
    let word = word.strip_suffix("'s").unwrap_or(word).trim_matches('\'');
    if word.is_ascii() && word.len() <= MAX_STEMMED {
        stems.push(word, tokens);
    } else if STOP_WORDS.binary_search(&word).is_err() {
        tokens.push(word);
    }
}

#[cfg(test)]
mod tests;
