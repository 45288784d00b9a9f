//! A message, and the line it is read as.

use agent_primitives::{AgentId, LabelSet, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::vfs::VfsError;

/// Most bytes of a message's body.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// A message that was sent, shared by all who are to get it.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) from: AgentId,
    /// The topic it was sent to; `None` for one to an agent.
    pub(super) topic: Option<AgentId>,
    pub(super) time: Timestamp,
    pub(super) labels: LabelSet,
    pub(super) body: Bytes,
}

/// A message as an agent gets it. All but the body is the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its place among all that came to this inbox or subscription, from 1 on and without gaps.
    pub seq: u64,
    /// When it was sent.
    pub time: Timestamp,
    /// Who sent it.
    pub from: AgentId,
    /// The topic it was sent to; `None` for one to the agent itself.
    pub topic: Option<AgentId>,
    /// What it carries.
    pub labels: LabelSet,
    /// What was sent.
    pub body: Bytes,
}

/// The line, whose members stand in this order. `text` is the body when that is UTF-8, otherwise `base64` is.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    seq: u64,
    time: Timestamp,
    from: AgentId,
    topic: Option<AgentId>,
    labels: LabelSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Letter {
    /// One line of JSON with a line feed behind it. No body can add a line of its own, nor a member.
    pub(super) fn to_line(&self, seq: u64) -> Result<Bytes, VfsError> {
        let (text, base64) = match std::str::from_utf8(&self.body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(STANDARD.encode(&self.body))),
        };
        let Self { from, topic, time, labels, .. } = self;
        let (from, topic, labels) = (from.clone(), topic.clone(), labels.clone());
        let line = Line { seq, time: *time, from, topic, labels, text, base64 };
        let mut bytes = serde_json::to_vec(&line).map_err(|_| VfsError::Backend)?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }
}

impl Message {
    /// Reads what a read of `/ipc/inbox` or of a subscription answers; `None` for anything else.
    #[must_use]
    pub fn from_line(line: &[u8]) -> Option<Self> {
        let Line { seq, time, from, topic, labels, text, base64 } = serde_json::from_slice(line).ok()?;
        let body = match (text, base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).ok()?,
            _ => return None,
        };
        Some(Self { seq, time, from, topic, labels, body: body.into() })
    }
}

// Every byte of a body may be escaped by six, and one read has to hold the line.
const _: () = assert!(6 * MAX_MESSAGE_BYTES < crate::vfs::MAX_TRANSFER as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_comes_back_as_it_was_sent_on_one_line(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let letter = Letter {
                from: "a".parse().unwrap(),
                topic: None,
                time: Timestamp::default(),
                labels: LabelSet::EMPTY,
                body: body.clone().into(),
            };
            let line = letter.to_line(7).unwrap();
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let message = Message::from_line(&line).unwrap();
            prop_assert_eq!((message.seq, &message.body[..]), (7, &body[..]));
        }
    }
}
