//! Which documents a search may answer, by what the host says of them.

use std::collections::BTreeSet;

use agent_primitives::{Label, Timestamp};
use serde_json::Value;

use crate::model::{Classification, DocumentId, Metadata, Readers, SourceKind};

/// A condition on a document. It is decided before anything is ranked: what it does not admit is never looked at, and a
/// search for ten answers ten where there are ten.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Filter {
    /// Every document.
    All,
    /// One of these documents.
    Document(BTreeSet<DocumentId>),
    /// From one of these kinds of source.
    Source(BTreeSet<SourceKind>),
    /// With this label.
    Label(Label),
    /// An attribute that is this value.
    Equal(String, Value),
    /// An attribute that is one of these values.
    In(String, Vec<Value>),
    /// An attribute that is a number from the first to the second, both included.
    Between(String, f64, f64),
    /// Last changed (or else written) at or after the first and before the second; a document without a time is not.
    Changed(Option<Timestamp>, Option<Timestamp>),
    /// Meant for no smaller circle than this.
    Clearance(Classification),
    /// Open to everyone, or to one of these readers.
    Readable(BTreeSet<String>),
    /// All of these.
    And(Vec<Self>),
    /// At least one of these.
    Or(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
}

/// A filter that is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFilter {
    /// Too deep, or with too many parts.
    #[error("a filter has at most {} parts, {} deep", Filter::MAX_PARTS, Filter::MAX_DEPTH)]
    TooLarge,
    /// A border that is no number, or borders in the wrong order.
    #[error("a range of a filter goes from a number to one that is no smaller")]
    BadRange,
}

impl BadFilter {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "AK0780",
            Self::BadRange => "AK0781",
        }
    }
}

impl Filter {
    /// Deepest filter.
    pub const MAX_DEPTH: usize = 16;
    /// Most conditions and values in one filter.
    pub const MAX_PARTS: usize = 4096;

    /// Both: this filter and another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, one) | (one, Self::All) => one,
            (one, other) => Self::And(vec![one, other]),
        }
    }

    /// Whether it can be asked.
    ///
    /// # Errors
    /// [`BadFilter`].
    pub fn check(&self) -> Result<(), BadFilter> {
        let mut parts = 0;
        self.check_within(Self::MAX_DEPTH, &mut parts)
    }

    fn check_within(&self, depth: usize, parts: &mut usize) -> Result<(), BadFilter> {
        let Some(depth) = depth.checked_sub(1) else { return Err(BadFilter::TooLarge) };
        *parts += 1 + match self {
            Self::Document(set) => set.len(),
            Self::Readable(set) => set.len(),
            Self::In(_, values) => values.len(),
            _ => 0,
        };
        if Self::MAX_PARTS < *parts {
            return Err(BadFilter::TooLarge);
        }
        match self {
            Self::Between(_, from, to) if from.partial_cmp(to).is_none_or(std::cmp::Ordering::is_gt) => {
                Err(BadFilter::BadRange)
            }
            Self::Changed(Some(from), Some(to)) if to < from => Err(BadFilter::BadRange),
            Self::And(all) | Self::Or(all) => all.iter().try_for_each(|one| one.check_within(depth, parts)),
            Self::Not(one) => one.check_within(depth, parts),
            _ => Ok(()),
        }
    }

    /// Whether it lets a document through. An attribute that is not there is no value: it is not equal, not in a list, not in
    /// a range.
    #[must_use]
    pub fn admits(&self, document: &DocumentId, metadata: &Metadata) -> bool {
        let attribute = |name: &String| metadata.attributes.get(name);
        match self {
            Self::All => true,
            Self::Document(documents) => documents.contains(document),
            Self::Source(kinds) => kinds.contains(&metadata.source.kind),
            Self::Label(label) => metadata.labels.contains(label.as_str()),
            Self::Equal(name, value) => attribute(name) == Some(value),
            Self::In(name, values) => attribute(name).is_some_and(|found| values.contains(found)),
            Self::Between(name, from, to) => {
                attribute(name).and_then(Value::as_f64).is_some_and(|found| *from <= found && found <= *to)
            }
            Self::Changed(from, to) => metadata
                .updated_at
                .or(metadata.created_at)
                .is_some_and(|time| from.is_none_or(|from| from <= time) && to.is_none_or(|to| time < to)),
            Self::Clearance(clearance) => metadata.classification <= *clearance,
            Self::Readable(asking) => match &metadata.readers {
                Readers::Everyone => true,
                Readers::Only(readers) => !readers.is_disjoint(asking),
            },
            Self::And(all) => all.iter().all(|one| one.admits(document, metadata)),
            Self::Or(any) => any.iter().any(|one| one.admits(document, metadata)),
            Self::Not(one) => !one.admits(document, metadata),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Source;

    fn metadata() -> Metadata {
        let mut metadata = Metadata::new(Source::of(SourceKind::Wiki), Classification::Confidential);
        metadata.attributes.insert("team".to_owned(), json!("red"));
        metadata.attributes.insert("size".to_owned(), json!(3));
        metadata.updated_at = "2026-03-01T00:00:00Z".parse().ok();
        metadata.readers = Readers::Only(["ops".to_owned()].into());
        metadata
    }

    #[test]
    fn each_condition_is_as_it_says() {
        let (id, metadata) = ("a".parse().unwrap(), metadata());
        let time = |text: &str| Some(text.parse().unwrap());
        let team = || "team".to_owned();
        for (filter, expected) in [
            (Filter::All, true),
            (Filter::Document(["a".parse().unwrap()].into()), true),
            (Filter::Document(BTreeSet::new()), false),
            (Filter::Source([SourceKind::Wiki].into()), true),
            (Filter::Source([SourceKind::Ticket].into()), false),
            (Filter::Label("pii".parse().unwrap()), false),
            (Filter::Equal(team(), json!("red")), true),
            (Filter::Equal("none".to_owned(), json!(null)), false),
            (Filter::In(team(), vec![json!("blue"), json!("red")]), true),
            (Filter::Between("size".to_owned(), 3.0, 3.0), true),
            (Filter::Between(team(), 0.0, 9.0), false),
            (Filter::Changed(time("2026-03-01T00:00:00Z"), None), true),
            (Filter::Changed(None, time("2026-03-01T00:00:00Z")), false),
            (Filter::Clearance(Classification::Internal), false),
            (Filter::Clearance(Classification::Secret), true),
            (Filter::Readable(["ops".to_owned()].into()), true),
            (Filter::Readable(["dev".to_owned()].into()), false),
            (Filter::Readable(BTreeSet::new()), false),
            (Filter::And(Vec::new()), true),
            (Filter::Or(Vec::new()), false),
            (Filter::Not(Box::new(Filter::All)), false),
            (Filter::All.and(Filter::Equal(team(), json!("blue"))), false),
        ] {
            assert_eq!(filter.admits(&id, &metadata), expected, "{filter:?}");
            assert_eq!(filter.check(), Ok(()));
        }
    }

    #[test]
    fn filters_have_bounds() {
        let deep = (0..16).fold(Filter::All, |filter, _| Filter::Not(Box::new(filter)));
        assert_eq!(deep.check(), Err(BadFilter::TooLarge));
        assert_eq!(Filter::In(String::new(), vec![json!(1); 5000]).check(), Err(BadFilter::TooLarge));
        for range in [(2.0, 1.0), (f64::NAN, 1.0)] {
            assert_eq!(Filter::Between(String::new(), range.0, range.1).check(), Err(BadFilter::BadRange));
        }
    }
}
