//! A tree that can prove what is in it.

use std::fmt;
use std::marker::PhantomData;

use agent_primitives::Digest;

use super::{Blake3, TreeHash};

/// Nodes over fewer leaves than two to this power are not kept: hashing up to 15 again is cheap, keeping them would
/// double the memory.
const KEPT_FROM: u32 = 4;

/// All leaves of a tree and most of its nodes: 37 bytes a leaf. Grows at its end.
pub struct Tree<H: TreeHash = Blake3> {
    leaves: Vec<Digest>,
    /// Perfect subtrees of `2^(KEPT_FROM + index)` leaves.
    levels: Vec<Vec<Digest>>,
    hash: PhantomData<fn() -> H>,
}

impl<H: TreeHash> Tree<H> {
    /// A tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self { leaves: Vec::new(), levels: Vec::new(), hash: PhantomData }
    }

    /// Number of leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// Adds a leaf that stands for `data`.
    pub fn push(&mut self, data: &[u8]) {
        self.leaves.push(H::leaf(data));
        let size = self.size();
        let mut level = KEPT_FROM;
        while size.is_multiple_of(1 << level) {
            let node = self.perfect(level, (size >> level) - 1);
            let index = (level - KEPT_FROM) as usize;
            match self.levels.get_mut(index) {
                Some(nodes) => nodes.push(node),
                None => self.levels.push(vec![node]),
            }
            level += 1;
        }
    }

    /// The root of the tree of the first `size` leaves; `None` if there are fewer.
    #[must_use]
    pub fn root(&self, size: u64) -> Option<Digest> {
        (size <= self.size()).then(|| if size == 0 { H::empty() } else { self.range(0, size) })
    }

    /// The path from leaf `index` to the root of the first `size` leaves; `None` if there is no such leaf among them.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Digest>> {
        if size <= index || self.size() < size {
            return None;
        }
        let (mut start, mut end, mut path) = (0, size, Vec::new());
        while 1 < end - start {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.range(middle, end));
                end = middle;
            } else {
                path.push(self.range(start, middle));
                start = middle;
            }
        }
        path.reverse();
        Some(path)
    }

    /// The nodes that show that the tree of the first `new` leaves begins with that of the first `old`; `None` unless
    /// `old <= new` and there are as many. Nothing needs to be shown of an empty tree, or of a tree and itself.
    #[must_use]
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Digest>> {
        if new < old || self.size() < new {
            return None;
        }
        let (mut start, mut end, mut path) = (0, new, Vec::new());
        if old == 0 || old == new {
            return Some(path);
        }
        // Whether the subtree looked at is one whose root the verifier has: the old tree itself.
        let mut known = true;
        while end != old {
            let middle = start + split(end - start);
            if old <= middle {
                path.push(self.range(middle, end));
                end = middle;
            } else {
                path.push(self.range(start, middle));
                (start, known) = (middle, false);
            }
        }
        if !known {
            path.push(self.range(start, end));
        }
        path.reverse();
        Some(path)
    }

    /// The root over the leaves from `start` up to `end`. INVARIANT: `start` is where a split of a whole tree put it.
    fn range(&self, start: u64, end: u64) -> Digest {
        let len = end - start;
        if len.is_power_of_two() {
            return self.perfect(len.trailing_zeros(), start >> len.trailing_zeros());
        }
        let middle = start + split(len);
        H::node(&self.range(start, middle), &self.range(middle, end))
    }

    /// The root of the perfect subtree number `index` of `2^level` leaves.
    fn perfect(&self, level: u32, index: u64) -> Digest {
        let kept = match level.checked_sub(KEPT_FROM) {
            Some(above) => self.levels.get(above as usize),
            None => (level == 0).then_some(&self.leaves),
        };
        let kept = kept.and_then(|nodes| nodes.get(usize::try_from(index).ok()?));
        match kept {
            Some(node) => *node,
            // INVARIANT: callers stay within the leaves there are, so every leaf is kept.
            None if level == 0 => H::empty(),
            None => H::node(&self.perfect(level - 1, 2 * index), &self.perfect(level - 1, 2 * index + 1)),
        }
    }
}

/// The largest power of two below `len`. INVARIANT: `len` is at least 2.
const fn split(len: u64) -> u64 {
    1 << (len - 1).ilog2()
}

impl<H: TreeHash> Default for Tree<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: TreeHash> fmt::Debug for Tree<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} leaves)", self.leaves.len())
    }
}
