//! Tokens without a vocabulary.

use super::TokenCounter;

/// Counts more tokens than a model does, so that what fits by it fits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Estimate;

impl TokenCounter for Estimate {
    fn name(&self) -> &str {
        "estimate"
    }

    fn count(&self, text: &str) -> usize {
        let mut tokens = 0;
        let mut run = 0usize;
        for char in text.chars() {
            if char.is_ascii_alphabetic() {
                run += 1;
                continue;
            }
            tokens += run.div_ceil(4);
            run = 0;
            tokens += match char {
                ' ' => 0,
                char if char.is_ascii() => 1,
                char => char.len_utf8().min(2),
            };
        }
        tokens + run.div_ceil(4)
    }
}
