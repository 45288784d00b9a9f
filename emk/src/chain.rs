//! The hash chain.
//!
//! `genesis = H("genesis", ledger id)` and `entry = H("entry", previous ‖ seq ‖ kind ‖ content id)`, so the hash of one
//! entry vouches for every entry before it and for its own kind, place and body.

use std::sync::LazyLock;

use agent_primitives::Digest;
use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::{EntryKind, LedgerId};

const GENESIS: &str = "agent-os emk genesis v1";
const ENTRY: &str = "agent-os emk entry v1";
const MEMORY: &str = "agent-os emk episode v1";
const EVENT: &str = "agent-os emk event v1";

// A domain is itself hashed to a key. Doing that once, not per record, saves two of eight compressions of an append.
static ENTRY_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(ENTRY));
static MEMORY_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(MEMORY));
static EVENT_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(EVENT));

/// The hash before the first entry of `ledger`.
#[must_use]
pub fn genesis(ledger: &LedgerId) -> Digest {
    Digest::of(GENESIS, ledger.as_str().as_bytes())
}

/// The digest of a body. Events have a domain of their own; the four kinds of episodic memory share one, and are told
/// apart by the kind in the entry hash.
#[must_use]
pub fn content_id(kind: EntryKind, body: &[u8]) -> Digest {
    let key = match kind {
        EntryKind::Episode | EntryKind::Tombstone | EntryKind::Rule | EntryKind::Checkpoint => &MEMORY_KEY,
        EntryKind::Event => &EVENT_KEY,
    };
    digest(key, &[body])
}

/// The hash of the entry at `seq` that follows the entry with hash `previous`.
#[must_use]
pub fn entry_hash(previous: &Digest, seq: u64, kind: EntryKind, content_id: &Digest) -> Digest {
    digest(&ENTRY_KEY, &[previous.as_bytes(), &seq.to_le_bytes(), &[kind.number()], content_id.as_bytes()])
}

fn digest(key: &ContextKey, parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new_from_context_key(key);
    for part in parts {
        hasher.update(part);
    }
    Digest::from_bytes(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_keys_give_the_digests_of_their_domains() {
        assert_eq!(content_id(EntryKind::Episode, b"body"), Digest::of("agent-os emk episode v1", b"body"));
        assert_eq!(content_id(EntryKind::Event, b"body"), Digest::of("agent-os emk event v1", b"body"));
        let previous = Digest::of("agent-os test v1", b"previous");
        let content = Digest::of("agent-os test v1", b"content");
        let whole = [previous.as_bytes().as_slice(), &7u64.to_le_bytes(), &[4], content.as_bytes()].concat();
        assert_eq!(
            entry_hash(&previous, 7, EntryKind::Event, &content),
            Digest::of("agent-os emk entry v1", &whole)
        );
    }
}
