//! The table that a router goes by.

use serde::{Deserialize, Serialize};

/// What a router goes by. It is data: the host may keep it in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Messages that have a fixed answer, as a whole; case, punctuation and emoji around them do not matter.
    pub canned: Vec<String>,
    /// Words and phrases that ask for a large model, as whole words.
    pub smart: Vec<String>,
    /// A message of fewer graphemes goes to a small model.
    pub fast_below: usize,
}

/// Rules that cannot be gone by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRules {
    /// A phrase without a word.
    #[error("phrase `{0}` holds no word")]
    NoWord(String),
    /// A phrase or a list that is too long, or a threshold beyond what is looked at.
    #[error("{what} is more than {limit}")]
    TooMuch {
        /// What is too much.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
}

impl BadRules {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoWord(_) => "AK0651",
            Self::TooMuch { .. } => "AK0652",
        }
    }
}

impl Rules {
    /// Most phrases of one list.
    pub const MAX_PHRASES: usize = 1024;
    /// Longest phrase in bytes.
    pub const MAX_PHRASE: usize = 256;
    /// Bytes of a message that are looked at.
    pub(super) const MAX_LOOKED_AT: usize = 16 << 10;
    /// Largest [`Rules::fast_below`], in graphemes.
    pub const MAX_FAST_BELOW: usize = 1000;

    pub(super) fn check(&self) -> Result<(), BadRules> {
        let too_much =
            |what, limit, found| if limit < found { Err(BadRules::TooMuch { what, limit }) } else { Ok(()) };
        too_much("fast_below", Self::MAX_FAST_BELOW, self.fast_below)?;
        for list in [&self.canned, &self.smart] {
            too_much("a list of phrases", Self::MAX_PHRASES, list.len())?;
            for phrase in list {
                too_much("a phrase", Self::MAX_PHRASE, phrase.len())?;
                if !phrase.contains(char::is_alphanumeric) {
                    return Err(BadRules::NoWord(phrase.clone()));
                }
            }
        }
        Ok(())
    }
}

impl Default for Rules {
    /// English small talk, and verbs of analysis; short is below 50 graphemes.
    fn default() -> Self {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            canned: own(&[
                "hi",
                "hello",
                "hey",
                "thanks",
                "thank you",
                "thx",
                "bye",
                "goodbye",
                "ok",
                "okay",
                "got it",
                "cool",
                "great",
                "awesome",
                "perfect",
            ]),
            smart: own(&[
                "summarize",
                "summarise",
                "summary",
                "analyze",
                "analyse",
                "analysis",
                "compare",
                "comparison",
                "evaluate",
                "assessment",
                "review",
                "critique",
                "explain in detail",
                "comprehensive",
                "thorough",
                "deep dive",
                "investigate",
                "research",
            ]),
            fast_below: 50,
        }
    }
}
