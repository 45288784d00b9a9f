//! The policy sets of a kernel: the one in force, what agents were spawned under, and how one follows another.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::{AgentId, Digest, TenantId, Timestamp, json};
use arc_swap::{ArcSwap, Guard};
use serde_json::Value;

#[cfg(feature = "watch")]
use super::state::Part;
use super::{Inner, Kernel};
use crate::error::CallError;
use crate::policy::{Policy, PolicyErrors, PolicySet, Standing};
use crate::recorder::{Body, Source};

/// Most generations `/policy/history.json` shows: the latest.
pub const MAX_HISTORY: usize = 64;

/// When what a new policy allows beyond the old one reaches the agents that are alive. What it no longer allows is out of
/// their reach from their next call on, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third moment")]
pub enum Widening {
    /// When they are spawned anew. Until then they may do only what both the new policy and the one they were spawned
    /// under allow.
    AtNextSpawn,
    /// Now.
    Force,
}

/// Why a policy did not come into force. The one before it still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// It does not load, its organisation's policy abstains, or it names tools that are not registered.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// It has no canonical form to be recorded in.
    #[error("the policy cannot be recorded: {0}")]
    Document(json::JsonError),
    /// There is no candidate to promote.
    #[error("no candidate is judged beside the policy in force")]
    NoCandidate,
    /// The kernel is down, or could not record the change.
    #[error(transparent)]
    Kernel(#[from] CallError),
}

impl ReloadError {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Policy(errors) => errors.code(),
            Self::Document(_) => "AK0141",
            Self::NoCandidate => "AK0142",
            Self::Kernel(error) => error.code(),
        }
    }
}

/// A set and which of the kernel's it is, counted from one.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) generation: u64,
    pub(crate) set: PolicySet,
}

/// What is in force from one reload to the next.
#[derive(Debug)]
pub(crate) struct Era {
    current: Numbered,
    /// The last one whose widening was forced: for whoever was spawned before it, as if spawned under it.
    forced: Option<Numbered>,
}

impl Era {
    fn standing<'a>(&'a self, spawned: &'a Numbered, tasks: &'a [Policy]) -> Standing<'a> {
        let forced = self.forced.as_ref().filter(|forced| spawned.generation < forced.generation);
        let earlier = &forced.unwrap_or(spawned).set;
        let current = &self.current.set;
        let spawned_under = (earlier.digest() != current.digest()).then_some(earlier);
        Standing::new(self.current.generation, current, spawned_under, tasks)
    }
}

/// One line of the history.
#[derive(Clone, Debug)]
struct Past {
    generation: u64,
    digest: Digest,
    since: Timestamp,
    forced: bool,
}

/// The sets of one kernel. Reading never waits for a reload.
#[derive(Debug)]
pub(crate) struct Policies {
    era: ArcSwap<Era>,
    /// Held by whoever changes what is in force, so that changes follow one another.
    history: Mutex<VecDeque<Past>>,
}

impl Policies {
    pub(crate) fn new(set: PolicySet, since: Timestamp) -> Self {
        let first = Past { generation: 1, digest: set.digest(), since, forced: false };
        let era = Era { current: Numbered { generation: 1, set }, forced: None };
        Self { era: ArcSwap::from_pointee(era), history: Mutex::new(VecDeque::from([first])) }
    }

    pub(crate) fn current(&self) -> Numbered {
        self.era.load().current.clone()
    }

    fn history(&self) -> MutexGuard<'_, VecDeque<Past>> {
        // INVARIANT: pushes and pops only run under this lock, so a poisoned one still holds a whole list.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn history_json(&self) -> Value {
        let line = |past: &Past| {
            serde_json::json!({ "generation": past.generation, "policy": past.digest.to_string(),
                "since": past.since.to_string(), "forced": past.forced })
        };
        self.history().iter().map(line).collect()
    }
}

/// What one agent is judged by, shared by its calls and by the files that show it.
#[derive(Debug)]
pub(crate) struct Footing {
    policies: Arc<Policies>,
    spawned: Numbered,
    /// Those of the agents it descends from, and its own.
    tasks: Box<[Policy]>,
}

impl Footing {
    /// The footing of an agent that is spawned now.
    pub(crate) fn new(policies: &Arc<Policies>, task: Option<Policy>) -> Self {
        Self {
            policies: Arc::clone(policies),
            spawned: policies.current(),
            tasks: task.into_iter().collect(),
        }
    }

    /// The footing of a child: its parent's, which a task of its own can only narrow. A widening that reached nobody's parent
    /// does not reach the child either.
    pub(crate) fn below(&self, task: Option<Policy>) -> Self {
        let tasks = self.tasks.iter().cloned().chain(task).collect();
        Self { policies: Arc::clone(&self.policies), spawned: self.spawned.clone(), tasks }
    }

    /// Which generation the agent was spawned under.
    pub(crate) fn generation(&self) -> u64 {
        self.spawned.generation
    }

    pub(crate) fn tasks(&self) -> &[Policy] {
        &self.tasks
    }

    /// What is in force now, and stays the same for whoever holds it.
    pub(crate) fn era(&self) -> Guard<Arc<Era>> {
        self.policies.era.load()
    }

    /// What the agent is judged by in this era.
    pub(crate) fn standing<'a>(&'a self, era: &'a Era) -> Standing<'a> {
        era.standing(&self.spawned, &self.tasks)
    }

    /// Judges by what is in force now, which stays the same until `judge` is done.
    pub(crate) fn with<T>(&self, judge: impl FnOnce(&Standing<'_>) -> T) -> T {
        judge(&self.standing(&self.era()))
    }

    /// The layers that apply to the agent, for its own eyes.
    pub(crate) fn active(&self, agent: &AgentId, tenant: Option<&TenantId>) -> Value {
        self.with(|standing| standing.shown_to(agent, tenant))
    }

    pub(crate) fn history(&self) -> Value {
        self.policies.history_json()
    }
}

impl Kernel {
    /// The policy set in force.
    #[must_use]
    pub fn policy(&self) -> PolicySet {
        self.inner.policies.current().set
    }

    /// Which policy set is in force: the kernel's first is 1, and each reload counts one further.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.policies.current().generation
    }

    #[cfg(feature = "watch")]
    pub(crate) fn refused_policy(&self, error: ReloadError) -> ReloadError {
        self.inner.refused_policy(error)
    }

    /// What became of the policy's files when they were last read.
    #[cfg(feature = "watch")]
    pub(crate) fn policy_files(&self, refused: Option<&ReloadError>) {
        match refused {
            Some(error) => self.inner.impair(Part::Policy, &error.to_string()),
            None => self.inner.mend(Part::Policy),
        }
    }

    #[cfg(feature = "watch")]
    pub(crate) fn timer(&self) -> Arc<dyn agent_primitives::Timer> {
        Arc::clone(&self.inner.timer)
    }

    /// Puts another policy set in force and returns its generation. Calls that are judged already go on; each call after
    /// this returns is judged by the new set. No call waits meanwhile.
    ///
    /// # Errors
    /// See [`ReloadError`]; the set before stays in force, and that another was refused is recorded.
    pub fn reload(&self, set: impl Into<PolicySet>, widening: Widening) -> Result<u64, ReloadError> {
        let inner = &self.inner;
        inner.up()?;
        let set = set.into();
        inner.acceptable(&set).map_err(|error| inner.refused_policy(error))?;
        inner.replace(set, widening)
    }

    /// Reads a policy set, as [`PolicySet::load`] does, and puts it in force. Blocks the thread while it reads.
    ///
    /// # Errors
    /// As [`Kernel::reload`].
    pub fn reload_from(&self, path: impl AsRef<Path>, widening: Widening) -> Result<u64, ReloadError> {
        match PolicySet::load(path) {
            Ok(set) => self.reload(set, widening),
            Err(errors) => Err(self.inner.refused_policy(errors.into())),
        }
    }
}

impl Inner {
    /// Whether a set can be put in force here.
    pub(crate) fn acceptable(&self, set: &PolicySet) -> Result<(), ReloadError> {
        Ok(set.check(&self.tools.known())?)
    }

    /// Records that a policy was refused, and hands the reason on.
    pub(crate) fn refused_policy(&self, error: ReloadError) -> ReloadError {
        /// Longest reason that is recorded, in characters; the host has all of it.
        const MAX_REASON: usize = 1024;
        let reason: String = error.to_string().chars().take(MAX_REASON).collect();
        self.counters.reload_failed();
        let action = format!("refused a policy, the one before stays in force: {reason}");
        match self.append(Source::KERNEL, 0, Body::Host { action: &action }) {
            Ok(_recorded) => error,
            Err(down) => down.into(),
        }
    }

    /// Puts a set in force that was found acceptable.
    pub(crate) fn replace(&self, set: PolicySet, widening: Widening) -> Result<u64, ReloadError> {
        let document = json::canonical(&set.to_json()).map_err(ReloadError::Document)?;
        let mut history = self.policies.history();
        let before = self.policies.era.load_full();
        let generation = before.current.generation + 1;
        let (forced, since) = (widening == Widening::Force, self.timer.now());
        // On record before it judges: a decision never names a generation that the record does not know.
        let body = Body::Reload { generation, policy: set.digest(), document: &document, forced };
        self.append_at(since, Source::KERNEL, 0, body)?;
        let current = Numbered { generation, set };
        history.push_back(Past { generation, digest: current.set.digest(), since, forced });
        if MAX_HISTORY < history.len() {
            history.pop_front();
        }
        let last_forced = if forced { Some(current.clone()) } else { before.forced.clone() };
        #[cfg(feature = "metrics")]
        super::meters::policy_generation(generation);
        self.policies.era.store(Arc::new(Era { current, forced: last_forced }));
        Ok(generation)
    }
}
