//! Why a store behind a server cannot be opened.

/// Why a store behind a server cannot be used. For the host: it may name addresses, but never a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The address is not one of such a server.
    #[error("not an address of {engine}: {reason}")]
    Address {
        /// The kind of server.
        engine: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The name is not one of a store.
    #[error("`{name}` cannot name a store: it takes 3 to 63 of `a-z`, `0-9` and `-`, no `-` at either end")]
    Name {
        /// The name.
        name: String,
    },
    /// The server could not be reached, or refused.
    #[error("{engine} failed: {reason}")]
    Server {
        /// The kind of server.
        engine: &'static str,
        /// What it, or the operating system, said.
        reason: String,
    },
    /// The server holds something of that name in a form that this version does not know.
    #[error("{engine} holds the store in the form `{found}`, which this version does not read")]
    Format {
        /// The kind of server.
        engine: &'static str,
        /// What was found.
        found: String,
    },
}

impl StoreError {
    /// The stable code of the error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "AK0454",
            Self::Name { .. } => "AK0455",
            Self::Server { .. } => "AK0456",
            Self::Format { .. } => "AK0457",
        }
    }
}
