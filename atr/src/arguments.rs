//! What an agent asks a tool to do: one value, one byte string, one digest.

use std::fmt;
use std::sync::Arc;

use agent_primitives::Digest;
use agent_primitives::json::{Limits, Value};

use crate::canonical::Canonical;
use crate::error::{ArgumentError, ToolError};

const DOMAIN: &str = "agent-os atr arguments v1";

/// The arguments of one call: a JSON object, immutable, with its canonical bytes (RFC 8785).
///
/// Value, bytes and digest always agree, down to the type of a number (`1.0` becomes the integer 1, as its canonical
/// text says), so whoever judges the bytes judges what the tool is given. [`json::Limits::DEFAULT`] bounds them: 1 MiB
/// as received and as canonical bytes, 64 levels, 100 000 values. Cloning is a reference count. `Debug` shows size and
/// digest only.
///
/// [`json::Limits::DEFAULT`]: agent_primitives::json::Limits::DEFAULT
#[derive(Clone)]
pub struct Arguments(Arc<Canonical>);

impl Arguments {
    /// Parses JSON text.
    ///
    /// # Errors
    /// [`ToolError::ArgsMalformed`] for text that is too large, nested too deep, not JSON, or ambiguous (a repeated
    /// key, an integer a double cannot hold, half a surrogate pair); [`ToolError::ArgsInvalid`] if it is not an object.
    pub fn parse(text: &[u8]) -> Result<Self, ToolError> {
        Self::object(Canonical::parse(text, &Limits::DEFAULT, DOMAIN)?)
    }

    /// Takes a value built in memory.
    ///
    /// # Errors
    /// As [`Arguments::parse`].
    pub fn from_value(value: Value) -> Result<Self, ToolError> {
        Self::object(Canonical::of(value, &Limits::DEFAULT, DOMAIN)?)
    }

    /// The arguments as a JSON object.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// The canonical bytes of [`Arguments::value`].
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.0.bytes
    }

    /// Digest of [`Arguments::canonical`] in the domain `agent-os atr arguments v1`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    fn object(canonical: Canonical) -> Result<Self, ToolError> {
        if canonical.value.is_object() {
            return Ok(Self(Arc::new(canonical)));
        }
        Err(ToolError::ArgsInvalid {
            errors: vec![ArgumentError::new("", "type", "the arguments must be an object")],
        })
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Arguments({} bytes, {})", self.0.bytes.len(), self.0.digest)
    }
}

impl PartialEq for Arguments {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Arguments {}
