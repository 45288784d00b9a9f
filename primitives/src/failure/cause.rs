//! Which failure led to which.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;
use crate::id_source::{self, IdSource, NoRandomness};

/// Most links of a chain of causes.
pub const MAX_CAUSES: usize = 32;

/// Names one recorded failure: a UUID of version 7, written in lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FailureId(Uuid);

impl FailureId {
    /// A new id; ids of later microseconds sort later.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn new(now: Timestamp, ids: &dyn IdSource) -> Result<Self, NoRandomness> {
        id_source::uuid_v7(now, ids).map(Self)
    }

    /// The UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

/// A text that is not a failure id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a failure id is a UUID of version 7 in lower case with hyphens")]
pub struct BadFailureId;

impl FromStr for FailureId {
    type Err = BadFailureId;

    fn from_str(text: &str) -> Result<Self, BadFailureId> {
        let uuid = Uuid::try_parse(text).map_err(|_| BadFailureId)?;
        // The parser also takes capitals, braces and URNs; one id has one text.
        let canonical = uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text;
        let is_v7 = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
        if canonical && is_v7 { Ok(Self(uuid)) } else { Err(BadFailureId) }
    }
}

impl fmt::Display for FailureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for FailureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FailureId({self})")
    }
}

impl Serialize for FailureId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FailureId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A chain of causes that never ends, or not within [`MAX_CAUSES`] links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the causes of failure {at} form a cycle or a chain of more than {MAX_CAUSES}")]
pub struct CauseCycle {
    at: FailureId,
}

impl CauseCycle {
    pub(super) const fn at(at: FailureId) -> Self {
        Self { at }
    }
}

/// The causes of `start`, nearest first, by following `cause_of` until it knows none. A cause that is not on record ends
/// the chain. `cause_of` is asked at most [`MAX_CAUSES`] + 1 times.
///
/// # Errors
/// [`CauseCycle`] when there are more than [`MAX_CAUSES`], which a cycle always has.
pub fn causes(
    start: FailureId,
    mut cause_of: impl FnMut(FailureId) -> Option<FailureId>,
) -> Result<Vec<FailureId>, CauseCycle> {
    let mut chain = Vec::new();
    let mut last = start;
    while let Some(cause) = cause_of(last) {
        // A cycle runs into the bound like any chain that is too long.
        if chain.len() == MAX_CAUSES {
            return Err(CauseCycle { at: start });
        }
        chain.push(cause);
        last = cause;
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededIds;

    fn ids(count: usize) -> Vec<FailureId> {
        let source = SeededIds::new(3);
        (0..count).map(|_| FailureId::new(Timestamp::from_micros(0), &source).unwrap()).collect()
    }

    /// The causes in a record where each id was caused by the one after it.
    fn follow(chain: &[FailureId], then: Option<FailureId>) -> Result<Vec<FailureId>, CauseCycle> {
        causes(chain[0], |id| {
            let at = chain.iter().position(|link| *link == id)?;
            chain.get(at + 1).copied().or(then)
        })
    }

    #[test]
    fn a_chain_of_the_bound_is_followed_and_one_more_is_not() {
        let chain = ids(MAX_CAUSES + 2);
        assert_eq!(follow(&chain[..=MAX_CAUSES], None).unwrap(), chain[1..=MAX_CAUSES]);
        assert_eq!(follow(&chain, None), Err(CauseCycle { at: chain[0] }));
    }

    #[test]
    fn a_cycle_is_found_wherever_it_closes() {
        let chain = ids(5);
        for back_to in &chain {
            assert_eq!(follow(&chain, Some(*back_to)), Err(CauseCycle { at: chain[0] }));
        }
    }

    #[test]
    fn an_id_has_one_text() {
        let id = ids(1)[0].to_string();
        assert_eq!(id.parse::<FailureId>().unwrap().to_string(), id);
        let v4 = "550e8400-e29b-41d4-a716-446655440000".to_owned();
        for text in [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), v4, String::new()] {
            assert_eq!(text.parse::<FailureId>(), Err(BadFailureId), "{text}");
        }
    }
}
