//! The tree of agents: who descends from whom, and what that means for signals and for the end.
//!
//! The name of a child is its parent's and one of its own, joined by [`CHILD`]. No agent without a parent has such a name,
//! so which agents descend from which can be read off their names, and no agent of one tenant stands where a child of
//! another's would.
//!
//! A child lives no longer than its parent, however that ends: it is killed at once, and what it was doing is dropped.
//! Whoever wants its children to end in order waits for them first. `SIGSTOP`, `SIGCONT` and `SIGTERM` that are delivered to
//! an agent are raised against each of its children, and so on down; each holds back what it masks. `SIGCONT` wakes only
//! those that were stopped from above, so that a child that was stopped for what it did stays stopped.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agent_primitives::{AgentId, Monotonic, Signal};
use agent_tool_registry::executor::Order;

use super::spec::{AgentSpec, SpawnError};
use super::table::{Agent, ExitStatus};
use super::{Inner, Kernel, Raise};
use crate::error::{CallError, SignalError};
use crate::recorder::Actor;

/// What stands between the name of an agent and the own name of its child: the child `helper` of `clerk` is
/// `clerk::helper`. No agent without a parent has it in its name.
pub const CHILD: &str = "::";
/// Most children that one agent may have alive at once.
pub const MAX_CHILDREN: usize = 64;
/// Most agents that one may descend from.
pub const MAX_DEPTH: usize = 8;

/// Whether `agent` descends from `ancestor`.
pub(crate) fn descends(agent: &AgentId, ancestor: &AgentId) -> bool {
    agent.as_str().strip_prefix(ancestor.as_str()).is_some_and(|rest| rest.starts_with(CHILD))
}

/// What ending an agent ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Killed {
    /// The agents, from the top down: the one that was meant first.
    pub agents: Vec<AgentId>,
    /// How many calls they had in flight together.
    pub calls: u64,
}

/// The children of one agent.
#[derive(Debug, Default)]
pub(crate) struct Children(Mutex<Brood>);

#[derive(Debug, Default)]
pub(crate) struct Brood {
    /// Set when the agent ends: from then on it gets no child.
    closed: bool,
    alive: Vec<Weak<Agent>>,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, Brood> {
        // INVARIANT: only list operations and an append to the recorder run under this lock, so a poisoned list is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn alive(&self) -> Vec<Arc<Agent>> {
        self.lock().alive.iter().filter_map(Weak::upgrade).collect()
    }

    /// No child is added from here on; answers those there are, also to whoever comes second.
    fn close(&self) -> Vec<Arc<Agent>> {
        let mut brood = self.lock();
        brood.closed = true;
        brood.alive.iter().filter_map(Weak::upgrade).collect()
    }

    fn remove(&self, child: &Agent) {
        self.lock()
            .alive
            .retain(|other| other.upgrade().is_some_and(|other| other.generation != child.generation));
    }
}

impl Kernel {
    /// Ends an agent by `SIGKILL`, as [`Kernel::signal`] does, and says what that ended.
    ///
    /// # Errors
    /// No live agent of that name.
    pub fn kill(&self, agent: &AgentId, reason: &str) -> Result<Killed, SignalError> {
        let missing = || SignalError::NoSuchAgent(agent.to_string());
        let cell = self.inner.table.live(agent.as_str()).ok_or_else(missing)?;
        let status = ExitStatus::Signaled { signal: Signal::Kill, reason: reason.to_owned() };
        self.inner.end(&cell, status, Actor::Host).ok_or_else(missing)
    }
}

impl AgentSpec {
    /// The same agent as a child of `parent`: with its name below the parent's, for the parent's tenant, knowing what the
    /// parent knows, and bound by what binds it.
    pub(super) fn below(mut self, parent: &Agent) -> Result<Self, SpawnError> {
        if MAX_DEPTH <= parent.lineage.len() {
            return Err(SpawnError::TooDeep { limit: MAX_DEPTH });
        }
        if self.tenant.is_some() && self.tenant != parent.tenant {
            return Err(SpawnError::OtherTenant { parent: parent.id.clone() });
        }
        if self.id.contains(':') {
            return Err(SpawnError::Reserved(self.id));
        }
        self.id = format!("{}{CHILD}{}", parent.id, self.id);
        self.tenant.clone_from(&parent.tenant);
        self.provenance = parent.provenance;
        self.dry_run = self.dry_run || parent.dry_run;
        let known = parent.turn.lock().labels.clone();
        self.labels = self.labels.join(&known).map_err(CallError::from)?;
        for (key, value) in parent.facts.iter() {
            self.facts.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Ok(self)
    }
}

impl Inner {
    /// Makes an agent the child it was built as, in one step with `record`: whoever ends the parent either finds the child, or
    /// has ended it before it was one.
    ///
    /// `record` runs under a lock that ending the parent takes, so it ends no agent.
    pub(super) fn adopt<T>(&self, child: &Arc<Agent>, record: impl FnOnce() -> T) -> Result<T, SpawnError> {
        let Some(parent) = child.lineage.first() else { return Ok(record()) };
        let mut brood = parent.children.lock();
        if brood.closed {
            drop(brood);
            return Err(self.dead(parent).into());
        }
        if MAX_CHILDREN <= brood.alive.len() {
            return Err(SpawnError::TooManyChildren { parent: parent.id.clone(), limit: MAX_CHILDREN });
        }
        brood.alive.push(Arc::downgrade(child));
        let recorded = record();
        drop(brood);
        // A stop that was delivered before the child was there did not reach it.
        if parent.word.load().stopped() {
            self.follow(parent, child, Signal::Stop, "its parent is stopped");
        }
        if let Some(ends) = parent.grace_ends() {
            child.limit_grace(ends);
        }
        Ok(recorded)
    }

    /// Ends an agent and all that descend from it: every gate first, from the top down, then everything in flight, then
    /// what they held. `None` if it had ended already.
    pub(crate) fn end(&self, agent: &Arc<Agent>, status: ExitStatus, from: Actor<'_>) -> Option<Killed> {
        let closed = close_tree(agent, status);
        closed.kill_programs();
        let ended = closed.ended;
        let first = ended.first().is_some_and(|(first, _)| Arc::ptr_eq(first, agent));
        let calls = |(agent, _): &(Arc<Agent>, ExitStatus)| agent.word.load().in_flight();
        let killed = Killed {
            agents: ended.iter().map(|(agent, _)| agent.id.clone()).collect(),
            calls: ended.iter().map(calls).sum(),
        };
        self.bury_all(ended, if first { from } else { Actor::Kernel });
        first.then_some(killed)
    }

    /// Clears away what agents held whose gates are closed; `from` is whose doing the end of the first was.
    pub(super) fn bury_all(&self, ended: Vec<(Arc<Agent>, ExitStatus)>, from: Actor<'_>) {
        let mut from = from;
        for (agent, status) in ended {
            self.bury(&agent, status, from);
            if let Some(parent) = agent.lineage.first() {
                parent.children.remove(&agent);
            }
            from = Actor::Kernel;
        }
    }

    /// Lets the children of an agent follow a signal that was raised against it.
    pub(crate) fn pass_down(&self, agent: &Agent, signal: Signal, raised: Raise, reason: &str) {
        let goes_down = match signal {
            // It resumes where it waits for a handler too; and one that a stop has overtaken resumes nobody.
            Signal::Cont => !agent.word.load().stopped(),
            Signal::Stop | Signal::Budget | Signal::Loop | Signal::Drift | Signal::Term => {
                raised != Raise::Pending
            }
            _ => false,
        };
        if !goes_down {
            return;
        }
        if signal != Signal::Term {
            agent.stopped_from_above.store(false, Ordering::SeqCst);
        }
        if !matches!(signal, Signal::Stop | Signal::Cont | Signal::Term) {
            return;
        }
        let children = agent.children.alive();
        if children.is_empty() {
            return;
        }
        let reason = format!("raised against `{}`: {reason}", agent.id);
        for child in children {
            self.follow(agent, &child, signal, &reason);
        }
    }

    /// Raises a signal against an agent that was raised against its parent. Where others stop and resume the parent at the
    /// same time, the child comes to follow whoever was last.
    fn follow(&self, parent: &Agent, child: &Arc<Agent>, mut signal: Signal, reason: &str) {
        loop {
            self.follow_once(child, signal, reason);
            let last = if parent.word.load().stopped() { Signal::Stop } else { Signal::Cont };
            if signal == Signal::Term || signal == last || child.word.load().closed() {
                return;
            }
            signal = last;
        }
    }

    fn follow_once(&self, child: &Arc<Agent>, signal: Signal, reason: &str) {
        let from_above = child.stopped_from_above.load(Ordering::SeqCst);
        if signal == Signal::Cont && !from_above {
            return;
        }
        let seen = child.word.load();
        let by_itself = (seen.stopped() || seen.pending().contains(Signal::Stop)) && !from_above;
        // One that has ended meanwhile needs no signal.
        if self.raise(child, signal, Actor::Kernel, reason).is_ok() && signal == Signal::Stop && !by_itself {
            child.stopped_from_above.store(true, Ordering::SeqCst);
        }
    }
}

/// Begins the grace period of an agent, and so bounds that of all that descend from it: they end when it does, also where
/// nobody looks at it again.
pub(super) fn start_grace(agent: &Agent, ends: Monotonic) {
    agent.start_grace(ends);
    let Some(ends) = agent.grace_ends() else { return };
    let mut left: VecDeque<Arc<Agent>> = agent.children.alive().into();
    while let Some(child) = left.pop_front() {
        child.limit_grace(ends);
        left.extend(child.children.alive());
    }
}

/// A tree of agents whose gates are closed.
pub(super) struct Closed {
    /// Those whose end this was, from the top down.
    pub(super) ended: Vec<(Arc<Agent>, ExitStatus)>,
    /// All of them.
    all: Vec<Arc<Agent>>,
}

impl Closed {
    /// Kills what runs for them. Whoever ends an agent that another is ending does it too, so that it is done when either
    /// returns.
    pub(super) fn kill_programs(&self) {
        for agent in &self.all {
            agent.orders.give(Order::Kill);
        }
    }
}

/// Closes the gates of an agent and of all that descend from it. All of them are closed when it returns, also where
/// another is ending them at the same time.
pub(super) fn close_tree(agent: &Arc<Agent>, status: ExitStatus) -> Closed {
    let mut all = vec![Arc::clone(agent)];
    let mut ended = Vec::new();
    if agent.end(status.clone()) {
        ended.push((Arc::clone(agent), status));
    }
    let mut left: VecDeque<Arc<Agent>> = agent.children.close().into();
    while let Some(child) = left.pop_front() {
        let reason = format!("`{}`, from which it descends, ended", agent.id);
        let status = ExitStatus::Signaled { signal: Signal::Kill, reason };
        let first = child.end(status.clone());
        left.extend(child.children.close());
        if first {
            ended.push((Arc::clone(&child), status));
        }
        all.push(child);
    }
    Closed { ended, all }
}
