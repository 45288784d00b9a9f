//! Words looked for in every reading of a text.

use std::ops::ControlFlow;

use aho_corasick::AhoCorasick;

use super::fold::{fold, skeleton};
use super::views::{Form, Incomplete, Limits, each_view};

/// A set of words to look for. Finding takes time linear in the text, however many words there are.
///
/// A word is found wherever a reading of the text holds it as it [folds](fold) or as it [looks](skeleton), in the middle
/// of another word as well.
#[derive(Clone, Debug)]
pub struct Needles {
    automaton: AhoCorasick,
    /// Without white space: for words that were spelt letter by letter without gaps between them.
    compact: AhoCorasick,
}

/// Words that cannot be looked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNeedles {
    /// Nothing is left of a word once it is folded, so every text would hold it.
    #[error("`{word}` holds no visible character")]
    Empty {
        /// The word.
        word: String,
    },
    /// There are more words than [`Needles::MAX_BYTES`] bytes.
    #[error("the words to look for take more than {} bytes", Needles::MAX_BYTES)]
    TooMany,
}

impl Needles {
    /// Most bytes of all words together.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Prepares the words; the index of a word is its place here.
    ///
    /// # Errors
    /// [`BadNeedles`].
    pub fn new<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self, BadNeedles> {
        let (mut forms, mut compact, mut bytes) = (Vec::new(), Vec::new(), 0);
        for word in words {
            let word = word.as_ref();
            bytes += word.len();
            if Self::MAX_BYTES < bytes {
                return Err(BadNeedles::TooMany);
            }
            let looks = skeleton(word);
            let folded = fold(word);
            let dense: String = looks.split_whitespace().collect();
            if dense.is_empty() || folded.trim().is_empty() {
                return Err(BadNeedles::Empty { word: word.chars().take(64).collect() });
            }
            forms.extend([folded, looks]);
            compact.push(dense);
        }
        let build = |words: Vec<String>| AhoCorasick::new(words).map_err(|_| BadNeedles::TooMany);
        Ok(Self { automaton: build(forms)?, compact: build(compact)? })
    }

    /// The index of a word that the text holds in one of its readings.
    ///
    /// # Errors
    /// None was found, but not all readings could be looked at: see [`Incomplete`].
    pub fn find(&self, text: &str, limits: &Limits) -> Result<Option<usize>, Incomplete> {
        let found = each_view(text, limits, |view| {
            let word = match view.form {
                // The folded form shows all that these show, and more.
                Form::Plain | Form::Clean => None,
                Form::Folded | Form::Skeleton | Form::Spaced | Form::Joined => {
                    self.automaton.find(view.text).map(|found| found.pattern().as_usize() / 2)
                }
                Form::Compact => self.compact.find(view.text).map(|found| found.pattern().as_usize()),
            };
            word.map_or(ControlFlow::Continue(()), ControlFlow::Break)
        })?;
        Ok(found.break_value())
    }
}
