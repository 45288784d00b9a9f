//! Why a model in a folder is not used.

use std::error::Error;
use std::io;

/// Why a model, or its tokens, cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file that is not there, or cannot be read.
    #[error("cannot read `{file}` of the model")]
    Read {
        /// Its name within the folder.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file over its bound.
    #[error("`{file}` of the model has more than {limit} bytes")]
    TooLarge {
        /// Its name within the folder.
        file: String,
        /// The bound.
        limit: u64,
    },
    /// A file that does not say what it must, or not what the others say.
    #[error("`{file}` of the model is damaged: {reason}")]
    Malformed {
        /// Its name within the folder.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A model of another build. Its vectors would be wrong, not merely worse.
    #[error("`{file}` asks for what is not supported: {what}")]
    Unsupported {
        /// The file that says so.
        file: String,
        /// What it asks for.
        what: String,
    },
    /// A weight that is infinite or no number.
    #[error("the weights `{tensor}` are not all finite numbers")]
    BadWeights {
        /// Which.
        tensor: String,
    },
    /// A text over [`MAX_TEXT`](crate::tokens::MAX_TEXT), which is not even tokenised.
    #[error("a text of {bytes} bytes, the model is given {limit}")]
    TextTooLarge {
        /// Its length.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The arithmetic, or the tokeniser, failed on a text.
    #[error("the model failed")]
    Failed {
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl ModelError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "AK0640",
            Self::TooLarge { .. } => "AK0641",
            Self::Malformed { .. } => "AK0642",
            Self::Unsupported { .. } => "AK0643",
            Self::BadWeights { .. } => "AK0644",
            Self::TextTooLarge { .. } => "AK0645",
            Self::Failed { .. } => "AK0646",
        }
    }
}
