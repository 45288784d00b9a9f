//! Memories as lines of JSON.
//!
//! ```text
//! {"emk_export":1,"ledger":"agent-1"}
//! {"body":{…},"kind":"episode","seq":0}
//! {"content_id":"…","erased":true,"kind":"episode","seq":1}
//! {"body_hex":"…","kind":"checkpoint","seq":2}
//! {"head":"3:…"}
//! ```
//!
//! A ledger written from an export has the head of the one that was exported, or the import fails: nothing is dropped,
//! mended or guessed. Lines of the older form, one episode a line, are read by [`upstream`].

mod export;
mod import;
pub mod upstream;

use std::io::{self, BufRead, Read};

pub use export::Exported;
pub use import::{Imported, import_ledger};

use super::MemoryError;
use crate::episode::EpisodeError;
use crate::{Head, LedgerError};

/// Version of the form.
const FORMAT: u64 = 1;
/// Longest line in bytes: a record of 16 MiB, in hex digits, and what is around it.
pub const MAX_LINE_BYTES: usize = 33 << 20;

/// Why an import ended early. What was imported before the line stays.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: {cause}; {imported} records were imported before it")]
#[non_exhaustive]
pub struct ImportError {
    /// The line, from 1.
    pub line: u64,
    /// Records imported before it.
    pub imported: u64,
    /// What is wrong with it.
    #[source]
    pub cause: LineError,
}

impl ImportError {
    /// The stable code of this error: that of what memory, ledger or episode say, or that of a line that is none.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.cause.code()
    }
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is not JSON, or no object.
    #[error("no object of JSON: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A field is missing.
    #[error("the field `{field}` is missing")]
    MissingField {
        /// Which.
        field: String,
    },
    /// A field has a value that it cannot have, or there is no such field.
    #[error("the field `{field}` cannot be used: {reason}")]
    InvalidField {
        /// Which.
        field: String,
        /// Why not.
        reason: String,
    },
    /// It is longer than [`MAX_LINE_BYTES`].
    #[error("it has more than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The input ends before its last line.
    #[error("the input ends early")]
    EndsEarly,
    /// What was imported is not what was exported.
    #[error("the records lead to the head {found}, not to {expected}")]
    OtherHead {
        /// Where they lead.
        found: Head,
        /// What the export says.
        expected: Head,
    },
    /// The input cannot be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It is no episode.
    #[error(transparent)]
    Episode(#[from] EpisodeError),
    /// The memory refuses it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The ledger refuses it.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl LineError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Episode(error) => error.code(),
            Self::Memory(error) => error.code(),
            Self::Ledger(error) => error.code(),
            _ => "AK0729",
        }
    }

    fn missing(field: &str) -> Self {
        Self::MissingField { field: field.to_owned() }
    }

    fn invalid(field: &str, reason: impl std::fmt::Display) -> Self {
        Self::InvalidField { field: field.to_owned(), reason: reason.to_string() }
    }
}

/// Lines with their numbers, each in the same buffer.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    const fn new(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// The next line without its end; `None` at the end of the input. Never holds more than the longest line.
    fn next(&mut self) -> Result<Option<&[u8]>, LineError> {
        self.line.clear();
        self.number += 1;
        let mut bounded = (&mut self.input).take(MAX_LINE_BYTES as u64 + 1);
        if bounded.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if MAX_LINE_BYTES < self.line.len() {
            return Err(LineError::TooLong);
        }
        Ok(Some(&self.line))
    }
}
