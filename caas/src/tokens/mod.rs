//! How many tokens a text has for a model.
//!
//! [`Estimate`] needs nothing and counts somewhat too many. `Tiktoken` (feature `tiktoken`) counts exactly for models of
//! OpenAI, and `ModelTokens` (feature `tokenizers`) for any model that comes with a `tokenizer.json`.

#[cfg(feature = "tokenizers")]
mod error;
mod estimate;
#[cfg(feature = "tokenizers")]
mod file;
#[cfg(feature = "tiktoken")]
mod tiktoken;

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "tokenizers")]
pub use error::ModelError;
pub use estimate::Estimate;
#[cfg(feature = "tokenizers")]
pub use file::{MAX_TEXT, ModelTokens};
#[cfg(feature = "candle")]
pub(crate) use file::{line, read};
#[cfg(feature = "tiktoken")]
pub use tiktoken::{NoVocabulary, Tiktoken};

/// Counts the tokens of texts, as one model does. Budgets are kept in what it says.
pub trait TokenCounter: fmt::Debug + Send + Sync {
    /// The name of what counts, for receipts.
    fn name(&self) -> &str;

    /// The tokens of a text: 0 for none. Nothing may depend on there being fewer than bytes: some models put a sign before a text.
    fn count(&self, text: &str) -> usize;
}

impl<T: TokenCounter + ?Sized> TokenCounter for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn count(&self, text: &str) -> usize {
        (**self).count(text)
    }
}

#[cfg(test)]
mod tests;
