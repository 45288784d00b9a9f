//! BM25: how much of what is asked a document says, and how rare it is.

use std::collections::HashMap;

use super::Hit;

/// How BM25 weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameters {
    /// How soon more of the same word stops to count; finite, at least 0.
    pub k1: f64,
    /// How much the length of a document counts, 0 to 1.
    pub b: f64,
}

impl Parameters {
    /// `k1` 0.9 and `b` 0.4, as in Anserini's baselines.
    pub const DEFAULT: Self = Self { k1: 0.9, b: 0.4 };
}

/// Parameters that BM25 is not defined for.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("BM25 takes a finite k1 of 0 or more and a b of 0 to 1, not k1 `{k1}` and b `{b}`")]
pub struct BadParameters {
    k1: f64,
    b: f64,
}

/// Why a document is not indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Bm25Error {
    /// There are [`Bm25::MAX_DOCUMENTS`] already.
    #[error("more than {} documents", Bm25::MAX_DOCUMENTS)]
    TooManyDocuments,
    /// The document has more than [`Bm25::MAX_TOKENS`] tokens.
    #[error("a document of more than {} tokens", Bm25::MAX_TOKENS)]
    TooLong,
}

/// An index in memory that only grows.
///
/// The score of a document is, over the words asked for, the sum of
/// `idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))` with `idf = ln(1 + (N - df + 0.5) / (df + 0.5))`
/// (Robertson and Zaragoza 2009, with the idf that Lucene uses and that is never negative). A word asked for twice counts
/// twice.
#[derive(Clone, Debug)]
pub struct Bm25 {
    parameters: Parameters,
    /// For each word the documents that hold it, ascending, and how often.
    postings: HashMap<Box<str>, Vec<(u32, u32)>>,
    lengths: Vec<u32>,
    total: u64,
}

impl Bm25 {
    /// Most documents in one index.
    pub const MAX_DOCUMENTS: usize = 1 << 24;
    /// Most tokens in one document.
    pub const MAX_TOKENS: usize = 1 << 20;

    /// An empty index.
    ///
    /// # Errors
    /// [`BadParameters`].
    pub fn new(parameters: Parameters) -> Result<Self, BadParameters> {
        let Parameters { k1, b } = parameters;
        if k1.is_finite() && 0.0 <= k1 && (0.0..=1.0).contains(&b) {
            Ok(Self { parameters, postings: HashMap::new(), lengths: Vec::new(), total: 0 })
        } else {
            Err(BadParameters { k1, b })
        }
    }

    /// Adds a document and returns its place.
    ///
    /// # Errors
    /// [`Bm25Error`]; the index is as before.
    pub fn push<T: AsRef<str>>(&mut self, tokens: &[T]) -> Result<usize, Bm25Error> {
        let seq = self.lengths.len();
        let (Ok(document), true) = (u32::try_from(seq), seq < Self::MAX_DOCUMENTS) else {
            return Err(Bm25Error::TooManyDocuments);
        };
        let (Ok(length), true) = (u32::try_from(tokens.len()), tokens.len() <= Self::MAX_TOKENS) else {
            return Err(Bm25Error::TooLong);
        };
        for token in tokens {
            let token = token.as_ref();
            match self.postings.get_mut(token) {
                Some(list) => match list.last_mut() {
                    Some((last, count)) if *last == document => *count += 1,
                    _ => list.push((document, 1)),
                },
                None => {
                    self.postings.insert(token.into(), vec![(document, 1)]);
                }
            }
        }
        self.lengths.push(length);
        self.total += u64::from(length);
        Ok(seq)
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there is no document.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The score of every document, in order.
    #[must_use]
    pub fn scores<T: AsRef<str>>(&self, query: &[T]) -> Vec<f64> {
        let Parameters { k1, b } = self.parameters;
        let documents = self.lengths.len() as f64;
        let mean = (self.total as f64 / documents.max(1.0)).max(f64::MIN_POSITIVE);
        let mut scores = vec![0.0; self.lengths.len()];
        for list in query.iter().filter_map(|token| self.postings.get(token.as_ref())) {
            let holders = list.len() as f64;
            let idf = ((documents - holders + 0.5) / (holders + 0.5)).ln_1p();
            for (document, count) in list {
                let place = *document as usize;
                let (Some(score), Some(length)) = (scores.get_mut(place), self.lengths.get(place)) else {
                    continue;
                };
                let count = f64::from(*count);
                let relative = f64::from(*length) / mean;
                *score += idf * count * (k1 + 1.0) / (count + k1 * (1.0 - b + b * relative));
            }
        }
        scores
    }

    /// The best `k` documents that hold any of the words, best first.
    #[must_use]
    pub fn search<T: AsRef<str>>(&self, query: &[T], k: usize) -> Vec<Hit> {
        let scores = self.scores(query).into_iter().enumerate();
        Hit::best(
            scores.filter(|(_, score)| 0.0 < *score).map(|(seq, score)| Hit { seq, score }).collect(),
            k,
        )
    }
}
