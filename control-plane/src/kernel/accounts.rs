//! The kernel's accounts, and what the host does with them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::{AgentId, Monotonic, Resource, TenantId};

use super::{Inner, Kernel};
use crate::budget::{Account, AccountId, Accounts, Budget, Usage};
use crate::error::{CallError, SignalError};
use crate::recorder::{Body, Source};

/// Most accounts of tenants and agents one kernel keeps. One that limits nothing and counts nothing any more makes room.
pub const MAX_ACCOUNTS: usize = 2_000_000;

/// The accounts that outlive the agents they belong to: those of tenants and of agents' names.
#[derive(Debug)]
pub(crate) struct AccountTable {
    kernel: Arc<Account>,
    others: Mutex<HashMap<AccountId, Arc<Account>>>,
}

/// There is no room for another account.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooManyAccounts;

impl AccountTable {
    pub(super) fn new() -> Self {
        Self { kernel: Arc::new(Account::new(AccountId::Kernel)), others: Mutex::default() }
    }

    /// The accounts of an agent that starts, with those of an earlier life of the same name.
    pub(super) fn of(
        &self,
        agent: &AgentId,
        tenant: Option<&TenantId>,
        parent: Option<&Accounts>,
        now: Monotonic,
    ) -> Result<Accounts, TooManyAccounts> {
        let own =
            parent.map(|parent| [&parent.task, &parent.agent].into_iter().chain(&parent.above).cloned());
        let above = own.into_iter().flatten().collect();
        let owner = tenant;
        let tenant = tenant.map(|tenant| self.open(AccountId::Tenant(tenant.clone()), now)).transpose()?;
        let task = Arc::new(Account::new(AccountId::Task(agent.clone())));
        let agent = self.of_agent(agent, owner, now)?;
        Ok(Accounts { task, agent, above, tenant, kernel: Arc::clone(&self.kernel) })
    }

    /// What an agent of this name has used counts for the next one, unless that is another tenant's: it has the same limits
    /// and begins anew.
    fn of_agent(
        &self,
        agent: &AgentId,
        owner: Option<&TenantId>,
        now: Monotonic,
    ) -> Result<Arc<Account>, TooManyAccounts> {
        let id = AccountId::Agent(agent.clone());
        let account = self.open(id.clone(), now)?;
        if account.belongs_to(owner) {
            return Ok(account);
        }
        let account = Arc::new(account.anew());
        let _ = account.belongs_to(owner);
        self.lock().insert(id, Arc::clone(&account));
        Ok(account)
    }

    pub(super) fn open(&self, id: AccountId, now: Monotonic) -> Result<Arc<Account>, TooManyAccounts> {
        if id == AccountId::Kernel {
            return Ok(Arc::clone(&self.kernel));
        }
        let mut others = self.lock();
        if let Some(account) = others.get(&id) {
            return Ok(Arc::clone(account));
        }
        if MAX_ACCOUNTS <= others.len() {
            others.retain(|_, account| 1 < Arc::strong_count(account) || !account.is_idle(now));
            if MAX_ACCOUNTS <= others.len() {
                return Err(TooManyAccounts);
            }
        }
        let account = Arc::new(Account::new(id.clone()));
        others.insert(id, Arc::clone(&account));
        Ok(account)
    }

    fn find(&self, id: &AccountId) -> Option<Arc<Account>> {
        match id {
            AccountId::Kernel => Some(Arc::clone(&self.kernel)),
            _ => self.lock().get(id).cloned(),
        }
    }

    /// Whether an account limits something of its own.
    pub(super) fn limits(&self, id: &AccountId) -> bool {
        self.find(id).is_some_and(|account| account.is_limited())
    }

    /// Forgets the account of an agent that has ended, if nothing is to be remembered.
    pub(super) fn close(&self, agent: &AgentId, now: Monotonic) {
        let id = AccountId::Agent(agent.clone());
        let mut others = self.lock();
        // Two are the table's and the ended cell's own.
        let idle = |account: &Arc<Account>| Arc::strong_count(account) <= 2 && account.is_idle(now);
        if others.get(&id).is_some_and(idle) {
            others.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountId, Arc<Account>>> {
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Sets the limits of an account that `budget` names and leaves its others as they are. What was used stays used. An
    /// agent that `SIGBUDGET` stopped goes on once the host sends it `SIGCONT`.
    ///
    /// # Errors
    /// No live agent for [`AccountId::Task`], more than [`MAX_ACCOUNTS`], or a recorder that fails.
    pub fn set_budget(&self, account: &AccountId, budget: &Budget) -> Result<(), CallError> {
        let inner = &self.inner;
        let cell = inner.account(account)?;
        for (resource, limit) in &budget.limits {
            let action = format!("limits {account} to {}", resource.amount(*limit));
            inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        }
        if let Some(rate) = budget.rate {
            let action = format!("limits the rate of {account} to {rate}");
            inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        }
        if let Some(calls) = budget.concurrency {
            let action = format!("limits {account} to {calls} calls at once");
            inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        }
        inner.tell(cell.set(budget));
        Ok(())
    }

    /// Books what was used outside of calls, such as the tokens of the model behind an agent: on the account and on those
    /// above it. It is booked even if it is more than is left, since it has been used.
    ///
    /// # Errors
    /// No live agent for [`AccountId::Task`] or [`AccountId::Agent`], or a recorder that fails.
    pub fn spend(&self, account: &AccountId, resource: Resource, amount: u64) -> Result<(), CallError> {
        let inner = &self.inner;
        let chain: Vec<Arc<Account>> = match account {
            AccountId::Agent(id) | AccountId::Task(id) => {
                let cell = inner.table.live(id.as_str());
                let cell = cell.ok_or_else(|| SignalError::NoSuchAgent(id.to_string()))?;
                cell.accounts.all().into_iter().flatten().cloned().collect()
            }
            AccountId::Tenant(_) => vec![inner.account(account)?, inner.account(&AccountId::Kernel)?],
            AccountId::Kernel => vec![inner.account(account)?],
        };
        let action = format!("books {} on {account}", resource.amount(amount));
        inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        for account in chain {
            inner.tell(account.charge(resource, amount));
        }
        Ok(())
    }

    /// What an account has used of each resource that it limits; empty when it limits none or is not known.
    #[must_use]
    pub fn usage(&self, account: &AccountId) -> Vec<Usage> {
        let inner = &self.inner;
        let found = match account {
            AccountId::Task(id) => inner.table.live(id.as_str()).map(|cell| Arc::clone(&cell.accounts.task)),
            _ => inner.accounts.find(account),
        };
        found.map(|account| account.usage()).unwrap_or_default()
    }
}

impl Inner {
    fn account(&self, id: &AccountId) -> Result<Arc<Account>, CallError> {
        let missing = |id: &AgentId| SignalError::NoSuchAgent(id.to_string());
        match id {
            AccountId::Task(agent) => {
                let task = self.table.live(agent.as_str()).map(|cell| Arc::clone(&cell.accounts.task));
                Ok(task.ok_or_else(|| missing(agent))?)
            }
            _ => {
                let opened = self.accounts.open(id.clone(), self.timer.monotonic());
                opened.map_err(|TooManyAccounts| CallError::TooManyAccounts { limit: MAX_ACCOUNTS })
            }
        }
    }
}
