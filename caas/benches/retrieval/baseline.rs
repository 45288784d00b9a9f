//! What a user would do without this crate: plain BM25 and TF-IDF over title and text.

use std::collections::HashMap;

use agent_primitives::search::{Bm25, Parameters, tokenise};

use crate::set::Set;
use crate::system::System;

pub(crate) fn systems(set: &Set) -> anyhow::Result<Vec<Box<dyn System>>> {
    let names: Vec<String> = set.corpus.iter().map(|text| text.id.clone()).collect();
    let texts: Vec<Vec<String>> =
        set.corpus.iter().map(|text| tokenise(&format!("{}\n{}", text.title, text.text))).collect();
    let mut bm25 = Bm25::new(Parameters { k1: 1.2, b: 0.75 })?;
    for tokens in &texts {
        bm25.push(tokens)?;
    }
    Ok(vec![Box::new(TfIdf::new(names.clone(), &texts)), Box::new(PlainBm25 { names, bm25 })])
}

struct PlainBm25 {
    names: Vec<String>,
    bm25: Bm25,
}

impl System for PlainBm25 {
    fn name(&self) -> &str {
        "plain BM25 (primitives)"
    }

    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let hits = self.bm25.search(&tokenise(question), k);
        Ok(hits.iter().map(|hit| self.names[hit.seq].clone()).collect())
    }
}

/// Cosine of vectors of `(1 + ln tf) * ln(N / df)`.
struct TfIdf {
    names: Vec<String>,
    idf: HashMap<String, f64>,
    vectors: Vec<HashMap<String, f64>>,
}

impl TfIdf {
    fn new(names: Vec<String>, texts: &[Vec<String>]) -> Self {
        let counts: Vec<HashMap<String, f64>> = texts.iter().map(|tokens| counted(tokens)).collect();
        let mut holders: HashMap<String, f64> = HashMap::new();
        for word in counts.iter().flat_map(HashMap::keys) {
            *holders.entry(word.clone()).or_default() += 1.0;
        }
        let all = texts.len() as f64;
        let idf: HashMap<String, f64> =
            holders.into_iter().map(|(word, df)| (word, (all / df).ln())).collect();
        let vectors = counts.into_iter().map(|counts| vector(counts, &idf)).collect();
        Self { names, idf, vectors }
    }
}

fn counted(tokens: &[String]) -> HashMap<String, f64> {
    let mut counts: HashMap<String, f64> = HashMap::new();
    for token in tokens {
        *counts.entry(token.clone()).or_default() += 1.0;
    }
    counts
}

fn vector(counts: HashMap<String, f64>, idf: &HashMap<String, f64>) -> HashMap<String, f64> {
    let weigh = |(word, count): (String, f64)| {
        let weight = (1.0 + count.ln()) * idf.get(&word)?;
        Some((word, weight))
    };
    let mut vector: HashMap<String, f64> = counts.into_iter().filter_map(weigh).collect();
    let length = vector.values().map(|weight| weight * weight).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    vector.values_mut().for_each(|weight| *weight /= length);
    vector
}

impl System for TfIdf {
    fn name(&self) -> &str {
        "TF-IDF"
    }

    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let question = vector(counted(&tokenise(question)), &self.idf);
        let mut scores: Vec<(f64, usize)> = self
            .vectors
            .iter()
            .enumerate()
            .map(|(place, vector)| {
                (question.iter().map(|(word, weight)| weight * vector.get(word).unwrap_or(&0.0)).sum(), place)
            })
            .filter(|(score, _)| 0.0 < *score)
            .collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Ok(scores.iter().take(k).map(|(_, place)| self.names[*place].clone()).collect())
    }
}
