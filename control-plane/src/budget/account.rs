//! Accounts: whose calls are counted together, and how much of what they may use.
//!
//! A call is booked on every account above it: its agent's life, its agent, those of the agents it descends from, its
//! tenant, the kernel ([`Accounts`]).

mod reservation;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use agent_primitives::{AgentId, Monotonic, Resource, TenantId};
use smallvec::SmallVec;

use super::line::{Line, Mark};
use super::meter::{Limit, Meter};
use super::{Budget, Usage};
use crate::policy::RuleLimit;

pub(crate) use reservation::{Accounts, NoRoom, Reservation};

/// Most limits of rules that one account keeps count of.
const MAX_METERS: usize = 20_000;

/// Whose budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AccountId {
    /// Everybody's.
    Kernel,
    /// All agents of a tenant.
    Tenant(TenantId),
    /// An agent, over all its lives.
    Agent(AgentId),
    /// An agent in the life it has now.
    Task(AgentId),
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("the kernel"),
            Self::Tenant(tenant) => write!(f, "tenant `{tenant}`"),
            Self::Agent(agent) => write!(f, "agent `{agent}`"),
            Self::Task(agent) => write!(f, "the present life of agent `{agent}`"),
        }
    }
}

/// One account.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    /// Whether it limits anything of its own; otherwise only rules count here.
    limited: AtomicBool,
    /// Whose agent's account it is, from the first on that was started.
    owner: OnceLock<Option<TenantId>>,
    books: Mutex<Books>,
}

/// Small while nothing is limited: every agent has two.
#[derive(Debug, Default)]
struct Books {
    lines: Vec<Line>,
    own: Option<Box<Own>>,
    /// By [`RuleLimit::key`], and within that by place among the rule's limits.
    meters: HashMap<Arc<str>, SmallVec<[Meter; 1]>>,
}

/// A limit of the account itself.
#[derive(Debug, Default)]
struct Own {
    limit: Limit,
    meter: Meter,
}

/// An account reached a mark.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) account: AccountId,
    pub(crate) resource: Resource,
    pub(crate) used: u64,
    pub(crate) limit: u64,
    pub(crate) mark: Mark,
}

/// Few enough at a time for the stack.
pub(crate) type News = SmallVec<[Reached; 2]>;

impl Account {
    pub(crate) fn new(id: AccountId) -> Self {
        Self { id, limited: AtomicBool::new(false), owner: OnceLock::new(), books: Mutex::default() }
    }

    /// Whether it is the account of an agent of this tenant, which it is from now on if it was nobody's.
    pub(crate) fn belongs_to(&self, tenant: Option<&TenantId>) -> bool {
        self.owner.get_or_init(|| tenant.cloned()).as_ref() == tenant
    }

    /// The same limits, of which nothing is used, and nobody's yet.
    pub(crate) fn anew(&self) -> Self {
        let books = self.lock();
        let lines = books.lines.iter().map(|line| Line::new(line.resource, line.limit)).collect();
        let own = books.own.as_ref();
        let own = own.map(|own| Box::new(Own { limit: own.limit, meter: Meter::default() }));
        Self {
            id: self.id.clone(),
            limited: AtomicBool::new(self.is_limited()),
            owner: OnceLock::new(),
            books: Mutex::new(Books { lines, own, meters: HashMap::new() }),
        }
    }

    /// Sets the limits that `budget` names, and leaves the others.
    pub(crate) fn set(&self, budget: &Budget) -> News {
        let mut books = self.lock();
        let mut news = News::new();
        for (resource, limit) in &budget.limits {
            let line = books.lines.iter_mut().find(|line| line.resource == *resource);
            let reached = match line {
                Some(line) => line.set_limit(*limit).map(|mark| self.reached(line, mark)),
                None => {
                    books.lines.push(Line::new(*resource, *limit));
                    None
                }
            };
            news.extend(reached);
        }
        if budget.rate.is_some() || budget.concurrency.is_some() {
            let Limit { rate, concurrency, .. } = &mut books.own.get_or_insert_default().limit;
            *rate = budget.rate.or(*rate);
            *concurrency = budget.concurrency.or(*concurrency);
        }
        let limited = !books.lines.is_empty() || books.own.is_some();
        self.limited.store(limited, Ordering::Release);
        news
    }

    /// Books what was used already.
    pub(crate) fn charge(&self, resource: Resource, amount: u64) -> News {
        if self.is_limited() { self.lock().charge(self, resource, amount) } else { News::new() }
    }

    pub(crate) fn usage(&self) -> Vec<Usage> {
        let books = self.lock();
        let usage = |line: &Line| Usage {
            resource: line.resource,
            limit: line.limit,
            used: line.used,
            reserved: line.reserved,
        };
        books.lines.iter().map(usage).collect()
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }

    /// Whether forgetting the account changes nothing.
    pub(crate) fn is_idle(&self, now: Monotonic) -> bool {
        let mut books = self.lock();
        !self.is_limited() && books.forget_idle(now) == 0
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // INVARIANT: nothing that can panic runs under this lock, so poisoned books are still whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self, line: &Line, mark: Mark) -> Reached {
        let (resource, used, limit) = (line.resource, line.used, line.limit);
        Reached { account: self.id.clone(), resource, used, limit, mark }
    }
}

impl Books {
    fn charge(&mut self, account: &Account, resource: Resource, amount: u64) -> News {
        let line = self.lines.iter_mut().find(|line| line.resource == resource);
        line.and_then(|line| line.charge(amount).map(|mark| account.reached(line, mark)))
            .into_iter()
            .collect()
    }

    /// The meter of a rule's limit; `None` when there are too many already.
    fn meter(&mut self, limit: &RuleLimit, now: Monotonic) -> Option<&mut Meter> {
        if !self.meters.contains_key(&limit.key) {
            if MAX_METERS <= self.meters.len() && MAX_METERS <= self.forget_idle(now) {
                return None;
            }
            self.meters.insert(Arc::clone(&limit.key), SmallVec::new());
        }
        let meters = self.meters.get_mut(&limit.key)?;
        if meters.len() <= limit.place {
            meters.resize_with(limit.place + 1, Meter::default);
        }
        meters.get_mut(limit.place)
    }

    fn forget_idle(&mut self, now: Monotonic) -> usize {
        self.meters.retain(|_, meters| !meters.iter_mut().all(|meter| meter.is_idle(now)));
        self.meters.len()
    }
}
