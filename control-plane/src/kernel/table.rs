//! The table of agents.
//!
//! An agent's cell is shared by the table, by its handles and by its calls in flight. A cell is one life: when the
//! agent ends the cell stays closed for good, and a new agent of the same name gets a new cell with the next
//! generation, so an old handle answers `Dead` and never reaches its successor.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agent_primitives::{AgentId, LabelSet, Monotonic, Signal, TenantId, TicketId};
use agent_tool_registry::executor::Executions;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::charge::Charges;
use super::children::Children;
use super::consent::{OnAsk, Waiting};
use super::files::Files;
use super::handlers::Handlers;
use super::judge::Turn;
use super::orders::Orders;
use super::policies::Footing;
use super::running::Running;
use crate::budget::Accounts;
use crate::flow::Provenance;
use crate::recorder::{Source, Trail};
use crate::signal::{Letter, Mailbox, Word};

/// Most live agents of one kernel.
pub const MAX_AGENTS: usize = 1_000_000;
/// Most exit statuses kept for agents nobody has waited for; the oldest are dropped.
pub const MAX_ZOMBIES: usize = 10_000;

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It made the exit call, or its program returned.
    Exited {
        /// Its code.
        code: i32,
        /// Its last word.
        message: String,
    },
    /// A signal ended it.
    Signaled {
        /// The signal.
        signal: Signal,
        /// Why it was raised.
        reason: String,
    },
    /// Its program panicked or, one of its own, came to another end that was neither its own doing nor a signal's.
    Crashed {
        /// What the panic said, or how the program ended.
        panic: String,
    },
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code, message } if message.is_empty() => write!(f, "exited with {code}"),
            Self::Exited { code, message } => write!(f, "exited with {code}: {message}"),
            Self::Signaled { signal, reason } => write!(f, "ended by {signal}: {reason}"),
            Self::Crashed { panic } => write!(f, "crashed: {panic}"),
        }
    }
}

/// What an agent is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentState {
    /// No call in flight.
    Ready,
    /// At least one call in flight.
    Running,
    /// Its calls in flight all wait for a human.
    Waiting {
        /// The ticket that has been waited for longest.
        ticket: TicketId,
    },
    /// Its calls park at the gate until `SIGCONT`.
    Stopped {
        /// What it did when it was stopped, and goes on to do.
        was: Was,
    },
    /// It ended.
    Zombie(ExitStatus),
}

/// What a stopped agent was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an agent has calls in flight or it has none")]
pub enum Was {
    /// It had no call in flight.
    Ready,
    /// It has calls in flight: their services go on, and what they come to next waits.
    Running,
}

/// What the host says about an agent.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) accounts: Accounts,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) facts: Arc<Map<String, Value>>,
    pub(crate) labels: LabelSet,
    pub(crate) provenance: Provenance,
    pub(crate) on_ask: OnAsk,
    pub(crate) footing: Arc<Footing>,
    pub(crate) dry_run: bool,
    pub(crate) lineage: Box<[Arc<Agent>]>,
    pub(crate) executions: Executions,
}

/// One life of one agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) generation: u64,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) facts: Arc<Map<String, Value>>,
    /// What it is judged by.
    pub(crate) footing: Arc<Footing>,
    /// Whether what it may do is not done.
    pub(crate) dry_run: bool,
    /// The agents it descends from, its parent first.
    pub(crate) lineage: Box<[Arc<Self>]>,
    pub(crate) children: Children,
    /// Whether it is stopped because an agent above it is, and for nothing else.
    pub(crate) stopped_from_above: AtomicBool,
    /// Snapshots that a signal asked for and that wait for the next call.
    pub(crate) snapshots_due: AtomicU8,
    /// The time in the name of the latest snapshot, in microseconds.
    pub(crate) last_snapshot: AtomicI64,
    pub(crate) files: Files,
    pub(crate) turn: Turn,
    pub(crate) provenance: Provenance,
    pub(crate) word: Word,
    /// What the signals say that wait.
    pub(crate) mailbox: Mailbox<Letter>,
    /// What runs in place of their default actions.
    pub(crate) handlers: Handlers,
    pub(crate) running: Running,
    /// The programs that run for it.
    pub(crate) orders: Orders,
    pub(crate) on_ask: OnAsk,
    /// Calls that wait for a human.
    pub(crate) waiting: Waiting,
    /// What its calls are booked on.
    pub(crate) accounts: Accounts,
    pub(crate) charges: Charges,
    /// Calls that wait for `SIGCONT`.
    pub(crate) parked: AtomicU64,
    /// What it did lately, for its own eyes.
    pub(crate) trail: Arc<Trail>,
    /// Notified whenever the word, the status or the grace period changes.
    pub(crate) changed: Notify,
    /// End of the grace period of a `SIGTERM`, in monotonic nanoseconds; 0 while there is none.
    grace_ends: AtomicU64,
    status: OnceLock<ExitStatus>,
    /// Whether its latest call failed.
    pub(crate) failing: AtomicBool,
    /// Calls made after the end that were still written down.
    postmortem: AtomicU32,
    /// How many calls it has made. A count of its own: from a common one it could tell what others do.
    calls: AtomicU64,
}

impl Agent {
    pub(crate) fn new(id: AgentId, generation: u64, files: Files, trail: Arc<Trail>, about: About) -> Self {
        let About { accounts, tenant, facts, labels, provenance, on_ask, footing, .. } = about;
        let About { dry_run, lineage, executions, .. } = about;
        Self {
            orders: Orders::new(executions),
            provenance,
            turn: Turn::new(labels),
            tenant,
            footing,
            dry_run,
            lineage,
            children: Children::default(),
            stopped_from_above: AtomicBool::new(false),
            snapshots_due: AtomicU8::new(0),
            last_snapshot: AtomicI64::new(0),
            running: Running::default(),
            on_ask,
            waiting: Waiting::default(),
            accounts,
            charges: Charges::default(),
            parked: AtomicU64::new(0),
            trail,
            id,
            generation,
            facts,
            files,
            word: Word::default(),
            mailbox: Mailbox::default(),
            handlers: Handlers::default(),
            changed: Notify::new(),
            grace_ends: AtomicU64::new(0),
            status: OnceLock::new(),
            failing: AtomicBool::new(false),
            postmortem: AtomicU32::new(0),
            calls: AtomicU64::new(0),
        }
    }

    /// How many calls it has made.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The number of its next call, from 1.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { agent: self.id.as_str(), generation: self.generation, trail: Some(&self.trail) }
    }

    /// Ends this life. `true` for the one caller whose status stands; once it returns, to any caller, no call enters the gate.
    pub(crate) fn end(&self, status: ExitStatus) -> bool {
        let first = self.status.set(status).is_ok();
        self.word.close();
        if first {
            self.changed.notify_waiters();
        }
        first
    }

    /// Lets what runs for the agent follow its word, and wakes whoever waits for a change. Called after every change of the
    /// word but its last.
    pub(crate) fn word_changed(&self) {
        self.orders.follow(&self.word);
        self.changed.notify_waiters();
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&self) -> Option<&ExitStatus> {
        if self.word.load().closed() { self.status.get() } else { None }
    }

    pub(crate) fn state(&self) -> AgentState {
        let seen = self.word.load();
        match self.ended() {
            Some(status) => AgentState::Zombie(status.clone()),
            None if seen.stopped() => {
                AgentState::Stopped { was: if seen.in_flight() == 0 { Was::Ready } else { Was::Running } }
            }
            None if seen.in_flight() == 0 => AgentState::Ready,
            None => match self.waiting.first() {
                Some((ticket, waiting)) if seen.in_flight() <= waiting as u64 => {
                    AgentState::Waiting { ticket }
                }
                _ => AgentState::Running,
            },
        }
    }

    /// Starts the grace period, unless one runs already: a second `SIGTERM` buys no time.
    pub(crate) fn start_grace(&self, ends: Monotonic) {
        let ends = ends.as_nanos().max(1);
        let _ = self.grace_ends.compare_exchange(0, ends, Ordering::SeqCst, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Ends its grace period no later than that of an agent above it, which it does not outlive.
    pub(crate) fn limit_grace(&self, ends: Monotonic) {
        let ends = ends.as_nanos().max(1);
        let sooner = |now: u64| (now == 0 || ends < now).then_some(ends);
        let _ = self.grace_ends.fetch_update(Ordering::SeqCst, Ordering::SeqCst, sooner);
        self.changed.notify_waiters();
    }

    pub(crate) fn grace_ends(&self) -> Option<Monotonic> {
        match self.grace_ends.load(Ordering::SeqCst) {
            0 => None,
            ends => Some(Monotonic::from_nanos(ends)),
        }
    }

    /// Whether one more call after the end is worth a record. Keeps a dead agent's handle from filling the disk.
    pub(crate) fn postmortem_record(&self) -> bool {
        /// Enough to see that somebody tried, and how.
        const MAX_POSTMORTEM: u32 = 16;
        let seen = self.postmortem.load(Ordering::Relaxed);
        seen < MAX_POSTMORTEM && self.postmortem.fetch_add(1, Ordering::Relaxed) < MAX_POSTMORTEM
    }
}

/// Every agent of a kernel: live ones by name, ended ones until somebody has waited for them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    agents: Mutex<Agents>,
}

#[derive(Debug, Default)]
struct Agents {
    live: HashMap<AgentId, Arc<Agent>>,
    /// Names of agents that are being started.
    reserved: HashSet<AgentId>,
    zombies: HashMap<AgentId, Zombie>,
    /// Zombies, oldest first. May name some that were reaped meanwhile; bounded all the same.
    order: VecDeque<(AgentId, u64)>,
}

/// What is left of an agent that nobody has waited for.
#[derive(Debug)]
struct Zombie {
    generation: u64,
    status: ExitStatus,
    /// The agent, while programs of it may not have ended yet.
    dying: Option<Arc<Agent>>,
}

/// Why an agent could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableError {
    Exists,
    Full,
}

/// A name that is kept for an agent that is being started. Dropped, it is free again.
#[derive(Debug)]
#[must_use = "the name is kept only as long as this is held"]
pub(crate) struct Name<'t> {
    table: &'t Table,
    id: AgentId,
}

impl Name<'_> {
    /// Puts the agent into the table: from here on it is found, and killed with all others.
    pub(crate) fn begins(&self, agent: &Arc<Agent>) {
        let mut agents = self.table.lock();
        if agents.reserved.remove(&self.id) {
            agents.live.insert(self.id.clone(), Arc::clone(agent));
            agents.zombies.remove(&self.id);
        }
    }
}

impl Drop for Name<'_> {
    fn drop(&mut self) {
        self.table.lock().reserved.remove(&self.id);
    }
}

impl Table {
    /// Takes a name for an agent that is to be started. Nobody finds it in the table before it [begins](Name::begins).
    pub(crate) fn reserve(&self, id: &AgentId) -> Result<Name<'_>, TableError> {
        let mut agents = self.lock();
        if agents.live.contains_key(id) || agents.reserved.contains(id) {
            return Err(TableError::Exists);
        }
        if MAX_AGENTS <= agents.live.len() + agents.reserved.len() {
            return Err(TableError::Full);
        }
        agents.reserved.insert(id.clone());
        Ok(Name { table: self, id: id.clone() })
    }

    /// Moves an ended agent from the living to the zombies.
    pub(crate) fn retire(&self, agent: &Arc<Agent>, status: ExitStatus) {
        let dying = agent.orders.is_due().then(|| Arc::clone(agent));
        let mut agents = self.lock();
        if agents.live.get(&agent.id).is_some_and(|live| live.generation == agent.generation) {
            agents.live.remove(&agent.id);
        }
        let generation = agent.generation;
        agents.zombies.insert(agent.id.clone(), Zombie { generation, status, dying });
        agents.order.push_back((agent.id.clone(), generation));
        if MAX_ZOMBIES < agents.order.len()
            && let Some((oldest, generation)) = agents.order.pop_front()
            && agents.zombies.get(&oldest).is_some_and(|zombie| zombie.generation == generation)
        {
            agents.zombies.remove(&oldest);
        }
    }

    pub(crate) fn live(&self, id: &str) -> Option<Arc<Agent>> {
        self.lock().live.get(id).cloned()
    }

    pub(crate) fn all_live(&self) -> Vec<Arc<Agent>> {
        let mut live: Vec<Arc<Agent>> = self.lock().live.values().cloned().collect();
        // In the order they were spawned, so that equal runs leave equal records.
        live.sort_unstable_by_key(|agent| agent.generation);
        live
    }

    /// Takes the exit status of an ended agent, of this generation if one is given.
    pub(crate) fn reap(&self, id: &AgentId, generation: Option<u64>) -> Option<ExitStatus> {
        let mut agents = self.lock();
        let wanted = agents.zombies.get(id)?;
        if generation.is_some_and(|generation| generation != wanted.generation) {
            return None;
        }
        agents.zombies.remove(id).map(|zombie| zombie.status)
    }

    /// An ended agent of which programs may not have ended yet.
    pub(crate) fn dying(&self, id: &AgentId) -> Option<Arc<Agent>> {
        self.lock().zombies.get(id).and_then(|zombie| zombie.dying.clone())
    }

    /// The exit status of an ended agent, left in place.
    pub(crate) fn zombie(&self, id: &str) -> Option<ExitStatus> {
        self.lock().zombies.get(id).map(|zombie| zombie.status.clone())
    }

    /// Whether something has panicked while it changed the table, which nothing should.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.agents.is_poisoned()
    }

    #[cfg(test)]
    pub(crate) fn poison(&self) {
        let poisoned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = self.lock();
            panic!("a test");
        }));
        assert!(poisoned.is_err() && self.is_poisoned());
    }

    fn lock(&self) -> MutexGuard<'_, Agents> {
        // INVARIANT: nothing that can panic runs under this lock, so a poisoned one still holds a whole table.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
