//! The kernel: everything an agent does to the world passes through here.
#![doc = include_str!("../docs/life.md")]
//!
#![doc = include_str!("states.md")]

mod accounts;
mod agents;
mod approvals;
mod border;
mod builder;
pub(crate) mod catalogue;
#[cfg(feature = "control")]
mod census;
mod charge;
mod checkpoint;
mod children;
mod consent;
mod diagnostics;
pub(crate) mod files;
mod flow;
mod gate;
pub(crate) mod handlers;
pub mod hosted;
mod inspect;
mod ipc;
mod judge;
#[cfg(feature = "metrics")]
pub(crate) mod meters;
mod metrics;
mod orders;
pub(crate) mod own;
mod policies;
mod programs;
mod record;
mod refusals;
mod running;
mod search;
mod service;
mod shadow;
mod shutdown;
mod spec;
mod state;
mod stateless;
mod syscall;
pub(crate) mod table;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use agent_primitives::{AgentId, Monotonic, Signal, Timer, Timestamp};
use agent_tool_registry::ToolContract;
use arc_swap::ArcSwapOption;

pub use accounts::MAX_ACCOUNTS;
pub use agents::AgentInfo;
pub use builder::{BuildError, DEFAULT_GRACE, KernelBuilder, NeedsPolicy, Ready};
pub use checkpoint::{
    BadCheckpoint, Checkpoint, MAX_CHECKPOINT_BYTES, MAX_SNAPSHOT_BYTES, MAX_SNAPSHOTS, Reopened,
    RestoreError, Restored,
};
pub(crate) use children::descends;
pub use children::{CHILD, Killed, MAX_CHILDREN, MAX_DEPTH};
pub use consent::OnAsk;
pub use diagnostics::{MAX_SHOWN, MAX_SHOWN_EVENTS};
pub use handlers::HANDLER_DEADLINE;
pub use hosted::Hosted;
pub use metrics::{AgentCounts, Counted, Metrics};
pub use orders::MAX_SETTLING;
pub use own::{DECLASSIFY, MAX_CHILD_NAME, MAX_DECLASSIFIED, MAX_DECLASSIFY_REASON, RESERVED, SPAWN};
pub(crate) use policies::Footing;
pub use policies::{MAX_HISTORY, ReloadError, Widening};
pub use programs::{Program, Programs, Run, Task};
pub use refusals::{LOOP_AT, LOOP_WINDOW, MAX_REFUSALS};
pub(crate) use running::panic_text;
pub use service::{FILE_DEADLINE, MAX_AWAIT};
pub use shadow::{Divergence, MAX_DIVERGENCES, ShadowReport};
pub use shutdown::ShutdownReport;
pub use spec::{AgentSpec, MAX_FACTS, SpawnError};
pub use state::{Impairment, Part, State};
pub use stateless::{Deed, JudgeContext, Judgement, MAX_PAST};
pub use table::{AgentState, ExitStatus, MAX_AGENTS, MAX_ZOMBIES, Was};

use self::accounts::AccountTable;
use self::catalogue::Catalogue;
use self::children::Closed;
use self::metrics::Counters;
use self::policies::Policies;
use self::shadow::Shadow;
use self::shutdown::Closing;
use self::state::Health;
use self::table::{Agent, Table};
use crate::approval::Desk;
use crate::error::{CallError, SignalError};
use crate::ipc::Exchange;
use crate::mode::Mode;
use crate::observe::spans;
use crate::recorder::{Actor, Body, FlightRecorder, Outcome, Recorded, Source};
pub use crate::signal::MAX_IN_FLIGHT;

/// The kernel. Cloning shares it; the last clone to go ends nothing, agents end when they are told to.
///
/// A kernel is built by [`Kernel::builder`], and not without a policy:
///
/// ```compile_fail
/// let kernel = agent_control_plane::Kernel::builder().build();
/// ```
#[derive(Clone)]
pub struct Kernel {
    inner: Arc<Inner>,
}

/// What every call shares.
pub(crate) struct Inner {
    /// Itself, for the handles of the agents it starts.
    me: Weak<Self>,
    policies: Arc<Policies>,
    /// The candidate that is judged beside them.
    shadow: ArcSwapOption<Shadow>,
    /// What agents can start as their children.
    programs: Option<Programs>,
    tools: Catalogue,
    recorder: FlightRecorder,
    timer: Arc<dyn Timer>,
    grace: Duration,
    /// `None` when nobody can be asked.
    desk: Option<Arc<Desk>>,
    /// Whether every agent is on a dry run.
    dry_run: bool,
    /// What the digests of checkpoints are keyed with.
    checkpoint_key: Option<checkpoint::Key>,
    table: Table,
    accounts: AccountTable,
    exchange: Exchange,
    mode: Mutex<Mode>,
    /// Numbers the lives of agents. Goes on from the record's length, so that numbers do not repeat in it.
    numbers: AtomicU64,
    /// Begins with a shutdown: from then on no agent is started.
    closing: Closing,
    /// What is impaired.
    health: Health,
    counters: Counters,
    /// Set once, when the kernel stops taking calls.
    down: OnceLock<State>,
}

/// How often it is noticed, without anybody asking, that the record has begun to forget: every so many events.
const LOOK_EVERY: u64 = 1024;

/// What raising a signal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a host should know which of the three it got")]
pub enum Raise {
    /// Its default action has been taken.
    Delivered,
    /// The agent masks it, or has a handler for it: it waits.
    Pending,
    /// It found nothing to do: the agent was already so, or the signal already waits.
    Unchanged,
}

impl Kernel {
    /// Starts building a kernel.
    pub fn builder() -> KernelBuilder<NeedsPolicy> {
        KernelBuilder::new()
    }

    /// The mode the kernel is in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.inner.mode()
    }

    /// Puts the kernel into a mode, for policies that ask for it. Calls judged from now on are judged in it.
    ///
    /// # Errors
    /// A recorder that fails; the mode is as before then.
    pub fn set_mode(&self, mode: Mode) -> Result<(), CallError> {
        let action = format!("sets the mode to {mode}");
        // Held until it is on record, so that the record has the changes in their order.
        let mut present = self.inner.mode.lock().unwrap_or_else(PoisonError::into_inner);
        self.inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        *present = mode;
        Ok(())
    }

    /// The contracts of all tools that agents may ask for now, the kernel's own included, ordered by name.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<ToolContract>> {
        self.inner.tools.callable()
    }

    /// Which tools an agent sees: those of which some call could be let through, now or later, as in its folder `/tools`. For
    /// lists and searches, such as [`Registry::register_search`](agent_tool_registry::Registry::register_search); it decides
    /// nothing. An agent that is not alive sees none. The kernel does not live on in it.
    pub fn sight(&self) -> impl Fn(&AgentId, &ToolContract) -> bool + Send + Sync + 'static {
        let kernel = Arc::downgrade(&self.inner);
        move |agent, contract| kernel.upgrade().is_some_and(|kernel| kernel.shows(agent, contract))
    }

    /// The record of everything that was decided.
    #[must_use]
    pub fn recorder(&self) -> &FlightRecorder {
        &self.inner.recorder
    }

    /// Raises a signal against an agent, as the host: no policy is asked. A maskable one that the agent masks or handles
    /// only waits, `SIGSTOP` among them. Of the reason [`MAX_REASON`](crate::signal::MAX_REASON) bytes are kept.
    ///
    /// For the three unmaskable signals, when this returns the gates of the agent and of all that descend from it are closed
    /// and what was in flight has been dropped. A step that another thread is taking at that very moment may finish there;
    /// none begins after. `SIGSTOP`, `SIGCONT` and `SIGTERM` go down the tree too: each descendant gets them in turn.
    ///
    /// # Errors
    /// No live agent of that name.
    pub fn signal(&self, agent: &AgentId, signal: Signal, reason: &str) -> Result<Raise, SignalError> {
        let inner = &self.inner;
        let cell = inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        inner.enforce_grace(&cell);
        inner.raise(&cell, signal, Actor::Host, reason)
    }

    /// Kills every live agent and returns how many.
    #[expect(clippy::must_use_candidate, reason = "called for its effect; the count is news")]
    pub fn kill_all(&self, reason: &str) -> usize {
        self.inner.kill_all(reason, Actor::Host)
    }
}

#[cfg(feature = "control")]
impl Kernel {
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }
}

#[cfg(feature = "control")]
impl Inner {
    pub(crate) fn monotonic(&self) -> Monotonic {
        self.timer.monotonic()
    }

    pub(crate) fn sleep(&self, rest: Duration) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        self.timer.sleep_until(self.timer.monotonic().after(rest))
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel")
            .field("state", &self.state())
            .field("policy", &self.policies.current())
            .finish()
    }
}

impl Inner {
    pub(crate) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(crate) fn mode(&self) -> Mode {
        // INVARIANT: the only change under this lock is one assignment.
        self.mode.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the next life of an agent.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Everything after the gate of an agent was closed; for the one who closed it.
    fn bury(&self, agent: &Arc<Agent>, status: ExitStatus, from: Actor<'_>) {
        let cancelled = agent.running.cancel();
        self.give_back_waiting(agent);
        agent.files.close_all();
        agent.handlers.clear();
        self.withdraw(agent, &status);
        if let ExitStatus::Signaled { signal, reason } = &status {
            self.record_signal(agent, *signal, from, reason, true);
        }
        let _ = self.append(agent.source(), 0, Body::Exit { status: &status.to_string() });
        for intent in cancelled {
            let _ = self.settle(agent, &intent, Outcome::Cancelled);
        }
        self.table.retire(agent, status);
        self.accounts.close(&agent.id, self.timer.monotonic());
    }

    /// Withdraws the approvals of an agent that ended. They stay when the whole host ends, for the next process, unless the
    /// agent was ended for what it did.
    fn withdraw(&self, agent: &Agent, status: &ExitStatus) {
        let Some(desk) = &self.desk else { return };
        let guilty = matches!(status, ExitStatus::Signaled { signal: Signal::Policy | Signal::Trust, .. });
        if !guilty && !self.withdraws() {
            return;
        }
        let withdrawn = desk.withdraw_all(&agent.id, None, "its agent ended");
        self.publish();
        for ticket in withdrawn {
            // One that cannot be written is worth nothing to this process, and is bound to the same agent in the next.
            if let Err(error) = desk.keep(ticket) {
                tracing::warn!(%ticket, %error, "an approval that was withdrawn is still in the store");
            }
        }
    }

    /// Records a signal. A recorder that fails here has already panicked the kernel, which closed every gate.
    pub(crate) fn record_signal(
        &self,
        agent: &Agent,
        signal: Signal,
        from: Actor<'_>,
        reason: &str,
        delivered: bool,
    ) {
        let body = Body::Signal { signal: signal.number(), from, reason, delivered };
        let _ = self.append(agent.source(), 0, body);
    }

    /// Appends an event; failing that, panics the kernel.
    pub(crate) fn append(
        &self,
        source: Source<'_>,
        call: u64,
        body: Body<'_>,
    ) -> Result<Recorded, CallError> {
        self.append_at(self.timer.now(), source, call, body)
    }

    /// Appends an event that happened at `time`; failing that, panics the kernel.
    pub(crate) fn append_at(
        &self,
        time: Timestamp,
        source: Source<'_>,
        call: u64,
        body: Body<'_>,
    ) -> Result<Recorded, CallError> {
        // Counted first, because the recorder takes the body; if it fails nothing is counted any more.
        self.counters.count(&body);
        spans::recorded(source, &body);
        #[cfg(feature = "metrics")]
        let began = self.timer.monotonic();
        let recorded = self.recorder.append(time, source, call, body);
        #[cfg(feature = "metrics")]
        meters::appended(self.timer.monotonic().since(began));
        let recorded = recorded.map_err(|error| self.recorder_failed(&error))?;
        #[cfg(feature = "metrics")]
        meters::recorder_lag(self.recorder.lag());
        self.counters.recorded(recorded.bytes());
        if recorded.seq() % LOOK_EVERY == 0 {
            self.look_at_record();
        }
        Ok(recorded)
    }

    /// Stops taking calls because a promise cannot be kept: every gate closes, everything in flight is dropped.
    pub(crate) fn panic(&self, reason: &str) {
        if self.down.set(State::Panicked(reason.to_owned())).is_err() {
            return;
        }
        tracing::error!(reason, "the kernel panicked and closed every gate");
        self.kill_all(&format!("the kernel panicked: {reason}"), Actor::Kernel);
        // The recorder may be what failed; then this does too, and the reason is in `state` only.
        let body = Body::Panic { reason };
        self.counters.count(&body);
        let _ = self.recorder.append(self.timer.now(), Source::KERNEL, 0, body);
    }

    /// Kills every live agent. All gates are closed before the first call is dropped, so nothing that one agent does meanwhile
    /// is answered by what another still does.
    fn kill_all(&self, reason: &str, from: Actor<'_>) -> usize {
        let status = || ExitStatus::Signaled { signal: Signal::Kill, reason: reason.to_owned() };
        let agents = self.table.all_live();
        let trees: Vec<_> = agents.iter().map(|agent| children::close_tree(agent, status())).collect();
        trees.iter().for_each(Closed::kill_programs);
        let killed = trees.iter().map(|tree| tree.ended.len()).sum();
        for tree in trees {
            self.bury_all(tree.ended, from);
        }
        killed
    }

    /// Waits for `event`, at most until `deadline`; `None` when that came first.
    pub(crate) async fn until<T>(&self, deadline: Monotonic, event: impl Future<Output = T>) -> Option<T> {
        let mut sleep = None;
        let mut event = pin!(event);
        poll_fn(|context| match event.as_mut().poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => {
                let sleep = sleep.get_or_insert_with(|| self.timer.sleep_until(deadline));
                sleep.as_mut().poll(context).map(|()| None)
            }
        })
        .await
    }
}
