//! Vectors of episodes, and the nearest of them.

use std::collections::HashMap;

use super::RecallError;
use super::mask::Mask;
use super::top::Top;

/// Vectors in one piece of memory. Growing by pieces moves nothing and leaves no half of the whole empty.
const PIECE: usize = 1024;

/// How many more than asked for are looked at again in double precision.
const SLACK: usize = 32;

/// Vectors of one model, kept at length one.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    model: Option<Box<str>>,
    dimensions: usize,
    pieces: Vec<Vec<f32>>,
    /// The document of each vector.
    documents: Vec<u32>,
    /// The vector of each document.
    places: HashMap<u32, u32>,
}

impl Vectors {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn contains(&self, document: u32) -> bool {
        self.places.contains_key(&document)
    }

    /// Whether vectors of a model can be searched or added here.
    pub(super) fn check_model(&self, model: &str) -> Result<(), RecallError> {
        match &self.model {
            Some(held) if **held != *model => {
                Err(RecallError::ModelMismatch { expected: held.to_string(), found: model.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Sets the vector of a document. The first one fixes model and dimension.
    pub(super) fn insert(&mut self, document: u32, model: &str, vector: &[f32]) -> Result<(), RecallError> {
        self.check_model(model)?;
        let unit = self.unit(vector)?;
        if self.model.is_none() {
            (self.model, self.dimensions) = (Some(model.into()), vector.len());
        }
        if let Some(place) = self.places.get(&document) {
            let (piece, at) = (*place as usize / PIECE, *place as usize % PIECE * self.dimensions);
            let slot = self.pieces.get_mut(piece).and_then(|piece| piece.get_mut(at..at + unit.len()));
            if let Some(slot) = slot {
                slot.copy_from_slice(&unit);
            }
            return Ok(());
        }
        if self.documents.len().is_multiple_of(PIECE) {
            self.pieces.push(Vec::with_capacity(PIECE * self.dimensions));
        }
        if let (Some(piece), Ok(place)) = (self.pieces.last_mut(), u32::try_from(self.documents.len())) {
            piece.extend_from_slice(&unit);
            self.documents.push(document);
            self.places.insert(document, place);
        }
        Ok(())
    }

    /// Overwrites the vector of a document with zeros, which no search finds.
    pub(super) fn forget(&mut self, document: u32) {
        let Some(place) = self.places.remove(&document) else { return };
        let (piece, at) = (place as usize / PIECE, place as usize % PIECE * self.dimensions);
        let slot = self.pieces.get_mut(piece).and_then(|piece| piece.get_mut(at..at + self.dimensions));
        slot.into_iter().for_each(|slot| slot.fill(0.0));
        if let Some(owner) = self.documents.get_mut(place as usize) {
            *owner = u32::MAX;
        }
    }

    /// The `k` documents that pass with the smallest angle to `query`, best first, ties by lower number; with the cosine.
    pub(super) fn search(
        &self,
        query: &[f32],
        k: usize,
        mask: &Mask,
    ) -> Result<Vec<(u32, f64)>, RecallError> {
        let query = self.unit(query)?;
        let mut near = Top::new(k.saturating_add(SLACK));
        let vectors = self.pieces.iter().flat_map(|piece| piece.chunks_exact(self.dimensions.max(1)));
        for (document, vector) in self.documents.iter().zip(vectors) {
            if *document != u32::MAX && mask.passes(*document as usize) {
                near.push(f64::from(dot(vector, &query)), *document, ());
            }
        }
        let mut best = Top::new(k);
        for (document, ()) in near.into_sorted() {
            let Some(vector) = self.get(document) else { continue };
            let exact: f64 = vector.iter().zip(&query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            // Adding zero makes the negative zero positive, so that both tie.
            let exact = exact.clamp(-1.0, 1.0) + 0.0;
            best.push(exact, document, exact);
        }
        Ok(best.into_sorted())
    }

    /// The vector of a document, of length one.
    pub(super) fn get(&self, document: u32) -> Option<&[f32]> {
        let place = *self.places.get(&document)? as usize;
        let at = place % PIECE * self.dimensions;
        self.pieces.get(place / PIECE)?.get(at..at + self.dimensions)
    }

    /// The vector with length one, if it is one that can be compared with those held.
    fn unit(&self, vector: &[f32]) -> Result<Vec<f32>, RecallError> {
        if self.model.is_some() && vector.len() != self.dimensions {
            return Err(RecallError::DimensionMismatch { expected: self.dimensions, found: vector.len() });
        }
        if !vector.iter().all(|part| part.is_finite()) {
            return Err(RecallError::NonFinite);
        }
        // In double precision the squares of no finite part overflow or vanish.
        let length = vector.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(RecallError::ZeroVector);
        }
        Ok(vector.iter().map(|part| (f64::from(*part) / length) as f32).collect())
    }

    /// Bytes on the heap, as far as the types tell.
    pub(super) fn heap_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.capacity() * size_of::<f32>()).sum();
        pieces + self.documents.capacity() * 4 + self.places.capacity() * 8 / 7 * 9
    }
}

/// The sum of products, in sixteen lanes so that the compiler may use wide registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + rest
}
