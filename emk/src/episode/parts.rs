//! The parts of an episode that have names of their own.

use std::fmt;
use std::str::FromStr;

use agent_primitives::{Digest, FailureType};
use serde::{Deserialize, Serialize};

/// A name that is none of a closed list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of the names")]
pub struct UnknownName(String);

macro_rules! named {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $kind {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $kind {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, as in the JSON of an episode.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $kind {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
                found.copied().ok_or_else(|| UnknownName(text.chars().take(64).collect()))
            }
        }
    };
}

named! {
    /// How an attempt ended. Ordered as their names are.
    Outcome {
        /// It did not reach the goal.
        Failure = "failure",
        /// It reached a part of the goal.
        Partial = "partial",
        /// It reached the goal.
        Success = "success",
        /// Nobody said.
        Unknown = "unknown",
    }
}

named! {
    /// Who vouches for an episode.
    Source {
        /// The agent itself.
        Agent = "agent",
        /// A tool that it called.
        Tool = "tool",
        /// The person it works for.
        User = "user",
        /// Anybody else: a page, a mail, a document.
        External = "external",
        /// A memory that was recalled and came back as if it were news.
        Recalled = "recalled",
    }
}

/// How an attempt failed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The kind of the failure.
    pub kind: FailureType,
    /// Why, in words; at most [`super::MAX_TEXT_BYTES`].
    pub reason: String,
}

impl fmt::Debug for Failure {
    /// A reason may quote anything, so only its length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Failure({}, {} bytes)", self.kind.as_str(), self.reason.len())
    }
}

/// What an episode does to an earlier one, which stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// The earlier one was wrong from the start. Once this is known, it is true at no time.
    Corrects(Digest),
    /// The earlier one was true, until this one became true.
    Supersedes(Digest),
}

impl Revision {
    /// The content id of the earlier episode.
    #[must_use]
    pub const fn target(self) -> Digest {
        match self {
            Self::Corrects(id) | Self::Supersedes(id) => id,
        }
    }
}

/// The text that an episode was written as, for whoever has to give it back to the byte: a file system, say.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its name; 1 to [`super::MAX_NAME_BYTES`] bytes without control characters. Not redacted.
    pub name: String,
    /// Its text; at most [`super::MAX_TEXT_BYTES`].
    pub text: String,
}

impl fmt::Debug for Document {
    /// Texts may hold anything, so only the length is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Document(`{}`, {} bytes)", self.name, self.text.len())
    }
}
