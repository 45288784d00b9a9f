//! The root of a growing list of leaves, without the leaves.

use std::fmt;
use std::marker::PhantomData;

use agent_primitives::Digest;

use super::{Blake3, TreeHash};

/// The tree of the leaves seen so far, kept as the roots of its perfect subtrees: at most 64 hashes, however many leaves.
/// A leaf more costs one hash on average.
pub struct Accumulator<H: TreeHash = Blake3> {
    size: u64,
    /// INVARIANT: one for each bit that is set in `size`, the largest subtree first.
    peaks: Vec<Digest>,
    hash: PhantomData<fn() -> H>,
}

impl<H: TreeHash> Accumulator<H> {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new(), hash: PhantomData }
    }

    /// The tree of `size` leaves with these [`Accumulator::peaks`]; `None` if their number cannot be right. Whether they
    /// are the right ones is for the caller to know: compare the root.
    #[must_use]
    pub fn resume(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        let fits = u32::try_from(peaks.len()) == Ok(size.count_ones());
        fits.then_some(Self { size, peaks, hash: PhantomData })
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, the largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Adds a leaf that stands for `data`.
    pub fn push(&mut self, data: &[u8]) {
        let mut hash = H::leaf(data);
        let mut size = self.size;
        while size & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = H::node(&left, &hash);
            size >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| H::node(&left, &right));
        joined.unwrap_or_else(H::empty)
    }
}

impl<H: TreeHash> Default for Accumulator<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: TreeHash> Clone for Accumulator<H> {
    fn clone(&self) -> Self {
        Self { size: self.size, peaks: self.peaks.clone(), hash: PhantomData }
    }
}

impl<H: TreeHash> fmt::Debug for Accumulator<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Accumulator({} leaves, root {})", self.size, self.root())
    }
}
