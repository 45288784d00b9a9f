//! Every vector is compared.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{PoisonError, RwLock};

use super::{Answer, DocumentVectors, Keep, VectorError, VectorStore, unit};
use crate::model::{ChunkId, DocumentId};

/// Vectors in memory, all of them compared for each search: exact, and right up to some 50 000 vectors.
///
/// Takes four bytes for each component. Nothing is on disk: an index that is opened again is filled again.
#[derive(Default)]
pub struct ExactVectors(RwLock<Table>);

/// The vectors themselves.
#[derive(Default)]
pub(super) struct Table {
    model: Option<(String, usize)>,
    /// One after another, each of length 1.
    rows: Vec<f32>,
    /// The chunk of each row; `None` for a row that is free.
    chunks: Vec<Option<ChunkId>>,
    free: Vec<usize>,
    places: HashMap<ChunkId, usize>,
    documents: HashMap<DocumentId, Vec<ChunkId>>,
}

impl ExactVectors {
    /// Most vectors of one store.
    pub const MAX: usize = 1 << 22;

    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Table {
    pub(super) fn dimensions(&self) -> usize {
        self.model.as_ref().map_or(0, |(_, dimensions)| *dimensions)
    }

    pub(super) fn bind(&mut self, model: &str, dimensions: usize) -> Result<(), VectorError> {
        match &self.model {
            Some((held, held_dimensions)) if held != model || *held_dimensions != dimensions => {
                Err(VectorError::EmbedderMismatch {
                    held: held.clone(),
                    held_dimensions: *held_dimensions,
                    asked: model.to_owned(),
                    dimensions,
                })
            }
            Some(_) => Ok(()),
            None => {
                self.model = Some((model.to_owned(), dimensions));
                Ok(())
            }
        }
    }

    /// Everything is checked before anything is changed.
    pub(super) fn replace(
        &mut self,
        document: &DocumentId,
        vectors: DocumentVectors,
    ) -> Result<(), VectorError> {
        let old: BTreeSet<ChunkId> = self.documents.get(document).into_iter().flatten().copied().collect();
        if let Some(missing) = vectors.kept.iter().find(|chunk| !old.contains(chunk)) {
            return Err(VectorError::UnknownChunk(*missing));
        }
        let mut units = Vec::with_capacity(vectors.new.len());
        for (index, (chunk, vector)) in vectors.new.iter().enumerate() {
            if self.places.contains_key(chunk) && !old.contains(chunk) {
                return Err(VectorError::UnknownChunk(*chunk));
            }
            units.push((*chunk, unit(vector, self.dimensions(), index)?));
        }
        if ExactVectors::MAX < self.places.len() + units.len() {
            return Err(VectorError::TooMany { limit: ExactVectors::MAX });
        }
        let kept: BTreeSet<ChunkId> = vectors.kept.iter().copied().collect();
        for gone in old.difference(&kept) {
            self.free(*gone);
        }
        for (chunk, unit) in &units {
            self.put(*chunk, unit);
        }
        let mut held: Vec<ChunkId> =
            kept.into_iter().chain(units.into_iter().map(|(chunk, _)| chunk)).collect();
        held.sort_unstable();
        held.dedup();
        self.documents.insert(document.clone(), held);
        Ok(())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn free(&mut self, chunk: ChunkId) {
        if let Some(row) = self.places.remove(&chunk) {
            if let Some(held) = self.chunks.get_mut(row) {
                *held = None;
            }
            self.free.push(row);
        }
    }

    fn put(&mut self, chunk: ChunkId, unit: &[f32]) {
        self.free(chunk);
        let row = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            self.rows.resize(self.rows.len() + unit.len(), 0.0);
            self.chunks.len() - 1
        });
        let from = row * unit.len();
        if let (Some(place), Some(held)) =
            (self.rows.get_mut(from..from + unit.len()), self.chunks.get_mut(row))
        {
            place.copy_from_slice(unit);
            *held = Some(chunk);
            self.places.insert(chunk, row);
        }
    }

    pub(super) fn delete(&mut self, document: &DocumentId) {
        for chunk in self.documents.remove(document).unwrap_or_default() {
            self.free(chunk);
        }
    }

    pub(super) fn search(
        &self,
        query: &[f32],
        k: usize,
        keep: Keep<'_>,
    ) -> Result<Vec<(ChunkId, f64)>, VectorError> {
        let dimensions = self.dimensions();
        let query = unit(query, dimensions, 0)?;
        let rows = self.rows.chunks_exact(dimensions.max(1)).zip(&self.chunks);
        let kept =
            rows.filter_map(|(row, chunk)| chunk.filter(|chunk| keep(*chunk)).map(|chunk| (chunk, row)));
        let hits = kept.map(|(chunk, row)| (chunk, f64::from(dot(row, &query)).clamp(-1.0, 1.0) + 0.0));
        let mut hits: Vec<(ChunkId, f64)> = hits.collect();
        let better = |one: &(ChunkId, f64), other: &(ChunkId, f64)| {
            other.1.total_cmp(&one.1).then(one.0.cmp(&other.0))
        };
        if let Some(last) = k.checked_sub(1).filter(|last| *last < hits.len()) {
            hits.select_nth_unstable_by(last, better);
        }
        hits.truncate(k);
        hits.sort_unstable_by(better);
        Ok(hits)
    }
}

#[cfg(feature = "hnsw")]
impl Table {
    pub(super) fn chunks_of(&self, document: &DocumentId) -> &[ChunkId] {
        self.documents.get(document).map_or(&[], Vec::as_slice)
    }

    /// The vector of a chunk, with length 1.
    pub(super) fn vector(&self, chunk: ChunkId) -> Option<&[f32]> {
        let from = *self.places.get(&chunk)? * self.dimensions();
        self.rows.get(from..from + self.dimensions())
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ChunkId, &[f32])> {
        let rows = self.rows.chunks_exact(self.dimensions().max(1)).zip(&self.chunks);
        rows.filter_map(|(row, chunk)| chunk.map(|chunk| (chunk, row)))
    }
}

/// Sums in lanes that are added at the end, which a compiler can do side by side.
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (ones, others) in ones.zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(ones).zip(others) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

impl VectorStore for ExactVectors {
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()> {
        Box::pin(
            async move { self.0.write().unwrap_or_else(PoisonError::into_inner).bind(model, dimensions) },
        )
    }

    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()> {
        Box::pin(
            async move { self.0.write().unwrap_or_else(PoisonError::into_inner).replace(document, vectors) },
        )
    }

    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()> {
        Box::pin(async move {
            self.0.write().unwrap_or_else(PoisonError::into_inner).delete(document);
            Ok(())
        })
    }

    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>> {
        Box::pin(async move { self.0.read().unwrap_or_else(PoisonError::into_inner).search(query, k, keep) })
    }

    fn count(&self) -> Answer<'_, usize> {
        Box::pin(async move { Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).len()) })
    }
}

impl fmt::Debug for ExactVectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("ExactVectors").field("model", &table.model).field("vectors", &table.len()).finish()
    }
}
