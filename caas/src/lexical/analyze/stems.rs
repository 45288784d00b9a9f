//! Stems, and those that were made before.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use agent_primitives::search::STOP_WORDS;
use rust_stemmers::{Algorithm, Stemmer};

use super::Tokens;

static ENGLISH: LazyLock<Stemmer> = LazyLock::new(|| Stemmer::create(Algorithm::English));

/// Most words that are kept. Text is made of few words that are frequent.
const MOST: usize = 4096;

/// Keeps what was made of words, each at a place that follows from its hash: most words of texts come again, and a stem costs
/// more than anything else that is done for a word.
#[derive(Debug)]
pub(crate) struct Stems {
    made: Vec<Made>,
}

#[derive(Clone, Debug, Default)]
struct Made {
    word: String,
    /// `None` for a word that is too frequent to tell texts apart.
    stem: Option<String>,
}

impl Stems {
    /// For texts of so many bytes together: a single word needs no memory of others.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        let places = (bytes / 16).min(MOST).next_power_of_two();
        Self { made: vec![Made::default(); places] }
    }

    /// Adds the stem of a word of ASCII.
    pub(super) fn push(&mut self, word: &str, tokens: &mut Tokens) {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        // There is one place at least, and their number is a power of two.
        let place = hasher.finish() as usize & (self.made.len() - 1);
        let Some(made) = self.made.get_mut(place) else { return };
        if made.word != word {
            made.word.clear();
            made.word.push_str(word);
            made.stem = STOP_WORDS.binary_search(&word).is_err().then(|| ENGLISH.stem(word).into_owned());
        }
        if let Some(stem) = &made.stem {
            tokens.push(stem);
        }
    }
}
