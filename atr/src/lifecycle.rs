//! Where a tool stands between being proposed and being revoked, and the log of how it came there.

use std::collections::VecDeque;
use std::fmt;

use agent_primitives::{Digest, Timestamp, ToolId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::error::one_line;

/// Most transitions that are kept; the oldest are forgotten first.
pub const MAX_TRANSITIONS: usize = 4096;
/// Longest reason, message or name of an actor that is kept, in characters.
pub(crate) const MAX_REASON: usize = 256;

/// Where one version of a tool stands. Only what is approved or deprecated can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
#[non_exhaustive]
pub enum Status {
    /// Nobody has agreed to it yet.
    Proposed,
    /// It can be called.
    Approved,
    /// It can be called, and something else should be.
    Deprecated {
        /// What to use instead, for the caller.
        message: String,
    },
    /// It is kept from being called until somebody has looked at it and approves it anew.
    Quarantined {
        /// Why, for the host.
        reason: String,
    },
    /// It came with a name that can be taken for an approved one of another publisher's, and is kept from being called until
    /// somebody has looked at it and approves it.
    Confusable {
        /// The tool it can be taken for.
        like: ToolId,
    },
    /// Its source has another definition by now than the one that was approved.
    Changed {
        /// Digest of that other definition.
        observed: Digest,
    },
    /// It is never called again. No other state follows.
    Revoked,
}

impl Status {
    /// Whether a tool in this state can be called.
    #[must_use]
    pub const fn is_callable(&self) -> bool {
        matches!(self, Self::Approved | Self::Deprecated { .. })
    }

    /// The state in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Deprecated { .. } => "deprecated",
            Self::Quarantined { .. } => "quarantined",
            Self::Confusable { .. } => "confusable",
            Self::Changed { .. } => "changed",
            Self::Revoked => "revoked",
        }
    }

    pub(crate) fn deprecated(message: impl fmt::Display) -> Self {
        Self::Deprecated { message: one_line(message, MAX_REASON) }
    }

    pub(crate) fn quarantined(reason: impl fmt::Display) -> Self {
        Self::Quarantined { reason: one_line(reason, MAX_REASON) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One change of state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Transition {
    /// The tool.
    pub tool: ToolId,
    /// Which version of it.
    pub version: Version,
    /// Digest of its contract.
    pub digest: Digest,
    /// The state before.
    pub from: Status,
    /// The state after; none when it was taken out of the registry.
    pub to: Option<Status>,
    /// Who did it, in the host's words.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// The latest transitions of one registry.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<Transition>);

impl Log {
    pub(crate) fn push(&mut self, transition: Transition) {
        if self.0.len() == MAX_TRANSITIONS {
            self.0.pop_front();
        }
        self.0.push_back(transition);
    }

    pub(crate) fn all(&self) -> Vec<Transition> {
        self.0.iter().cloned().collect()
    }
}
