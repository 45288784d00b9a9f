//! Why a server keeps no vectors.

/// Why a server keeps no vectors. A [`VectorError::Store`](crate::vector::VectorError::Store) has it for its source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChromaError {
    /// An address, a name or a token that cannot be used.
    #[error("a Chroma server cannot be used: {0}")]
    Unusable(&'static str),
    /// A collection that was made by another program, or by another release of this one.
    #[error("the collection is of format `{found}`, not of ours")]
    Foreign {
        /// What it says that it is.
        found: String,
    },
    /// The server could not be reached, did not answer in time, refused, or answered what cannot be read.
    #[error("the Chroma server {reason}")]
    Server {
        /// The status of its answer, if there was one.
        status: Option<u16>,
        /// What happened.
        reason: String,
    },
}

impl ChromaError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unusable(_) => "AK0627",
            Self::Foreign { .. } => "AK0628",
            Self::Server { .. } => "AK0629",
        }
    }

    /// Whether the server may do it when it is asked again.
    pub(super) const fn is_passing(&self) -> bool {
        matches!(self, Self::Server { status: Some(429 | 500 | 502 | 503 | 504), .. })
    }

    pub(super) fn server(reason: impl std::fmt::Display) -> Self {
        Self::Server { status: None, reason: reason.to_string() }
    }
}
