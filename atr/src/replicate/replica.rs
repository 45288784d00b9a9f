//! The set itself: what is signed, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::{Digest, Timestamp, ToolId};
use bytes::Bytes;
use semver::Version;

use super::item::{self, Item};
use super::record::SignedRecord;
use super::revocation::Revocation;
use super::trust::{Publishers, TrustError};
use crate::ToolContract;

/// Most records of one replica, and most revocations with what else testifies against a record.
pub const MAX_ITEMS: usize = 1 << 20;
/// The same for one publisher. Records leave the room of revocations alone: whoever has signed too much can still take it back.
pub const MAX_PER_PUBLISHER: usize = 1 << 17;
/// Most publishers of tools of which the latest revocation was forgotten and its epoch is remembered.
const MAX_FLOORS: usize = 1 << 17;

type Key = [u8; 32];

/// The records and revocations that this node knows, all of them signed by keys that it trusts with their tools.
///
/// Taking items in is commutative, associative and idempotent, as long as there is room and the publishers are the same:
/// of two records of one contract by one publisher the later stays, and everything else is kept.
#[derive(Debug, Default)]
pub struct Replica {
    pub(super) publishers: Publishers,
    pub(super) items: BTreeMap<Digest, Held>,
    /// The record of a contract by a publisher.
    records: BTreeMap<(ToolId, Key, Digest), Digest>,
    revocations: BTreeMap<ToolId, BTreeSet<Digest>>,
    per_publisher: BTreeMap<Key, Count>,
    count: Count,
    /// The highest epoch of the revocations that were forgotten, of a tool by a publisher.
    floors: BTreeMap<(ToolId, Key), u64>,
}

#[derive(Debug)]
pub(super) struct Held {
    item: Item,
    pub(super) bytes: Bytes,
    /// Whether it takes the room of what testifies against a record.
    testifies: bool,
}

/// How many items take which room.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    records: usize,
    testimony: usize,
}

impl Count {
    fn of(&mut self, testifies: bool) -> &mut usize {
        if testifies { &mut self.testimony } else { &mut self.records }
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The encoded items that are new here, for the journal.
    pub accepted: Vec<Bytes>,
    /// Known already, or older than what is known.
    pub known: usize,
    /// Signed for a time that is over.
    pub expired: usize,
    /// Signed by nobody who may.
    pub untrusted: usize,
    /// Not signed, or not an item at all.
    pub invalid: usize,
    /// Valid, and without room.
    pub full: usize,
    /// Not looked at, since the peer has used up what it may send for now.
    pub deferred: usize,
    /// Contracts that a publisher signed twice, as seen by this batch.
    pub equivocations: Vec<Evidence>,
}

/// Two different contracts that one publisher signed as one version of one tool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// One of them, with its signature.
    pub first: SignedRecord,
    /// The other.
    pub second: SignedRecord,
}

/// What is known of a contract. Only the host approves a tool; this is what it may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Enough publishers vouch for it.
    Trusted {
        /// Their keys, as bytes, in ascending order.
        publishers: Vec<[u8; 32]>,
    },
    /// Fewer publishers vouch for it than it takes.
    TooFew {
        /// How many do.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// It was vouched for until a time that is over.
    Expired,
    /// A publisher took it back.
    Revoked,
    /// A publisher signed another contract as the same version: neither is believed.
    Equivocated(Box<Evidence>),
    /// Nobody who is trusted speaks of it.
    Unknown,
}

impl Replica {
    /// An empty set that believes `publishers`.
    #[must_use]
    pub fn new(publishers: Publishers) -> Self {
        Self { publishers, ..Self::default() }
    }

    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Every item in its encoded form, in the order of their names.
    pub fn encoded(&self) -> impl Iterator<Item = &Bytes> {
        self.items.values().map(|held| &held.bytes)
    }

    /// Takes in an item of the host's own. Its encoded form, which goes to the journal, is answered.
    ///
    /// # Errors
    /// [`TrustError::UntrustedPublisher`], [`TrustError::Expired`], [`TrustError::Full`].
    pub fn publish(&mut self, item: Item, now: Timestamp) -> Result<Bytes, TrustError> {
        let bytes = Bytes::from(item.encode()?);
        self.admit(item, bytes.clone(), now).map(|_| bytes)
    }

    /// Takes in one encoded item of anybody's, and counts what became of it.
    pub(super) fn take(&mut self, encoded: &[u8], now: Timestamp, report: &mut Report) {
        let name = item::name(encoded);
        if self.items.contains_key(&name) {
            report.known += 1;
            return;
        }
        let Ok(item) = Item::decode(encoded) else {
            report.invalid += 1;
            return;
        };
        let evidence = match &item {
            Item::Record(record) => self.contradicted(record),
            Item::Revocation(_) => None,
        };
        let bytes = Bytes::copy_from_slice(encoded);
        match self.admit(item, bytes.clone(), now) {
            Ok(true) => {
                report.accepted.push(bytes);
                report.equivocations.extend(evidence);
            }
            Ok(false) => report.known += 1,
            Err(TrustError::Expired) => report.expired += 1,
            Err(TrustError::Full { .. }) => report.full += 1,
            Err(_) => report.untrusted += 1,
        }
    }

    /// Whether the item was taken in; if not, a later one is here already.
    fn admit(&mut self, item: Item, bytes: Bytes, now: Timestamp) -> Result<bool, TrustError> {
        let (tool, key) = (item.tool().clone(), item.publisher().to_bytes());
        if !self.publishers.may_publish(&key, &tool) {
            return Err(TrustError::UntrustedPublisher { id: tool });
        }
        let name = item::name(&bytes);
        let mut replaced = None;
        match &item {
            Item::Record(record) if record.not_after() < now => return Err(TrustError::Expired),
            Item::Record(record) => {
                let place = (tool.clone(), key, record.digest());
                if let Some((older, held)) = self.record_at(&place) {
                    if record.rank() <= held.rank() {
                        return Ok(false);
                    }
                    replaced = Some(older);
                }
            }
            Item::Revocation(_) if self.items.contains_key(&name) => return Ok(false),
            Item::Revocation(_) => {}
        }
        let testifies = match &item {
            Item::Record(record) => self.contradicted(record).is_some(),
            Item::Revocation(_) => true,
        };
        let before = replaced.and_then(|older| self.items.get(&older)).map(|held| held.testifies);
        let testifies = before.unwrap_or(testifies);
        if let Some(older) = replaced {
            self.items.remove(&older);
        } else {
            self.room(&key, testifies)?;
            *self.per_publisher.entry(key).or_default().of(testifies) += 1;
            *self.count.of(testifies) += 1;
        }
        match &item {
            Item::Record(record) => {
                self.records.insert((tool, key, record.digest()), name);
            }
            Item::Revocation(_) => {
                self.revocations.entry(tool).or_default().insert(name);
            }
        }
        self.items.insert(name, Held { item, bytes, testifies });
        Ok(true)
    }

    fn room(&self, key: &Key, testifies: bool) -> Result<(), TrustError> {
        if MAX_ITEMS <= *self.count.clone().of(testifies) {
            return Err(TrustError::Full { limit: MAX_ITEMS });
        }
        if MAX_PER_PUBLISHER <= *self.per_publisher.get(key).copied().unwrap_or_default().of(testifies) {
            return Err(TrustError::Full { limit: MAX_PER_PUBLISHER });
        }
        Ok(())
    }

    fn record_at(&self, place: &(ToolId, Key, Digest)) -> Option<(Digest, &SignedRecord)> {
        let name = *self.records.get(place)?;
        match &self.items.get(&name)?.item {
            Item::Record(record) => Some((name, record)),
            Item::Revocation(_) => None,
        }
    }

    fn records_of<'s>(&'s self, tool: &'s ToolId) -> impl Iterator<Item = &'s SignedRecord> {
        let first = (tool.clone(), [0; 32], Digest::from_bytes([0; 32]));
        let last = (tool.clone(), [0xff; 32], Digest::from_bytes([0xff; 32]));
        self.records.range(first..=last).filter_map(|(place, _)| Some(self.record_at(place)?.1))
    }

    fn revocations_of<'s>(&'s self, tool: &ToolId) -> impl Iterator<Item = &'s Revocation> {
        let names = self.revocations.get(tool).into_iter().flatten();
        names.filter_map(|name| match &self.items.get(name)?.item {
            Item::Revocation(revocation) => Some(revocation),
            Item::Record(_) => None,
        })
    }

    /// Another contract that the same publisher signed as the same version. Build metadata does not tell versions apart, as it
    /// does not in a registry.
    fn contradicted(&self, record: &SignedRecord) -> Option<Evidence> {
        let other = self.records_of(record.id()).find(|other| {
            other.publisher() == record.publisher()
                && other.version().cmp_precedence(record.version()).is_eq()
                && other.digest() != record.digest()
        })?;
        Some(Evidence { first: other.clone(), second: record.clone() })
    }

    /// What is known of a contract now.
    #[must_use]
    pub fn standing(&self, contract: &ToolContract, now: Timestamp) -> Standing {
        self.standing_of(contract.id(), contract.version(), contract.digest(), now)
    }

    /// The same, of a contract that is not at hand.
    #[must_use]
    pub fn standing_of(&self, tool: &ToolId, version: &Version, digest: Digest, now: Timestamp) -> Standing {
        let believed = |key: &emk::PublicKey| self.publishers.may_publish(&key.to_bytes(), tool);
        let records: Vec<&SignedRecord> = self
            .records_of(tool)
            .filter(|record| {
                record.digest() == digest && record.version() == version && believed(&record.publisher())
            })
            .collect();
        if let Some(evidence) = records.iter().find_map(|record| self.contradicted(record)) {
            return Standing::Equivocated(Box::new(evidence));
        }
        let revocations: Vec<&Revocation> =
            self.revocations_of(tool).filter(|revocation| believed(&revocation.publisher())).collect();
        if revocations.iter().any(|revocation| revocation.target() == digest) {
            return Standing::Revoked;
        }
        let taken_back = |record: &&SignedRecord| {
            let place = (record.id().clone(), record.publisher().to_bytes());
            let below = self.floors.get(&place).is_some_and(|floor| record.epoch() < *floor);
            below || revocations.iter().any(|revocation| revocation.covers(record))
        };
        let (revoked, standing): (Vec<_>, Vec<_>) = records.iter().copied().partition(taken_back);
        let valid: BTreeSet<Key> = standing
            .iter()
            .filter(|record| now <= record.not_after())
            .map(|record| record.publisher().to_bytes())
            .collect();
        let need = self.publishers.threshold(tool);
        if need <= valid.len() {
            return Standing::Trusted { publishers: valid.into_iter().collect() };
        }
        match (valid.len(), revoked.is_empty(), standing.is_empty()) {
            (0, false, _) => Standing::Revoked,
            (0, true, false) => Standing::Expired,
            (0, true, true) => Standing::Unknown,
            (have, ..) => Standing::TooFew { have, need },
        }
    }

    /// Whether the contract may be believed.
    ///
    /// # Errors
    /// [`TrustError::UntrustedPublisher`] without enough trusted signatures, [`TrustError::Expired`],
    /// [`TrustError::Revoked`], [`TrustError::Equivocation`].
    pub fn require(&self, contract: &ToolContract, now: Timestamp) -> Result<(), TrustError> {
        let id = contract.id().clone();
        match self.standing(contract, now) {
            Standing::Trusted { .. } => Ok(()),
            Standing::TooFew { .. } | Standing::Unknown => Err(TrustError::UntrustedPublisher { id }),
            Standing::Expired => Err(TrustError::Expired),
            Standing::Revoked => Err(TrustError::Revoked { id }),
            Standing::Equivocated(_) => Err(TrustError::Equivocation { id }),
        }
    }

    /// Forgets what is over: records that have expired and are no evidence against their publisher, and revocations that
    /// are past their time and cover no record that is still here. Of these the epoch is remembered while the replica lives,
    /// so that a record of before does not come back. Answers how many.
    pub fn prune(&mut self, now: Timestamp) -> usize {
        let over: Vec<Digest> = self
            .items
            .iter()
            .filter(|(_, held)| match &held.item {
                Item::Record(record) => record.not_after() < now && self.contradicted(record).is_none(),
                Item::Revocation(revocation) => {
                    revocation.keep_until() < now
                        && !self.records_of(revocation.id()).any(|record| revocation.covers(record))
                }
            })
            .map(|(name, _)| *name)
            .collect();
        let mut forgotten = 0;
        for name in over {
            if self.may_forget(&name) {
                self.forget(&name);
                forgotten += 1;
            }
        }
        forgotten
    }

    /// Not a revocation whose epoch there is no room to remember.
    fn may_forget(&self, name: &Digest) -> bool {
        let Some(Held { item: Item::Revocation(revocation), .. }) = self.items.get(name) else { return true };
        let place = (revocation.id().clone(), revocation.publisher().to_bytes());
        self.floors.len() < MAX_FLOORS || self.floors.contains_key(&place)
    }

    fn forget(&mut self, name: &Digest) {
        let Some(Held { item, testifies, .. }) = self.items.remove(name) else { return };
        let key = item.publisher().to_bytes();
        match &item {
            Item::Record(record) => {
                self.records.remove(&(record.id().clone(), key, record.digest()));
            }
            Item::Revocation(revocation) => {
                if let Some(names) = self.revocations.get_mut(revocation.id()) {
                    names.remove(name);
                }
                let floor = self.floors.entry((revocation.id().clone(), key)).or_default();
                *floor = revocation.epoch().max(*floor);
            }
        }
        for count in self.per_publisher.get_mut(&key).into_iter().chain([&mut self.count]) {
            let count = count.of(testifies);
            *count = count.saturating_sub(1);
        }
    }
}
