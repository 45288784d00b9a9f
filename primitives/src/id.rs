//! Identifiers, parsed once at the border.
//!
//! An id that exists is valid: it is one safe path segment, pure ASCII, and bounded. Everything behind the border may
//! join it into paths, keys and log lines without looking again.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadId {
    /// No characters at all.
    #[error("the id is empty")]
    Empty,
    /// More bytes than the kind of id allows.
    #[error("the id is longer than {limit} bytes")]
    TooLong {
        /// Largest length in bytes.
        limit: usize,
    },
    /// The first byte is not allowed in first place.
    #[error("the id starts with a character that is not allowed there")]
    BadStart,
    /// A byte outside the alphabet.
    #[error("the id holds a character that is not allowed, at byte {index}")]
    BadChar {
        /// Byte offset of the offender.
        index: usize,
    },
    /// `..` inside, which a path would read as "one up".
    #[error("the id holds `..`")]
    DotDot,
    /// A dot at the end, which some file systems drop.
    #[error("the id ends with a dot")]
    TrailingDot,
}

macro_rules! text_traits {
    ($id:ty) => {
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl Borrow<str> for $id {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $id {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// Name of an agent: 1 to 128 bytes, first `[A-Za-z0-9]`, rest `[A-Za-z0-9._:@-]`, no `..`, no dot at the end.
///
/// Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(Arc<str>);

/// Longest [`AgentId`] in bytes.
pub const MAX_AGENT_ID: usize = 128;

impl AgentId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let rest_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
        check(text, MAX_AGENT_ID, |byte| byte.is_ascii_alphanumeric(), rest_ok)?;
        if text.contains("..") {
            return Err(BadId::DotDot);
        }
        if text.ends_with('.') {
            return Err(BadId::TrailingDot);
        }
        Ok(Self(text.into()))
    }
}

macro_rules! like_agent_id {
    ($(#[$doc:meta])* $id:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id(Arc<str>);

        impl $id {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $id {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                text.parse().map(|AgentId(text)| Self(text))
            }
        }

        text_traits!($id);
    };
}

like_agent_id! {
    /// Name of a tenant: whose agents these are. The same alphabet as [`AgentId`], and another type, so that one cannot
    /// be taken for the other.
    TenantId
}

like_agent_id! {
    /// Name of a session: one conversation or run, under which a host keeps what belongs together. The same alphabet as
    /// [`AgentId`], and another type.
    SessionId
}

/// Name of a tool: `name` or `namespace/name`.
///
/// A name is a letter followed by up to 127 of `[A-Za-z0-9_.-]`; a namespace is up to 128 of `[a-z0-9.-]` that starts
/// and ends with a letter or digit. No namespace means a tool the host linked in. Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToolId(Arc<str>);

/// Longest name, and longest namespace, of a [`ToolId`] in bytes.
pub const MAX_TOOL_NAME: usize = 128;

impl ToolId {
    /// The id as text, namespace included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ToolId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let name = match text.split_once('/') {
            Some((namespace, name)) => {
                let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                check(namespace, MAX_TOOL_NAME, edge, |byte| edge(byte) || byte == b'.' || byte == b'-')?;
                if !namespace.bytes().next_back().is_some_and(edge) {
                    return Err(BadId::BadChar { index: namespace.len() - 1 });
                }
                name
            }
            None => text,
        };
        let offset = text.len() - name.len();
        let rest_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        check(name, MAX_TOOL_NAME, |byte| byte.is_ascii_alphabetic(), rest_ok).map_err(
            |error| match error {
                BadId::BadChar { index } => BadId::BadChar { index: index + offset },
                other => other,
            },
        )?;
        Ok(Self(text.into()))
    }
}

fn check(
    text: &str,
    limit: usize,
    start_ok: impl Fn(u8) -> bool,
    rest_ok: impl Fn(u8) -> bool,
) -> Result<(), BadId> {
    let mut bytes = text.bytes();
    let first = bytes.next().ok_or(BadId::Empty)?;
    if limit < text.len() {
        return Err(BadId::TooLong { limit });
    }
    if !start_ok(first) {
        return Err(BadId::BadStart);
    }
    match bytes.position(|byte| !rest_ok(byte)) {
        Some(index) => Err(BadId::BadChar { index: index + 1 }),
        None => Ok(()),
    }
}

text_traits!(AgentId);
text_traits!(ToolId);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agent_ids_are_checked_in_a_fixed_order() {
        let cases: &[(&str, Result<(), BadId>)] = &[
            ("did:mesh:9f3a", Ok(())),
            ("A_b", Ok(())),
            ("a@host", Ok(())),
            ("", Err(BadId::Empty)),
            ("../etc", Err(BadId::BadStart)),
            ("-x", Err(BadId::BadStart)),
            ("a/b", Err(BadId::BadChar { index: 1 })),
            ("agent\n", Err(BadId::BadChar { index: 5 })),
            ("agent..x", Err(BadId::DotDot)),
            ("agent.", Err(BadId::TrailingDot)),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<AgentId>().map(drop), *expected, "{text}");
        }
        assert_eq!("a".repeat(129).parse::<AgentId>(), Err(BadId::TooLong { limit: 128 }));
        assert!("a".repeat(128).parse::<AgentId>().is_ok());
    }

    #[test]
    fn tool_ids_refuse_look_alikes() {
        for text in ["db.query", "mcp.github/create_issue", "local/echo", "Delete_File"] {
            assert!(text.parse::<ToolId>().is_ok(), "{text}");
        }
        for text in [
            "",
            "delete_file ",
            "delete\u{200b}_file",
            "del\u{435}te_file",
            "1abc",
            "a//b",
            "Up/x",
            "a-/x",
            "../x",
        ] {
            assert!(text.parse::<ToolId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_id_is_one_safe_path_segment(text in ".{0,140}") {
            if let Ok(id) = text.parse::<AgentId>() {
                let joined = std::path::Path::new("/root").join(id.as_str());
                prop_assert_eq!(joined.components().count(), 3);
                prop_assert!(joined.starts_with("/root"));
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
