//! How much a store may hold.

use crate::vfs::VfsError;

/// Bounds on what a store holds, all files taken together. There is no unlimited one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Most bytes of content.
    pub bytes: u64,
    /// Most files.
    pub files: u64,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// Bytes of content.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

impl Quota {
    /// What a store that holds `usage` will hold once a file goes from `old` bytes, or from not being there, to `new`.
    ///
    /// A write that lets a file shrink, or keep its length, goes ahead even in a store that is over its quota.
    ///
    /// # Errors
    /// `Quota` when that is more than the quota.
    pub fn admit(self, usage: Usage, old: Option<u64>, new: u64) -> Result<Usage, VfsError> {
        let held = old.unwrap_or(0);
        let bytes = usage.bytes.saturating_sub(held).checked_add(new).ok_or(VfsError::Quota)?;
        let files = usage.files.saturating_add(u64::from(old.is_none()));
        let grows = held < new && self.bytes < bytes;
        let adds = old.is_none() && self.files < files;
        if grows || adds { Err(VfsError::Quota) } else { Ok(Usage { bytes, files }) }
    }
}

impl Usage {
    /// What is left once a file of `size` bytes is gone.
    #[must_use]
    pub const fn without(self, size: u64) -> Self {
        Self { bytes: self.bytes.saturating_sub(size), files: self.files.saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_counts_the_state_after_the_write() {
        let quota = Quota { bytes: 10, files: 2 };
        let usage = Usage { bytes: 8, files: 1 };
        let cases = [
            (Some(8), 10, Ok(Usage { bytes: 10, files: 1 })),
            (Some(8), 11, Err(VfsError::Quota)),
            (None, 2, Ok(Usage { bytes: 10, files: 2 })),
            (None, 3, Err(VfsError::Quota)),
            (None, u64::MAX, Err(VfsError::Quota)),
        ];
        for (old, new, expected) in cases {
            assert_eq!(quota.admit(usage, old, new), expected, "{old:?} {new}");
        }
        assert_eq!(quota.admit(Usage { bytes: 0, files: 2 }, None, 0), Err(VfsError::Quota));
    }

    #[test]
    fn a_store_over_its_quota_may_shrink() {
        let over = Usage { bytes: 20, files: 5 };
        let quota = Quota { bytes: 10, files: 2 };
        assert_eq!(quota.admit(over, Some(8), 7), Ok(Usage { bytes: 19, files: 5 }));
        assert_eq!(quota.admit(over, Some(8), 9), Err(VfsError::Quota));
    }
}
