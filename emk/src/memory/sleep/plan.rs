//! What a sleep would do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use agent_primitives::{AgentId, Timestamp};

use super::super::state::{Slot, State};
use super::super::tokens::Tokens;
use super::super::{EpisodicMemory, MemoryError, PROGRESS_EVERY};
use super::SleepPolicy;
use super::cluster::{Candidate, Traits, clusters, is_eligible};
use crate::episode::{Episode, Outcome};

/// How many candidates are compared with each other, and how many of their stems are held at a time.
const WINDOW: usize = 10_000;
const WINDOW_STEMS: usize = 8 << 20;

/// What a sleep would do. Prints as a list for people.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// Episodes that may be summed up, in order.
    pub eligible: Vec<u64>,
    /// Rules to be made.
    pub rules: Vec<PlannedRule>,
    /// Rules that are there, with episodes that a crash left without the mark that the rule stands for them.
    pub unfinished: Vec<(u64, Vec<u64>)>,
    /// Episodes to be erased, as they have been summed up for long.
    pub expired: Vec<u64>,
    /// Bytes of episodes that no rule stands for: now, and after this.
    pub live_bytes: (u64, u64),
}

/// One rule to be made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PlannedRule {
    /// Whose episodes these are.
    pub agent: AgentId,
    /// Their positions, in ascending order.
    pub sources: Vec<u64>,
    /// How most of them ended.
    pub majority: Outcome,
    /// Lower end of the Wilson interval (95 %) of the share that did.
    pub confidence: f64,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.unfinished.is_empty() && self.expired.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.live_bytes;
        writeln!(
            f,
            "{} eligible, {} rules, {} unfinished, {} to erase, {before} bytes live and {after} after",
            self.eligible.len(),
            self.rules.len(),
            self.unfinished.len(),
            self.expired.len(),
        )?;
        for rule in &self.rules {
            let PlannedRule { agent, sources, majority, confidence } = rule;
            writeln!(f, "rule of {agent} from {sources:?}: {majority}, confidence {confidence:.3}")?;
        }
        for (rule, left) in &self.unfinished {
            writeln!(f, "rule {rule} also stands for {left:?}")?;
        }
        if self.expired.is_empty() { Ok(()) } else { writeln!(f, "erase {:?}", self.expired) }
    }
}

impl EpisodicMemory {
    /// What a sleep at `now` would do. Writes nothing. Episodes of different agents are never summed up together, nor are
    /// episodes with more than 10 000 eligible ones between them. `progress` hears how many episodes were read. Blocks on the
    /// store.
    ///
    /// # Errors
    /// `BudgetUnmet` if all that may be summed up is not enough; `Ledger`; `Unusable`.
    pub fn plan(
        &self,
        policy: &SleepPolicy,
        now: Timestamp,
        mut progress: impl FnMut(u64),
    ) -> Result<Plan, MemoryError> {
        let state = self.state();
        let (unfinished, expired) = (unfinished(&state), expired(&state, policy, now));
        let spoken_for: BTreeSet<u64> =
            unfinished.iter().flat_map(|(_, left)| left.iter().copied()).collect();
        let eligible = select(&state, |slot| {
            !spoken_for.contains(&slot.seq) && is_eligible(&traits(&state, slot, now), policy)
        });
        let spoken_for_bytes: u64 =
            spoken_for.iter().filter_map(|&seq| state.slot(seq)).map(|slot| u64::from(slot.bytes)).sum();
        let live = live_bytes(&state);
        drop(state);
        let mut rules = self.cluster(&eligible, policy, &mut progress)?;
        let mut after = live.saturating_sub(self.bytes_of(&rules) + spoken_for_bytes);
        if let Some(budget) = policy.max_bytes.filter(|&budget| budget < after) {
            let more = self.squeeze(&rules, &spoken_for, policy, after - budget, now, &mut progress)?;
            after = after.saturating_sub(self.bytes_of(&more));
            if budget < after {
                return Err(MemoryError::BudgetUnmet { live: after, budget });
            }
            rules.extend(more);
            rules.sort_by_key(|rule| rule.sources.first().copied());
        }
        Ok(Plan { eligible, rules, unfinished, expired, live_bytes: (live, after) })
    }

    /// More rules, from what age and importance protect otherwise, oldest first, until `excess` bytes are gone.
    fn squeeze(
        &self,
        planned: &[PlannedRule],
        spoken_for: &BTreeSet<u64>,
        policy: &SleepPolicy,
        excess: u64,
        now: Timestamp,
        progress: &mut impl FnMut(u64),
    ) -> Result<Vec<PlannedRule>, MemoryError> {
        let taken: BTreeSet<u64> = planned.iter().flat_map(|rule| rule.sources.iter().copied()).collect();
        let any = SleepPolicy { min_age: Duration::ZERO, keep_importance: u8::MAX, ..*policy };
        let state = self.state();
        let left = select(&state, |slot| {
            !taken.contains(&slot.seq)
                && !spoken_for.contains(&slot.seq)
                && is_eligible(&traits(&state, slot, now), &any)
        });
        drop(state);
        let mut excess = excess;
        let mut more = self.cluster(&left, &any, progress)?;
        more.retain(|rule| {
            let needed = excess != 0;
            if needed {
                excess = excess.saturating_sub(self.bytes_of(std::slice::from_ref(rule)));
            }
            needed
        });
        Ok(more)
    }

    fn bytes_of(&self, rules: &[PlannedRule]) -> u64 {
        let state = self.state();
        let sources = rules.iter().flat_map(|rule| &rule.sources);
        sources.filter_map(|&seq| state.slot(seq)).map(|slot| u64::from(slot.bytes)).sum()
    }

    /// Reads the episodes at `seqs`, which ascend, and clusters those of each agent.
    fn cluster(
        &self,
        seqs: &[u64],
        policy: &SleepPolicy,
        progress: &mut impl FnMut(u64),
    ) -> Result<Vec<PlannedRule>, MemoryError> {
        let mut window = Window::default();
        let mut rules = Vec::new();
        let mut read = 0;
        let mut wanted = seqs.iter().copied().peekable();
        let Some(&first) = wanted.peek() else { return Ok(rules) };
        for entry in self.ledger().read(first) {
            let entry = entry?;
            let Some(&next) = wanted.peek() else { break };
            if entry.seq < next {
                continue;
            }
            wanted.next();
            read += 1;
            if read % PROGRESS_EVERY == 0 {
                progress(read);
            }
            // Erased since it was selected.
            if entry.erased {
                continue;
            }
            let unusable = |error| MemoryError::unusable(entry.seq, error);
            window.push(entry.seq, &Episode::decode(&entry.body).map_err(unusable)?);
            if window.is_full() {
                std::mem::take(&mut window).close(policy, &mut rules);
            }
        }
        progress(read);
        window.close(policy, &mut rules);
        rules.sort_by_key(|rule| rule.sources.first().copied());
        Ok(rules)
    }
}

/// Candidates that are compared with each other.
#[derive(Default)]
struct Window {
    by_agent: BTreeMap<AgentId, Vec<Candidate>>,
    count: usize,
    stems: usize,
}

impl Window {
    fn push(&mut self, seq: u64, episode: &Episode) {
        let stems = Tokens::of_episode(episode);
        self.count += 1;
        self.stems += stems.as_slice().len();
        let candidate = Candidate { seq, outcome: episode.outcome(), stems };
        self.by_agent.entry(episode.agent().clone()).or_default().push(candidate);
    }

    const fn is_full(&self) -> bool {
        WINDOW <= self.count || WINDOW_STEMS <= self.stems
    }

    fn close(self, policy: &SleepPolicy, rules: &mut Vec<PlannedRule>) {
        for (agent, candidates) in self.by_agent {
            rules.extend(clusters(&candidates, policy).into_iter().map(|cluster| PlannedRule {
                agent: agent.clone(),
                sources: cluster.sources,
                majority: cluster.majority,
                confidence: cluster.confidence,
            }));
        }
    }
}

/// Positions of the episodes that may be shown, are not known to be wrong, and meet `wanted`.
fn select(state: &State, wanted: impl Fn(&Slot) -> bool) -> Vec<u64> {
    let slots = state.slots.iter().filter(|slot| is_shown(state, slot) && wanted(slot));
    slots.map(|slot| slot.seq).collect()
}

fn is_shown(state: &State, slot: &Slot) -> bool {
    !slot.is_rule() && state.is_visible(slot) && !state.is_corrected(slot.seq)
}

fn traits(state: &State, slot: &Slot, now: Timestamp) -> Traits {
    Traits {
        age: age(slot, now),
        outcome: slot.outcome,
        importance: slot.importance,
        pinned: slot.is_pinned(),
        compacted: state.is_compacted(slot),
    }
}

/// Nothing is younger than new.
fn age(slot: &Slot, now: Timestamp) -> Duration {
    let micros = now.as_micros().saturating_sub(slot.timestamp.as_micros());
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn live_bytes(state: &State) -> u64 {
    let live =
        state.slots.iter().filter(|slot| !slot.is_rule() && !slot.is_erased() && !state.is_compacted(slot));
    live.map(|slot| u64::from(slot.bytes)).sum()
}

fn unfinished(state: &State) -> Vec<(u64, Vec<u64>)> {
    let mut found = Vec::new();
    for (&rule, made) in &state.rules {
        let left = left_of(state, rule, &made.sources);
        if !left.is_empty() {
            found.push((rule, left));
        }
    }
    found.sort_unstable();
    found
}

/// The `sources` that lack only the mark that the rule stands for them; none if the rule is gone or hidden.
pub(super) fn left_of(state: &State, rule: u64, sources: &[u64]) -> Vec<u64> {
    if !state.slot(rule).is_some_and(|slot| state.is_visible(slot)) {
        return Vec::new();
    }
    let is_left = |slot: &Slot| !slot.is_erased() && !slot.is_marked_compacted() && !slot.is_pinned();
    sources.iter().copied().filter(|&seq| state.slot(seq).is_some_and(is_left)).collect()
}

fn expired(state: &State, policy: &SleepPolicy, now: Timestamp) -> Vec<u64> {
    let Some(after) = policy.erase_after else { return Vec::new() };
    let slots = state.slots.iter().filter(|slot| may_go(state, slot) && after <= age(slot, now));
    slots.map(|slot| slot.seq).collect()
}

/// Whether a rule stands for an episode that nothing protects, so that it may be erased once it is old.
pub(super) fn may_go(state: &State, slot: &Slot) -> bool {
    is_shown(state, slot) && state.is_compacted(slot) && !slot.is_pinned()
}
