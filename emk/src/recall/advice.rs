//! What failed before, told before it is tried again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::FailureType;

use super::attempts::{Pattern, Situation, situation};
use super::index::{Fetch, Index};
use super::mask::Mask;
use super::odds::{Level, Odds};
use super::query::{Filter, MAX_QUERY_BYTES};
use super::{RecallError, text};
use crate::episode::Outcome;
use crate::memory::{Found, Tokens};

/// How alike the words of two attempts are that count as the same one.
pub const SAME_ATTEMPT: f64 = 0.85;
/// Most kinds of attempts that are compared word by word for one advice, the most alike first.
pub const MAX_COMPARED: usize = 256;
/// Most patterns of one advice.
pub const MAX_PATTERNS: usize = 16;
/// Most episodes named as evidence in one list, the newest first. The counts are of all.
pub const MAX_EVIDENCE: usize = 1000;

/// What earlier attempts say about one that is about to be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Advice {
    /// How serious it is: the level of `odds`.
    pub level: Level,
    /// The chances, from attempts whose outcome is known. A failure that was resolved counts neither as one nor as an attempt.
    pub odds: Odds,
    /// How it failed, the most frequent first; at most [`MAX_PATTERNS`].
    pub patterns: Vec<AntiPattern>,
    /// Where it succeeded, newest first; at most [`MAX_EVIDENCE`].
    pub successes: Vec<u64>,
    /// Kinds of attempts with enough words in common that were not compared, because there were more than [`MAX_COMPARED`].
    pub not_compared: usize,
}

/// Failures of one kind, for one reason.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AntiPattern {
    /// The kind.
    pub kind: FailureType,
    /// The reason, as the newest of them gives it.
    pub reason: String,
    /// What the newest of them made of it.
    pub reflection: String,
    /// How many there are, those before a resolution included.
    pub failures: u64,
    /// How many of them came after the last success that resolved the pattern.
    pub open: u64,
    /// Where they are, newest first; at most [`MAX_EVIDENCE`].
    pub evidence: Vec<u64>,
    /// The last success that names one of them as its cause: how it was done in the end.
    pub resolved_by: Option<u64>,
}

impl AntiPattern {
    /// Whether nothing failed like this since it was resolved.
    #[must_use]
    pub const fn is_resolved(&self) -> bool {
        self.open == 0
    }
}

impl Index {
    pub(super) fn advise(
        &self,
        goal: &str,
        action: &str,
        filter: &Filter,
        fetch: Fetch<'_>,
    ) -> Result<Advice, RecallError> {
        let (len, limit) = (goal.len() + action.len(), 2 * MAX_QUERY_BYTES);
        if limit < len {
            return Err(RecallError::QueryTooLarge { len, limit });
        }
        let mask = self.table.attempts_mask(filter, &self.trust, self.lexical.session_of());
        let (attempts, not_compared) = self.same_attempts(goal, action, &mask, fetch)?;
        let of = |outcome: Outcome| {
            let rows = attempts.iter().filter_map(|document| self.table.row(*document));
            rows.filter(move |row| row.outcome == outcome).map(|row| row.seq)
        };
        let mut kinds = self.kinds(&attempts, &mask);
        let open: u64 = kinds.iter().map(|kind| kind.open).sum();
        let others = of(Outcome::Success).count() + of(Outcome::Partial).count();
        let odds = Odds::of(open, open + others as u64);
        kinds.sort_by(|a, b| {
            let weight = |kind: &Kind| (kind.open, kind.failed.len(), kind.failed.last().copied());
            weight(b).cmp(&weight(a))
        });
        // What is not shown is not read.
        kinds.truncate(MAX_PATTERNS);
        let patterns = kinds.iter().filter_map(|kind| self.pattern(kind, fetch).transpose());
        let patterns = patterns.collect::<Result<Vec<AntiPattern>, RecallError>>()?;
        let mut successes: Vec<u64> = of(Outcome::Success).collect();
        newest_first(&mut successes);
        Ok(Advice { level: odds.level, odds, patterns, successes, not_compared })
    }

    /// The episodes that pass and are attempts at the same thing, ascending: of the same fingerprints, or of nearly the same
    /// words. And how many kinds of attempts were left uncompared.
    fn same_attempts(
        &self,
        goal: &str,
        action: &str,
        mask: &Mask,
        fetch: Fetch<'_>,
    ) -> Result<(BTreeSet<u32>, usize), RecallError> {
        let asked = situation(goal, action);
        let passing = |document: &u32| mask.passes(*document as usize);
        let mut same: BTreeSet<u32> =
            asked.map(|asked| self.attempts.of(asked).filter(passing).collect()).unwrap_or_default();
        let words = text::distinct(text::attempt(goal, action));
        let tokens = Tokens::from_words(&words);
        // Two sets with a Jaccard index of s have s / (1 + s) of the sum of their sizes in common, at least. A document holds
        // other words besides, so this lets too many through and none too few.
        let enough = |document: u32, held: u32| {
            let sum = words.len() as f64 + f64::from(self.attempts.words(document));
            SAME_ATTEMPT / (1.0 + SAME_ATTEMPT) * sum <= f64::from(held) + 1e-9
        };
        let held = (0u32..).zip(self.lexical.overlaps(&words)).filter(|(_, held)| *held != 0);
        let mut near: Vec<(u32, u32)> = held
            .filter(|(document, held)| {
                enough(*document, *held) && passing(document) && !same.contains(document)
            })
            .collect();
        near.sort_unstable_by_key(|(document, held)| Reverse((*held, *document)));
        let mut seen: BTreeSet<Situation> = BTreeSet::new();
        let kinds: Vec<u32> = near
            .into_iter()
            .map(|(document, _)| document)
            .filter(|document| self.attempts.situation(*document).is_none_or(|kind| seen.insert(kind)))
            .collect();
        for document in kinds.iter().take(MAX_COMPARED) {
            let found = self.table.row(*document).map(|row| fetch(row.seq)).transpose()?.flatten();
            let Some(Found::Episode(episode)) = found else { continue };
            let other = Tokens::from_words(text::attempt(episode.goal(), episode.action()));
            if tokens.jaccard(&other) < SAME_ATTEMPT {
                continue;
            }
            match self.attempts.situation(*document) {
                Some(kind) => same.extend(self.attempts.of(kind).filter(passing)),
                None => {
                    same.insert(*document);
                }
            }
        }
        Ok((same, kinds.len().saturating_sub(MAX_COMPARED)))
    }

    /// The failures among attempts by their pattern.
    fn kinds(&self, attempts: &BTreeSet<u32>, mask: &Mask) -> Vec<Kind> {
        let mut kinds: BTreeMap<Pattern, Kind> = BTreeMap::new();
        for failed in attempts.iter().filter_map(|document| self.attempts.failed(*document)) {
            kinds.entry(failed.pattern).or_default().failed.push(failed.document);
        }
        // In the order of the successes, so the last one stays. A resolution by what the filter leaves out is none.
        for (failure, by) in self.attempts.resolved().iter().filter(|(_, by)| mask.passes(*by as usize)) {
            let failed = self.attempts.failed(*failure).filter(|_| attempts.contains(failure));
            if let Some(kind) = failed.and_then(|failed| kinds.get_mut(&failed.pattern)) {
                kind.resolved_by = Some(*by);
            }
        }
        for kind in kinds.values_mut() {
            let open =
                kind.failed.iter().filter(|document| kind.resolved_by.is_none_or(|by| by < **document));
            kind.open = open.count() as u64;
        }
        kinds.into_values().collect()
    }

    /// What failures of one pattern come to.
    fn pattern(&self, kind: &Kind, fetch: Fetch<'_>) -> Result<Option<AntiPattern>, RecallError> {
        let seq = |document: u32| self.table.row(document).map(|row| row.seq);
        let mut evidence: Vec<u64> = kind.failed.iter().filter_map(|document| seq(*document)).collect();
        newest_first(&mut evidence);
        // What is erased while this runs has no words any more.
        let newest = evidence.first().map(|seq| fetch(*seq)).transpose()?.flatten();
        let Some(Found::Episode(newest)) = newest else { return Ok(None) };
        let Some(failure) = newest.failure() else { return Ok(None) };
        Ok(Some(AntiPattern {
            kind: failure.kind.clone(),
            reason: failure.reason.clone(),
            reflection: newest.reflection().to_owned(),
            failures: kind.failed.len() as u64,
            open: kind.open,
            evidence,
            resolved_by: kind.resolved_by.and_then(seq),
        }))
    }
}

/// Failures of one pattern.
#[derive(Default)]
struct Kind {
    /// In ascending order.
    failed: Vec<u32>,
    /// Those after the last success that resolved the pattern.
    open: u64,
    resolved_by: Option<u32>,
}

fn newest_first(seqs: &mut Vec<u64>) {
    seqs.sort_unstable_by_key(|seq| Reverse(*seq));
    seqs.truncate(MAX_EVIDENCE);
}
