//! Values, and when two of them cannot both hold.

use super::Severity;
use super::unit::{self, Dimension};

/// Whether a number is the value, or a limit of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// It is the value.
    Exact,
    /// The value is at most that.
    Most,
    /// The value is at least that.
    Least,
    /// Something is different beyond it.
    Threshold,
}

/// A value that is claimed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A number in the base unit of its dimension: seconds, bytes, parts of a hundred, things, things or bytes in a second.
    Number {
        /// What it measures.
        dimension: Dimension,
        /// How much.
        value: f64,
        /// Whether it is a limit.
        bound: Bound,
    },
    /// A version, the major part first.
    Version(Vec<u32>, Bound),
    /// A day, counted from 1970-01-01.
    Date(i64),
    /// A quarter of a year: four times the year, and 0 to 3.
    Quarter(i64),
    /// A time of day, in minutes.
    Clock(u32),
    /// A port.
    Port(u16),
    /// An address.
    Url(String),
    /// What a setting is set to.
    Setting(String),
    /// Whether it is so.
    Flag(bool),
}

/// Numbers that differ by less are the same number in other units.
const SAME: f64 = 1e-6;

impl Value {
    pub(super) const fn number(dimension: Dimension, value: f64, bound: Bound) -> Self {
        Self::Number { dimension, value, bound }
    }

    /// Whether they say the same; what is a limit and what a value aside.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Number { dimension: one, value: a, .. },
                Self::Number { dimension: other, value: b, .. },
            ) => one == other && gap(*a, *b) <= SAME,
            (Self::Version(one, _), Self::Version(other, _)) => {
                let part = |parts: &[u32], at: usize| parts.get(at).copied().unwrap_or(0);
                (0..one.len().max(other.len())).all(|at| part(one, at) == part(other, at))
            }
            _ => self == other,
        }
    }

    /// Whether both cannot hold of one subject. A value within a limit is no contradiction.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        !self.agrees(other) && self.differs(other)
    }

    /// The same for two that do not agree.
    pub(super) fn differs(&self, other: &Self) -> bool {
        if std::mem::discriminant(self) != std::mem::discriminant(other) {
            return false;
        }
        let (bounds, below) = match (self, other) {
            (
                Self::Number { dimension: of, value: a, bound: one },
                Self::Number { dimension, value: b, bound: other },
            ) => {
                if of != dimension {
                    return false;
                }
                ((*one, *other), a < b)
            }
            (Self::Version(a, one), Self::Version(b, other)) => ((*one, *other), a < b),
            _ => return true,
        };
        match bounds {
            (Bound::Least, Bound::Exact | Bound::Most) | (Bound::Exact, Bound::Most) => !below,
            (Bound::Exact | Bound::Most, Bound::Least) | (Bound::Most, Bound::Exact) => below,
            // Of a threshold against a value it is not known to which side of it the value has to be.
            (Bound::Threshold, Bound::Exact) | (Bound::Exact, Bound::Threshold) => false,
            _ => true,
        }
    }

    /// How far apart two numbers are, as a part of the larger: 0 to 1, more only where their signs differ. `None` where it is
    /// no matter of size.
    #[must_use]
    pub fn gap(&self, other: &Self) -> Option<f64> {
        match (self, other) {
            (Self::Number { dimension, value: a, .. }, Self::Number { value: b, .. })
                if *dimension != Dimension::Bare =>
            {
                Some(gap(*a, *b))
            }
            _ => None,
        }
    }

    /// How much a contradiction weighs: by the gap, 0.5 and more high, 0.1 and more medium; of versions by the first part that
    /// differs; of dates a month and more high, two days and more medium; of all else high.
    #[must_use]
    pub fn severity(&self, other: &Self) -> Severity {
        if let Some(gap) = self.gap(other) {
            return Severity::of(gap, 0.5, 0.1);
        }
        match (self, other) {
            (Self::Date(a), Self::Date(b)) => Severity::of(a.abs_diff(*b) as f64, 30.0, 2.0),
            (Self::Version(a, _), Self::Version(b, _)) => {
                let part = |parts: &[u32], at: usize| parts.get(at).copied().unwrap_or(0);
                match (0..a.len().max(b.len())).find(|at| part(a, *at) != part(b, *at)) {
                    Some(0) => Severity::High,
                    Some(1) => Severity::Medium,
                    _ => Severity::Low,
                }
            }
            _ => Severity::High,
        }
    }

    /// The value as it is shown to a model. What a document wrote itself is JSON text, short and on one line.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Number { dimension, value, bound } => {
                let limit = match bound {
                    Bound::Exact => "",
                    Bound::Most => "at most ",
                    Bound::Least => "at least ",
                    Bound::Threshold => "beyond ",
                };
                format!("{limit}{}", amount(*dimension, *value))
            }
            Self::Version(parts, bound) => {
                let parts: Vec<String> = parts.iter().map(u32::to_string).collect();
                let limit = if *bound == Bound::Least { "at least " } else { "" };
                format!("{limit}version {}", parts.join("."))
            }
            Self::Date(days) => unit::written(*days),
            Self::Quarter(quarter) => format!("Q{} {}", quarter.rem_euclid(4) + 1, quarter.div_euclid(4)),
            Self::Clock(minutes) => format!("{:02}:{:02}", minutes / 60, minutes % 60),
            Self::Port(port) => format!("port {port}"),
            Self::Url(text) | Self::Setting(text) => quoted(text, 80),
            Self::Flag(true) => "yes".to_owned(),
            Self::Flag(false) => "no".to_owned(),
        }
    }
}

fn gap(one: f64, other: f64) -> f64 {
    let larger = one.abs().max(other.abs());
    if larger == 0.0 { 0.0 } else { (one - other).abs() / larger }
}

fn amount(dimension: Dimension, value: f64) -> String {
    let number = |value: f64| {
        let rounded = (value * 1e6).round() / 1e6;
        rounded.to_string()
    };
    match dimension {
        Dimension::Duration => format!("{} s", number(value)),
        Dimension::Bytes => format!("{} bytes", number(value)),
        Dimension::Percent => format!("{} %", number(value)),
        Dimension::Count | Dimension::Bare => number(value),
        Dimension::Rate => format!("{} a second", number(value)),
        Dimension::Throughput => format!("{} bytes a second", number(value)),
    }
}

/// A text of a document within a note: JSON, on one line, and short, so that it cannot pass for the note's own words.
pub(super) fn quoted(text: &str, most: usize) -> String {
    let plain: String = text.chars().filter(|char| !char.is_control()).take(most).collect();
    serde_json::Value::String(plain).to_string()
}
