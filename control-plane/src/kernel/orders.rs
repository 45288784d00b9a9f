//! What happens to the programs that run for an agent when something happens to the agent.
//!
//! The gate comes first: an order goes out after the agent's word has changed, so what an order reaches is no longer joined
//! by anything new. `SIGSTOP` and what else stops the agent stops its programs, `SIGCONT` resumes them, a `SIGTERM` whose
//! default action is taken asks them to end, and whatever ends the agent kills them. A signal that is masked or left to a
//! handler reaches none of them, as it does nothing to the agent either.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::AgentId;
use agent_tool_registry::executor::{Control, Executions, Held, Order, Usage};
use agent_tool_registry::{Guarantee, GuaranteeSet, Level};

use super::table::Agent;
use super::{Inner, Kernel};
use crate::error::{CallError, SignalError};
use crate::recorder::{Body, Hold, Used};
use crate::signal::Word;

/// Longest that is waited for an order to take hold on every program of an agent.
pub const MAX_SETTLING: Duration = Duration::from_secs(10);

/// The programs of one agent, and the order they were given last.
#[derive(Debug)]
pub(crate) struct Orders {
    executions: Executions,
    last: Mutex<Last>,
}

/// What the programs were told last.
#[derive(Debug, Default)]
struct Last {
    given: Option<Given>,
    /// Whether it was the last order of all.
    killed: bool,
}

/// An order of which it is not on record yet how it took hold.
#[derive(Clone, Debug)]
struct Given {
    order: Order,
    to: Arc<[Arc<dyn Control>]>,
}

impl Orders {
    pub(crate) fn new(executions: Executions) -> Self {
        Self { executions, last: Mutex::default() }
    }

    /// Where everything that runs for the agent is registered.
    pub(crate) fn executions(&self) -> &Executions {
        &self.executions
    }

    /// Gives an order to every program of the agent.
    pub(crate) fn give(&self, order: Order) {
        let mut last = self.lock();
        self.pass_on(&mut last, order);
    }

    /// Stops or resumes the programs, as the agent is stopped or not. Of several threads that change the word, whoever is
    /// last here has seen the last change.
    pub(crate) fn follow(&self, word: &Word) {
        let mut last = self.lock();
        let seen = word.load();
        if seen.closed() || seen.stopped() == self.executions.is_stopped() {
            return;
        }
        self.pass_on(&mut last, if seen.stopped() { Order::Stop } else { Order::Continue });
    }

    /// Whether it is still to be put on record how an order took hold.
    pub(crate) fn is_due(&self) -> bool {
        self.lock().given.is_some()
    }

    fn pass_on(&self, last: &mut Last, order: Order) {
        if last.killed {
            return;
        }
        last.killed = order == Order::Kill;
        let before = self.executions.under_way();
        self.executions.order(order);
        // Read on both sides of the order: one that ended of it has taken it too, and so has one that came just before it.
        let mut to = before;
        for control in self.executions.under_way() {
            if !to.iter().any(|known| Arc::ptr_eq(known, &control)) {
                to.push(control);
            }
        }
        if !to.is_empty() {
            last.given = Some(Given { order, to: to.into() });
        }
    }

    fn last(&self) -> Option<Given> {
        self.lock().given.clone()
    }

    /// `true` for the one caller who is to record how an order took hold that no other has overtaken.
    fn claim(&self, given: &Given) -> bool {
        let mut last = self.lock();
        let claimed = last.given.as_ref().is_some_and(|last| Arc::ptr_eq(&last.to, &given.to));
        if claimed {
            last.given = None;
        }
        claimed
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        // INVARIANT: each change under this lock is one assignment, so a poisoned one is still whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Waits until the last signal to an agent has taken hold on every program that runs for it, and answers how it holds
    /// them: [`Held::Hard`] is a program of which no instruction runs until `SIGCONT`. Empty when none runs. It does not wait
    /// longer than [`MAX_SETTLING`], and then answers without those on which it has not.
    ///
    /// # Errors
    /// No live agent of that name.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait and nothing else.
    pub async fn settled(&self, agent: &AgentId) -> Result<Vec<Held>, SignalError> {
        let cell = self.inner.table.live(agent.as_str());
        let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(agent.to_string()))?;
        self.inner.settle_orders(&cell).await;
        let deadline = self.inner.timer.monotonic().after(MAX_SETTLING);
        let held = self.inner.until(deadline, cell.orders.executions.held()).await;
        Ok(held.unwrap_or_default())
    }
}

impl Inner {
    /// Waits until the last order to the programs of an agent has taken hold, for at most [`MAX_SETTLING`], and puts on record
    /// how. Cancel safe: whoever asks next goes on.
    pub(crate) async fn settle_orders(&self, agent: &Agent) {
        let deadline = self.timer.monotonic().after(MAX_SETTLING);
        while let Some(given) = agent.orders.last() {
            let mut held: Vec<Hold<'_>> = Vec::new();
            for control in given.to.iter() {
                let Some(how) = self.until(deadline, control.held()).await else { return };
                let (level, how) = (control.level().as_str(), how.as_str());
                match held.iter_mut().find(|hold| (hold.level, hold.held) == (level, how)) {
                    Some(hold) => hold.programs += 1,
                    None => held.push(Hold { level, held: how, programs: 1 }),
                }
            }
            if agent.orders.claim(&given) {
                // A recorder that fails here has already panicked the kernel, which closed every gate.
                let body = Body::Ordered { order: given.order.as_str(), held };
                let _ = self.append(agent.source(), 0, body);
            }
        }
    }

    /// Waits until nothing is left of the programs of an agent that has ended, as [`Inner::settle_orders`] does.
    pub(crate) async fn see_out(&self, agent: &Agent) {
        // Whoever closed the gate may not have come to it yet.
        agent.orders.give(Order::Kill);
        self.settle_orders(agent).await;
    }

    /// Puts on record where a program ran, a tool or the agent itself, and what it used.
    pub(crate) fn record_run(
        &self,
        agent: &Agent,
        call: u64,
        level: Level,
        guarantees: GuaranteeSet,
        usage: Usage,
    ) -> Result<(), CallError> {
        let usage = Used {
            cpu: usage.cpu.map(|cpu| u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX)),
            peak_memory: usage.peak_memory,
            peak_processes: usage.peak_processes,
            fuel: usage.fuel,
        };
        let guarantees = guarantees.iter().map(Guarantee::as_str).collect();
        let body = Body::Ran { level: level.as_str(), guarantees, usage };
        self.append(agent.source(), call, body).map(drop)
    }
}
