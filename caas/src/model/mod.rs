//! The nouns of the crate: a document as it was read, its blocks, and the chunks it is found by.

mod block;
mod chunk;
mod found;
mod id;
mod metadata;

pub use block::{Block, BlockKind, Format, Language, Parsed, Path, Removed, RemovedKind, Tier};
pub use chunk::{Chunk, ChunkId};
pub use found::{Found, Leg, Scores};
pub use id::DocumentId;
pub use metadata::{Classification, Metadata, Readers, Source, SourceKind};

/// Why a value is none of its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadModel {
    /// No name of a document.
    #[error("`{0}` is no document id: 1 to 512 bytes without control characters")]
    DocumentId(String),
    /// No digest of a chunk.
    #[error("`{0}` is no chunk id: 32 lower-case hex digits")]
    ChunkId(String),
    /// A word that names nothing here.
    #[error("`{word}` is no {what}; known: {known}")]
    Unknown {
        /// What it should have been.
        what: &'static str,
        /// The word, shortened.
        word: String,
        /// The words there are.
        known: String,
    },
    /// A document that was in force for no time at all.
    #[error("valid_to is not after valid_from")]
    EmptyValidity,
    /// A document that replaces itself.
    #[error("document `{0}` supersedes itself")]
    SupersedesItself(DocumentId),
    /// More of something than a document may have.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
}

impl BadModel {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DocumentId(_) => "AK0750",
            Self::ChunkId(_) => "AK0751",
            Self::Unknown { .. } => "AK0752",
            Self::EmptyValidity => "AK0753",
            Self::SupersedesItself(_) => "AK0754",
            Self::TooMany { .. } => "AK0755",
        }
    }
}

/// A closed set of words, each with one spelling: `ALL`, `as_str`, `Display`, `FromStr`, and serde as the word.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal, $($(#[$doc:meta])* $variant:ident = $word:literal,)+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "&'static str")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::BadModel;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
                    $crate::model::BadModel::Unknown {
                        what: $what,
                        word: text.chars().take(64).collect(),
                        known: known.join(", "),
                    }
                })
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::model::BadModel;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for &'static str {
            fn from(one: $name) -> Self {
                one.as_str()
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for kind in SourceKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        let error = "Wiki".parse::<SourceKind>().unwrap_err();
        assert!(
            error.to_string().starts_with("`Wiki` is no kind of source; known: official_docs, "),
            "{error}"
        );
        assert!(Classification::Public < Classification::Secret);
    }
}
