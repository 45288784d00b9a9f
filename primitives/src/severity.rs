//! How bad a failure is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::suggest;

/// Four grades, ordered: `max` of two is the worse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Expected in ordinary work.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Somebody has to act.
    High,
    /// What else the agent did is in doubt.
    Critical,
}

impl Severity {
    /// Every grade, ascending.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The grade `steps` higher; stops at critical.
    #[must_use]
    pub fn escalate(self, steps: u32) -> Self {
        let steps = usize::try_from(steps).unwrap_or(usize::MAX);
        Self::ALL.into_iter().filter(|grade| self <= *grade).nth(steps).unwrap_or(Self::Critical)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no severity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown severity `{found}`{}", suggest::hint(*nearest))]
pub struct UnknownSeverity {
    found: String,
    nearest: Option<&'static str>,
}

/// Most characters of a refused text that an error repeats.
const MAX_SHOWN: usize = 64;

impl FromStr for Severity {
    type Err = UnknownSeverity;

    /// The word in any ASCII case, white space around it ignored.
    fn from_str(text: &str) -> Result<Self, UnknownSeverity> {
        let word = text.trim();
        Self::ALL.into_iter().find(|grade| word.eq_ignore_ascii_case(grade.as_str())).ok_or_else(|| {
            UnknownSeverity {
                found: word.chars().take(MAX_SHOWN).collect(),
                nearest: suggest::nearest(word, Self::ALL.into_iter().map(Self::as_str)),
            }
        })
    }
}

impl Serialize for Severity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Severity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grades_are_ordered_by_how_bad_they_are() {
        assert!(Severity::ALL.is_sorted());
        assert_eq!(Severity::Critical.max(Severity::Medium), Severity::Critical);
    }

    #[test]
    fn words_parse_in_any_case_and_nothing_else_does() {
        for grade in Severity::ALL {
            assert_eq!(format!(" {}\n", grade.as_str().to_uppercase()).parse(), Ok(grade));
            assert_eq!(serde_json::to_string(&grade).unwrap(), format!("\"{grade}\""));
        }
        for text in ["", "severe", "1", "hi gh", "ｈigh"] {
            assert!(text.parse::<Severity>().is_err(), "{text}");
        }
        assert_eq!(
            "critcal".parse::<Severity>().unwrap_err().to_string(),
            "unknown severity `critcal`; did you mean `critical`?"
        );
    }

    #[test]
    fn escalation_saturates() {
        assert_eq!(Severity::Low.escalate(0), Severity::Low);
        assert_eq!(Severity::Medium.escalate(2), Severity::Critical);
        assert_eq!(Severity::Low.escalate(u32::MAX), Severity::Critical);
    }
}
