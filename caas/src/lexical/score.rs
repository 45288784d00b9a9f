//! BM25F: what a chunk says of a word, by field and by how rare the word is.

use super::LexicalError;
use super::fields::{FIELDS, Field, GROUPS};

/// How much an occurrence counts, by where it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FieldWeights {
    /// In the title.
    pub title: f64,
    /// In the path.
    pub path: f64,
    /// In the outline.
    pub outline: f64,
    /// In text of the high tier.
    pub high: f64,
    /// In text of the medium tier.
    pub medium: f64,
    /// In text of the low tier.
    pub low: f64,
}

impl FieldWeights {
    /// Every occurrence counts the same.
    pub const EQUAL: Self = Self { title: 1.0, path: 1.0, outline: 1.0, high: 1.0, medium: 1.0, low: 1.0 };

    const fn in_order(&self) -> [(&'static str, f64); FIELDS] {
        [
            ("title", self.title),
            ("path", self.path),
            ("outline", self.outline),
            ("high", self.high),
            ("medium", self.medium),
            ("low", self.low),
        ]
    }
}

/// How BM25F weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// How soon more of the same word stops to count, 0 to 3.
    pub k1: f64,
    /// How much the length of a field counts, 0 to 1.
    pub b: f64,
    /// How much an occurrence counts, 0 to 10.
    pub weights: FieldWeights,
}

impl Parameters {
    /// `k1` 1.2 and `b` 0.75, as in Lucene; 2, 1 and 0.5 for the tiers of the text, 2 for a title, 1 for a path and 0.5 for
    /// an outline, which is not of the chunk itself.
    pub const DEFAULT: Self = Self {
        k1: 1.2,
        b: 0.75,
        weights: FieldWeights { title: 2.0, path: 1.0, outline: 0.5, high: 2.0, medium: 1.0, low: 0.5 },
    };

    pub(super) fn check(&self) -> Result<(), LexicalError> {
        let weights = self.weights.in_order().map(|(name, value)| (name, value, 10.0));
        for (name, value, most) in [("k1", self.k1, 3.0), ("b", self.b, 1.0)].into_iter().chain(weights) {
            if !(0.0..=most).contains(&value) {
                return Err(LexicalError::BadParameter { name, value, least: 0.0, most });
            }
        }
        Ok(())
    }
}

impl Default for Parameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How long the chunks of an index are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) chunks: usize,
    /// Tokens, and chunks that have any, by group of fields.
    groups: [(u64, u64); GROUPS],
}

impl Totals {
    pub(super) fn add(&mut self, lengths: &[u32; GROUPS]) {
        self.chunks += 1;
        for ((tokens, chunks), length) in self.groups.iter_mut().zip(lengths) {
            *tokens += u64::from(*length);
            *chunks += u64::from(*length != 0);
        }
    }

    /// Takes off what was added before.
    pub(super) fn remove(&mut self, lengths: &[u32; GROUPS]) {
        self.chunks = self.chunks.saturating_sub(1);
        for ((tokens, chunks), length) in self.groups.iter_mut().zip(lengths) {
            *tokens = tokens.saturating_sub(u64::from(*length));
            *chunks = chunks.saturating_sub(u64::from(*length != 0));
        }
    }
}

/// The formula, with the numbers of an index put in.
///
/// With `tf` the sum over the fields of `weight * count / (1 - b + b * length / mean length)`, a word adds
/// `idf * tf * (k1 + 1) / (tf + k1)` (Robertson and Zaragoza 2009, section 3.6), where
/// `idf = ln(1 + (N - df + 0.5) / (df + 0.5))` as in Lucene. The mean is over the chunks that have the field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    k1: f64,
    b: f64,
    weights: [f64; FIELDS],
    /// One over the mean length, by group.
    inverse: [f64; GROUPS],
    chunks: f64,
}

impl Model {
    pub(super) fn new(parameters: &Parameters, totals: &Totals) -> Self {
        let inverse = totals.groups.map(|(tokens, chunks)| chunks as f64 / (tokens as f64).max(1.0));
        Self {
            k1: parameters.k1,
            b: parameters.b,
            weights: parameters.weights.in_order().map(|(_, weight)| weight),
            inverse,
            chunks: totals.chunks as f64,
        }
    }

    pub(super) fn idf(&self, holders: usize) -> f64 {
        let holders = holders as f64;
        ((self.chunks - holders + 0.5) / (holders + 0.5)).ln_1p()
    }

    pub(super) fn weight(&self, field: Field) -> f64 {
        self.weights.get(field as usize).copied().unwrap_or_default()
    }

    /// What `count` occurrences in a field add to the weighted frequency.
    pub(super) fn frequency(&self, field: Field, count: u32, lengths: &[u32; GROUPS]) -> f64 {
        let group = field.group();
        let (weight, length, inverse) =
            match (self.weights.get(field as usize), lengths.get(group), self.inverse.get(group)) {
                (Some(weight), Some(length), Some(inverse)) => (*weight, f64::from(*length), *inverse),
                _ => return 0.0,
            };
        weight * f64::from(count) / (1.0 - self.b + self.b * length * inverse).max(f64::MIN_POSITIVE)
    }

    /// The weighted frequency of a word, or phrase, with these counts by field.
    pub(super) fn frequencies(&self, counts: &[u32; FIELDS], lengths: &[u32; GROUPS]) -> f64 {
        Field::ALL.into_iter().zip(counts).map(|(field, count)| self.frequency(field, *count, lengths)).sum()
    }

    /// What a word of this weighted frequency adds, its rarity aside.
    pub(super) fn saturated(&self, frequency: f64) -> f64 {
        // Without any occurrence, or with none that counts, the quotient may be 0 by 0.
        if frequency <= 0.0 { 0.0 } else { frequency * (self.k1 + 1.0) / (frequency + self.k1) }
    }
}
