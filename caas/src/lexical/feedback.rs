//! Asking again with words of the best hits: pseudo-relevance feedback.

use std::collections::BTreeMap;

use super::LexicalError;

/// Pseudo-relevance feedback: the best hits of a first search are taken to be right, and what is typical of them is asked
/// for as well. It helps where questions and texts use different words, and costs a second search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feedback {
    /// How many of the best hits are taken, 1 to 100.
    pub hits: usize,
    /// How many words are added, 1 to 100.
    pub words: usize,
    /// The part of the weight that the added words have together, 0 to 1.
    pub weight: f64,
    /// With fewer chunks in the index nothing is added: too few of the best hits would be right.
    pub least_chunks: usize,
}

impl Feedback {
    /// 20 words of the 10 best hits with three tenths of the weight, from 50 chunks on.
    pub const DEFAULT: Self = Self { hits: 10, words: 20, weight: 0.3, least_chunks: 50 };
    /// Most hits, and most words.
    pub const MAX: usize = 100;

    pub(super) fn check(&self) -> Result<(), LexicalError> {
        let bad = |name, value, least, most| Err(LexicalError::BadParameter { name, value, least, most });
        for (name, count) in [("hits", self.hits), ("words", self.words)] {
            if !(1..=Self::MAX).contains(&count) {
                return bad(name, count as f64, 1.0, Self::MAX as f64);
            }
        }
        if (0.0..=1.0).contains(&self.weight) { Ok(()) } else { bad("weight", self.weight, 0.0, 1.0) }
    }
}

impl Default for Feedback {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// One of the best hits: its score, and its words with how often they are there, weighed by field.
pub(super) struct Evidence {
    pub(super) score: f64,
    pub(super) words: BTreeMap<String, f64>,
}

/// Fewest hits that hold an added word. What is in one alone is typical of that hit, not of what is right.
const LEAST_HITS: usize = 2;

/// The words to ask for the second time (a relevance model, interpolated with the question, as RM3 of Abdul-Jaleel et al.
/// 2004).
///
/// How likely a word is in what is right is estimated from the hits, each weighed by its score. How typical it is of that,
/// and how much it counts, is this likelihood times how rare the word is.
pub(super) fn expanded(
    asked: &BTreeMap<String, f64>,
    evidence: &[Evidence],
    feedback: &Feedback,
    idf: impl Fn(&str) -> f64,
) -> BTreeMap<String, f64> {
    let total: f64 = evidence.iter().map(|hit| hit.score).sum();
    let mut words: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for hit in evidence {
        let length: f64 = hit.words.values().sum();
        for (word, count) in &hit.words {
            let (hits, likelihood) = words.entry(word).or_default();
            *hits += 1;
            *likelihood += hit.score / total * count / length;
        }
    }
    let mut typical: Vec<(&str, f64)> = words
        .into_iter()
        .filter(|(_, (hits, _))| LEAST_HITS <= *hits)
        .map(|(word, (_, likelihood))| (word, likelihood * idf(word)))
        .filter(|(_, worth)| worth.is_finite() && 0.0 < *worth)
        .collect();
    // The sort is stable and began in the order of the words.
    typical.sort_by(|a, b| b.1.total_cmp(&a.1));
    typical.truncate(feedback.words);
    if typical.is_empty() {
        return asked.clone();
    }

    let sum = |weights: &mut dyn Iterator<Item = f64>| weights.sum::<f64>().max(f64::MIN_POSITIVE);
    let of_question = (1.0 - feedback.weight) / sum(&mut asked.values().copied());
    let of_hits = feedback.weight / sum(&mut typical.iter().map(|(_, worth)| *worth));
    let mut words: BTreeMap<String, f64> =
        asked.iter().map(|(word, weight)| (word.clone(), weight * of_question)).collect();
    for (word, worth) in typical {
        *words.entry(word.to_owned()).or_default() += worth * of_hits;
    }
    words
}
