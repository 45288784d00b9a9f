//! How much memory a guest may have.

use std::sync::Arc;

use wasmtime::{ResourceLimiter, Result};

use super::gate::Gate;

/// Most linear memories of one guest.
pub(super) const MEMORIES: usize = 1;
/// Most tables of one guest.
pub(super) const TABLES: usize = 8;
/// Most entries of one table.
pub(super) const TABLE_ENTRIES: usize = 10_000;
/// Most core instances that one guest is made of.
pub(super) const INSTANCES: usize = 8;

/// Counts the memory and the tables of one guest against its limit.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    memory: usize,
    tables: usize,
    refused: bool,
    gate: Arc<Gate>,
}

impl Budget {
    /// At most `limit` bytes.
    pub(super) fn new(limit: u64, gate: Arc<Gate>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { limit, memory: 0, tables: 0, refused: false, gate }
    }

    /// Whether something was refused. It ends a guest that is being instantiated, and no other.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Takes `memory` and `tables` if they fit.
    fn take(&mut self, memory: usize, tables: usize) -> bool {
        let fits = memory.checked_add(tables).filter(|both| *both <= self.limit);
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
