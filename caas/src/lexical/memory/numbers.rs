//! Slots by the ids of their chunks.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::ChunkId;

use super::store::Slot;

/// The slots of chunks that are there. Only their numbers are kept: the ids are in the slots.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    slots: HashTable<u32>,
    hasher: RandomState,
}

impl Numbers {
    pub(super) fn find(&self, chunk: ChunkId, slots: &[Slot]) -> Option<u32> {
        self.slots.find(self.hasher.hash_one(chunk), |slot| is_of(slots, *slot, chunk)).copied()
    }

    /// Adds a chunk that is not there, with the slot that it is given next.
    pub(super) fn insert(&mut self, chunk: ChunkId, slot: u32, slots: &[Slot]) {
        let Self { slots: numbers, hasher } = self;
        let rehash = |slot: &u32| slots.get(*slot as usize).map_or(0, |slot| hasher.hash_one(slot.chunk));
        numbers.insert_unique(hasher.hash_one(chunk), slot, rehash);
    }

    pub(super) fn remove(&mut self, chunk: ChunkId, slots: &[Slot]) {
        let found = self.slots.find_entry(self.hasher.hash_one(chunk), |slot| is_of(slots, *slot, chunk));
        if let Ok(found) = found {
            found.remove();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.allocation_size()
    }
}

fn is_of(slots: &[Slot], slot: u32, chunk: ChunkId) -> bool {
    slots.get(slot as usize).is_some_and(|slot| slot.chunk == chunk)
}
