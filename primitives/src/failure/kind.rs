//! What kind of failure it was, and what that means for whoever meets it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Severity, Signal};

/// What can be done about a failure. Decided by its type, never by its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureClass {
    /// It may pass: the same call, later, with backoff.
    Transient,
    /// The agent did it wrong and can do it otherwise: tell it what was wrong.
    AgentFixable,
    /// Somebody has to decide or supply something first.
    NeedsInput,
    /// It must not be tried again.
    Terminal,
}

macro_rules! failure_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $class:ident, $severity:ident, $signal:expr;)*) => {
        /// The kind of a failure: sixteen that are known, and names that a later version may know.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FailureType {
            $($(#[$doc])* $variant,)*
            /// A name this version does not know. Kept as it came, so that passing a record on loses nothing.
            Other(OtherType),
        }

        impl FailureType {
            /// The sixteen known types, in ascending code.
            pub const ALL: [Self; 16] = [$(Self::$variant,)*];

            /// The name on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other(other) => &other.0,
                }
            }

            /// The number, which never changes; none for [`FailureType::Other`].
            #[must_use]
            pub const fn code(&self) -> Option<u16> {
                match self {
                    $(Self::$variant => Some($code),)*
                    Self::Other(_) => None,
                }
            }

            /// What can be done about it. An unknown type needs somebody to look: neither a retry nor an end.
            #[must_use]
            pub const fn class(&self) -> FailureClass {
                match self {
                    $(Self::$variant => FailureClass::$class,)*
                    Self::Other(_) => FailureClass::NeedsInput,
                }
            }

            /// How bad it is unless the record says otherwise.
            #[must_use]
            pub const fn default_severity(&self) -> Severity {
                match self {
                    $(Self::$variant => Severity::$severity,)*
                    Self::Other(_) => Severity::Medium,
                }
            }

            /// The signal that a kernel which acts on this failure would raise. A hint: nothing here raises it.
            #[must_use]
            pub const fn signal_hint(&self) -> Option<Signal> {
                match self {
                    $(Self::$variant => $signal,)*
                    Self::Other(_) => None,
                }
            }
        }
    };
}

failure_types! {
    /// Policy refused the action.
    BlockedByControlPlane = 1, "blocked_by_control_plane", Terminal, High, Some(Signal::Policy);
    /// No answer in time.
    Timeout = 2, "timeout", Transient, Medium, None;
    /// The action itself is wrong: unknown target, malformed arguments.
    InvalidAction = 3, "invalid_action", AgentFixable, Medium, None;
    /// Memory, disk or a quota ran out.
    ResourceExhausted = 4, "resource_exhausted", Transient, High, None;
    /// The program is wrong.
    LogicError = 5, "logic_error", AgentFixable, Medium, None;
    /// Nobody knows.
    Unknown = 6, "unknown", NeedsInput, Medium, None;
    /// Too many requests for now.
    RateLimited = 7, "rate_limited", Transient, Low, None;
    /// A service that was needed is down or out of reach.
    DependencyUnavailable = 8, "dependency_unavailable", Transient, Medium, None;
    /// The target refused the caller.
    PermissionDenied = 9, "permission_denied", NeedsInput, High, None;
    /// Somebody else was there first.
    Conflict = 10, "conflict", Transient, Low, None;
    /// Whoever asked no longer wants it.
    Cancelled = 11, "cancelled", Terminal, Low, None;
    /// The result was checked and found wrong.
    VerificationFailed = 12, "verification_failed", AgentFixable, High, None;
    /// The same step over and over.
    LoopDetected = 13, "loop_detected", NeedsInput, High, Some(Signal::Stop);
    /// The tokens, money or time set aside are spent.
    BudgetExhausted = 14, "budget_exhausted", NeedsInput, High, Some(Signal::Stop);
    /// A peer is not who or what it claimed.
    TrustViolation = 15, "trust_violation", Terminal, Critical, Some(Signal::Trust);
    /// Data is not what was stored or sent.
    IntegrityViolation = 16, "integrity_violation", Terminal, Critical, Some(Signal::Policy);
}

impl FailureType {
    /// Whether the same call may be tried again, as far as the type alone tells.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(self.class(), FailureClass::Transient)
    }

    /// Whether this version knows the type.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.code().is_some()
    }

    /// The known type with this code.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == Some(code))
    }
}

/// Longest name of a failure type in bytes.
pub const MAX_FAILURE_TYPE: usize = 64;

/// A name of `[a-z][a-z0-9_]{0,63}` that is not one of the known types. Made by parsing a [`FailureType`] only, so that
/// no known type can pass as an unknown one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OtherType(Arc<str>);

impl OtherType {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A text that cannot be the name of a failure type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a failure type; one is a letter a-z and up to 63 of a-z, 0-9 and `_`")]
pub struct InvalidFailureType {
    found: String,
}

impl FromStr for FailureType {
    type Err = InvalidFailureType;

    fn from_str(text: &str) -> Result<Self, InvalidFailureType> {
        if let Some(known) = Self::ALL.into_iter().find(|kind| kind.as_str() == text) {
            return Ok(known);
        }
        let fits = text.len() <= MAX_FAILURE_TYPE
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if fits {
            Ok(Self::Other(OtherType(text.into())))
        } else {
            Err(InvalidFailureType { found: text.chars().take(MAX_FAILURE_TYPE).collect() })
        }
    }
}

impl fmt::Display for FailureType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FailureType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for FailureType {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_mean_what_the_contract_says() {
        let table = "\
            blocked_by_control_plane 1 Terminal no high SIGPOLICY
            timeout 2 Transient yes medium -
            invalid_action 3 AgentFixable no medium -
            resource_exhausted 4 Transient yes high -
            logic_error 5 AgentFixable no medium -
            unknown 6 NeedsInput no medium -
            rate_limited 7 Transient yes low -
            dependency_unavailable 8 Transient yes medium -
            permission_denied 9 NeedsInput no high -
            conflict 10 Transient yes low -
            cancelled 11 Terminal no low -
            verification_failed 12 AgentFixable no high -
            loop_detected 13 NeedsInput no high SIGSTOP
            budget_exhausted 14 NeedsInput no high SIGSTOP
            trust_violation 15 Terminal no critical SIGTRUST
            integrity_violation 16 Terminal no critical SIGPOLICY";
        let rows: Vec<String> = FailureType::ALL
            .iter()
            .map(|kind| {
                let retry = if kind.retryable() { "yes" } else { "no" };
                let signal = kind.signal_hint().map_or("-", Signal::name);
                let (code, class) = (kind.code().unwrap(), kind.class());
                format!("{kind} {code} {class:?} {retry} {} {signal}", kind.default_severity())
            })
            .collect();
        assert_eq!(rows, table.lines().map(str::trim).collect::<Vec<_>>());
    }

    #[test]
    fn known_names_and_codes_find_their_type() {
        for kind in FailureType::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind.clone()));
            assert_eq!(FailureType::from_code(kind.code().unwrap()), Some(kind));
        }
        assert_eq!(FailureType::from_code(0), None);
        assert_eq!(FailureType::from_code(17), None);
    }

    #[test]
    fn names_outside_the_alphabet_are_refused() {
        let long = "a".repeat(65);
        for text in ["", "Timeout", "1up", "_x", "a-b", "a b", "é", "timeout ", &long] {
            assert!(text.parse::<FailureType>().is_err(), "{text}");
        }
        assert!("a".repeat(64).parse::<FailureType>().is_ok());
    }

    proptest! {
        #[test]
        fn an_unknown_name_survives_and_asks_for_input(text in "[a-z][a-z0-9_]{0,63}") {
            let json = serde_json::to_string(&text).unwrap();
            let kind: FailureType = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(serde_json::to_string(&kind).unwrap(), json);
            if !kind.is_known() {
                prop_assert_eq!(kind.class(), FailureClass::NeedsInput);
                prop_assert!(!kind.retryable() && kind.signal_hint().is_none());
            }
        }
    }
}
