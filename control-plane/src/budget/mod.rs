//! Budgets: how much an agent, a tenant or everybody may use, and how fast.
//!
//! Accounts form a tree: the kernel's above the tenants', a tenant's above its agents', an agent's (over all its lives)
//! above that of its present life. A call is booked on all of them. Before it runs, the most it could use is reserved, and
//! it is refused if one account has no room for that; when it is over, what it did use is booked and the rest given back.
//! Calls that run beside each other cannot overshoot together.
//!
//! | resource | reserved | booked |
//! | --- | --- | --- |
//! | [`Resource::Calls`] | 1 | 1 |
//! | [`Resource::Bytes`] | what is sent, and the most that may come back | what was sent and came back |
//! | [`Resource::WallTime`] | the call's deadline, or what is left; the call is cut off there | from start to end |
//! | [`Resource::Tokens`], [`Resource::Money`] | the cost the tool's contract declares | what the tool reported with `CallContext::spend`; the declared cost if it reported none |
//!
//! Counted are the calls that policy judges and allows; an agent's own business (close, mask, await, questions, exit) is
//! free. A call that never began, because it was refused, given up or killed first, gives everything back; one that began
//! is booked however it ends, so that cancelling buys nothing. What a tool reports beyond its declared cost is booked, and
//! nothing more is granted then.
//!
//! At 80 % of a limit a [`Mark::Soft`] is recorded, at 100 % a [`Mark::Exhausted`] and `SIGBUDGET` is raised against every
//! live agent below the account, once, until the host sets another limit. Every further call is refused.
//!
//! An account counts a resource from when it is first limited. Accounts live in memory: a new kernel starts with empty ones.

mod account;
mod line;
mod meter;
mod window;

use std::num::NonZeroU32;

use agent_primitives::{Rate, Resource};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use self::account::AccountId;
pub use self::line::Mark;
pub use self::meter::MAX_CONCURRENCY;
pub use self::window::MAX_EXACT;

pub(crate) use self::account::{Account, Accounts, News, NoRoom, Reached, Reservation};
pub(crate) use self::meter::{CostLimit, Limit};

/// What an account may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a budget limits nothing until it is given to an account"]
pub struct Budget {
    pub(crate) limits: Vec<(Resource, u64)>,
    pub(crate) rate: Option<Rate>,
    pub(crate) concurrency: Option<NonZeroU32>,
}

impl Budget {
    /// No limit on anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so much of a resource, in its unit; said twice, the later counts. A limit of zero lets through only what is
    /// free.
    pub fn limit(mut self, resource: Resource, amount: u64) -> Self {
        self.limits.retain(|(known, _)| *known != resource);
        self.limits.push((resource, amount));
        self
    }

    /// At most so many calls in any period, wherever it begins. A rate whose burst is not the number of its cells paces
    /// instead (GCRA): it admits at most the burst and then one call each interval. Refused calls do not count.
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// At most so many calls at once.
    pub fn concurrency(mut self, calls: NonZeroU32) -> Self {
        self.concurrency = Some(calls);
        self
    }
}

/// How much of a resource an account has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Of what.
    pub resource: Resource,
    /// How much there is.
    pub limit: u64,
    /// How much is used. More than the limit when a tool used more than it had declared.
    pub used: u64,
    /// How much calls under way have set aside.
    pub reserved: u64,
}

/// How far up an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// [`AccountId::Task`].
    Task,
    /// [`AccountId::Agent`].
    Agent,
    /// [`AccountId::Tenant`].
    Tenant,
    /// [`AccountId::Kernel`].
    Kernel,
}

impl Level {
    pub(crate) const NAMES: [(&'static str, Self); 4] =
        [("agent", Self::Agent), ("task", Self::Task), ("tenant", Self::Tenant), ("kernel", Self::Kernel)];
}

/// One resource of one account above an agent, as conditions see it and decisions record it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "the host makes them up to ask what a policy would say")]
pub struct BudgetState {
    /// Whose.
    pub level: Level,
    /// Of what.
    pub resource: Resource,
    /// How much there is.
    pub limit: u64,
    /// How much is used, or reserved by calls under way.
    pub used: u64,
}

/// Amounts of some resources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amounts(SmallVec<[(Resource, u64); 4]>);

impl Amounts {
    /// Adds to an amount, or sets it.
    pub(crate) fn add(&mut self, resource: Resource, amount: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, known)) => *known = known.saturating_add(amount),
            None => self.0.push((resource, amount)),
        }
    }

    pub(crate) fn get(&self, resource: Resource) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == resource).map(|(_, amount)| *amount)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Resource, u64)> {
        self.0.iter().copied()
    }
}
