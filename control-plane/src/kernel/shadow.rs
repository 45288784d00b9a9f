//! A candidate policy, judged beside the one in force and without any effect.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::{AgentId, Digest, Verdict};

use super::policies::{Footing, ReloadError, Widening};
use super::running::panic_text;
use super::{Inner, Kernel};
use crate::error::CallError;
use crate::policy::permit::Judged;
use crate::policy::simulate::SHADOWS;
use crate::policy::{Decision, Looks, PolicySet, Standing};
use crate::question::Caller;
use crate::recorder::{Body, Source};

/// Most divergences that are listed; more are only counted. The latest are kept.
pub const MAX_DIVERGENCES: usize = 1024;

const VERDICTS: [Verdict; 3] = [Verdict::Allow, Verdict::Ask, Verdict::Deny];

/// A call that the candidate would have answered otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// Who called.
    pub agent: AgentId,
    /// Number of the call, by which the record knows it.
    pub call: u64,
    /// What it was about, in a few words.
    pub what: String,
    /// What the policy in force said.
    pub from: Verdict,
    /// The rule that made that verdict; `None` when nothing matched.
    pub from_rule: Option<String>,
    /// What the candidate says.
    pub to: Verdict,
    /// The candidate's rule.
    pub to_rule: Option<String>,
}

/// What judging beside the policy in force has shown so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowReport {
    /// Digest of the candidate.
    pub candidate: Digest,
    /// How many calls it was asked about.
    pub judged: u64,
    /// How many of them it would have answered otherwise, by what the policy in force said and what the candidate says.
    /// Pairs that did not occur are left out.
    pub changed: Vec<(Verdict, Verdict, u64)>,
    /// The latest of them, oldest first; at most [`MAX_DIVERGENCES`].
    pub divergences: Vec<Divergence>,
    /// How many times the candidate failed to answer at all.
    pub failed: u64,
}

/// A candidate and what was counted of it.
#[derive(Debug)]
pub(crate) struct Shadow {
    set: PolicySet,
    judged: AtomicU64,
    failed: AtomicU64,
    changed: [[AtomicU64; 3]; 3],
    divergences: Mutex<VecDeque<Divergence>>,
}

impl Shadow {
    fn new(set: PolicySet) -> Self {
        Self {
            set,
            judged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            changed: Default::default(),
            divergences: Mutex::default(),
        }
    }

    fn divergences(&self) -> MutexGuard<'_, VecDeque<Divergence>> {
        // INVARIANT: pushes and pops only run under this lock, so a poisoned one still holds a whole list.
        self.divergences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the candidate what was just judged. Counts, and nothing else.
    fn compare(&self, footing: &Footing, call: u64, caller: &Caller<'_>, judged: &Judged) {
        let standing = Standing::new(0, &self.set, None, footing.tasks());
        let answer = catch_unwind(AssertUnwindSafe(|| judged.as_judged_by(&standing, caller)));
        let candidate = match answer {
            Ok(None) => return,
            Ok(Some(candidate)) => candidate,
            Err(panic) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(panic = panic_text(panic), "the candidate policy failed");
                return;
            }
        };
        self.judged.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (judged.decision().verdict(), candidate.verdict());
        if from == to {
            return;
        }
        #[cfg(feature = "metrics")]
        super::meters::diverged(from, to);
        let place = |verdict| VERDICTS.iter().position(|known| *known == verdict);
        let count = place(from).zip(place(to)).and_then(|(from, to)| self.changed.get(from)?.get(to));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let rule = |decision: &Decision| decision.deciding_rule().map(str::to_owned);
        let divergence = Divergence {
            agent: caller.agent.clone(),
            call,
            what: judged.describe(),
            from,
            from_rule: rule(judged.decision()),
            to,
            to_rule: rule(&candidate),
        };
        let mut divergences = self.divergences();
        if divergences.len() == MAX_DIVERGENCES {
            divergences.pop_front();
        }
        divergences.push_back(divergence);
    }

    fn report(&self) -> ShadowReport {
        let mut changed = Vec::new();
        for (from, counts) in VERDICTS.iter().zip(&self.changed) {
            for (to, count) in VERDICTS.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                if 0 < count {
                    changed.push((*from, *to, count));
                }
            }
        }
        ShadowReport {
            candidate: self.set.digest(),
            judged: self.judged.load(Ordering::Relaxed),
            changed,
            divergences: self.divergences().iter().cloned().collect(),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

impl Kernel {
    /// Judges every call by a candidate too, beside the policy in force: what it says is counted and changes nothing. A
    /// candidate before it is dropped with its counts. Questions that agents only ask are not counted.
    ///
    /// The candidate is asked as if every agent were spawned under it.
    ///
    /// # Errors
    /// As for [`Kernel::reload`].
    pub fn shadow(&self, candidate: impl Into<PolicySet>) -> Result<(), ReloadError> {
        let (inner, candidate) = (&self.inner, candidate.into());
        inner.up()?;
        inner.acceptable(&candidate).map_err(|error| inner.refused_policy(error))?;
        inner.host_action(&format!("{SHADOWS}{} too", candidate.digest()))?;
        inner.shadow.store(Some(Arc::new(Shadow::new(candidate))));
        Ok(())
    }

    /// What the candidate has shown so far; `None` when there is none.
    #[must_use]
    pub fn shadow_report(&self) -> Option<ShadowReport> {
        self.inner.shadow.load().as_ref().map(|shadow| shadow.report())
    }

    /// Lets go of the candidate and returns its last report; `None` when there was none.
    ///
    /// # Errors
    /// The kernel could not record it.
    pub fn end_shadow(&self) -> Result<Option<ShadowReport>, ReloadError> {
        let Some(shadow) = self.inner.shadow.swap(None) else { return Ok(None) };
        self.inner.host_action(&format!("{SHADOWS}{} no more", shadow.set.digest()))?;
        Ok(Some(shadow.report()))
    }

    /// Puts the candidate in force, as [`Kernel::reload`] does, and returns its generation.
    ///
    /// # Errors
    /// There is no candidate, and as for [`Kernel::reload`]; the candidate is judged on then.
    pub fn promote(&self, widening: Widening) -> Result<u64, ReloadError> {
        let inner = &self.inner;
        inner.up()?;
        let shadow = inner.shadow.load_full().ok_or(ReloadError::NoCandidate)?;
        let generation = inner.replace(shadow.set.clone(), widening)?;
        // A candidate that took its place meanwhile stays.
        let _ = inner.shadow.compare_and_swap(&shadow, None);
        Ok(generation)
    }
}

impl Inner {
    /// What a candidate that is judged beside the policy in force looks at.
    pub(crate) fn candidate_looks(&self) -> Looks {
        self.shadow.load().as_ref().map_or(Looks::default(), |shadow| shadow.set.looks())
    }

    /// Lets the candidate, if there is one, say what it would have said.
    pub(crate) fn compare(&self, footing: &Footing, call: u64, caller: &Caller<'_>, judged: &Judged) {
        if let Some(shadow) = &*self.shadow.load() {
            shadow.compare(footing, call, caller, judged);
        }
    }

    /// Puts on record what the host does.
    pub(crate) fn host_action(&self, action: &str) -> Result<(), CallError> {
        self.append(Source::KERNEL, 0, Body::Host { action }).map(drop)
    }
}
