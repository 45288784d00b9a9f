//! Carrying a plan out.

use std::collections::BTreeSet;

use agent_primitives::redact::redact_text;
use agent_primitives::{Digest, LabelSet};

use super::super::mark::{Mark, MarkKind};
use super::super::rule::Rule;
use super::super::{EpisodicMemory, Found, MemoryError, read};
use super::plan::{left_of, may_go};
use super::{Plan, PlannedRule, Summariser, Summary};
use crate::EntryKind;
use crate::episode::{Episode, MAX_TEXT_BYTES};
use crate::merkle::{Accumulator, Blake3};

/// What a sleep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slept {
    /// Positions of the rules it made.
    pub rules: Vec<u64>,
    /// Episodes that a rule stands for now.
    pub compacted: u64,
    /// Episodes erased.
    pub erased: u64,
    /// What of the plan was left as it was: clusters, episodes that a rule was to stand for, and episodes that were to be
    /// erased.
    pub skipped: Vec<Skipped>,
}

/// Episodes that stayed as they were, though the plan says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Their positions.
    pub sources: Vec<u64>,
    /// Why.
    pub reason: String,
}

/// Why a cluster was not summed up: itself, or the memory failed.
enum NotMade {
    Skipped(String),
    Failed(MemoryError),
}

impl From<MemoryError> for NotMade {
    fn from(error: MemoryError) -> Self {
        Self::Failed(error)
    }
}

impl EpisodicMemory {
    /// Carries out a plan: appends rules and marks, and erases what has expired. What changed since the plan was made, and
    /// what the summariser fails at, is left as it is and reported. `progress` hears how many rules of the plan are done.
    /// Blocks until all is durable.
    ///
    /// # Errors
    /// `Ledger`, `Full` or `Unusable`; what was done until then stays, and another sleep goes on from there.
    pub fn apply(
        &self,
        plan: &Plan,
        summariser: &dyn Summariser,
        mut progress: impl FnMut(u64),
    ) -> Result<Slept, MemoryError> {
        let mut slept = Slept::default();
        for (rule, left) in &plan.unfinished {
            slept.compacted += self.stand_for(*rule, left, &mut slept.skipped)?;
        }
        for (done, planned) in (1..).zip(&plan.rules) {
            match self.make(planned, summariser) {
                Ok(rule) => {
                    slept.rules.push(rule);
                    slept.compacted += planned.sources.len() as u64;
                }
                Err(NotMade::Skipped(reason)) => {
                    slept.skipped.push(Skipped { sources: planned.sources.clone(), reason });
                }
                Err(NotMade::Failed(error)) => return Err(error),
            }
            progress(done);
        }
        self.ledger().flush()?;
        if !plan.expired.is_empty() {
            slept.erased = self.let_go(&plan.expired, &mut slept.skipped)?;
        }
        Ok(slept)
    }

    /// Erases what the plan says has expired and may still go. The rules that repeat its words stay.
    fn let_go(&self, expired: &[u64], skipped: &mut Vec<Skipped>) -> Result<u64, MemoryError> {
        let erased = self.erase(expired, "summed up, and older than is kept", |state| {
            let may_go = |seq: &u64| state.slot(*seq).is_some_and(|slot| may_go(state, slot));
            Ok(expired.iter().copied().filter(may_go).collect())
        })?;
        let stayed = expired.iter().copied().filter(|seq| erased.binary_search(seq).is_err()).collect();
        skip(
            skipped,
            stayed,
            "not erased: it was erased, hidden, pinned or corrected, or lost its rule meanwhile",
        );
        Ok(erased.len() as u64)
    }

    /// Makes one rule. Host code runs outside the lock.
    fn make(&self, planned: &PlannedRule, summariser: &dyn Summariser) -> Result<u64, NotMade> {
        let changed = || {
            NotMade::Skipped(
                "an episode was erased, hidden, pinned, corrected or summed up meanwhile".to_owned(),
            )
        };
        let (mut episodes, mut tree) = (Vec::new(), Accumulator::<Blake3>::new());
        for &seq in &planned.sources {
            let (episode, hash) = self.source(seq)?.ok_or_else(changed)?;
            tree.push(hash.as_bytes());
            episodes.push((seq, episode));
        }
        let summary = summariser
            .summarise(planned, &episodes)
            .map_err(|error| NotMade::Skipped(format!("the summariser failed: {error}")))?;
        let rule = rule(planned, summary, &episodes, tree.root(), self.0.clock.now())?;
        let body = rule.encode()?;
        let mut state = self.state_mut();
        let seq = self.ledger().head().count;
        rule.check(seq).map_err(|_| NotMade::Skipped("what the summariser says makes no rule".to_owned()))?;
        let stays = |seq: &u64| {
            state.slot(*seq).is_some_and(|slot| {
                let is_shown = state.is_visible(slot) && !state.is_corrected(*seq);
                is_shown && !state.is_compacted(slot) && !slot.is_pinned()
            })
        };
        if !planned.sources.iter().all(stays) {
            return Err(changed());
        }
        state.admit(&self.0.options)?;
        let appended = self.append_patiently(EntryKind::Rule, &body).map_err(MemoryError::from)?;
        state.take_rule(appended.seq, body.len(), appended.content_id, &rule);
        let mut mark = Mark::new(MarkKind::Compacted, rule.sources, "summed up", rule.timestamp);
        mark.rule = Some(appended.seq);
        self.put(&mut state, &mark)?;
        Ok(appended.seq)
    }

    /// An episode that may be summed up, and the hash of its record.
    fn source(&self, seq: u64) -> Result<Option<(Episode, Digest)>, MemoryError> {
        let Some(entry) = self.ledger().read(seq).next() else { return Ok(None) };
        let entry = entry?;
        match read::found(&entry)? {
            Some(Found::Episode(episode)) => Ok(Some((*episode, entry.hash))),
            _ => Ok(None),
        }
    }

    /// Ends what a crash interrupted, where nothing has changed since.
    fn stand_for(&self, rule: u64, planned: &[u64], skipped: &mut Vec<Skipped>) -> Result<u64, MemoryError> {
        let mut state = self.state_mut();
        let left = left_of(&state, rule, planned);
        let stayed = planned.iter().copied().filter(|seq| !left.contains(seq)).collect();
        skip(
            skipped,
            stayed,
            "an episode was erased, pinned or summed up, or its rule hidden or erased meanwhile",
        );
        let count = left.len() as u64;
        if count != 0 {
            let mut mark = Mark::new(MarkKind::Compacted, left, "summed up", self.0.clock.now());
            mark.rule = Some(rule);
            self.put(&mut state, &mark)?;
        }
        Ok(count)
    }
}

fn skip(skipped: &mut Vec<Skipped>, sources: Vec<u64>, reason: &str) {
    if !sources.is_empty() {
        skipped.push(Skipped { sources, reason: reason.to_owned() });
    }
}

fn rule(
    planned: &PlannedRule,
    summary: Summary,
    episodes: &[(u64, Episode)],
    root: Digest,
    timestamp: agent_primitives::Timestamp,
) -> Result<Rule, NotMade> {
    let mut labels = LabelSet::EMPTY;
    for (_, episode) in episodes {
        labels = labels.join(episode.labels()).map_err(|error| NotMade::Skipped(error.to_string()))?;
    }
    let text = redact_text(&summary.text).into_owned();
    if MAX_TEXT_BYTES < text.len() {
        return Err(NotMade::Skipped("the summary is too long".to_owned()));
    }
    let quotes: BTreeSet<u64> = summary.quotes.into_iter().collect();
    Ok(Rule {
        schema: Rule::SCHEMA,
        agent_id: planned.agent.clone(),
        text,
        majority: planned.majority,
        support: u32::try_from(planned.sources.len()).unwrap_or(u32::MAX),
        confidence: planned.confidence,
        sources: planned.sources.clone(),
        quotes: quotes.into_iter().collect(),
        root,
        vouched_by: episodes.iter().map(|(_, episode)| episode.source()).collect(),
        labels,
        timestamp,
    })
}
