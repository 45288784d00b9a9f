//! The mode the host has put the kernel in, such as `maintenance`. Policies can ask for it; no agent can choose it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Most characters of a mode's name.
pub const MAX_MODE: usize = 128;

/// Name of a mode: 1 to [`MAX_MODE`] of `[A-Za-z0-9._-]`. `normal` unless the host says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mode(Arc<str>);

impl Mode {
    /// What a kernel is in that nobody has put into another.
    pub const NORMAL: &'static str = "normal";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self(Self::NORMAL.into())
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not the name of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mode is named by 1 to {MAX_MODE} of `[A-Za-z0-9._-]`")]
#[non_exhaustive]
pub struct BadMode;

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(text: &str) -> Result<Self, BadMode> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || MAX_MODE < text.len() || !text.bytes().all(fits) {
            return Err(BadMode);
        }
        Ok(Self(text.into()))
    }
}
