//! How much of a document is read before it is refused.

use std::time::Duration;

use super::IngestError;

/// The bounds of reading one document. Every one of them is enforced; over it is [`IngestError::TooLarge`] or
/// [`IngestError::Timeout`], never a text that was silently cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the source. Compared before anything is decoded; a [`Folder`](super::Folder) compares it before it reads.
    pub raw: usize,
    /// Bytes of the text that comes of it.
    pub text: usize,
    /// Blocks of the text.
    pub blocks: usize,
    /// Levels of nesting: elements, lists in lists, objects in objects.
    pub nesting: usize,
    /// How many times its size a compressed source may become.
    pub ratio: usize,
    /// How long a PDF may take.
    pub time: Duration,
}

impl Limits {
    /// 32 MiB of source, 8 MiB of text, 200,000 blocks, 256 levels, 100 times its size, 30 seconds.
    pub const DEFAULT: Self = Self {
        raw: 32 << 20,
        text: 8 << 20,
        blocks: 200_000,
        nesting: 256,
        ratio: 100,
        time: Duration::from_secs(30),
    };

    /// Most bytes that any of the limits on bytes may be set to: offsets and products stay far from overflow.
    pub const MAX_BYTES: usize = 1 << 30;
    /// Most levels: trees are walked without recursion, but some libraries keep a frame for each.
    pub const MAX_NESTING: usize = 1024;

    /// Whether they can be kept.
    ///
    /// # Errors
    /// [`IngestError::BadLimits`] for a zero, and for more than the constants allow.
    pub fn check(&self) -> Result<(), IngestError> {
        for (what, value, most) in [
            ("raw", self.raw, Self::MAX_BYTES),
            ("text", self.text, Self::MAX_BYTES),
            ("blocks", self.blocks, Self::MAX_BYTES),
            ("nesting", self.nesting, Self::MAX_NESTING),
            ("ratio", self.ratio, 10_000),
        ] {
            if value == 0 || most < value {
                return Err(IngestError::BadLimits { what, most });
            }
        }
        if self.time.is_zero() || Duration::from_secs(3600) < self.time {
            return Err(IngestError::BadLimits { what: "seconds", most: 3600 });
        }
        Ok(())
    }

    pub(crate) fn text(&self, bytes: usize) -> Result<(), IngestError> {
        if self.text < bytes {
            return Err(IngestError::TooLarge { what: "bytes of text", limit: self.text });
        }
        Ok(())
    }

    pub(crate) fn nesting(&self, depth: usize) -> Result<(), IngestError> {
        if self.nesting < depth {
            return Err(IngestError::TooLarge { what: "levels of nesting", limit: self.nesting });
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
