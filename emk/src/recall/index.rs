//! Everything that is searched, under one lock.

use std::collections::BTreeMap;

use agent_primitives::Timestamp;
use agent_primitives::search::{Parameters, tokenise};

use super::attempts::Attempts;
use super::decay::{composite, hours_between, recency};
use super::fusion::{RRF_K, mmr, rrf};
use super::lexical::{Lexical, Scratch};
use super::mask::Mask;
use super::query::{DensePart, Hit, LexicalPart, Order, Parts, Query, SourceTrust};
use super::table::{Shown, Table};
use super::text;
use super::vectors::Vectors;
use super::{MAX_EPISODES, RecallError};
use crate::memory::{Found, Tokens};

/// Where several orders meet, how many of each are looked at.
const POOL: usize = 100;

/// Of how many diverse ones are chosen: each is read.
const DIVERSE_POOL: usize = 40;

/// Reads an episode or rule by its place in the ledger; `None` if it is no longer there.
pub(super) type Fetch<'a> = &'a dyn Fn(u64) -> Result<Option<Found>, RecallError>;

#[derive(Debug)]
pub(super) struct Index {
    pub(super) lexical: Lexical,
    pub(super) table: Table,
    pub(super) vectors: Vectors,
    pub(super) attempts: Attempts,
    pub(super) trust: SourceTrust,
    /// Bytes of text indexed.
    pub(super) text_bytes: u64,
}

/// A hit on its way.
#[derive(Clone, Copy, Default)]
struct Candidate {
    score: f64,
    parts: Parts,
}

impl Index {
    pub(super) fn new(trust: SourceTrust) -> Self {
        Self {
            lexical: Lexical::new(Parameters::DEFAULT),
            table: Table::default(),
            vectors: Vectors::default(),
            attempts: Attempts::default(),
            trust,
            text_bytes: 0,
        }
    }

    /// INVARIANT: records come in the order of the ledger, each once.
    pub(super) fn add(&mut self, seq: u64, found: &Found) -> Result<(), RecallError> {
        if MAX_EPISODES <= self.table.len() {
            return Err(RecallError::IndexFull { limit: MAX_EPISODES });
        }
        let document = self.table.len() as u32;
        let session = self.table.push(seq, found);
        let (numbers, attempt) = text::numbers(found, &mut self.lexical.words);
        let words = self.lexical.push(&numbers, attempt, session);
        self.attempts.push(document, found, words);
        self.text_bytes += text::bytes(found);
        Ok(())
    }

    pub(super) fn document(&self, seq: u64) -> Result<u32, RecallError> {
        self.table.document(seq).ok_or(RecallError::NotIndexed { seq })
    }

    /// Takes every trace of a document out.
    pub(super) fn forget(&mut self, document: u32) {
        if self.table.show(document, Shown::Gone) {
            self.lexical.forget(document);
            self.vectors.forget(document);
            self.attempts.forget(document);
        }
    }

    pub(super) fn search(
        &self,
        query: &Query,
        scratch: &mut Scratch,
        now: Timestamp,
        fetch: Fetch<'_>,
    ) -> Result<Vec<Hit>, RecallError> {
        let mask = self.table.mask(&query.filter, &self.trust, self.lexical.session_of());
        let alone = query.vector.is_none() && query.order == Order::Relevance && query.diversity.is_none();
        let pool = if alone { query.k } else { POOL.max(query.k * 4) };
        let candidates = self.candidates(query, pool, &mask, scratch)?;
        let mut ranked: Vec<(u32, Candidate)> = candidates.into_iter().collect();
        if query.order == Order::Composite {
            self.weigh(&mut ranked, now);
        }
        ranked.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then(a.0.cmp(&b.0)));
        if let Some(lambda) = query.diversity {
            ranked.truncate(DIVERSE_POOL.max(query.k * 4));
            ranked = self.spread(&ranked, query.k, lambda, fetch)?;
        }
        let hits = ranked.into_iter().take(query.k).filter_map(|(document, Candidate { score, parts })| {
            Some(Hit { seq: self.table.row(document)?.seq, score, parts })
        });
        Ok(hits.collect())
    }

    /// The best by words, by vector, or by both together, with the number of each.
    fn candidates(
        &self,
        query: &Query,
        pool: usize,
        mask: &Mask,
        scratch: &mut Scratch,
    ) -> Result<BTreeMap<u32, Candidate>, RecallError> {
        let words = tokenise(&query.text);
        let dense = match &query.vector {
            Some((model, vector)) => {
                self.vectors.check_model(model)?;
                Some(self.vectors.search(vector, pool, mask)?)
            }
            None => None,
        };
        let lexical = (!words.is_empty()).then(|| self.lexical.search(&words, pool, mask, scratch));
        let fused = lexical.is_some() && dense.is_some();
        let mut found: BTreeMap<u32, Candidate> = BTreeMap::new();
        let mut orders: [Vec<u64>; 2] = Default::default();
        let [by_words, by_vector] = &mut orders;
        for (rank, (document, score)) in (1u32..).zip(lexical.unwrap_or_default()) {
            by_words.push(u64::from(document));
            let candidate = found.entry(document).or_default();
            candidate.score = score.total;
            candidate.parts.lexical = Some(LexicalPart {
                rank,
                bm25: score.own,
                neighbours: score.smoothed,
                session: score.session,
                score: score.total,
            });
        }
        for (rank, (document, cosine)) in (1u32..).zip(dense.unwrap_or_default()) {
            by_vector.push(u64::from(document));
            let candidate = found.entry(document).or_default();
            candidate.score = cosine;
            candidate.parts.dense = Some(DensePart { rank, cosine });
        }
        if fused {
            for (document, score) in rrf(&[by_words.as_slice(), by_vector.as_slice()], RRF_K) {
                // INVARIANT: documents are numbered in 32 bits; they were widened above.
                if let Some(candidate) = found.get_mut(&(document as u32)) {
                    candidate.score = score;
                }
            }
        }
        Ok(found)
    }

    /// Puts age and importance beside relevance.
    fn weigh(&self, ranked: &mut [(u32, Candidate)], now: Timestamp) {
        let most = ranked.iter().map(|(_, one)| one.score).fold(0.0, f64::max);
        for (document, candidate) in ranked {
            let Some(row) = self.table.row(*document) else { continue };
            let hours = hours_between(row.time, now);
            let relevance = relative(candidate.score, most);
            candidate.score = composite(relevance, hours, row.importance);
            candidate.parts.recency = Some(recency(hours));
            candidate.parts.importance = Some(row.importance);
        }
    }

    /// The best `k` with what repeats others put back. By vectors if every candidate has one, else by words.
    fn spread(
        &self,
        ranked: &[(u32, Candidate)],
        k: usize,
        lambda: f64,
        fetch: Fetch<'_>,
    ) -> Result<Vec<(u32, Candidate)>, RecallError> {
        let most = ranked.iter().map(|(_, one)| one.score).fold(0.0, f64::max);
        let relevance: Vec<f64> = ranked.iter().map(|(_, one)| relative(one.score, most)).collect();
        let vectors: Option<Vec<&[f32]>> =
            ranked.iter().map(|(document, _)| self.vectors.get(*document)).collect();
        let order = match vectors {
            Some(vectors) => mmr(&relevance, k, lambda, |a, b| match (vectors.get(a), vectors.get(b)) {
                (Some(a), Some(b)) => a.iter().zip(*b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum(),
                _ => 0.0,
            }),
            None => {
                let mut words: Vec<Tokens> = Vec::with_capacity(ranked.len());
                for (document, _) in ranked {
                    let found = self.table.row(*document).map(|row| fetch(row.seq)).transpose()?.flatten();
                    words.push(found.map_or_else(Tokens::default, |found| text::tokens(&found)));
                }
                mmr(&relevance, k, lambda, |a, b| match (words.get(a), words.get(b)) {
                    (Some(a), Some(b)) => a.jaccard(b),
                    _ => 0.0,
                })
            }
        };
        Ok(order.into_iter().filter_map(|place| ranked.get(place).copied()).collect())
    }

    /// Bytes on the heap, as far as the types tell; vectors apart.
    pub(super) fn heap_bytes(&self) -> usize {
        self.lexical.heap_bytes() + self.table.heap_bytes() + self.attempts.heap_bytes()
    }
}

/// A score as a share of the best, 0 to 1.
fn relative(score: f64, most: f64) -> f64 {
    if 0.0 < most { (score / most).max(0.0) } else { 0.0 }
}
