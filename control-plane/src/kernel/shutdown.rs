//! Ending the kernel in order: SIGTERM, wait, SIGKILL, flush, and a report of what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_primitives::{Monotonic, Signal};
use emk::Head;
use serde_json::{Value, json};
use tokio::sync::{Notify, OnceCell};

use super::children;
use super::table::{Agent, ExitStatus};
use super::{Inner, Kernel, State};
use crate::error::CallError;
use crate::recorder::{Actor, Body, Recorded, Source};

/// What a shutdown came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// How many agents ended by themselves after they were sent `SIGTERM`: by their exit call, or with their program.
    pub ended: usize,
    /// How many were ended meanwhile by another signal than `SIGKILL`.
    pub signalled: usize,
    /// How many had to be killed.
    pub killed: usize,
    /// Calls that were under way when their agent ended, and were dropped. Each has its outcome on record.
    pub cancelled: u64,
    /// Length of the record and hash of its last entry, the shutdown itself. Kept elsewhere, it is what the record is
    /// held against later.
    pub head: Head,
    /// How many of its entries were added by the shutdown.
    pub records: u64,
    /// Why the end of the record may not be on disk; `None` when all of it is.
    pub unflushed: Option<String>,
    /// How long it took, from the first `SIGTERM`.
    pub took: Duration,
}

/// Where a shutdown stands.
#[derive(Debug, Default)]
pub(super) struct Closing {
    begun: AtomicBool,
    first: OnceLock<Begun>,
    cancelled: AtomicU64,
    report: OnceCell<ShutdownReport>,
    /// Those that were alive when it began, until the report counts them.
    agents: Mutex<Vec<Arc<Agent>>>,
    /// The last record.
    last: OnceLock<Recorded>,
    /// Notified when there is a report.
    done: Notify,
}

/// What stood when the first shutdown began.
#[derive(Debug)]
struct Begun {
    at: Monotonic,
    records: u64,
}

impl Closing {
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Counts a call that was dropped because its agent ended.
    pub(super) fn count_cancelled(&self) {
        if self.has_begun() {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The agents that were alive when the shutdown began. Set by the first who asks.
    fn agents(&self, live: impl FnOnce() -> Vec<Arc<Agent>>) -> Vec<Arc<Agent>> {
        let mut agents = self.lock();
        if agents.is_empty() {
            *agents = live();
        }
        agents.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Agent>>> {
        // INVARIANT: the only change under this lock is one assignment.
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Ends the kernel in order: starts no further agents, sends `SIGTERM` to every live one, waits until they have
    /// ended or `grace` is over, kills the rest, and makes the record durable and seals it, which blocks on its anchors. Calls
    /// are refused from then on.
    ///
    /// Returns what came of it. A second shutdown returns the same; one beside the first waits with it, for its own grace
    /// period at the most.
    ///
    /// # Errors
    /// The kernel had panicked before, or the recorder could not be flushed; the kernel is down all the same, and
    /// [`Kernel::shutdown_report`] has the report.
    ///
    /// # Cancel safety
    /// Dropped while it waits, agents keep their grace period and the kernel takes their calls, but starts no agent.
    pub async fn shutdown(&self, grace: Duration) -> Result<ShutdownReport, CallError> {
        let inner = &self.inner;
        let closing = &inner.closing;
        if let State::Panicked(reason) = inner.state() {
            return Err(CallError::KernelDown { reason });
        }
        inner.terminate(grace).await;
        let report = closing.report.get_or_init(|| inner.close()).await.clone();
        closing.done.notify_waiters();
        match report.unflushed {
            Some(reason) => Err(CallError::KernelDown { reason }),
            None => Ok(report),
        }
    }

    /// What the shutdown came to; `None` before there was one.
    #[must_use]
    pub fn shutdown_report(&self) -> Option<ShutdownReport> {
        self.inner.closing.report.get().cloned()
    }
}

impl ShutdownReport {
    /// The report as one JSON object, to which fields may be added.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX);
        json!({"ended": self.ended, "signalled": self.signalled, "killed": self.killed,
            "cancelled": self.cancelled, "head": self.head.to_string(), "records": self.records,
            "unflushed": self.unflushed, "took_ms": millis})
    }
}

#[cfg(feature = "control")]
impl Inner {
    /// Whether a shutdown is over.
    pub(crate) fn is_closed(&self) -> bool {
        self.closing.report.initialized()
    }

    /// Resolves when a shutdown is over. Cancel safe.
    pub(crate) async fn closing_done(&self) {
        let mut done = std::pin::pin!(self.closing.done.notified());
        // Registered before the look, so that a shutdown that ends between the look and the wait is not missed.
        done.as_mut().enable();
        if !self.is_closed() {
            done.await;
        }
    }
}

impl Inner {
    /// Sends `SIGTERM` to every live agent, and waits until they have ended or `grace` is over.
    async fn terminate(&self, grace: Duration) {
        let closing = &self.closing;
        if closing.report.initialized() {
            return;
        }
        let now = self.timer.monotonic();
        let deadline = now.after(grace);
        closing.first.get_or_init(|| Begun { at: now, records: self.recorder.head().count });
        closing.begun.store(true, Ordering::SeqCst);
        let agents = closing.agents(|| self.table.all_live());
        for agent in &agents {
            children::start_grace(agent, deadline);
            let _ = self.raise(agent, Signal::Term, Actor::Host, "shutdown");
        }
        for agent in &agents {
            let _ = self.until(deadline, self.changed(agent, |_| false)).await;
        }
    }

    /// Kills whoever is left and makes the record durable.
    async fn close(&self) -> ShutdownReport {
        let closing = &self.closing;
        let _panicked_before = self.down.set(State::Shutdown);
        self.kill_all("shutdown", Actor::Host);
        let agents = std::mem::take(&mut *closing.lock());
        // The process may end after this, and with it whoever would see to what is left of their programs.
        for agent in &agents {
            self.settle_orders(agent).await;
        }
        let unflushed = match self.state() {
            State::Panicked(reason) => Some(reason),
            _ => self.flush_last().await.err().map(|error| error.to_string()),
        };
        let ended = |which: fn(&ExitStatus) -> bool| {
            agents.iter().filter(|agent| agent.ended().is_some_and(which)).count()
        };
        let (at, before) =
            closing.first.get().map_or((self.timer.monotonic(), 0), |begun| (begun.at, begun.records));
        let head = self.recorder.head();
        ShutdownReport {
            ended: ended(|status| !matches!(status, ExitStatus::Signaled { .. })),
            signalled: ended(
                |status| matches!(status, ExitStatus::Signaled { signal, .. } if *signal != Signal::Kill),
            ),
            killed: ended(|status| matches!(status, ExitStatus::Signaled { signal: Signal::Kill, .. })),
            cancelled: closing.cancelled.load(Ordering::Relaxed),
            records: head.count.saturating_sub(before),
            head,
            unflushed,
            took: self.timer.monotonic().since(at),
        }
    }

    /// The last record, and the wait until all of them are on disk.
    async fn flush_last(&self) -> Result<(), CallError> {
        // A shutdown that was given up may have written it already.
        let last = match self.closing.last.get() {
            Some(last) => last,
            None => {
                let recorded = self.append(Source::KERNEL, 0, Body::Shutdown)?;
                self.closing.last.get_or_init(|| recorded)
            }
        };
        let durable = self.recorder.durable(last).await;
        // So that the last seal stands for all of the record; there is nothing else to do meanwhile.
        let sealed = durable.and_then(|()| self.recorder.seal());
        sealed.map_err(|error| self.recorder_failed(&error))
    }
}
