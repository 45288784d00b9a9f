//! Content digests.
//!
//! BLAKE3 in `derive_key` mode: the domain is part of the key, so equal bytes in two domains never share a digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A 32-byte BLAKE3 digest. Prints and parses as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// All zero: the digest of nothing in particular. Never produced by [`Digest::of`] in practice.
    pub const ZERO: Self = Self([0; 32]);

    /// Digest of `bytes` in `domain`.
    ///
    /// The domain is a fixed, globally unique sentence such as `"agent-os emk entry v1"`.
    #[must_use]
    pub fn of(domain: &str, bytes: &[u8]) -> Self {
        Self(blake3::derive_key(domain, bytes))
    }

    /// Wraps bytes that were read back from storage.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Text that is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let nibble = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(BadDigest),
        };
        if text.len() != 64 {
            return Err(BadDigest);
        }
        let mut out = [0u8; 32];
        for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let &[high, low] = pair else { return Err(BadDigest) };
            *slot = nibble(high)? << 4 | nibble(low)?;
        }
        Ok(Self(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let digest = Digest::of("agent-os test v1", b"body");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn domains_separate_equal_bytes() {
        assert_ne!(Digest::of("a", b"x"), Digest::of("b", b"x"));
    }

    #[test]
    fn anything_but_lower_case_hex_is_refused() {
        for text in ["", "ab", &"A".repeat(64), &"g".repeat(64), &"a".repeat(65)] {
            assert_eq!(text.parse::<Digest>(), Err(BadDigest), "{text}");
        }
    }
}
