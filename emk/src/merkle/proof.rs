//! Checking a path without the tree: RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use agent_primitives::Digest;

use super::TreeHash;

/// Longest path that any tree can need; a longer one is refused unread.
pub const MAX_PATH: usize = 65;

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// No tree of this size has such a leaf, or such an earlier tree.
    #[error("the proof speaks of something that the tree cannot hold")]
    OutOfRange,
    /// The path is longer or shorter than the way to the root.
    #[error("the path of the proof has the wrong length")]
    WrongLength,
    /// The body is not that of the record.
    #[error("the proof is of another body")]
    OtherBody,
    /// The checkpoint is not the one the proof was made for.
    #[error("the proof is for another checkpoint")]
    OtherCheckpoint,
    /// The path leads to another root.
    #[error("the proof leads to another root")]
    WrongRoot,
}

impl ProofError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfRange => "AK0855",
            Self::WrongLength => "AK0856",
            Self::WrongRoot => "AK0857",
            Self::OtherBody => "AK0853",
            Self::OtherCheckpoint => "AK0854",
        }
    }
}

/// Whether the leaf that stands for `data` is number `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// It is not, or `path` does not show it.
pub fn verify_inclusion<H: TreeHash>(
    data: &[u8],
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if size <= index {
        return Err(ProofError::OutOfRange);
    }
    let mut place = Place { node: index, last: size - 1 };
    let mut hash = H::leaf(data);
    for sibling in bounded(path)? {
        if place.last == 0 {
            return Err(ProofError::WrongLength);
        }
        hash = if place.is_right() {
            place.skip_missing();
            H::node(sibling, &hash)
        } else {
            H::node(&hash, sibling)
        };
        place.ascend();
    }
    finish(place, &[(hash, *root)])
}

/// Whether the tree of `new` leaves with root `new_root` begins with the tree of `old` leaves with root `old_root`.
///
/// # Errors
/// It does not, or `path` does not show it.
pub fn verify_consistency<H: TreeHash>(
    (old, old_root): (u64, &Digest),
    (new, new_root): (u64, &Digest),
    path: &[Digest],
) -> Result<(), ProofError> {
    if new < old {
        return Err(ProofError::OutOfRange);
    }
    if old == 0 || old == new {
        let same = if old == 0 { *old_root == H::empty() } else { old_root == new_root };
        return match (path.is_empty(), same) {
            (false, _) => Err(ProofError::WrongLength),
            (true, false) => Err(ProofError::WrongRoot),
            (true, true) => Ok(()),
        };
    }
    let mut path = bounded(path)?.iter();
    let mut place = Place { node: old - 1, last: new - 1 };
    place.skip_right();
    // A perfect old tree is itself the node the path begins with, and is left out of it.
    let first = if old.is_power_of_two() { old_root } else { path.next().ok_or(ProofError::WrongLength)? };
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in path {
        if place.last == 0 {
            return Err(ProofError::WrongLength);
        }
        if place.is_right() {
            place.skip_missing();
            old_hash = H::node(sibling, &old_hash);
            new_hash = H::node(sibling, &new_hash);
        } else {
            new_hash = H::node(&new_hash, sibling);
        }
        place.ascend();
    }
    finish(place, &[(old_hash, *old_root), (new_hash, *new_root)])
}

fn bounded(path: &[Digest]) -> Result<&[Digest], ProofError> {
    if path.len() <= MAX_PATH { Ok(path) } else { Err(ProofError::WrongLength) }
}

fn finish(place: Place, hashes: &[(Digest, Digest)]) -> Result<(), ProofError> {
    if place.last != 0 {
        return Err(ProofError::WrongLength);
    }
    let met = hashes.iter().all(|(found, wanted)| found == wanted);
    if met { Ok(()) } else { Err(ProofError::WrongRoot) }
}

/// A node on its level of the tree, and the last node there.
struct Place {
    node: u64,
    last: u64,
}

impl Place {
    /// Whether its sibling is to the left. So it is for the last node of a level, whose sibling comes from higher up
    /// where it has none of its own.
    const fn is_right(&self) -> bool {
        self.node & 1 == 1 || self.node == self.last
    }

    const fn ascend(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }

    /// Goes up past levels where the node has no sibling.
    const fn skip_missing(&mut self) {
        while self.node & 1 == 0 && self.node != 0 {
            self.ascend();
        }
    }

    /// Goes up as long as the node is a right one.
    const fn skip_right(&mut self) {
        while self.node & 1 == 1 {
            self.ascend();
        }
    }
}
