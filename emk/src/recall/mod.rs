//! Recall: finding the episodes that matter now, and the failures not to repeat.

mod advice;
mod attempts;
mod decay;
mod error;
mod follow;
mod fusion;
mod index;
mod lexical;
mod mask;
mod odds;
mod postings;
mod query;
mod recaller;
mod sieve;
mod table;
mod text;
mod top;
mod vectors;
mod words;

pub use advice::{Advice, AntiPattern, MAX_COMPARED, MAX_EVIDENCE, MAX_PATTERNS, SAME_ATTEMPT};
pub use decay::{
    BASE_STABILITY_DAYS, MAX_STABILITY_DAYS, RECENCY_PER_HOUR, Retention, STABILITY_GROWTH, composite,
    recency, retention,
};
pub use error::RecallError;
pub use fusion::{MMR_LAMBDA, RRF_K, mmr, rrf};
pub use odds::{Level, Odds, wilson_low};
pub use query::{
    DensePart, Filter, Hit, LexicalPart, MAX_FILTER_NAMES, MAX_QUERY_BYTES, MAX_RECALL, Order, Parts, Query,
    SourceTrust,
};
pub use recaller::{Access, Precedents, Recall, RecallSize};

/// Most episodes in one index.
pub const MAX_EPISODES: usize = 1 << 24;

#[cfg(test)]
mod tests;

/// Documents with the names of their sessions, indexed.
#[cfg(test)]
fn indexed(documents: &[(String, Vec<String>)]) -> lexical::Lexical {
    let mut index = lexical::Lexical::new(agent_primitives::search::Parameters::DEFAULT);
    let mut sessions: Vec<&str> = Vec::new();
    for (session, tokens) in documents {
        let number = sessions.iter().position(|held| held == session).unwrap_or(sessions.len());
        if number == sessions.len() {
            sessions.push(session);
        }
        let numbers: Vec<u32> = tokens.iter().filter_map(|token| index.words.number(token)).collect();
        index.push(&numbers, 0, number as u32);
    }
    index
}

/// Their fused scores, best first: for the golden cases.
#[cfg(test)]
pub(crate) fn episodic_scores(documents: &[(String, Vec<String>)], query: &[String]) -> Vec<(u32, f64)> {
    let index = indexed(documents);
    let hits = index.search(query, documents.len(), &mask::Mask::All, &mut lexical::Scratch::default());
    hits.into_iter().map(|(document, score)| (document, score.total)).collect()
}

/// The nearest of some vectors: for the golden cases.
#[cfg(test)]
pub(crate) fn nearest(vectors: &[Vec<f32>], query: &[f32], k: usize) -> Result<Vec<(u32, f64)>, RecallError> {
    let mut held = vectors::Vectors::default();
    for (document, vector) in (0u32..).zip(vectors) {
        held.insert(document, "any", vector)?;
    }
    held.search(query, k, &mask::Mask::All)
}
