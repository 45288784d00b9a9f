//! What is in an index: documents, their chunks, and who took whose place.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use agent_primitives::{Digest, Timestamp};

use super::IndexError;
use super::options::Query;
use crate::assemble::Neighbours;
use crate::filter::Filter;
use crate::model::{Chunk, ChunkId, DocumentId, Metadata};
use crate::shelf::Held;

/// Where a chunk is.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: usize,
    ordinal: usize,
}

/// A chunk of a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'c> {
    pub(super) id: &'c DocumentId,
    pub(super) held: &'c Held,
    pub(super) chunk: &'c Arc<Chunk>,
    pub(super) print: u64,
}

#[derive(Debug, Default)]
pub(super) struct Catalogue {
    slots: Vec<Option<(DocumentId, Held)>>,
    free: Vec<usize>,
    names: BTreeMap<DocumentId, usize>,
    places: HashMap<ChunkId, Place>,
    /// For each document the slots of those that take its place.
    successors: BTreeMap<DocumentId, BTreeSet<usize>>,
    /// Documents that are in force for a time only.
    timed: usize,
}

impl Catalogue {
    pub(super) const MAX_DOCUMENTS: usize = 1 << 22;

    pub(super) fn documents(&self) -> usize {
        self.names.len()
    }

    pub(super) fn chunks(&self) -> usize {
        self.places.len()
    }

    pub(super) fn ids(&self) -> Vec<DocumentId> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn get(&self, document: &DocumentId) -> Option<&Held> {
        let slot = *self.names.get(document)?;
        self.slots.get(slot)?.as_ref().map(|(_, held)| held)
    }

    /// The document that has a chunk.
    pub(super) fn owner(&self, chunk: ChunkId) -> Option<&DocumentId> {
        self.see(chunk).map(|seen| seen.id)
    }

    pub(super) fn see(&self, chunk: ChunkId) -> Option<Seen<'_>> {
        let Place { slot, ordinal } = *self.places.get(&chunk)?;
        let (id, held) = self.slots.get(slot)?.as_ref()?;
        let (chunk, print) = (held.chunks.get(ordinal)?, *held.prints.get(ordinal)?);
        Some(Seen { id, held, chunk, print })
    }

    /// Takes a document in; what its name stood for is gone.
    pub(super) fn insert(&mut self, document: DocumentId, held: Held) {
        self.remove(&document);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        for (ordinal, chunk) in held.chunks.iter().enumerate() {
            self.places.insert(chunk.id, Place { slot, ordinal });
        }
        for replaced in &held.metadata.supersedes {
            self.successors.entry(replaced.clone()).or_default().insert(slot);
        }
        self.timed += usize::from(is_timed(&held.metadata));
        self.names.insert(document.clone(), slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some((document, held));
        }
    }

    pub(super) fn remove(&mut self, document: &DocumentId) -> Option<Held> {
        let slot = self.names.remove(document)?;
        let (_, held) = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        for chunk in &held.chunks {
            self.places.remove(&chunk.id);
        }
        for replaced in &held.metadata.supersedes {
            if let Some(slots) = self.successors.get_mut(replaced) {
                slots.remove(&slot);
                if slots.is_empty() {
                    self.successors.remove(replaced);
                }
            }
        }
        self.timed -= usize::from(is_timed(&held.metadata));
        Some(held)
    }

    /// Whether `document`, taking the place of `replaced`, would in the end take its own.
    ///
    /// # Errors
    /// `SupersessionCycle`.
    pub(super) fn check_succession(
        &self,
        document: &DocumentId,
        replaced: &[DocumentId],
        pending: &BTreeMap<&DocumentId, &[DocumentId]>,
    ) -> Result<(), IndexError> {
        let mut due: Vec<&DocumentId> = replaced.iter().collect();
        let mut seen: BTreeSet<&DocumentId> = BTreeSet::new();
        while let Some(next) = due.pop() {
            if next == document {
                return Err(IndexError::SupersessionCycle(document.clone()));
            }
            if seen.insert(next) {
                let held = || self.get(next).map(|held| held.metadata.supersedes.as_slice());
                due.extend(pending.get(next).copied().or_else(held).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Which slots a question may be answered from, decided once for each document; `None` where that is all of them. Who
    /// asks may know of what is `open` alone.
    pub(super) fn admitted(&self, query: &Query, open: &Filter, now: Timestamp) -> Option<Vec<bool>> {
        let replaced = !query.include_superseded && !self.successors.is_empty();
        if query.filter == Filter::All && *open == Filter::All && self.timed == 0 && !replaced {
            return None;
        }
        let at = query.as_of.unwrap_or(now);
        let admits = |slot: &Option<(DocumentId, Held)>| {
            slot.as_ref().is_some_and(|(id, held)| {
                is_in_force(&held.metadata, at)
                    && open.admits(id, &held.metadata)
                    && (query.include_superseded || !self.is_replaced(id, at, open))
                    && query.filter.admits(id, &held.metadata)
            })
        };
        Some(self.slots.iter().map(admits).collect())
    }

    /// Whether a chunk is one of the index, and of a document that is admitted.
    pub(super) fn keeps(&self, chunk: ChunkId, admitted: Option<&[bool]>) -> bool {
        self.places.get(&chunk).is_some_and(|place| {
            admitted.is_none_or(|admitted| admitted.get(place.slot).copied().unwrap_or(false))
        })
    }

    fn is_replaced(&self, document: &DocumentId, at: Timestamp, open: &Filter) -> bool {
        let successors = self.successors.get(document).into_iter().flatten();
        successors.filter_map(|slot| self.slots.get(*slot)?.as_ref()).any(|(id, held)| {
            let metadata = &held.metadata;
            if !open.admits(id, metadata) {
                return false;
            }
            // Who takes a place takes it for good, from when it was first in force.
            metadata.valid_from.or(metadata.created_at).or(metadata.updated_at).is_none_or(|from| from <= at)
        })
    }

    /// The chunks beside some chunks.
    pub(super) fn around<'a>(&self, found: impl Iterator<Item = (&'a DocumentId, Digest, u32)>) -> Around {
        let mut around = BTreeMap::new();
        for (document, version, ordinal) in found {
            let Some(held) = self.get(document).filter(|held| held.version == version) else { continue };
            for beside in [ordinal.checked_sub(1), ordinal.checked_add(1)].into_iter().flatten() {
                if let Some(chunk) = held.chunks.get(beside as usize) {
                    around.insert((document.clone(), beside), Arc::clone(chunk));
                }
            }
        }
        Around(around)
    }
}

#[derive(Debug)]
pub(super) struct Around(BTreeMap<(DocumentId, u32), Arc<Chunk>>);

impl Neighbours for Around {
    fn chunk(&self, document: &DocumentId, ordinal: u32) -> Option<Arc<Chunk>> {
        self.0.get(&(document.clone(), ordinal)).cloned()
    }
}

fn is_timed(metadata: &Metadata) -> bool {
    metadata.valid_from.is_some() || metadata.valid_to.is_some()
}

fn is_in_force(metadata: &Metadata, at: Timestamp) -> bool {
    metadata.valid_from.is_none_or(|from| from <= at) && metadata.valid_to.is_none_or(|to| at < to)
}
