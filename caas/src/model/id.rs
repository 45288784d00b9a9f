//! The name of a document.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::BadModel;

/// The host's name for a document: a path, an address, a key. Ingesting under a name that is there replaces what it named.
///
/// INVARIANT: 1 to [`DocumentId::MAX_BYTES`] bytes, no control character.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocumentId(Arc<str>);

impl DocumentId {
    /// Longest name in bytes.
    pub const MAX_BYTES: usize = 512;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DocumentId {
    type Err = BadModel;

    fn from_str(text: &str) -> Result<Self, BadModel> {
        if text.is_empty() || Self::MAX_BYTES < text.len() || text.chars().any(char::is_control) {
            return Err(BadModel::DocumentId(
                text.chars().filter(|char| !char.is_control()).take(64).collect(),
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for DocumentId {
    type Error = BadModel;

    fn try_from(text: String) -> Result<Self, BadModel> {
        text.parse()
    }
}

impl From<DocumentId> for String {
    fn from(id: DocumentId) -> Self {
        id.as_str().to_owned()
    }
}

impl Borrow<str> for DocumentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
