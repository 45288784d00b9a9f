//! A graph over the vectors, so that not every one is compared.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use hnsw_rs::prelude::{Distance, Hnsw};

use super::exact::{Table, dot};
use super::{Answer, DocumentVectors, Keep, VectorError, VectorStore, unit};
use crate::model::{ChunkId, DocumentId};

/// Neighbours of a vector in the graph, and how many are looked at when one is put in (Malkov and Yashunin 2018).
const NEIGHBOURS: usize = 24;
const EFFORT_TO_PUT: usize = 200;
/// Layers of the graph, the most that the crate has.
const LAYERS: usize = 16;
/// Vectors for which the graph makes room at first.
const ROOM: usize = 1 << 16;

/// Vectors in memory with a graph over them (HNSW): right from some 50 000 vectors on, where
/// [`ExactVectors`](super::ExactVectors) takes too long.
///
/// A search is approximate: it may miss one of the nearest. A search that the graph has too few hits for, as with a narrow
/// filter, compares every vector instead. Deleted vectors stay in the graph, found by nobody, until they are as many as the
/// others and it is made anew, which the change that comes then waits for.
///
/// Takes some 2.5 times the memory of exact vectors. Nothing is on disk.
pub struct HnswVectors {
    /// Vectors that a search looks at for each that it answers.
    effort: usize,
    state: RwLock<State>,
}

struct State {
    table: Table,
    graph: Graph,
}

struct Graph {
    /// Its numbers are places in `chunks`.
    nodes: Hnsw<'static, f32, Angle>,
    /// The chunk of each node; `None` for what was deleted.
    chunks: Vec<Option<ChunkId>>,
    nodes_of: HashMap<ChunkId, usize>,
}

/// One less the cosine of unit vectors.
#[derive(Clone, Copy, Debug, Default)]
struct Angle;

impl Distance<f32> for Angle {
    fn eval(&self, one: &[f32], other: &[f32]) -> f32 {
        (1.0 - dot(one, other)).max(0.0)
    }
}

impl HnswVectors {
    /// Vectors that a search looks at for each hit, where nobody says otherwise.
    pub const EFFORT: usize = 8;

    /// An empty store. `effort`, from 1 to 64, is how many vectors a search looks at for each that it answers: more finds more of
    /// the nearest, and takes longer.
    #[must_use]
    pub fn new(effort: usize) -> Self {
        let state = RwLock::new(State { table: Table::default(), graph: Graph::new() });
        Self { effort: effort.clamp(1, 64), state }
    }
}

impl Default for HnswVectors {
    fn default() -> Self {
        Self::new(Self::EFFORT)
    }
}

impl Graph {
    fn new() -> Self {
        let nodes = Hnsw::new(NEIGHBOURS, ROOM, LAYERS, EFFORT_TO_PUT, Angle);
        Self { nodes, chunks: Vec::new(), nodes_of: HashMap::new() }
    }

    fn insert(&mut self, chunk: ChunkId, unit: &[f32]) {
        self.remove(chunk);
        let node = self.chunks.len();
        self.chunks.push(Some(chunk));
        self.nodes_of.insert(chunk, node);
        self.nodes.insert((unit, node));
    }

    fn remove(&mut self, chunk: ChunkId) {
        if let Some(held) = self.nodes_of.remove(&chunk).and_then(|node| self.chunks.get_mut(node)) {
            *held = None;
        }
    }

    fn chunk(&self, node: usize) -> Option<ChunkId> {
        self.chunks.get(node).copied().flatten()
    }

    fn is_worn(&self) -> bool {
        1024 < self.chunks.len() && self.nodes_of.len() < self.chunks.len() / 2
    }
}

impl State {
    fn replace(&mut self, document: &DocumentId, vectors: DocumentVectors) -> Result<(), VectorError> {
        let old = self.table.chunks_of(document).to_vec();
        let kept: BTreeSet<ChunkId> = vectors.kept.iter().copied().collect();
        let new: Vec<ChunkId> = vectors.new.iter().map(|(chunk, _)| *chunk).collect();
        self.table.replace(document, vectors)?;
        for gone in old.iter().filter(|chunk| !kept.contains(chunk)) {
            self.graph.remove(*gone);
        }
        for chunk in new {
            if let Some(unit) = self.table.vector(chunk) {
                self.graph.insert(chunk, unit);
            }
        }
        self.mend();
        Ok(())
    }

    fn delete(&mut self, document: &DocumentId) {
        for chunk in self.table.chunks_of(document) {
            self.graph.remove(*chunk);
        }
        self.table.delete(document);
        self.mend();
    }

    fn mend(&mut self) {
        if self.graph.is_worn() {
            self.graph = Graph::new();
            for (chunk, unit) in self.table.iter() {
                self.graph.insert(chunk, unit);
            }
        }
    }

    fn search(
        &self,
        query: &[f32],
        k: usize,
        effort: usize,
        keep: Keep<'_>,
    ) -> Result<Vec<(ChunkId, f64)>, VectorError> {
        let asked = unit(query, self.table.dimensions(), 0)?;
        let admits = |node: &usize| self.graph.chunk(*node).is_some_and(keep);
        let looked_at = k.saturating_mul(effort).max(EFFORT_TO_PUT);
        let near = self.graph.nodes.search_filter(&asked, k, looked_at, Some(&admits));
        let near = near.iter().filter_map(|near| self.graph.chunk(near.d_id));
        let mut hits: Vec<(ChunkId, f64)> = near
            .filter(|chunk| keep(*chunk))
            .filter_map(|chunk| {
                let cosine = dot(self.table.vector(chunk)?, &asked);
                Some((chunk, f64::from(cosine).clamp(-1.0, 1.0) + 0.0))
            })
            .collect();
        if hits.len() < k {
            return self.table.search(query, k, keep);
        }
        hits.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        hits.dedup_by_key(|(chunk, _)| *chunk);
        Ok(hits)
    }
}

impl VectorStore for HnswVectors {
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()> {
        Box::pin(async move {
            self.state.write().unwrap_or_else(PoisonError::into_inner).table.bind(model, dimensions)
        })
    }

    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()> {
        Box::pin(async move {
            self.state.write().unwrap_or_else(PoisonError::into_inner).replace(document, vectors)
        })
    }

    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()> {
        Box::pin(async move {
            self.state.write().unwrap_or_else(PoisonError::into_inner).delete(document);
            Ok(())
        })
    }

    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>> {
        Box::pin(async move {
            self.state.read().unwrap_or_else(PoisonError::into_inner).search(query, k, self.effort, keep)
        })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move { Ok(self.state.read().unwrap_or_else(PoisonError::into_inner).table.len()) })
    }
}

impl fmt::Debug for HnswVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let (vectors, nodes) = (state.table.len(), state.graph.chunks.len());
        f.debug_struct("HnswVectors").field("vectors", &vectors).field("nodes", &nodes).finish()
    }
}
