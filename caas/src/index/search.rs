//! Searching.

use std::cmp::Ordering;
use std::sync::Arc;

use agent_primitives::Timestamp;
use agent_primitives::search::{TextKind, embed};

use super::catalogue::{Catalogue, Seen};
use super::duplicate::is_near;
use super::options::{Mode, OnFailure, Query};
use super::{Dense, Index, IndexError};
use crate::filter::Filter;
use crate::fuse::{Fused, fuse};
use crate::lexical::LexicalQuery;
use crate::model::{ChunkId, Found, Scores};
use crate::within::within;

/// A leg of a search that did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DegradedLeg {
    /// Search by meaning.
    Meaning,
    /// The second look.
    Rerank,
}

/// What a search has found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// Best first.
    pub hits: Vec<Found>,
    /// What did not answer, and why; empty where all did. Hits are ranked without it.
    pub degraded: Vec<(DegradedLeg, String)>,
}

/// Hits of a leg that is not fused with another: enough for age, and for near duplicates, to change the order of the best.
const ALONE: usize = 100;

/// A chunk on its way to be a hit.
struct Candidate<'c> {
    seen: Seen<'c>,
    scores: Scores,
    duplicates: Vec<ChunkId>,
}

impl Candidate<'_> {
    /// Whether it says nearly the same as another. Only chunks of one kind of source with the same labels stand for each other: a
    /// document's word is not given on the word of another kind.
    fn stands_for(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.seen.held.metadata, &other.seen.held.metadata);
        is_near(self.seen.print, other.seen.print)
            && mine.source.kind == theirs.source.kind
            && mine.labels == theirs.labels
    }

    fn found(self) -> Found {
        let Seen { id, held, chunk, .. } = self.seen;
        Found {
            rank: 0,
            chunk: Arc::clone(chunk),
            document: id.clone(),
            version: held.version,
            title: Arc::clone(&held.title),
            metadata: Arc::clone(&held.metadata),
            scores: self.scores,
            duplicates: self.duplicates,
        }
    }
}

impl Index {
    /// The best chunks of the documents that the filter admits and that are in force.
    ///
    /// Ties go to the lower chunk id, so equal questions to an equal index have equal answers.
    ///
    /// # Errors
    /// [`IndexError`]. Where search by meaning fails and the options say so, the answer is made without and says it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn search(&self, query: &Query) -> Result<Findings, IndexError> {
        self.search_open(query, &Filter::All).await
    }

    /// As [`Index::search`] of the documents that are `open` alone: what is not takes nobody's place either.
    pub(crate) async fn search_open(&self, query: &Query, open: &Filter) -> Result<Findings, IndexError> {
        query.check()?;
        open.check()?;
        let mut findings = Findings::default();
        let began = self.timer.monotonic();
        let vector = match (&self.dense, query.mode) {
            (_, Mode::Words) | (None, Mode::All) => None,
            (None, Mode::Meaning) => return Err(IndexError::NoEmbedder),
            (Some(dense), _) => {
                self.or_degrade(self.query_vector(dense, query).await, query, &mut findings)?
            }
        };
        let now = self.timer.now();
        let catalogue = self.catalogue.read().await;
        let admitted = catalogue.admitted(query, open, now);
        let keep = |chunk: ChunkId| catalogue.keeps(chunk, admitted.as_deref());
        let fusing = query.mode == Mode::All && vector.is_some();
        let depth = if fusing { self.options.depth } else { self.options.depth.min(ALONE) }.max(query.k);
        let left = self.options.patience.saturating_sub(self.timer.monotonic().since(began));
        let dense = match (&self.dense, vector) {
            (Some(dense), Some(vector)) => {
                let searching = dense.vectors.search(&vector, depth, &keep);
                let answer = match within(&*self.timer, left, searching).await {
                    Some(answer) => answer.map_err(IndexError::from),
                    None => Err(self.too_slow()),
                };
                self.or_degrade(answer, query, &mut findings)?
            }
            _ => None,
        };
        let words = if query.mode == Mode::Meaning && dense.is_some() {
            None
        } else {
            let mut asked = LexicalQuery::new(&query.text, depth);
            if let Some(feedback) = self.options.feedback {
                asked = asked.feedback(feedback);
            }
            let hits = self.lexical.search(&asked, &keep)?;
            Some(hits.into_iter().map(|hit| (hit.chunk, hit.score)).collect::<Vec<_>>())
        };
        // A store that answers what it was told to leave out cannot be trusted with anything.
        let legs = words.iter().chain(&dense).flatten();
        if let Some((leaked, _)) = legs.into_iter().find(|(chunk, _)| !keep(*chunk)) {
            return Err(IndexError::BackendLeak(*leaked));
        }
        let fused = fuse(words.as_deref(), dense.as_deref(), self.options.fusion);
        // Whoever looks a second time sees more than are asked for; nobody sees what is behind those.
        let shown = if self.reranker.is_some() { self.options.reranked.max(query.k) } else { query.k };
        let ranked = self.aged(&catalogue, fused.into_iter(), now);
        let mut hits: Vec<Found> = self.collapsed(ranked, shown).into_iter().map(Candidate::found).collect();
        drop(catalogue);
        self.second_look(&mut hits, query, &mut findings).await?;
        hits.truncate(query.k);
        for (rank, hit) in (1..).zip(&mut hits) {
            hit.rank = rank;
        }
        findings.hits = hits;
        Ok(findings)
    }

    async fn query_vector(&self, dense: &Dense, query: &Query) -> Result<Vec<f32>, IndexError> {
        let texts = [query.text.as_str()];
        let asking = embed(&*dense.embedder, TextKind::Query, &texts);
        let answer =
            within(&*self.timer, self.options.patience, asking).await.ok_or_else(|| self.too_slow())?;
        Ok(answer?.pop().unwrap_or_default())
    }

    fn too_slow(&self) -> IndexError {
        IndexError::Timeout { millis: self.options.patience.as_millis() }
    }

    /// The answer, or nothing and a word about it where the options allow that. Who asked for meaning alone gets no words
    /// instead.
    fn or_degrade<T>(
        &self,
        answer: Result<T, IndexError>,
        query: &Query,
        findings: &mut Findings,
    ) -> Result<Option<T>, IndexError> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if self.options.on_failure == OnFailure::Degrade && query.mode == Mode::All => {
                findings.degraded.push((DegradedLeg::Meaning, error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// What was found, with what age makes of it, best first.
    fn aged<'c>(
        &self,
        catalogue: &'c Catalogue,
        fused: impl Iterator<Item = (ChunkId, Fused)>,
        now: Timestamp,
    ) -> Vec<Candidate<'c>> {
        let candidates = fused.filter_map(|(chunk, fused)| {
            let seen = catalogue.see(chunk)?;
            let recency = self.options.decay.recency(&seen.held.metadata, now);
            let scores = Scores {
                lexical: fused.lexical,
                dense: fused.dense,
                fused: fused.score,
                recency: recency.factor,
                age_unknown: recency.age_unknown,
                rerank: None,
                total: fused.score * recency.factor,
            };
            Some(Candidate { seen, scores, duplicates: Vec::new() })
        });
        let mut candidates: Vec<Candidate<'c>> = candidates.collect();
        let key = |candidate: &Candidate<'_>| (candidate.scores.total, candidate.seen.chunk.id);
        candidates.sort_by(|one, other| best_first(key(one), key(other)));
        candidates
    }

    /// The best `most`, without those that say nearly the same as a better one, which names them.
    fn collapsed<'c>(&self, ranked: Vec<Candidate<'c>>, most: usize) -> Vec<Candidate<'c>> {
        let mut kept: Vec<Candidate<'c>> = Vec::with_capacity(most.min(ranked.len()));
        for candidate in ranked {
            let room = kept.len() < most;
            match kept.iter_mut().find(|better| self.options.collapse && better.stands_for(&candidate)) {
                Some(better) => better.duplicates.push(candidate.seen.chunk.id),
                None if room => kept.push(candidate),
                None => {}
            }
        }
        kept
    }

    /// Ranks the hits by a reranker, if there is one.
    async fn second_look(
        &self,
        hits: &mut [Found],
        query: &Query,
        findings: &mut Findings,
    ) -> Result<(), IndexError> {
        let Some(reranker) = self.reranker.as_deref() else { return Ok(()) };
        if hits.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = hits.iter().map(|hit| &*hit.chunk.text).collect();
        let answer =
            match within(&*self.timer, self.options.patience, reranker.rerank(&query.text, &texts)).await {
                None => Err(self.too_slow()),
                Some(Err(source)) => Err(IndexError::Reranker { source }),
                Some(Ok(scores)) => {
                    let usable = scores.iter().filter(|score| score.is_finite()).count();
                    if scores.len() == hits.len() && usable == hits.len() {
                        Ok(scores)
                    } else {
                        Err(IndexError::BadRerank { expected: hits.len(), found: usable })
                    }
                }
            };
        match answer {
            Ok(scores) => {
                for (hit, score) in hits.iter_mut().zip(scores) {
                    hit.scores.rerank = Some(score);
                    hit.scores.total = score;
                }
                let key = |hit: &Found| (hit.scores.total, hit.chunk.id);
                hits.sort_by(|one, other| best_first(key(one), key(other)));
                Ok(())
            }
            Err(error) if self.options.on_failure == OnFailure::Degrade => {
                findings.degraded.push((DegradedLeg::Rerank, error.to_string()));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

fn best_first(one: (f64, ChunkId), other: (f64, ChunkId)) -> Ordering {
    other.0.total_cmp(&one.0).then(one.1.cmp(&other.1))
}
