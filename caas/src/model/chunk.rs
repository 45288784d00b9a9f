//! What is indexed, found and shown: a part of a document small enough for a model.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{BadModel, Language, Path, Tier};

/// The identity of a chunk: a digest of its document's id, its path, its text, and its place among equals. It does not
/// depend on where in the document the chunk lies, so what was not changed keeps its id when text is put before it.
///
/// Prints and parses as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChunkId(pub(crate) u128);

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ChunkId {
    type Err = BadModel;

    fn from_str(text: &str) -> Result<Self, BadModel> {
        let bad = || BadModel::ChunkId(text.chars().take(64).collect());
        let id = Self(u128::from_str_radix(text, 16).map_err(|_| bad())?);
        if id.to_string() == text { Ok(id) } else { Err(bad()) }
    }
}

impl TryFrom<String> for ChunkId {
    type Error = BadModel;

    fn try_from(text: String) -> Result<Self, BadModel> {
        text.parse()
    }
}

impl From<ChunkId> for String {
    fn from(id: ChunkId) -> Self {
        id.to_string()
    }
}

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Its identity.
    pub id: ChunkId,
    /// Its place among the chunks of the document, from 0.
    pub ordinal: u32,
    /// The bytes of the document's text that it is.
    pub range: Range<usize>,
    /// Its text: what is shown, and nothing else.
    pub text: Arc<str>,
    /// What its first byte lies beneath.
    pub path: Path,
    /// Its parts by tier, as ranges of `text` in ascending order that cover all of it but white space.
    pub tiers: Vec<(Tier, Range<usize>)>,
    /// The signatures of the document around it, for search alone; code only.
    pub outline: Option<Arc<str>>,
    /// Its page, where the format has pages.
    pub page: Option<u32>,
    /// Its language, where it is code.
    pub language: Option<Language>,
    /// Its tokens, as the chunker's counter counts them.
    pub tokens: usize,
}
