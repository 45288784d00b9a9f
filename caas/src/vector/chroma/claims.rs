//! Which records of a collection are the vectors of which chunks.
//!
//! A record's name follows from its document, its chunk and its vector. So a record is never another vector than it was, writing
//! one twice changes nothing, and what another process has left is known again by whoever would write the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use agent_primitives::Digest;

use crate::model::{ChunkId, DocumentId};
use crate::vector::{DocumentVectors, VectorError, unit};

/// The name of a record.
pub(super) type Record = u128;

/// A record that is to be written, with its vector at length 1.
pub(super) type Written = (Record, Vec<f32>);

/// Which records are vectors of chunks, and which are not or no longer.
///
/// INVARIANT: what a search answers is claimed. What is left or waste is found by nobody.
#[derive(Debug, Default)]
pub(super) struct Claims {
    documents: HashMap<DocumentId, BTreeMap<ChunkId, Record>>,
    chunks: HashMap<ChunkId, Record>,
    records: HashMap<Record, ChunkId>,
    /// Records of an earlier process, until somebody puts their document.
    left: HashMap<DocumentId, BTreeSet<Record>>,
    /// Records that may be on the server and should not.
    waste: BTreeSet<Record>,
}

/// How a document gets its vectors.
#[derive(Debug)]
pub(super) struct Plan {
    next: BTreeMap<ChunkId, Record>,
    pub(super) written: Vec<Written>,
}

impl Claims {
    pub(super) fn of(left: HashMap<DocumentId, BTreeSet<Record>>) -> Self {
        Self { left, ..Self::default() }
    }

    /// How many chunks have vectors.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Most records that a server may answer.
    pub(super) fn records(&self) -> usize {
        self.records.len() + self.waste.len() + self.left.values().map(BTreeSet::len).sum::<usize>()
    }

    pub(super) fn chunk(&self, record: Record) -> Option<ChunkId> {
        self.records.get(&record).copied()
    }

    /// # Errors
    /// `UnknownChunk`, `Dimension`, `BadVector`.
    pub(super) fn plan(
        &self,
        document: &DocumentId,
        vectors: &DocumentVectors,
        dimensions: usize,
    ) -> Result<Plan, VectorError> {
        let none = BTreeMap::new();
        let old = self.documents.get(document).unwrap_or(&none);
        let mut next = BTreeMap::new();
        for chunk in &vectors.kept {
            next.insert(*chunk, *old.get(chunk).ok_or(VectorError::UnknownChunk(*chunk))?);
        }
        let left = self.left.get(document);
        let there = |chunk: &ChunkId, record: &Record| {
            old.get(chunk) == Some(record) || left.is_some_and(|left| left.contains(record))
        };
        let mut written = Vec::new();
        for (index, (chunk, vector)) in vectors.new.iter().enumerate() {
            if self.chunks.contains_key(chunk) && !old.contains_key(chunk) {
                return Err(VectorError::UnknownChunk(*chunk));
            }
            let vector = unit(vector, dimensions, index)?;
            let record = name(document, *chunk, &vector);
            if !there(chunk, &record) {
                written.push((record, vector));
            }
            next.insert(*chunk, record);
        }
        Ok(Plan { next, written })
    }

    /// What is about to be written is waste until it is claimed: whoever asked for it may go away.
    pub(super) fn begin(&mut self, plan: &Plan) {
        self.waste.extend(plan.written.iter().map(|(record, _)| *record));
    }

    /// All that the plan wrote is there.
    pub(super) fn claim(&mut self, document: &DocumentId, plan: Plan) {
        self.disown(document);
        for (chunk, record) in &plan.next {
            self.waste.remove(record);
            self.chunks.insert(*chunk, *record);
            self.records.insert(*record, *chunk);
        }
        self.documents.insert(document.clone(), plan.next);
    }

    /// Nothing of a document is found any more. What it had is waste, and answered.
    pub(super) fn disown(&mut self, document: &DocumentId) -> Vec<Record> {
        let mut had: Vec<Record> = self.left.remove(document).into_iter().flatten().collect();
        for (chunk, record) in self.documents.remove(document).unwrap_or_default() {
            self.chunks.remove(&chunk);
            self.records.remove(&record);
            had.push(record);
        }
        self.waste.extend(&had);
        had
    }

    /// Up to `most` records to delete.
    pub(super) fn waste(&self, most: usize) -> Vec<Record> {
        self.waste.iter().take(most).copied().collect()
    }

    /// Records that are deleted.
    pub(super) fn deleted(&mut self, records: &[Record]) {
        for record in records {
            self.waste.remove(record);
        }
    }
}

fn name(document: &DocumentId, chunk: ChunkId, vector: &[f32]) -> Record {
    let mut all = format!("{}\n{document}\n{chunk}\n", document.as_str().len()).into_bytes();
    all.extend(vector.iter().flat_map(|part| part.to_le_bytes()));
    let digest = Digest::of("agent-os caas vector record v1", &all);
    digest.as_bytes().first_chunk().map_or(0, |bytes| Record::from_be_bytes(*bytes))
}
