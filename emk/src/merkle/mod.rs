//! Merkle trees over the entries of a ledger, as in RFC 6962 and RFC 9162.
//!
//! The chain says whether a ledger that is there as a whole is the one that was written. A tree says it of parts: that
//! one record is among those a checkpoint stands for ([`crate::InclusionProof`]), and that a later checkpoint only adds to an
//! earlier one ([`crate::ConsistencyProof`]), with some twenty hashes and without the ledger.
//!
//! A leaf is the hash of an entry. Leaves and nodes are hashed with different prefixes, so a node never passes for a leaf.

mod accumulator;
mod proof;
mod tree;

use std::sync::LazyLock;

use agent_primitives::Digest;
use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

pub use accumulator::Accumulator;
pub use proof::{MAX_PATH, ProofError, verify_consistency, verify_inclusion};
pub use tree::Tree;

/// The hash a tree is made with. The shape and the proofs do not depend on it.
pub trait TreeHash {
    /// The root of a tree without leaves.
    fn empty() -> Digest;

    /// The hash of a leaf that stands for `data`.
    fn leaf(data: &[u8]) -> Digest;

    /// The hash of a node over two others.
    fn node(left: &Digest, right: &Digest) -> Digest;
}

/// The hash of a ledger's tree: BLAKE3 in a domain of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a name for a hash; there is nothing in it")]
pub struct Blake3;

const DOMAIN: &str = "agent-os emk merkle v1";
static KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(DOMAIN));

impl TreeHash for Blake3 {
    fn empty() -> Digest {
        digest(&[])
    }

    fn leaf(data: &[u8]) -> Digest {
        digest(&[&[0], data])
    }

    fn node(left: &Digest, right: &Digest) -> Digest {
        digest(&[&[1], left.as_bytes(), right.as_bytes()])
    }
}

fn digest(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new_from_context_key(&KEY);
    for part in parts {
        hasher.update(part);
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}
