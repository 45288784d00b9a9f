//! What a tool knows about the call it answers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_primitives::{AgentId, Monotonic, Resource, Timer};
use serde::Serialize;
use tokio::sync::Notify;

use crate::error::{ToolError, one_line};
use crate::executor::{Executions, Usage};
use crate::invoke::{DenyReason, Invoked, OnBehalf, Secret};
use crate::isolation::{GuaranteeSet, Level};

/// Who calls, until when, and whether anybody still waits. Cloning is a few reference counts.
#[derive(Clone)]
pub struct CallContext {
    agent: AgentId,
    timer: Arc<dyn Timer>,
    deadline: Option<Monotonic>,
    stop: Stop,
    meter: Option<Meter>,
    executions: Executions,
    /// For how long the agent had been stopped when the call was entered.
    stopped_before: Duration,
    ran: Arc<OnceLock<Ran>>,
    /// What is known of the call when an [`Invoker`](crate::Invoker) makes it.
    invoked: Option<Arc<Invoked>>,
}

/// Where and how a call was run. A function of the host leaves none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Ran {
    /// Where.
    pub level: Level,
    /// What was in force.
    pub guarantees: GuaranteeSet,
    /// What was used.
    pub usage: Usage,
}

impl CallContext {
    /// A call by `agent`, whose deadline is measured on `timer`.
    #[must_use]
    pub fn new(agent: AgentId, timer: Arc<dyn Timer>) -> Self {
        let (executions, ran) = (Executions::new(Arc::clone(&timer)), Arc::default());
        Self {
            agent,
            timer,
            deadline: None,
            stop: Stop::default(),
            meter: None,
            executions,
            stopped_before: Duration::ZERO,
            ran,
            invoked: None,
        }
    }

    /// Ends the call at `deadline` if that is sooner than the tool's own limit and any deadline set before.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Monotonic) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// Counts on `meter` what the tool reports.
    #[must_use]
    pub fn with_meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// Registers what the call starts with `executions`, so that signals to its agent reach it.
    #[must_use]
    pub fn with_executions(mut self, executions: Executions) -> Self {
        self.executions = executions;
        self
    }

    /// What runs on behalf of the agent.
    #[must_use]
    pub fn executions(&self) -> &Executions {
        &self.executions
    }

    /// Where the tool was run and what it used, once a program has ended. All clones of a context know it.
    #[must_use]
    pub fn ran(&self) -> Option<Ran> {
        self.ran.get().copied()
    }

    pub(crate) fn used(&self, usage: Usage, level: Level, guarantees: GuaranteeSet) {
        let _ = self.ran.set(Ran { level, guarantees, usage });
    }

    pub(crate) fn with_invoked(mut self, invoked: Arc<Invoked>) -> Self {
        self.invoked = Some(invoked);
        self
    }

    /// Says that what will run the tool has been chosen; from here on the tool may have had effects.
    pub(crate) fn isolated(&self) {
        if let Some(invoked) = &self.invoked {
            invoked.progress.isolated();
        }
    }

    /// A secret that the tool's contract names.
    ///
    /// # Errors
    /// [`ToolError::SecretUnavailable`] for a name that the contract does not have, and where no
    /// [`Invoker`](crate::Invoker) makes the call.
    pub fn secret(&self, name: &str) -> Result<&Secret, ToolError> {
        let secret = self.invoked.as_ref().and_then(|invoked| invoked.secrets.get(name));
        secret.ok_or_else(|| ToolError::SecretUnavailable { name: one_line(name, 128) })
    }

    /// Makes calls within this one, for the same principals: such a call can do no more than its caller could.
    ///
    /// # Errors
    /// [`ToolError::AccessDenied`] where no [`Invoker`](crate::Invoker) makes the call: nobody could decide on calls.
    pub fn invoker(&self) -> Result<OnBehalf, ToolError> {
        let invoked = self.invoked.as_ref();
        invoked
            .map(|invoked| invoked.within(self.clone()))
            .ok_or(ToolError::AccessDenied { reason: DenyReason::NoAuthorizer })
    }

    /// For how long the agent was stopped since the call was entered.
    pub(crate) fn stopped_for(&self) -> Duration {
        self.executions.stopped_for().saturating_sub(self.stopped_before)
    }

    /// Reports that the call used this much more of tokens or money. A tool that reports a resource is charged what it
    /// reported of it, also if the call then fails or is cancelled, and also if it is more than its declared cost.
    ///
    /// # Errors
    /// The resource is one that the kernel measures itself, or one more than [`MAX_RESOURCES`]. Nothing is counted then.
    pub fn spend(&self, resource: Resource, amount: u64) -> Result<(), NotSpent> {
        if !is_reported(resource) {
            return Err(NotSpent::Measured(resource));
        }
        self.meter.as_ref().map_or(Ok(()), |meter| meter.add(resource, amount))
    }

    /// The agent on whose behalf the tool runs.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// The clock of the call. A tool that waits must wait on it.
    #[must_use]
    pub fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// When the call ends at the latest. Always known inside a tool.
    #[must_use]
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    /// A handle that cancels this call from elsewhere. Dropping it cancels nothing.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.stop.clone())
    }

    /// Whether nobody waits for this call any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.stop.is_raised()
    }

    /// Resolves once nobody waits for this call any more: it was cancelled, its deadline passed, its future was
    /// dropped, or the tool has returned. A tool's own future is dropped then in any case; this is for threads and
    /// tasks it has started.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait and nothing else.
    pub async fn cancelled(&self) {
        self.stop.raised().await;
    }

    /// The same call seen from inside one tool: its own stop signal, and a deadline at most `allowed` from now.
    pub(crate) fn enter(self, now: Monotonic, allowed: Duration) -> Entered {
        let stopped_before = self.executions.stopped_for();
        let inner =
            Self { stop: Stop::default(), stopped_before, ..self.clone() }.with_deadline(now.after(allowed));
        Entered { deadline: inner.deadline.unwrap_or(now), outer: self.stop, inner }
    }
}

/// A call that a tool is about to answer.
pub(crate) struct Entered {
    /// What the tool is given.
    pub(crate) inner: CallContext,
    /// Raised when the caller cancels.
    pub(crate) outer: Stop,
    pub(crate) deadline: Monotonic,
}

impl Entered {
    /// Tells everything that the tool has started that the call is over.
    pub(crate) fn stop(&self) {
        self.inner.stop.raise();
    }
}

impl fmt::Debug for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallContext")
            .field("agent", &self.agent)
            .field("deadline", &self.deadline)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

/// Cancels the call it was taken from.
#[derive(Clone, Debug)]
pub struct Canceller(Stop);

impl Canceller {
    /// Cancels the call; more than once is the same as once.
    pub fn cancel(&self) {
        self.0.raise();
    }
}

/// Most resources that one call can cost.
pub const MAX_RESOURCES: usize = 8;

/// Whether a resource is one that only the tool knows the use of.
pub(crate) fn is_reported(resource: Resource) -> bool {
    matches!(resource, Resource::Tokens | Resource::Money(_))
}

/// Why a report was not counted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSpent {
    /// Not tokens and not money.
    #[error("the kernel measures `{0}` itself")]
    Measured(Resource),
    /// More resources than one call can cost.
    #[error("one call can cost at most {limit} resources")]
    TooMany {
        /// [`MAX_RESOURCES`].
        limit: usize,
    },
}

/// Counts what one call reports to have used. Clones share the count, which saturates.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Mutex<Vec<(Resource, u64)>>>);

impl Meter {
    /// How much was reported of a resource; `None` when nothing was ever said about it.
    #[must_use]
    pub fn reported(&self, resource: Resource) -> Option<u64> {
        self.lock().iter().find(|(known, _)| *known == resource).map(|(_, amount)| *amount)
    }

    /// Everything reported, at most [`MAX_RESOURCES`] resources.
    #[must_use]
    pub fn all(&self) -> Vec<(Resource, u64)> {
        self.lock().clone()
    }

    fn add(&self, resource: Resource, amount: u64) -> Result<(), NotSpent> {
        let mut counts = self.lock();
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == resource) {
            *count = count.saturating_add(amount);
            return Ok(());
        }
        if MAX_RESOURCES <= counts.len() {
            return Err(NotSpent::TooMany { limit: MAX_RESOURCES });
        }
        counts.push((resource, amount));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Resource, u64)>> {
        // INVARIANT: each change is one addition or one push, so a poisoned list is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A flag that is raised once and can be waited for.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<StopState>);

#[derive(Default)]
struct StopState {
    raised: AtomicBool,
    waiting: Notify,
}

impl Stop {
    pub(crate) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self) {
        self.0.raised.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }

    pub(crate) async fn raised(&self) {
        // A wait that exists before the flag is read cannot miss a flag that is raised after.
        let notified = self.0.waiting.notified();
        if !self.is_raised() {
            notified.await;
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stop({})", self.is_raised())
    }
}
