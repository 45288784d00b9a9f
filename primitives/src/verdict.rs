//! What a policy says about a request.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The three answers a policy can give. Exhaustive on purpose: a host must handle each.
///
/// Ordered by strictness, so that `max` of two verdicts is the one that stands: deny over ask over allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Go ahead.
    Allow,
    /// Hold until a human has agreed.
    Ask,
    /// Refuse.
    Deny,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stricter_verdict_is_the_greater() {
        assert_eq!(Verdict::Allow.max(Verdict::Ask), Verdict::Ask);
        assert_eq!(Verdict::Ask.max(Verdict::Deny), Verdict::Deny);
    }
}
