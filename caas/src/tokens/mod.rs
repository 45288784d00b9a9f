//! How many tokens a text has for a model.

mod estimate;

use std::fmt;
use std::sync::Arc;

pub use estimate::Estimate;

/// Counts the tokens of texts, as one model does. Budgets are kept in what it says.
pub trait TokenCounter: fmt::Debug + Send + Sync {
    /// The name of what counts, for receipts.
    fn name(&self) -> &str;

    /// The tokens of a text: 0 for none, and at most one for each byte.
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
