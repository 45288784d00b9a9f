//! How much memory a guest may have, and all guests of an agent together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use agent_primitives::AgentId;
use wasmtime::{ResourceLimiter, Result};

use super::engine::WHOLE_STACK;
use super::gate::Gate;

/// Most linear memories of one guest.
pub(super) const MEMORIES: usize = 1;
/// Most tables of one guest.
pub(super) const TABLES: usize = 8;
/// Most entries of one table.
pub(super) const TABLE_ENTRIES: usize = 10_000;
/// Most core instances that one guest is made of.
pub(super) const INSTANCES: usize = 8;

/// What the guests of each agent have together.
#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) limit: u64,
    /// INVARIANT: those of agents without guests are forgotten before there are twice as many as were in use the last time.
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    accounts: BTreeMap<AgentId, Weak<Account>>,
    look_at: usize,
}

/// Bytes that the guests of one agent have.
#[derive(Debug)]
struct Account {
    limit: u64,
    used: AtomicU64,
}

impl Accounts {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// Opens the account of a guest's agent for one guest more, with room for its stack. `None`: there is no such room.
    pub(super) fn admit(&self, agent: &AgentId) -> Option<Share> {
        let account = {
            // INVARIANT: each change is one operation on the map or an assignment, so a poisoned one is still whole.
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            match open.accounts.get(agent).and_then(Weak::upgrade) {
                Some(account) => account,
                None => {
                    if open.look_at <= open.accounts.len() {
                        open.accounts.retain(|_, account| 0 < account.strong_count());
                        open.look_at = open.accounts.len().saturating_mul(2).max(64);
                    }
                    let account = Arc::new(Account { limit: self.limit, used: AtomicU64::new(0) });
                    open.accounts.insert(agent.clone(), Arc::downgrade(&account));
                    account
                }
            }
        };
        let mut share = Share { account, bytes: 0 };
        share.becomes(WHOLE_STACK as u64).then_some(share)
    }
}

/// What one guest has of its agent's memory. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    account: Arc<Account>,
    bytes: u64,
}

impl Share {
    /// Makes it this large, if there is room.
    fn becomes(&mut self, bytes: u64) -> bool {
        let others = |used: u64| used.saturating_sub(self.bytes);
        let fits = |used: u64| others(used).checked_add(bytes).filter(|all| *all <= self.account.limit);
        let changed = self.account.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if changed {
            self.bytes = bytes;
        }
        changed
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.account.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts the memory and the tables of one guest against its limit, and against that of its agent.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    memory: usize,
    tables: usize,
    refused: bool,
    gate: Arc<Gate>,
    share: Share,
}

impl Budget {
    /// At most `limit` bytes.
    pub(super) fn new(limit: u64, gate: Arc<Gate>, share: Share) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, memory: 0, tables: 0, refused: false, gate, share }
    }

    /// Whether something was refused. It ends a guest that is being instantiated, and no other.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Takes `memory` and `tables` if they fit.
    fn take(&mut self, memory: usize, tables: usize) -> bool {
        let fits = memory.checked_add(tables).filter(|both| *both <= self.limit);
        let fits = fits.filter(|both| self.share.becomes((*both).saturating_add(WHOLE_STACK) as u64));
        if let Some(both) = fits {
            (self.memory, self.tables) = (memory, tables);
            self.gate.has_memory(both as u64);
        }
        self.refused |= fits.is_none();
        fits.is_some()
    }
}

impl ResourceLimiter for Budget {
    // INVARIANT: there is one memory, so what it is to have is what the guest is to have.
    fn memory_growing(&mut self, _: usize, wanted: usize, most: Option<usize>) -> Result<bool> {
        Ok(most.is_none_or(|most| wanted <= most) && self.take(wanted, self.tables))
    }

    fn table_growing(&mut self, has: usize, wanted: usize, most: Option<usize>) -> Result<bool> {
        if TABLE_ENTRIES < wanted || most.is_some_and(|most| most < wanted) {
            return Ok(false);
        }
        let more = wanted.saturating_sub(has).saturating_mul(size_of::<usize>());
        Ok(self.take(self.memory, self.tables.saturating_add(more)))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
