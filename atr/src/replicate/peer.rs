//! How much of a peer is listened to.

use std::collections::BTreeMap;
use std::time::Duration;

use agent_primitives::Monotonic;

/// Most items of one peer that are looked at in one [`WINDOW`].
pub const PEER_ITEMS: usize = 10_000;
/// Most bytes of items of one peer that are looked at in one [`WINDOW`].
pub const PEER_BYTES: usize = 64 << 20;
/// Most questions of one peer that are answered in one [`WINDOW`]: each makes this node look at all of its items.
pub const PEER_QUESTIONS: usize = 1_000;
/// How many invalid items in one [`WINDOW`] make a peer muted.
pub const PEER_INVALID: usize = 100;
/// How long what a peer has sent counts.
pub const WINDOW: Duration = Duration::from_secs(60);
/// How long a muted peer is not listened to.
pub const MUTED: Duration = Duration::from_secs(600);
/// Most peers that are remembered. When there are more, the one that was heard from the longest ago and is not muted is
/// forgotten; if all are muted, a new one is not listened to.
pub const MAX_PEERS: usize = 1024;

/// What every peer has sent lately, by the name that the transport vouches for.
#[derive(Debug, Default)]
pub(super) struct Peers(BTreeMap<String, Peer>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    since: Monotonic,
    items: usize,
    bytes: usize,
    invalid: usize,
    questions: usize,
    muted_until: Option<Monotonic>,
}

impl Peers {
    /// The count of a peer, if it is listened to.
    pub(super) fn heard(&mut self, name: &str, now: Monotonic) -> Option<&mut Peer> {
        if !self.0.contains_key(name) {
            self.make_room(now)?;
        }
        let peer = self.0.entry(name.to_owned()).or_insert(Peer { since: now, ..Peer::default() });
        if peer.muted_until.is_some_and(|until| now < until) {
            return None;
        }
        if peer.muted_until.take().is_some() || WINDOW <= now.since(peer.since) {
            *peer = Peer { since: now, ..Peer::default() };
        }
        Some(peer)
    }

    fn make_room(&mut self, now: Monotonic) -> Option<()> {
        if self.0.len() < MAX_PEERS {
            return Some(());
        }
        let muted = |peer: &Peer| peer.muted_until.is_some_and(|until| now < until);
        let oldest = self.0.iter().filter(|(_, peer)| !muted(peer)).min_by_key(|(_, peer)| peer.since);
        let oldest = oldest.map(|(name, _)| name.clone())?;
        self.0.remove(&oldest);
        Some(())
    }
}

impl Peer {
    /// Whether another item of this size is looked at.
    pub(super) fn may_send(&mut self, bytes: usize) -> bool {
        if PEER_ITEMS <= self.items || PEER_BYTES < self.bytes.saturating_add(bytes) {
            return false;
        }
        self.items += 1;
        self.bytes += bytes;
        true
    }

    /// Whether another question is answered.
    pub(super) fn may_ask(&mut self) -> bool {
        let may = self.questions < PEER_QUESTIONS;
        self.questions += usize::from(may);
        may
    }

    /// Counts what is not valid; `true` when that makes the peer muted.
    pub(super) fn invalid(&mut self, count: usize, now: Monotonic) -> bool {
        self.invalid += count;
        let mute = PEER_INVALID <= self.invalid;
        if mute {
            self.muted_until = Some(now.after(MUTED));
        }
        mute
    }
}
