//! Services under way.
//!
//! A service belongs to the life of its agent, not to whoever polls the call: ending the agent drops it at once, also
//! when the caller holds the call's future and never polls it again.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::Poll;

use agent_primitives::Monotonic;
use agent_primitives::clock::Sleep;
use agent_tool_registry::{Canceller, ToolError};

use super::Inner;
use super::syscall::Passage;
use super::table::Agent;
use crate::call::Reply;
use crate::error::CallError;
use crate::recorder::{Body, Outcome};

/// A service that has its permit.
pub(crate) type Service = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send>>;

/// An intent on record, and whether its outcome is too.
#[derive(Debug)]
pub(crate) struct Intent {
    pub(crate) call: u64,
    /// When the call was made; the caller's own deadline counts from here.
    pub(crate) called: Monotonic,
    pub(crate) started: Monotonic,
    /// Whether the call holds something of a budget or limit.
    pub(crate) held: bool,
    /// When it has used up the time it has, if a budget limits that.
    ends: OnceLock<Monotonic>,
    settled: AtomicBool,
}

impl Intent {
    pub(crate) fn new(passage: Passage<'_>, held: bool) -> Self {
        let Passage { number: call, called, started, .. } = passage;
        Self { call, called, started, held, ends: OnceLock::new(), settled: AtomicBool::new(false) }
    }

    /// Cuts the call off at `ends`.
    pub(crate) fn end_at(&self, ends: Monotonic) {
        let _ = self.ends.set(ends);
    }

    /// `true` for the one caller who is to record the outcome.
    pub(crate) fn claim(&self) -> bool {
        !self.settled.swap(true, Ordering::SeqCst)
    }
}

/// The services of one agent, by call number. Bounded by the calls an agent may have in flight.
#[derive(Default)]
pub(crate) struct Running(Mutex<HashMap<u64, Arc<Slot>>>);

/// One service. Locked while it is polled.
struct Slot {
    intent: Arc<Intent>,
    canceller: Option<Canceller>,
    service: Mutex<Option<Service>>,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({})", self.lock().len())
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Slot>>> {
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels and drops every service, and answers the intents that have no outcome because of it.
    ///
    /// One that is being polled on another thread at this moment is dropped, and its outcome recorded, by that thread.
    pub(crate) fn cancel(&self) -> Vec<Arc<Intent>> {
        let mut slots: Vec<Arc<Slot>> = self.lock().drain().map(|(_, slot)| slot).collect();
        // So that equal runs leave equal records.
        slots.sort_unstable_by_key(|slot| slot.intent.call);
        let mut cancelled = Vec::new();
        for slot in slots {
            if let Some(canceller) = &slot.canceller {
                canceller.cancel();
            }
            let service = match slot.service.try_lock() {
                Ok(mut service) => service.take(),
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
                Err(TryLockError::WouldBlock) => continue,
            };
            discard(service);
            cancelled.push(Arc::clone(&slot.intent));
        }
        cancelled
    }
}

/// Takes a service out of its agent's list when the call is over, however it ends.
struct Listed<'a> {
    agent: &'a Agent,
    slot: Arc<Slot>,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.agent.running.lock().remove(&self.slot.intent.call);
        let service = self.slot.service.lock().unwrap_or_else(PoisonError::into_inner).take();
        discard(service);
    }
}

impl Inner {
    /// Runs a service until it is done, its deadline passes or its agent is ended, whichever is first; it is dropped in
    /// the last two cases. A panic inside it, or while it is dropped, ends this call and nothing else.
    ///
    /// A step of the service that was being taken when the agent ended may finish on its thread; none begins after.
    /// The deadline is noticed when the call is polled: a call that nobody polls stands still. It is put off by the time for
    /// which the agent is stopped meanwhile.
    pub(crate) async fn watch(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        deadline: Option<Monotonic>,
        canceller: Option<Canceller>,
        service: Service,
    ) -> Result<Reply, CallError> {
        let ends = intent.ends.get().copied();
        let deadline = [deadline, ends].into_iter().flatten().min();
        let slot = Slot { intent: Arc::clone(intent), canceller, service: Mutex::new(Some(service)) };
        let listed = Listed { agent, slot: Arc::new(slot) };
        agent.running.lock().insert(intent.call, Arc::clone(&listed.slot));
        if deadline.is_some_and(|deadline| deadline <= self.timer.monotonic()) {
            return Err(CallError::Timeout);
        }
        let stopped_before = agent.orders.executions().stopped_for();
        let ends = || {
            let stopped = agent.orders.executions().stopped_for().saturating_sub(stopped_before);
            deadline.map(|deadline| deadline.after(stopped))
        };
        let mut told = pin!(self.tell_orders(agent));
        let mut expired: Option<Sleep> = None;
        let result = poll_fn(|context| {
            if let Poll::Ready(result) = self.step(agent, &listed.slot, context) {
                return Poll::Ready(result);
            }
            if told.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(self.dead(agent)));
            }
            while let Some(deadline) = ends() {
                if deadline <= self.timer.monotonic() {
                    return Poll::Ready(Err(CallError::Timeout));
                }
                if expired
                    .get_or_insert_with(|| self.timer.sleep_until(deadline))
                    .as_mut()
                    .poll(context)
                    .is_pending()
                {
                    break;
                }
                expired = None;
            }
            Poll::Pending
        })
        .await;
        if agent.word.load().closed() {
            // What the call ran is to be gone when it answers that its agent is.
            discard(listed.slot.service.lock().unwrap_or_else(PoisonError::into_inner).take());
            self.see_out(agent).await;
            // The order that ended a program may reach it while the call is looked at: that is no failure of the tool.
            if matches!(result, Err(CallError::Tool(ToolError::Killed | ToolError::Cancelled))) {
                return Err(self.dead(agent));
            }
        }
        result
    }

    /// Resolves when the agent has ended. Until then it puts on record how the orders to its programs took hold: nothing runs
    /// in the background that could, so it is done by the calls in flight.
    pub(crate) async fn tell_orders(&self, agent: &Arc<Agent>) {
        loop {
            self.changed(agent, |agent| agent.orders.is_due()).await;
            if agent.word.load().closed() {
                return;
            }
            tokio::select! {
                biased;
                () = self.changed(agent, |_| false) => return,
                () = self.settle_orders(agent) => {}
            }
        }
    }

    /// One step of a service, unless its agent has ended.
    fn step(
        &self,
        agent: &Agent,
        slot: &Slot,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Result<Reply, CallError>> {
        let mut service = slot.service.lock().unwrap_or_else(PoisonError::into_inner);
        if agent.word.load().closed() {
            discard(service.take());
            return Poll::Ready(Err(self.dead(agent)));
        }
        let Some(running) = service.as_mut() else { return Poll::Ready(Err(self.dead(agent))) };
        match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(Poll::Ready(result)) => Poll::Ready(result),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(CallError::Crashed { panic: panic_text(panic) })),
        }
    }

    /// Records the outcome of an intent, unless somebody has.
    pub(crate) fn settle(
        &self,
        agent: &Agent,
        intent: &Intent,
        outcome: Outcome<'_>,
    ) -> Result<(), CallError> {
        if !intent.claim() {
            return Ok(());
        }
        if outcome == Outcome::Cancelled && agent.word.load().closed() {
            self.closing.count_cancelled();
        }
        let took = self.timer.monotonic().since(intent.started);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let body = Body::Outcome { outcome: outcome.clone(), micros };
        let recorded = self.append(agent.source(), intent.call, body);
        if intent.held {
            self.pay(agent, intent.call, Some(&outcome));
        }
        recorded.map(drop)
    }
}

/// Drops what belongs to an agent or a backend; a panic of its own ends here.
pub(crate) fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        let _ = panic_text(panic);
    }
}

/// What a panic said, cut to a bounded length.
pub(crate) fn panic_text(panic: Box<dyn Any + Send>) -> String {
    /// Longest text kept of a panic, in characters.
    const MAX_TEXT: usize = 1024;
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text: String = text.unwrap_or("a panic without a message").chars().take(MAX_TEXT).collect();
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        #[expect(clippy::mem_forget, reason = "a payload whose own drop panics can only be left alone")]
        std::mem::forget(second);
    }
    text
}
