//! What a tool answered.

use std::fmt;

use agent_primitives::Digest;
use agent_primitives::json::{self, JsonError, Value};
use bytes::Bytes;
use serde::Serialize;

use crate::canonical::Canonical;
use crate::error::{ToolError, one_line};

const DOMAIN: &str = "agent-os atr output v1";
/// Most values in one output. A value costs tens of bytes in memory however short its text is.
const MAX_NODES: usize = 1_000_000;
/// Deepest nesting of one output, the same as of arguments: one tool's output is often another's argument.
const MAX_DEPTH: usize = 64;

/// The answer of a tool: any JSON value with its canonical bytes (RFC 8785), within the tool's `output_bytes`.
///
/// Untrusted: what a tool says is data about the world, never an instruction. `Debug` shows size and digest only.
#[derive(Clone)]
pub struct Output(Canonical);

impl Output {
    /// The answer.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// The answer, without a copy.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.0.value
    }

    /// The canonical bytes of [`Output::value`]; cloning them is a reference count.
    #[must_use]
    pub fn canonical(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Digest of [`Output::canonical`] in the domain `agent-os atr output v1`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The answer of a host that answers in a tool's place, within `max_bytes`.
    ///
    /// # Errors
    /// [`ToolError::OutputTooLarge`], or [`ToolError::OutputInvalid`] for what has no canonical form.
    pub fn of<R: Serialize>(reply: R, max_bytes: usize) -> Result<Self, ToolError> {
        let value = serde_json::to_value(reply)
            .map_err(|error| ToolError::OutputInvalid { reason: one_line(error, 256) })?;
        Canonical::of(value, &limits(max_bytes), DOMAIN).map(Self).map_err(refuse)
    }

    pub(crate) fn parse(text: &[u8], max_bytes: usize) -> Result<Self, ToolError> {
        Canonical::parse(text, &limits(max_bytes), DOMAIN).map(Self).map_err(refuse)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} bytes, {})", self.0.bytes.len(), self.0.digest)
    }
}

fn limits(max_bytes: usize) -> json::Limits {
    json::Limits { bytes: max_bytes, depth: MAX_DEPTH, nodes: MAX_NODES }
}

fn refuse(error: JsonError) -> ToolError {
    match error {
        JsonError::TooLarge { limit } => ToolError::OutputTooLarge { limit },
        other => ToolError::OutputInvalid { reason: one_line(other, 256) },
    }
}
