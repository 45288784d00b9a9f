//! What an error of a call is made of.

use std::fmt;

use serde::Serialize;

use super::one_line;

/// One way in which arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArgumentError {
    /// JSON pointer into the arguments; empty for the whole.
    pub pointer: String,
    /// The schema keyword that failed, or `deserialize` where the tool's own type is stricter than its schema.
    pub keyword: String,
    /// One line without the offending value, at most 256 characters.
    pub message: String,
}

impl ArgumentError {
    pub(crate) fn new(pointer: impl fmt::Display, keyword: &str, message: impl fmt::Display) -> Self {
        Self { pointer: one_line(pointer, 256), keyword: keyword.to_owned(), message: one_line(message, 256) }
    }
}

/// What a process wrote to standard error, up to the tool's `stderr_bytes`. `Debug` shows its size only.
#[derive(Clone, PartialEq, Eq)]
pub struct Stderr(Box<str>);

impl Stderr {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into())
    }

    /// The text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Stderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stderr({} bytes)", self.0.len())
    }
}
