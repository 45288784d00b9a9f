//! Tokens as a `tokenizer.json` cuts them.

use std::fmt;
use std::fs::{File, metadata};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tokenizers::{Encoding, Tokenizer};

use super::{ModelError, TokenCounter};

/// Longest text that a tokeniser of a file is given, in bytes.
pub const MAX_TEXT: usize = 1 << 20;

/// Largest `tokenizer.json`; those of the largest multilingual vocabularies have some 20 MB.
const MAX_FILE: u64 = 64 << 20;

/// Counts as a model does, by the `tokenizer.json` that comes with the model. Clones share the vocabulary.
///
/// The tokens that a model puts around each text do not count. What a text spells that looks like such a token counts as text.
#[derive(Clone)]
pub struct ModelTokens {
    name: Arc<str>,
    tokenizer: Arc<Tokenizer>,
}

impl ModelTokens {
    /// The tokeniser of a file, under a name for receipts.
    ///
    /// # Errors
    /// `Read`, `TooLarge`, `Malformed`.
    pub fn read(name: &str, file: &Path) -> Result<Self, ModelError> {
        Self::parse(name, &read(file, &file.to_string_lossy(), MAX_FILE)?)
    }

    /// The tokeniser that the bytes of a `tokenizer.json` describe.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed`.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, ModelError> {
        let file = || "tokenizer.json".to_owned();
        if u64::try_from(bytes.len()).is_ok_and(|length| MAX_FILE < length) {
            return Err(ModelError::TooLarge { file: file(), limit: MAX_FILE });
        }
        let malformed =
            |error: tokenizers::Error| ModelError::Malformed { file: file(), reason: line(&error) };
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(malformed)?;
        // The file cuts and fills up texts as its last user did. Here a text is counted as it is, and refused if it is too long.
        tokenizer.with_truncation(None).map_err(malformed)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { name: name.into(), tokenizer: Arc::new(tokenizer) })
    }

    /// The tokens of a text with those that the model puts around it.
    #[cfg(feature = "candle")]
    pub(crate) fn encode(&self, text: &str) -> Result<Encoding, ModelError> {
        self.run(text, true)
    }

    #[cfg(feature = "candle")]
    pub(crate) fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    fn run(&self, text: &str, framed: bool) -> Result<Encoding, ModelError> {
        if MAX_TEXT < text.len() {
            return Err(ModelError::TextTooLarge { bytes: text.len(), limit: MAX_TEXT });
        }
        self.tokenizer.encode(text, framed).map_err(|source| ModelError::Failed { source })
    }
}

impl TokenCounter for ModelTokens {
    fn name(&self) -> &str {
        &self.name
    }

    /// What cannot be tokenised, or is longer than [`MAX_TEXT`], counts a token for each byte: too many, and never too few.
    fn count(&self, text: &str) -> usize {
        self.run(text, false).map_or(text.len(), |encoding| encoding.len())
    }
}

impl fmt::Debug for ModelTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelTokens").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, name: &str, limit: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Read { file: name.to_owned(), source };
    let too_large = || ModelError::TooLarge { file: name.to_owned(), limit };
    let found = metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "no regular file")));
    }
    if limit < found.len() {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may have grown since.
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| limit < length) {
        return Err(too_large());
    }
    Ok(bytes)
}

/// What a library said, in one line of bounded length.
pub(crate) fn line(error: &dyn fmt::Display) -> String {
    let said = error.to_string();
    said.lines().next().unwrap_or_default().chars().take(200).collect()
}
