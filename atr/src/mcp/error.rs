//! Why a server could not be reached, read or trusted.

use std::fmt;

use agent_primitives::{BadId, Digest, ToolId};

use crate::error::{RegistryError, ToolError, one_line};

/// What went wrong between the host and a server. Displays as one line in the host's own words; what the server said is
/// in [`Lost::detail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    reason: &'static str,
    detail: String,
}

impl Lost {
    pub(super) fn new(reason: &'static str) -> Self {
        Self { reason, detail: String::new() }
    }

    pub(super) fn because(reason: &'static str, detail: impl fmt::Display) -> Self {
        Self { reason, detail: one_line(detail, 512) }
    }

    /// What the server, the operating system or a library said, for the host only: on one line, shortened.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn tool_error(self) -> ToolError {
        ToolError::Transport { reason: self.reason, detail: self.detail }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

/// Why something about a server failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum McpError {
    /// The connection could not be made, broke, or carried what is out of bounds. Nothing was registered.
    #[error("the server cannot be used: {0}")]
    Transport(Lost),
    /// The name of the server makes no namespace `mcp.<name>`.
    #[error("`{name}` is not the name of a server: {source}")]
    #[non_exhaustive]
    NameInvalid {
        /// The name as given, shortened.
        name: String,
        /// What is wrong with it.
        source: BadId,
    },
    /// The program, its permissions or a setting break a rule.
    #[error("the server is not well specified: {reason}")]
    #[non_exhaustive]
    SpecInvalid {
        /// The rule that is broken.
        reason: String,
    },
    /// The server's program was not started.
    #[error("the server's program cannot be run: {0}")]
    Start(ToolError),
    /// The registry took none of the tools.
    #[error("{0}")]
    Registry(Box<RegistryError>),
    /// The server was imported into no registry yet, or its tools into another one.
    #[error("the server has not been imported into this registry")]
    NotImported,
    /// The server does not show this definition of the tool now; it was not approved.
    #[error("the definition of `{id}` that the server shows is not the one that was looked at")]
    #[non_exhaustive]
    NotShown {
        /// The tool.
        id: ToolId,
        /// Digest of the contract that was to be approved.
        wanted: Digest,
        /// Digest of the contract that the server's definition makes now, if it makes one.
        observed: Option<Digest>,
    },
    /// The registry did not approve it.
    #[error("not approved: {0}")]
    NotApproved(ToolError),
    /// The file of approvals cannot be read, holds something else, or cannot be written.
    #[error("the file of approvals {0}")]
    Pins(String),
}

impl McpError {
    /// Stable code, `AK0590` to `AK0595`, or that of the error within.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Transport(_) => "AK0590",
            Self::NameInvalid { .. } => "AK0591",
            Self::SpecInvalid { .. } => "AK0592",
            Self::Start(error) | Self::NotApproved(error) => error.code(),
            Self::Registry(error) => error.code(),
            Self::NotImported => "AK0593",
            Self::NotShown { .. } => "AK0594",
            Self::Pins(_) => "AK0595",
        }
    }

    /// The same as the failure of a call.
    pub(super) fn tool_error(self) -> ToolError {
        match self {
            Self::Transport(lost) => lost.tool_error(),
            Self::Start(error) | Self::NotApproved(error) => error,
            other => Lost::because("its tools cannot be checked", other).tool_error(),
        }
    }
}

impl From<RegistryError> for McpError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<Lost> for McpError {
    fn from(lost: Lost) -> Self {
        Self::Transport(lost)
    }
}
