//! Labels: what a value is known to be, or where it came from.
//!
//! A label travels with a value and is only ever added on the way; taking one off is a decision of its own. Labels come
//! from contracts and from the host, never from an agent's own words, so the set a value can gather is bounded by what
//! the host has declared.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest label in bytes.
pub const MAX_LABEL: usize = 288;
/// Most labels in one set.
pub const MAX_LABELS: usize = 1024;

/// One label: a word of `[a-z][a-z0-9_-]{0,63}`, such as `untrusted`, `secret` or `pii`, or such a word, a colon and a
/// name of `[A-Za-z0-9._/@:-]`, such as `tool:mail.read` or `mcp:github`. At most [`MAX_LABEL`] bytes.
///
/// Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// Text that is not a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a label; one is a word like `secret`, or `tool:` or `mcp:` and a name")]
pub struct BadLabel(String);

impl Label {
    /// The label of data that nobody vouches for.
    pub const UNTRUSTED: &'static str = "untrusted";
    /// The label of data that must not leave.
    pub const SECRET: &'static str = "secret";
    /// The label of data about people.
    pub const PII: &'static str = "pii";

    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let (word, name) = text.split_once(':').map_or((text, None), |(word, name)| (word, Some(name)));
        let word_fits = word.len() <= 64
            && word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        let name_fits = name.is_none_or(|name| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._/@:-".contains(&byte);
            !name.is_empty() && name.bytes().all(fits)
        });
        if text.len() <= MAX_LABEL && word_fits && name_fits {
            Ok(Self(text.into()))
        } else {
            Err(BadLabel(text.chars().take(64).collect()))
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A set of labels, in ascending order. The empty set allocates nothing; cloning is a reference count.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct LabelSet(Option<Arc<[Label]>>);

/// A set would hold more than [`MAX_LABELS`] labels. Whoever meets this refuses the value: a set that lost a label would
/// say less than is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value gathers more than {MAX_LABELS} labels")]
pub struct TooManyLabels;

impl LabelSet {
    /// No label.
    pub const EMPTY: Self = Self(None);

    /// The set of these labels; the order and repeats do not matter.
    ///
    /// # Errors
    /// More than [`MAX_LABELS`] different labels.
    pub fn new(labels: impl IntoIterator<Item = Label>) -> Result<Self, TooManyLabels> {
        let mut labels: Vec<Label> = labels.into_iter().collect();
        labels.sort_unstable();
        labels.dedup();
        Self::of_sorted(labels)
    }

    fn of_sorted(labels: Vec<Label>) -> Result<Self, TooManyLabels> {
        match labels.len() {
            0 => Ok(Self::EMPTY),
            len if MAX_LABELS < len => Err(TooManyLabels),
            _ => Ok(Self(Some(labels.into()))),
        }
    }

    fn as_slice(&self) -> &[Label] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether the label is in the set.
    #[must_use]
    pub fn contains(&self, label: &str) -> bool {
        self.as_slice().binary_search_by(|own| own.as_str().cmp(label)).is_ok()
    }

    /// Whether every label of `other` is in the set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (_, None) => true,
            (None, Some(_)) => false,
            // A join that adds nothing shares memory, and is the usual one: what an agent hears, it mostly carries already.
            (Some(own), Some(others)) => {
                Arc::ptr_eq(own, others)
                    || (others.len() <= own.len() && other.iter().all(|label| self.contains(label.as_str())))
            }
        }
    }

    /// The labels of both sets. Shares memory when one set holds the other.
    ///
    /// # Errors
    /// More than [`MAX_LABELS`] labels together.
    pub fn join(&self, other: &Self) -> Result<Self, TooManyLabels> {
        if self.contains_all(other) {
            return Ok(self.clone());
        }
        if other.contains_all(self) {
            return Ok(other.clone());
        }
        Self::new(self.iter().chain(other.iter()).cloned())
    }

    /// The set without the labels of `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let left = self.iter().filter(|label| !other.contains(label.as_str())).cloned().collect();
        // A part of a set is no larger than the set.
        Self::of_sorted(left).unwrap_or_else(|_| self.clone())
    }

    /// The labels, in ascending order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.as_slice().iter()
    }
}

impl<'a> IntoIterator for &'a LabelSet {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for LabelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

impl fmt::Display for LabelSet {
    /// The labels, separated by commas and blanks.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.iter().enumerate() {
            if index != 0 {
                f.write_str(", ")?;
            }
            f.write_str(label.as_str())?;
        }
        Ok(())
    }
}

impl Serialize for LabelSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for LabelSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<Label>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_label_is_a_word_or_a_word_with_a_name() {
        for text in
            ["untrusted", "pii", "tool:mail.read", "mcp:github/a_b".replace('_', "-").as_str(), "own-1:x"]
        {
            assert!(text.parse::<Label>().is_ok(), "{text}");
        }
        for text in ["", "Secret", "1a", "a b", "tool:", ":x", "secret\u{200b}", "tool:a b", "a.b"] {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
        assert!("a".repeat(65).parse::<Label>().is_err());
    }

    #[test]
    fn a_set_that_would_lose_a_label_is_refused() {
        let many = |from: usize, to: usize| {
            LabelSet::new((from..to).map(|number| format!("own:{number}").parse().unwrap()))
        };
        assert_eq!(many(0, MAX_LABELS + 1), Err(TooManyLabels));
        assert_eq!(many(0, MAX_LABELS).unwrap().join(&many(5000, 5001).unwrap()), Err(TooManyLabels));
    }

    fn set() -> impl Strategy<Value = LabelSet> {
        let word = prop::sample::select(vec!["untrusted", "secret", "pii", "tool:a", "tool:b", "mcp:x"]);
        prop::collection::vec(word, 0..6)
            .prop_map(|words| LabelSet::new(words.into_iter().map(|word| word.parse().unwrap())).unwrap())
    }

    proptest! {
        #[test]
        fn joining_is_the_least_upper_bound(a in set(), b in set(), c in set()) {
            let joined = a.join(&b).unwrap();
            prop_assert!(joined.contains_all(&a) && joined.contains_all(&b));
            prop_assert_eq!(&joined, &b.join(&a).unwrap());
            prop_assert_eq!(joined.join(&c).unwrap(), a.join(&b.join(&c).unwrap()).unwrap());
            prop_assert_eq!(&a.join(&a).unwrap(), &a);
            prop_assert_eq!(joined.len(), a.without(&b).len() + b.len());
        }

        #[test]
        fn a_set_survives_its_encoding(a in set()) {
            prop_assert_eq!(serde_json::from_value::<LabelSet>(serde_json::to_value(&a).unwrap()).unwrap(), a);
        }
    }
}
