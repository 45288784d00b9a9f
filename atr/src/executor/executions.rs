//! All programs under way for one agent, so that what is done to the agent is done to each of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{Monotonic, Timer};
use tokio::sync::Notify;

use super::session::{Control, Held, Order};
use crate::error::ToolError;

/// Most calls that wait while their agent is stopped.
const MAX_WAITING: usize = 64;

/// What runs on behalf of one agent. Clones share it.
///
/// An order reaches everything that is registered, and everything that registers later: what starts while the agent is
/// stopped waits, what would start after a kill is refused.
#[derive(Clone)]
pub struct Executions(Arc<Shared>);

struct Shared {
    timer: Arc<dyn Timer>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    running: BTreeMap<u64, Arc<dyn Control>>,
    next: u64,
    waiting: usize,
    stopped_since: Option<Monotonic>,
    stopped_before: Duration,
    killed: bool,
}

impl Executions {
    /// Nothing under way; time is told by `timer`.
    #[must_use]
    pub fn new(timer: Arc<dyn Timer>) -> Self {
        Self(Arc::new(Shared { timer, state: Mutex::default(), changed: Notify::new() }))
    }

    /// Gives an order to everything under way, without waiting for it to take hold.
    pub fn order(&self, order: Order) {
        let now = self.0.timer.monotonic();
        let running: Vec<Arc<dyn Control>> = {
            let mut state = self.lock();
            match order {
                Order::Stop => state.stopped_since = state.stopped_since.or(Some(now)),
                Order::Continue => state.go_on(now),
                Order::Kill => state.killed = true,
                Order::Terminate => {}
            }
            // INVARIANT: given under the lock, so that two orders reach every program in the same order.
            state.running.values().for_each(|control| control.order(order));
            state.running.values().map(Arc::clone).collect()
        };
        drop(running);
        self.0.changed.notify_waiters();
    }

    /// Resolves once the last order has taken hold everywhere, with how it did, in the order in which they were started.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait and nothing else.
    pub async fn held(&self) -> Vec<Held> {
        let running = self.under_way();
        let mut held = Vec::with_capacity(running.len());
        for control in running {
            held.push(control.held().await);
        }
        held
    }

    /// What reaches each program under way, in the order in which they were started.
    #[must_use]
    pub fn under_way(&self) -> Vec<Arc<dyn Control>> {
        self.lock().running.values().map(Arc::clone).collect()
    }

    /// How many programs are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().running.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For how long it has been stopped in all. Deadlines of calls are put off by what this grows.
    #[must_use]
    pub fn stopped_for(&self) -> Duration {
        let now = self.0.timer.monotonic();
        let state = self.lock();
        state.stopped_before + state.stopped_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Whether what is under way is stopped.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped_since.is_some()
    }

    /// Waits until something may start. An executor waits here before it prepares anything.
    ///
    /// # Errors
    /// [`ToolError::Killed`] after a kill, [`ToolError::Stopped`] when 64 calls wait already.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue.
    pub async fn admitted(&self) -> Result<(), ToolError> {
        let mut place: Option<Place<'_>> = None;
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.lock();
                if state.killed {
                    return Err(ToolError::Killed);
                }
                if state.stopped_since.is_none() {
                    break;
                }
                if place.is_none() {
                    if MAX_WAITING <= state.waiting {
                        return Err(ToolError::Stopped);
                    }
                    state.waiting += 1;
                    place = Some(Place(self));
                }
            }
            changed.await;
        }
        drop(place);
        Ok(())
    }

    /// Adds a program that is about to start, until what this returns is dropped. If everything was stopped meanwhile,
    /// so is the program.
    ///
    /// # Errors
    /// [`ToolError::Killed`] after a kill; the program must not start.
    pub fn register(&self, control: Arc<dyn Control>) -> Result<Registered, ToolError> {
        let mut state = self.lock();
        if state.killed {
            return Err(ToolError::Killed);
        }
        if state.stopped_since.is_some() {
            control.order(Order::Stop);
        }
        let key = state.next;
        state.next += 1;
        state.running.insert(key, control);
        drop(state);
        Ok(Registered { executions: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: each change is one assignment or one map operation, so a poisoned state is still whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn go_on(&mut self, now: Monotonic) {
        if let Some(since) = self.stopped_since.take() {
            self.stopped_before += now.since(since);
        }
    }
}

impl fmt::Debug for Executions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().running.values()).finish()
    }
}

/// A place in the queue of calls that wait for their agent to go on.
struct Place<'a>(&'a Executions);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

/// Keeps a program within reach. Drop it when nothing of the program is left.
#[derive(Debug)]
#[must_use = "a program that is not kept registered is reached by no signal"]
pub struct Registered {
    executions: Executions,
    key: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = self.executions.lock().running.remove(&self.key);
        drop(gone);
    }
}
