//! Tokens, where no model says what they are.

use caas_core::tokens::TokenCounter;

/// Letters of one token at the most. Vocabularies of models hold most words of this length whole.
const LETTERS: usize = 9;

/// Runs of letters and digits, in pieces of at most nine, and every mark: about what WordPiece counts in English.
#[derive(Debug)]
pub(crate) struct Pieces;

impl TokenCounter for Pieces {
    fn name(&self) -> &str {
        "pieces of nine letters"
    }

    fn count(&self, text: &str) -> usize {
        let words = text.split(|char: char| !char.is_alphanumeric());
        let pieces: usize = words.map(|word| word.chars().count().div_ceil(LETTERS)).sum();
        let mark = |char: &char| !char.is_alphanumeric() && !char.is_whitespace();
        (pieces + text.chars().filter(mark).count()).min(text.len())
    }
}
