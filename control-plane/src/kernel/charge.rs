//! What calls reserve before they run and cost when they are over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{Monotonic, Resource, Signal};
use agent_tool_registry::Meter;
use smallvec::SmallVec;

use super::Inner;
use super::running::Intent;
use super::table::Agent;
use crate::budget::{AccountId, Amounts, Mark, News, NoRoom, Reached, Reservation};
use crate::observe::spans;
use crate::policy::permit::Judged;
use crate::policy::request::Needs;
use crate::recorder::{Actor, Body, Outcome, Source};

/// What the calls of one agent hold, by call number. Bounded by the calls an agent may have in flight.
#[derive(Debug, Default)]
pub(crate) struct Charges(Mutex<HashMap<u64, Charge>>);

/// What one call holds.
#[derive(Debug)]
struct Charge {
    reservation: Reservation,
    needs: Needs,
    /// When its service began; until then nothing is used.
    began: Option<Began>,
    meter: Option<Meter>,
}

/// When the service of a call began, and for how long the agent had been stopped by then.
#[derive(Clone, Copy, Debug)]
struct Began {
    at: Monotonic,
    stopped: Duration,
}

impl Charges {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Charge>> {
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the service of a call begins, if the call holds something. Returns the time it has left, where a budget
    /// limits that.
    fn begin(&self, call: u64, now: Began) -> Option<Duration> {
        let mut charges = self.lock();
        let charge = charges.get_mut(&call)?;
        charge.began = Some(now);
        charge.reservation.time
    }

    /// The meter on which the tool of a call counts.
    pub(crate) fn meter(&self, call: u64) -> Option<Meter> {
        let mut charges = self.lock();
        charges.get_mut(&call).map(|charge| charge.meter.get_or_insert_default().clone())
    }

    fn drain_waiting(&self) -> Vec<Charge> {
        let mut waiting: Vec<(u64, Charge)> =
            self.lock().extract_if(|_, charge| charge.began.is_none()).collect();
        // In the order of the calls, so that equal runs leave equal records.
        waiting.sort_unstable_by_key(|(call, _)| *call);
        waiting.into_iter().map(|(_, charge)| charge).collect()
    }
}

/// What a call holds, until it is settled. Dropped before that, it gives everything back that was not used.
#[derive(Debug)]
#[must_use = "dropped, it gives back what the call reserved"]
pub(crate) struct Hold<'a> {
    kernel: &'a Inner,
    agent: &'a Arc<Agent>,
    call: u64,
    /// The limits of rules that it was taken under.
    limits: SmallVec<[(Arc<str>, usize); 2]>,
}

impl Hold<'_> {
    /// Whether it was taken under the limits that a judgement has to keep. What an agent has read, or another policy, may
    /// bring others while a call waits.
    pub(crate) fn counts(&self, judged: &Judged) -> bool {
        judged
            .limits()
            .map(|limit| (&limit.key, limit.place))
            .eq(self.limits.iter().map(|(key, place)| (key, *place)))
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.kernel.pay(self.agent, self.call, None);
    }
}

impl Inner {
    /// Reserves what an allowed call could use, and counts it under the limits of its rules. `None` when nothing limits it;
    /// then this costs a few loads. Without `take` it is only looked whether there is room.
    pub(crate) fn reserve<'a>(
        &'a self,
        agent: &'a Arc<Agent>,
        call: u64,
        judged: &Judged,
        take: bool,
    ) -> Result<Option<Hold<'a>>, NoRoom> {
        let limits = judged.limits();
        if limits.clone().next().is_none() && !agent.accounts.is_limited() {
            return Ok(None);
        }
        let Some(needs) = judged.needs() else { return Ok(None) };
        // Not when the call set out: it may have been parked at the gate since, and is counted when it goes on.
        let now = self.timer.monotonic();
        let reserved = agent.accounts.reserve(now, limits.clone(), &needs.amounts(), take)?;
        let Some(reservation) = reserved else { return Ok(None) };
        #[cfg(feature = "metrics")]
        for (resource, amount) in reservation.amounts() {
            super::meters::reserved(resource, amount);
        }
        let charge = Charge { reservation, needs, began: None, meter: None };
        agent.charges.lock().insert(call, charge);
        // Whoever ended the agent meanwhile may have looked for what is held before this was.
        if agent.word.load().closed() {
            self.pay(agent, call, None);
        }
        let limits = limits.map(|limit| (Arc::clone(&limit.key), limit.place)).collect();
        Ok(Some(Hold { kernel: self, agent, call, limits }))
    }

    /// From here on a call that holds something uses it.
    pub(crate) fn begin(&self, agent: &Agent, intent: &Intent) {
        if !intent.held {
            return;
        }
        let now = self.timer.monotonic();
        let began = Began { at: now, stopped: agent.orders.executions().stopped_for() };
        if let Some(time) = agent.charges.begin(intent.call, began) {
            intent.end_at(now.after(time));
        }
    }

    /// Settles what a call holds. Whoever comes second finds nothing to do.
    pub(crate) fn pay(&self, agent: &Agent, call: u64, outcome: Option<&Outcome<'_>>) {
        let charge = agent.charges.lock().remove(&call);
        if let Some(charge) = charge {
            self.settle_charge(agent, charge, outcome);
        }
    }

    /// Gives back what calls hold whose service has not begun, because their agent has ended.
    pub(crate) fn give_back_waiting(&self, agent: &Agent) {
        for charge in agent.charges.drain_waiting() {
            self.settle_charge(agent, charge, None);
        }
    }

    fn settle_charge(&self, agent: &Agent, charge: Charge, outcome: Option<&Outcome<'_>>) {
        let now = self.timer.monotonic();
        let used = used(&charge, now, agent.orders.executions().stopped_for(), outcome);
        #[cfg(feature = "metrics")]
        for (resource, amount) in charge.reservation.amounts() {
            super::meters::given_back(resource, amount);
        }
        self.tell(agent.accounts.settle(charge.reservation, now, &used));
    }

    /// Records the marks that accounts have reached, and stops the agents of those that are used up.
    pub(crate) fn tell(&self, news: News) {
        for reached in news {
            let Reached { account, resource, used, limit, mark } = &reached;
            let (name, resource) = (account.to_string(), resource.to_string());
            let exhausted = *mark == Mark::Exhausted;
            spans::reached(&reached);
            let body =
                Body::Budget { account: &name, resource: &resource, used: *used, limit: *limit, exhausted };
            // A recorder that fails here has already panicked the kernel, which closed every gate.
            let _ = self.append(Source::KERNEL, 0, body);
            if exhausted {
                let reason = format!("{name} has used up its {resource}");
                self.stop_below(account, &reason);
            }
        }
    }

    fn stop_below(&self, account: &AccountId, reason: &str) {
        let below = |agent: &Arc<Agent>| match account {
            AccountId::Kernel => true,
            AccountId::Tenant(tenant) => agent.tenant.as_ref() == Some(tenant),
            AccountId::Agent(id) | AccountId::Task(id) => {
                agent.id == *id || agent.lineage.iter().any(|ancestor| ancestor.id == *id)
            }
        };
        for agent in self.table.all_live().iter().filter(|agent| below(agent)) {
            // An agent that has ended meanwhile needs no stop.
            let _ = self.raise(agent, Signal::Budget, Actor::Kernel, reason);
        }
    }
}

/// What a call that is over has used.
fn used(charge: &Charge, now: Monotonic, stopped: Duration, outcome: Option<&Outcome<'_>>) -> Amounts {
    let mut used = Amounts::default();
    let Some(began) = charge.began else { return used };
    // Time for which the agent was stopped is put on no account, as it is put on no deadline.
    let took = now.since(began.at).saturating_sub(stopped.saturating_sub(began.stopped));
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let received = match outcome {
        // What a write reports is what was sent.
        Some(Outcome::Done { bytes, .. }) => (*bytes).min(charge.needs.receives),
        _ => 0,
    };
    used.add(Resource::Calls, 1);
    used.add(Resource::WallTime, micros);
    used.add(Resource::Bytes, charge.needs.sends.saturating_add(received));
    let reported = charge.meter.as_ref().map(Meter::all).unwrap_or_default();
    for (resource, declared) in &charge.needs.cost {
        if !reported.iter().any(|(known, _)| known == resource) {
            used.add(*resource, *declared);
        }
    }
    for (resource, amount) in reported {
        used.add(resource, amount);
    }
    used
}
