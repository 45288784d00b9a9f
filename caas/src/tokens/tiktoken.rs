//! Tokens as models of OpenAI count them.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tiktoken_rs::CoreBPE;

use super::TokenCounter;

/// An exact counter of a public vocabulary, which is compiled in: some 5 MB in the program, and 30 MB of memory for each
/// vocabulary that is made. Clones share it.
#[derive(Clone)]
pub struct Tiktoken {
    name: &'static str,
    vocabulary: Arc<CoreBPE>,
}

/// A vocabulary that is compiled in could not be read: the program was built wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vocabulary `{0}` cannot be read")]
pub struct NoVocabulary(&'static str);

impl NoVocabulary {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "AK0647"
    }
}

impl Tiktoken {
    /// `o200k_base`: GPT-4o and later.
    ///
    /// # Errors
    /// [`NoVocabulary`].
    pub fn o200k_base() -> Result<Self, NoVocabulary> {
        Self::of("o200k_base", tiktoken_rs::o200k_base().ok())
    }

    /// `cl100k_base`: GPT-4, GPT-3.5 and the embeddings of their time.
    ///
    /// # Errors
    /// [`NoVocabulary`].
    pub fn cl100k_base() -> Result<Self, NoVocabulary> {
        Self::of("cl100k_base", tiktoken_rs::cl100k_base().ok())
    }

    fn of(name: &'static str, vocabulary: Option<CoreBPE>) -> Result<Self, NoVocabulary> {
        let vocabulary = vocabulary.ok_or(NoVocabulary(name))?;
        Ok(Self { name, vocabulary: Arc::new(vocabulary) })
    }
}

impl TokenCounter for Tiktoken {
    fn name(&self) -> &str {
        self.name
    }

    /// What looks like a special token counts as text. A text that the pattern of words gives up on, such as a megabyte of
    /// blanks, counts a token for each byte.
    fn count(&self, text: &str) -> usize {
        // Not `encode_ordinary`, which panics where the pattern gives up.
        self.vocabulary.encode(text, &HashSet::new()).map_or(text.len(), |(tokens, _)| tokens.len())
    }
}

impl fmt::Debug for Tiktoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tiktoken").field("name", &self.name).finish_non_exhaustive()
    }
}
