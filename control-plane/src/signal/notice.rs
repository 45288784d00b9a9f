//! What a signal says besides its number.

use agent_primitives::{AgentId, LabelSet, Signal, Timestamp};

use crate::recorder::Actor;

/// Most bytes of a reason that are kept and recorded; a longer one is cut.
pub const MAX_REASON: usize = 1024;

/// Who raised a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sender {
    /// The host.
    Host,
    /// The kernel itself.
    Kernel,
    /// An agent, as policy allowed.
    Agent(AgentId),
}

impl Sender {
    /// The same, as the record says it.
    pub(crate) fn as_actor(&self) -> Actor<'_> {
        match self {
            Self::Host => Actor::Host,
            Self::Kernel => Actor::Kernel,
            Self::Agent(id) => Actor::Agent(id.as_str()),
        }
    }
}

impl std::fmt::Display for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_actor().fmt(f)
    }
}

/// A signal that reached its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Which.
    pub signal: Signal,
    /// From whom.
    pub from: Sender,
    /// Why, at most [`MAX_REASON`] bytes. Empty if the agent cannot carry the labels of its sender.
    pub reason: String,
    /// When it was raised.
    pub raised: Timestamp,
    /// What the reason carries: all that the agent did that sent it. It has been joined to what the receiver carries.
    pub labels: LabelSet,
}

/// What waits with a signal.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: Sender,
    pub(crate) reason: String,
    pub(crate) raised: Timestamp,
    pub(crate) labels: LabelSet,
}

/// A reason, cut to its bound.
pub(crate) fn cut(reason: &str) -> &str {
    // A character has at most four bytes.
    let ends = (0..4).filter_map(|back| MAX_REASON.checked_sub(back));
    if reason.len() <= MAX_REASON {
        reason
    } else {
        ends.filter_map(|end| reason.get(..end)).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        for shift in 0..4 {
            let reason = format!("{}{}", "a".repeat(shift), "€".repeat(MAX_REASON));
            let cut = cut(&reason);
            assert!(reason.starts_with(cut) && (MAX_REASON - 3..=MAX_REASON).contains(&cut.len()));
        }
        assert_eq!(cut("short"), "short");
    }
}
