//! Why a tool was not registered.

use agent_primitives::{BadId, Digest, ToolId};
use semver::Version;

/// Why a tool was not registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The name is not a [`ToolId`].
    #[error("`{name}` is not a tool name: {source}")]
    #[non_exhaustive]
    NameInvalid {
        /// The name as given, shortened.
        name: String,
        /// What is wrong with it.
        source: BadId,
    },
    /// This version of the tool is registered with another contract; that one stays as it is. What is new needs a version
    /// of its own.
    #[error("version {version} of `{id}` is registered already, and is another")]
    #[non_exhaustive]
    Conflict {
        /// The name both want.
        id: ToolId,
        /// The version both want.
        version: Box<Version>,
        /// Digest of the contract that stays.
        existing: Digest,
        /// Digest of the contract that was refused.
        offered: Digest,
    },
    /// A text of the tool holds what a reader does not see or a model reads differently. Nothing is taken out silently.
    #[error("the text at `{pointer}` of `{id}` holds U+{:04X}, or is not in normal form C there", u32::from(*codepoint))]
    #[non_exhaustive]
    TextUnsafe {
        /// The tool.
        id: ToolId,
        /// JSON pointer into the contract.
        pointer: String,
        /// The first character that is refused.
        codepoint: char,
    },
    /// There is no room for another tool, or another version of it.
    #[error("there is no room for more than {limit}")]
    #[non_exhaustive]
    Full {
        /// The most there can be.
        limit: usize,
    },
    /// Description, limits, labels, command, or what is said of an argument breaks a rule.
    #[error("the tool `{id}` is not well specified: {reason}")]
    #[non_exhaustive]
    SpecInvalid {
        /// The tool.
        id: ToolId,
        /// The rule that is broken.
        reason: String,
    },
    /// The schema of the arguments breaks a rule or does not compile.
    #[error("the schema of `{id}` is refused: {reason}")]
    #[non_exhaustive]
    SchemaInvalid {
        /// The tool.
        id: ToolId,
        /// The rule that is broken, with the place in the schema where there is one.
        reason: String,
    },
}

impl RegistryError {
    /// Stable code, `AK0501` to `AK0508`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NameInvalid { .. } => "AK0501",
            Self::Conflict { .. } => "AK0502",
            Self::SpecInvalid { .. } => "AK0503",
            Self::SchemaInvalid { .. } => "AK0504",
            Self::TextUnsafe { .. } => "AK0505",
            Self::Full { .. } => "AK0508",
        }
    }
}
