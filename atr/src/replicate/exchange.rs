//! Anti-entropy: two nodes find out what they do not share, and send that.
//!
//! One sends a summary, one hash for each of 256 ranges of item names. The other answers with the short names of its items
//! in the ranges that differ; the first sends what the other lacks and asks for what it lacks itself. Short names are salted
//! anew each time, so two that happen to be equal are not for long.

use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::{Digest, Monotonic, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::peer::Peers;
use super::record::malformed;
use super::replica::{Replica, Report};
use super::trust::TrustError;

/// Largest message that is read or written.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// Most bytes of items in one message; what is beyond travels in a later round.
const BATCH_BYTES: usize = 1 << 20;
/// Most short names in one message.
const MAX_NAMES: usize = 1 << 17;
const RANGES: usize = 256;

const RANGE: &str = "agent-os atr replica range v1";
const SHORT: &str = "agent-os atr replica short name v1";

type Names = BTreeMap<u8, BTreeSet<u64>>;

#[derive(Serialize, Deserialize)]
enum Message {
    Summary { salt: u64, ranges: Vec<u128> },
    Have { salt: u64, names: Names },
    Want { salt: u64, names: Names },
    Items(Vec<Vec<u8>>),
}

/// A replica's side of the conversations with its peers.
///
/// Peers are told apart by the names that the transport vouches for; nothing else of a peer is believed.
#[derive(Debug, Default)]
pub struct Exchange {
    peers: Peers,
}

impl Exchange {
    /// No conversation yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The message that starts a round. `salt` should differ from round to round.
    ///
    /// # Errors
    /// [`TrustError::Malformed`]; not in practice.
    pub fn summary(&self, replica: &Replica, salt: u64) -> Result<Bytes, TrustError> {
        encode(&Message::Summary { salt, ranges: ranges(replica) })
    }

    /// Takes a message of `peer` and answers what to send back to it, and what became of the items in it.
    ///
    /// # Errors
    /// [`TrustError::Muted`], [`TrustError::TooLarge`], [`TrustError::Malformed`]. Nothing is to be sent then. A message that
    /// cannot be read counts as an invalid item.
    pub fn handle(
        &mut self,
        replica: &mut Replica,
        peer: &str,
        message: &[u8],
        now: (Timestamp, Monotonic),
    ) -> Result<(Vec<Bytes>, Report), TrustError> {
        let heard = self.peers.heard(peer, now.1).ok_or(TrustError::Muted)?;
        let message = match decode(message) {
            Ok(message) => message,
            Err(error) => {
                heard.invalid(1, now.1);
                return Err(error);
            }
        };
        let mut report = Report::default();
        if !matches!(message, Message::Items(_)) && !heard.may_ask() {
            report.deferred = 1;
            return Ok((Vec::new(), report));
        }
        let answers = match message {
            Message::Summary { salt, ranges: theirs } => {
                let ours = ranges(replica);
                let differ = |range: &u8| ours.get(usize::from(*range)) != theirs.get(usize::from(*range));
                let names = names(replica, (0..=u8::MAX).filter(differ), salt);
                if names.is_empty() { Vec::new() } else { vec![encode(&Message::Have { salt, names })?] }
            }
            Message::Have { salt, names: theirs } => compare(replica, salt, &theirs)?,
            Message::Want { salt, names } => batch(replica, salt, |range, short| {
                names.get(&range).is_some_and(|wanted| wanted.contains(&short))
            })?,
            Message::Items(items) => {
                for (index, item) in items.iter().enumerate() {
                    let invalid = report.invalid;
                    if !heard.may_send(item.len()) {
                        report.deferred += items.len() - index;
                        break;
                    }
                    replica.take(item, now.0, &mut report);
                    if heard.invalid(report.invalid - invalid, now.1) {
                        report.deferred += items.len() - index - 1;
                        break;
                    }
                }
                Vec::new()
            }
        };
        Ok((answers, report))
    }
}

fn encode(message: &Message) -> Result<Bytes, TrustError> {
    let bytes = postcard::to_stdvec(message).map_err(malformed)?;
    if MAX_MESSAGE_BYTES < bytes.len() {
        return Err(TrustError::TooLarge { limit: MAX_MESSAGE_BYTES });
    }
    Ok(bytes.into())
}

fn decode(bytes: &[u8]) -> Result<Message, TrustError> {
    if MAX_MESSAGE_BYTES < bytes.len() {
        return Err(TrustError::TooLarge { limit: MAX_MESSAGE_BYTES });
    }
    let (message, rest) = postcard::take_from_bytes::<Message>(bytes).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(malformed("bytes follow the message"));
    }
    match message {
        Message::Summary { ranges, .. } if ranges.len() != RANGES => {
            Err(malformed("a summary has 256 ranges"))
        }
        message => Ok(message),
    }
}

/// One hash for each range of names: of all names in it, in their order.
fn ranges(replica: &Replica) -> Vec<u128> {
    let mut bytes: Vec<Vec<u8>> = vec![Vec::new(); RANGES];
    for name in replica.items.keys() {
        let name = name.as_bytes();
        if let Some(range) = name.first().and_then(|first| bytes.get_mut(usize::from(*first))) {
            range.extend_from_slice(name);
        }
    }
    bytes.iter().map(|names| low(Digest::of(RANGE, names))).collect()
}

fn low(digest: Digest) -> u128 {
    digest.as_bytes().iter().take(16).fold(0, |value, byte| value << 8 | u128::from(*byte))
}

fn short(name: &Digest, salt: u64) -> u64 {
    let mut bytes = salt.to_le_bytes().to_vec();
    bytes.extend_from_slice(name.as_bytes());
    u64::try_from(low(Digest::of(SHORT, &bytes)) >> 64).unwrap_or(0)
}

fn names(replica: &Replica, ranges: impl Iterator<Item = u8>, salt: u64) -> Names {
    let (mut found, mut count) = (Names::new(), 0usize);
    for range in ranges {
        let here: BTreeSet<u64> = in_range(replica, range).map(|(name, _)| short(name, salt)).collect();
        count += here.len();
        // A range that is listed is listed whole; the others come in a later round, when fewer differ.
        if MAX_NAMES < count && !found.is_empty() {
            break;
        }
        found.insert(range, here);
    }
    found
}

fn in_range(replica: &Replica, range: u8) -> impl Iterator<Item = (&Digest, &Bytes)> {
    let (mut first, mut last) = ([0; 32], [0xff; 32]);
    for end in [&mut first, &mut last] {
        if let Some(byte) = end.first_mut() {
            *byte = range;
        }
    }
    let items = replica.items.range(Digest::from_bytes(first)..=Digest::from_bytes(last));
    items.map(|(name, held)| (name, &held.bytes))
}

/// What the peer lacks, and a question for what is lacking here.
fn compare(replica: &Replica, salt: u64, theirs: &Names) -> Result<Vec<Bytes>, TrustError> {
    let mut wanted = Names::new();
    for (range, names) in theirs {
        let ours: BTreeSet<u64> = in_range(replica, *range).map(|(name, _)| short(name, salt)).collect();
        let missing: BTreeSet<u64> = names.difference(&ours).copied().collect();
        if !missing.is_empty() {
            wanted.insert(*range, missing);
        }
    }
    let mut answers =
        batch(replica, salt, |range, short| theirs.get(&range).is_some_and(|names| !names.contains(&short)))?;
    if !wanted.is_empty() {
        answers.push(encode(&Message::Want { salt, names: wanted })?);
    }
    Ok(answers)
}

/// The chosen items, as far as they fit into one message.
fn batch(replica: &Replica, salt: u64, chosen: impl Fn(u8, u64) -> bool) -> Result<Vec<Bytes>, TrustError> {
    let (mut items, mut size) = (Vec::new(), 0usize);
    for range in 0..=u8::MAX {
        for (name, bytes) in in_range(replica, range) {
            if !chosen(range, short(name, salt)) {
                continue;
            }
            size += bytes.len();
            if BATCH_BYTES < size && !items.is_empty() {
                return Ok(vec![encode(&Message::Items(items))?]);
            }
            items.push(bytes.to_vec());
        }
    }
    if items.is_empty() { Ok(Vec::new()) } else { Ok(vec![encode(&Message::Items(items))?]) }
}
