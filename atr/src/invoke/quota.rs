//! How often, how much and how many at once. Nothing here waits: what is over a limit is refused.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{AgentId, Gcra, Monotonic, Rate, Resource, RetryAfter, ToolId};

use super::CallChain;
use crate::{Meter, ToolContract, ToolError};

/// Most limiters kept at once unless said.
const MAX_LIMITERS: usize = 65_536;

/// Limits on calls. Every principal of a chain is held to them; what none is set for is not limited.
#[derive(Clone, Debug)]
pub struct Quotas {
    each: Option<Rate>,
    each_tool: Option<Rate>,
    tools: BTreeMap<ToolId, Rate>,
    budgets: BTreeMap<(AgentId, Resource), u64>,
    limiters: usize,
}

impl Quotas {
    /// No limit.
    #[must_use]
    pub fn none() -> Self {
        Self {
            each: None,
            each_tool: None,
            tools: BTreeMap::new(),
            budgets: BTreeMap::new(),
            limiters: MAX_LIMITERS,
        }
    }

    /// How often one principal may call, all tools together.
    #[must_use]
    pub fn per_principal(mut self, rate: Rate) -> Self {
        self.each = Some(rate);
        self
    }

    /// How often one principal may call any one tool that has no rate of its own.
    #[must_use]
    pub fn per_tool(mut self, rate: Rate) -> Self {
        self.each_tool = Some(rate);
        self
    }

    /// How often one principal may call this tool.
    #[must_use]
    pub fn tool(mut self, tool: ToolId, rate: Rate) -> Self {
        self.tools.insert(tool, rate);
        self
    }

    /// What one principal may use of a resource, in all. A call reserves what its tool declares to cost, and is charged
    /// what the tool reports, or all of that if it reports nothing. What a tool uses beyond its word is charged too, and
    /// then refuses every call until there is budget again.
    #[must_use]
    pub fn budget(mut self, principal: AgentId, resource: Resource, amount: u64) -> Self {
        self.budgets.insert((principal, resource), amount);
        self
    }

    /// How many limiters are kept at once; 65 536 unless said. One is forgotten only when its whole burst is there again,
    /// so forgetting forgives nothing; when none can be, a call that needs a new one is refused.
    #[must_use]
    pub fn limiters(mut self, most: usize) -> Self {
        self.limiters = most.max(1);
        self
    }

    fn rate_of(&self, tool: &ToolId) -> Option<Rate> {
        self.tools.get(tool).copied().or(self.each_tool)
    }
}

/// A limiter's place: of a principal with one tool, or with all.
type Key = (AgentId, Option<ToolId>);

/// What is used up of the quotas.
#[derive(Debug)]
pub(super) struct Ledger {
    quotas: Quotas,
    limiters: Mutex<BTreeMap<Key, Gcra>>,
    spent: Mutex<BTreeMap<(AgentId, Resource), Spent>>,
    under_way: Mutex<BTreeMap<AgentId, usize>>,
    at_once: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    booked: u64,
    reserved: u64,
}

impl Ledger {
    pub(super) fn new(quotas: Quotas, at_once: usize) -> Self {
        Self {
            quotas,
            limiters: Mutex::default(),
            spent: Mutex::default(),
            under_way: Mutex::default(),
            at_once,
        }
    }

    /// Takes one cell from every limiter that the call has to pass, or from none.
    pub(super) fn admit(&self, chain: &CallChain, tool: &ToolId, now: Monotonic) -> Result<(), ToolError> {
        let mut wanted: Vec<(Key, Rate)> = Vec::new();
        for id in chain.ids() {
            wanted.extend(self.quotas.each.map(|rate| ((id.clone(), None), rate)));
            wanted.extend(self.quotas.rate_of(tool).map(|rate| ((id.clone(), Some(tool.clone())), rate)));
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let mut limiters = lock(&self.limiters);
        let mut wait = Duration::ZERO;
        for (key, rate) in &wanted {
            if let Err(RetryAfter(after)) = limiters.get(key).copied().unwrap_or_default().peek(rate, now) {
                wait = wait.max(after);
            }
        }
        if !wait.is_zero() {
            return Err(ToolError::RateLimited { retry_after: wait });
        }
        let new = wanted.iter().filter(|(key, _)| !limiters.contains_key(key)).count();
        make_room(&mut limiters, new, self.quotas.limiters, now)?;
        for (key, rate) in wanted {
            limiters
                .entry(key)
                .or_default()
                .check(&rate, now)
                .map_err(|RetryAfter(retry_after)| ToolError::RateLimited { retry_after })?;
        }
        Ok(())
    }

    /// Reserves what the tool declares to cost, of every budget of every principal.
    pub(super) fn reserve(
        self: &Arc<Self>,
        chain: &CallChain,
        contract: &ToolContract,
    ) -> Result<Reservation, ToolError> {
        let mut parts = Vec::new();
        if self.quotas.budgets.is_empty() {
            return Ok(Reservation { ledger: Arc::clone(self), parts });
        }
        let mut spent = lock(&self.spent);
        let ids = chain.ids();
        for ((id, resource), limit) in &self.quotas.budgets {
            if !ids.contains(id) {
                continue;
            }
            let cost = contract.cost().get(resource).copied().unwrap_or(0);
            let key = (id.clone(), *resource);
            let Spent { booked, reserved } = spent.get(&key).copied().unwrap_or_default();
            if *limit < booked.saturating_add(reserved).saturating_add(cost) {
                return Err(ToolError::BudgetExceeded { resource: *resource });
            }
            parts.push((key, cost));
        }
        for (key, cost) in &parts {
            let spent = spent.entry(key.clone()).or_default();
            spent.reserved = spent.reserved.saturating_add(*cost);
        }
        Ok(Reservation { ledger: Arc::clone(self), parts })
    }

    /// Takes a place among the calls under way of every principal of the chain.
    pub(super) fn enter(self: &Arc<Self>, chain: &CallChain) -> Result<Place, ToolError> {
        let ids = chain.ids();
        let mut under_way = lock(&self.under_way);
        if ids.iter().any(|id| self.at_once <= under_way.get(*id).copied().unwrap_or(0)) {
            return Err(ToolError::ConcurrencyLimit { limit: self.at_once });
        }
        for id in &ids {
            *under_way.entry((*id).clone()).or_default() += 1;
        }
        Ok(Place { ledger: Arc::clone(self), ids: ids.into_iter().cloned().collect() })
    }

    /// What a principal has been charged.
    pub(super) fn charged(&self, principal: &AgentId, resource: Resource) -> u64 {
        lock(&self.spent).get(&(principal.clone(), resource)).map_or(0, |spent| spent.booked)
    }
}

/// Forgets limiters whose whole burst is there again until `new` more fit.
fn make_room(
    limiters: &mut BTreeMap<Key, Gcra>,
    new: usize,
    most: usize,
    now: Monotonic,
) -> Result<(), ToolError> {
    if limiters.len() + new <= most {
        return Ok(());
    }
    limiters.retain(|_, limiter| now < limiter.whole_at());
    if limiters.len() + new <= most {
        return Ok(());
    }
    let next = limiters.values().map(Gcra::whole_at).min();
    Err(ToolError::RateLimited { retry_after: next.map_or(Duration::MAX, |at| at.since(now)) })
}

/// Budget that is set aside for a call. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Reservation {
    ledger: Arc<Ledger>,
    parts: Vec<((AgentId, Resource), u64)>,
}

impl Reservation {
    /// Charges what was used: what the tool reported, else all that was set aside.
    pub(super) fn settle(mut self, meter: &Meter) {
        let mut spent = lock(&self.ledger.spent);
        for ((id, resource), cost) in self.parts.drain(..) {
            let spent = spent.entry((id, resource)).or_default();
            spent.reserved = spent.reserved.saturating_sub(cost);
            spent.booked = spent.booked.saturating_add(meter.reported(resource).unwrap_or(cost));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let mut spent = lock(&self.ledger.spent);
        for (key, cost) in self.parts.drain(..) {
            if let Some(spent) = spent.get_mut(&key) {
                spent.reserved = spent.reserved.saturating_sub(cost);
            }
        }
    }
}

/// A place among the calls under way.
#[derive(Debug)]
pub(super) struct Place {
    ledger: Arc<Ledger>,
    ids: Vec<AgentId>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = lock(&self.ledger.under_way);
        for id in self.ids.drain(..) {
            if let Entry::Occupied(mut entry) = under_way.entry(id) {
                *entry.get_mut() -= 1;
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // INVARIANT: what is changed under these locks is changed by additions and map operations that do not panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
