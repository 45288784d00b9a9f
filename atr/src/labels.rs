//! What a tool's output carries: labels of the whole, and of the fields that the contract speaks of apart.

use std::fmt;

use agent_primitives::json::Value;
use agent_primitives::{Label, LabelSet};
use serde::{Serialize, Serializer};

use crate::pointer;

/// Most fields whose labels one contract declares.
pub const MAX_LABELLED_FIELDS: usize = 64;
/// Longest pattern of a field, in bytes.
pub const MAX_FIELD_PATTERN: usize = 512;

/// What an output carries, as declared. A field is named by a pattern: a JSON pointer (RFC 6901) in which the segment `*`
/// stands for any index and any key, such as `/*/subject`. A pattern speaks of the value it leads to and of all below.
///
/// The labels of a value are those of the longest pattern that leads to it or above it, *instead of* the labels of the
/// whole, so a field may carry less than the rest. Several of equal length all count.
///
/// Keys are data too: a key carries what its value does, unless a pattern spells it. The length of an array carries
/// nothing.
///
/// Whoever executes the tool adds to this what follows from the call itself, such as the label `tool:<id>`. What a tool
/// says when it fails is in its own words too, and carries [`OutputLabels::whole`].
#[derive(Clone, Debug, Default)]
pub struct OutputLabels {
    whole: LabelSet,
    fields: Vec<Field>,
    /// The labels of the whole and of every field: no value can carry more.
    all: LabelSet,
}

/// A part of an output that holds no other part: a number, text, `true`, `false`, `null`, or an empty array or object.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaf<'a> {
    /// JSON pointer to it.
    pub pointer: String,
    /// The leaf.
    pub value: &'a Value,
    /// What it carries.
    pub labels: LabelSet,
}

#[derive(Clone, Debug)]
struct Field {
    pattern: String,
    segments: Vec<Segment>,
    labels: LabelSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Any,
    Exactly(String),
}

impl OutputLabels {
    pub(crate) fn compile(whole: Vec<String>, fields: Vec<(String, Vec<String>)>) -> Result<Self, String> {
        if MAX_LABELLED_FIELDS < fields.len() {
            return Err(format!("it labels more than {MAX_LABELLED_FIELDS} fields"));
        }
        let whole = set(whole)?;
        let mut fields = fields
            .into_iter()
            .map(|(pattern, labels)| Field::compile(pattern, labels))
            .collect::<Result<Vec<_>, _>>()?;
        fields.sort_by(|one, next| one.pattern.cmp(&next.pattern));
        for pair in fields.windows(2) {
            if let [one, next] = pair
                && one.segments == next.segments
            {
                return Err(format!("it labels the field `{}` twice", one.pattern));
            }
        }
        let all = fields.iter().try_fold(whole.clone(), |all, field| all.join(&field.labels));
        Ok(Self { whole, fields, all: all.map_err(|error| error.to_string())? })
    }

    /// What a value carries where no pattern says otherwise.
    #[must_use]
    pub fn whole(&self) -> &LabelSet {
        &self.whole
    }

    /// The patterns in ascending byte order, and what the values there carry.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &LabelSet)> {
        self.fields.iter().map(|field| (field.pattern.as_str(), &field.labels))
    }

    /// Whether nothing is declared: neither the whole nor a field carries a label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the value at these unescaped segments of a path carries. Says nothing about its key.
    #[must_use]
    pub fn at<S: AsRef<str>>(&self, path: &[S]) -> LabelSet {
        path.iter().fold(self.start(), |place, key| self.step(&place, key.as_ref())).labels
    }

    /// What the whole of an output carries: the labels of every leaf in it, and of every key that no pattern spells.
    ///
    /// Linear in the values of the output times the patterns that lead to them; ends as soon as nothing can be added.
    #[must_use]
    pub fn labels_of(&self, value: &Value) -> LabelSet {
        if self.fields.is_empty() {
            return self.whole.clone();
        }
        let mut gathered = LabelSet::EMPTY;
        let mut pending = vec![(value, self.start())];
        while let Some((value, place)) = pending.pop() {
            match value {
                Value::Array(items) if !items.is_empty() => {
                    let items = items.iter().enumerate();
                    pending.extend(items.map(|(index, item)| (item, self.step(&place, &index.to_string()))));
                }
                Value::Object(entries) if !entries.is_empty() => {
                    for (key, entry) in entries {
                        let inner = self.step(&place, key);
                        if !self.spells(&place, key) {
                            gathered = self.joined(&gathered, &inner.labels);
                        }
                        pending.push((entry, inner));
                    }
                }
                _ => gathered = self.joined(&gathered, &place.labels),
            }
            if gathered.contains_all(&self.all) {
                break;
            }
        }
        gathered
    }

    /// The leaves of an output in document order, each with what it carries.
    ///
    /// What a leaf carries does not include what the keys on the way to it do; [`OutputLabels::labels_of`] does.
    pub fn leaves<'a>(&'a self, value: &'a Value) -> impl Iterator<Item = Leaf<'a>> + 'a {
        let mut pending = vec![(String::new(), value, self.start())];
        std::iter::from_fn(move || {
            loop {
                let (pointer, value, place) = pending.pop()?;
                let before = pending.len();
                match value {
                    Value::Array(items) if !items.is_empty() => {
                        pending.extend(items.iter().enumerate().map(|(index, item)| {
                            let key = index.to_string();
                            (format!("{pointer}/{key}"), item, self.step(&place, &key))
                        }));
                    }
                    Value::Object(entries) if !entries.is_empty() => {
                        pending.extend(entries.iter().map(|(key, entry)| {
                            (format!("{pointer}/{}", pointer::escaped(key)), entry, self.step(&place, key))
                        }));
                    }
                    _ => return Some(Leaf { pointer, value, labels: place.labels }),
                }
                pending.get_mut(before..).unwrap_or_default().reverse();
            }
        })
    }

    fn start(&self) -> Place {
        Place { depth: 0, open: (0..self.fields.len()).collect(), labels: self.whole.clone() }
    }

    /// One segment further down. A pattern that ends here decides, and those that end above no longer do.
    fn step(&self, place: &Place, key: &str) -> Place {
        let mut inner = Place { depth: place.depth + 1, open: Vec::new(), labels: place.labels.clone() };
        let mut decided = false;
        for &index in &place.open {
            let Some(field) = self.fields.get(index) else { continue };
            if !field.segments.get(place.depth).is_some_and(|segment| segment.covers(key)) {
                continue;
            }
            if field.segments.len() == inner.depth {
                let before = if decided { &inner.labels } else { &LabelSet::EMPTY };
                inner.labels = self.joined(before, &field.labels);
                decided = true;
            } else {
                inner.open.push(index);
            }
        }
        inner
    }

    fn spells(&self, place: &Place, key: &str) -> bool {
        place.open.iter().filter_map(|index| self.fields.get(*index)?.segments.get(place.depth)).any(
            |segment| match segment {
                Segment::Any => false,
                Segment::Exactly(name) => name == key,
            },
        )
    }

    fn joined(&self, one: &LabelSet, other: &LabelSet) -> LabelSet {
        // Both are parts of `all`, which is no larger than a set may be.
        one.join(other).unwrap_or_else(|_| self.all.clone())
    }
}

/// A place in an output, as far as patterns are concerned.
struct Place {
    /// Segments on the way here.
    depth: usize,
    /// The patterns that lead further down from here.
    open: Vec<usize>,
    /// What a value here carries.
    labels: LabelSet,
}

impl Segment {
    fn covers(&self, key: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(name) => name == key,
        }
    }
}

impl Field {
    fn compile(pattern: String, labels: Vec<String>) -> Result<Self, String> {
        let Some(rest) = pattern.strip_prefix('/').filter(|_| pattern.len() <= MAX_FIELD_PATTERN) else {
            let shown: String = pattern.chars().take(64).collect();
            return Err(format!(
                "`{shown}` is no pattern of a field; one is a JSON pointer of at most {MAX_FIELD_PATTERN} bytes"
            ));
        };
        let segments = rest.split('/').map(Segment::parse).collect::<Option<Vec<_>>>();
        let segments =
            segments.ok_or_else(|| format!("`{pattern}` holds a `~` that is neither `~0` nor `~1`"))?;
        Ok(Self { segments, labels: set(labels)?, pattern })
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let well_formed = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        well_formed.then(|| Self::Exactly(pointer::unescaped(text)))
    }
}

fn set(labels: Vec<String>) -> Result<LabelSet, String> {
    let labels = labels.iter().map(|label| label.parse()).collect::<Result<Vec<Label>, _>>();
    LabelSet::new(labels.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
}

impl Serialize for OutputLabels {
    /// `{"whole": [labels], "fields": {pattern: [labels]}}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut parts = serializer.serialize_struct("OutputLabels", 2)?;
        parts.serialize_field("whole", &self.whole)?;
        parts.serialize_field("fields", &Fields(&self.fields))?;
        parts.end()
    }
}

struct Fields<'a>(&'a [Field]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (&field.pattern, &field.labels)))
    }
}

impl fmt::Display for Leaf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.pointer, self.labels)
    }
}
