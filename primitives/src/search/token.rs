//! The words of a text as they are indexed.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
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
    let mut tokens = Vec::new();
    each_word(text, |word| tokens.extend(token_of(word)));
    tokens
}

/// Makes tokens of many texts: as [`tokenise`], but what was made of the last few thousand words is kept.
#[derive(Clone)]
pub struct Tokeniser {
    /// By the hash of the word; a word takes the place of another one with the same.
    made: Vec<Option<Made>>,
}

/// A word, and the token made of it; `None` where it is dropped.
type Made = (Box<str>, Option<Box<str>>);

/// Words kept. Text is made of few words that are frequent; 4096 are nine tenths of it.
const KEPT: usize = 4096;

impl Tokeniser {
    /// One that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { made: vec![None; KEPT] }
    }

    /// The tokens of a text, as [`tokenise`] makes them.
    #[must_use]
    pub fn tokenise(&mut self, text: &str) -> Vec<String> {
        let mut tokens = Vec::new();
        each_word(text, |word| tokens.extend(self.token_of(word)));
        tokens
    }

    fn token_of(&mut self, word: &str) -> Option<String> {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        let place = hasher.finish() as usize % KEPT;
        // INVARIANT: there are `KEPT` places. Long words are rare, and would take much memory.
        let Some(kept) = self.made.get_mut(place).filter(|_| word.len() <= MAX_STEMMED) else {
            return token_of(word);
        };
        if let Some((_, token)) = kept.as_ref().filter(|(held, _)| **held == *word) {
            return token.as_deref().map(str::to_owned);
        }
        let token = token_of(word);
        *kept = Some((word.into(), token.as_deref().map(Box::from)));
        token
    }
}

impl Default for Tokeniser {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Tokeniser {
    /// Words may be of prompts and personal data, so none is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokeniser({} words)", self.made.iter().flatten().count())
    }
}

/// Shows what a text is made of, in order: its words in lower case, of which [`token_of`] makes tokens, and pairs of
/// characters where there are no blanks between words. For who keeps something else of a token than its letters.
pub fn each_word(text: &str, mut see: impl FnMut(&str)) {
    let text: String = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.nfkc().flat_map(char::to_lowercase).collect()
    };
    for run in text.split(|char: char| !char.is_alphanumeric()) {
        if run.is_ascii() {
            see(run);
            continue;
        }
        let chars: Vec<char> = run.chars().collect();
        for part in chars.chunk_by(|a, b| is_cjk(*a) == is_cjk(*b)) {
            match part {
                [first, _, ..] if is_cjk(*first) => {
                    part.windows(2).for_each(|pair| see(&String::from_iter(pair)));
                }
                _ => see(&part.iter().collect::<String>()),
            }
        }
    }
}

/// The token that [`tokenise`] makes of one of the words of [`each_word`]; `None` where it drops it.
#[must_use]
pub fn token_of(word: &str) -> Option<String> {
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
