//! A document as bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use agent_primitives::Digest;
use serde::{Deserialize, Serialize};

use crate::model::{Chunk, ChunkId, Language, Tier};
use crate::shelf::{Held, ShelfError};

/// What is written. Whatever changes here changes [`FORMAT`](super::tables::FORMAT).
#[derive(Serialize, Deserialize)]
struct Record<'r> {
    version: Digest,
    title: &'r str,
    /// As JSON: what hosts say has values of any kind.
    metadata: String,
    /// Steps of paths, and outlines, each once: many chunks share them.
    #[serde(borrow)]
    shared: Vec<&'r str>,
    #[serde(borrow)]
    chunks: Vec<Piece<'r>>,
}

#[derive(Serialize, Deserialize)]
struct Piece<'r> {
    id: u128,
    range: Range<usize>,
    text: &'r str,
    path: Vec<usize>,
    tiers: Vec<(u8, Range<usize>)>,
    outline: Option<usize>,
    page: Option<u32>,
    language: Option<Language>,
    tokens: usize,
    print: u64,
}

/// Texts, each with a number.
#[derive(Default)]
struct Shared<'r> {
    texts: Vec<&'r str>,
    numbers: HashMap<&'r str, usize>,
}

impl<'r> Shared<'r> {
    fn number(&mut self, text: &'r str) -> usize {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() - 1
        })
    }
}

pub(super) fn encode(held: &Held) -> Result<Vec<u8>, ShelfError> {
    let mut shared = Shared::default();
    let mut chunks = Vec::with_capacity(held.chunks.len());
    for (chunk, print) in held.chunks.iter().zip(&held.prints) {
        chunks.push(Piece {
            id: chunk.id.0,
            range: chunk.range.clone(),
            text: &chunk.text,
            path: chunk.path.iter().map(|step| shared.number(step)).collect(),
            tiers: chunk.tiers.iter().map(|(tier, range)| (number(*tier), range.clone())).collect(),
            outline: chunk.outline.as_deref().map(|outline| shared.number(outline)),
            page: chunk.page,
            language: chunk.language,
            tokens: chunk.tokens,
            print: *print,
        });
    }
    let metadata = serde_json::to_string(&*held.metadata).map_err(|error| damaged(&error))?;
    let record = Record { version: held.version, title: &held.title, metadata, shared: shared.texts, chunks };
    postcard::to_stdvec(&record).map_err(|error| damaged(&error))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Held, ShelfError> {
    let record: Record<'_> = postcard::from_bytes(bytes).map_err(|error| damaged(&error))?;
    let shared: Vec<Arc<str>> = record.shared.into_iter().map(Arc::from).collect();
    let text = |number: &usize| shared.get(*number).cloned().ok_or_else(|| damaged(&"a text is missing"));
    let (mut chunks, mut prints) = (Vec::new(), Vec::new());
    for (ordinal, piece) in (0..).zip(record.chunks) {
        prints.push(piece.print);
        let path: Vec<Arc<str>> = piece.path.iter().map(text).collect::<Result<_, _>>()?;
        let tiers = piece.tiers.into_iter().map(|(number, range)| Some((tier(number)?, range)));
        chunks.push(Arc::new(Chunk {
            id: ChunkId(piece.id),
            ordinal,
            range: piece.range,
            text: piece.text.into(),
            path: path.into(),
            tiers: tiers.collect::<Option<_>>().ok_or_else(|| damaged(&"a tier is none"))?,
            outline: piece.outline.as_ref().map(text).transpose()?,
            page: piece.page,
            language: piece.language,
            tokens: piece.tokens,
        }));
    }
    let metadata = serde_json::from_str(&record.metadata).map_err(|error| damaged(&error))?;
    let title = record.title.into();
    Ok(Held { version: record.version, title, metadata: Arc::new(metadata), chunks, prints })
}

pub(super) fn to_bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|part| part.to_le_bytes()).collect()
}

pub(super) fn to_vector(bytes: &[u8]) -> Result<Vec<f32>, ShelfError> {
    let (parts, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(parts.iter().map(|part| f32::from_le_bytes(*part)).collect())
    } else {
        Err(damaged(&"a vector is cut short"))
    }
}

pub(super) fn damaged(why: &dyn std::fmt::Display) -> ShelfError {
    ShelfError::Damaged(why.to_string())
}

const fn number(tier: Tier) -> u8 {
    match tier {
        Tier::Low => 0,
        Tier::Medium => 1,
        Tier::High => 2,
    }
}

const fn tier(number: u8) -> Option<Tier> {
    match number {
        0 => Some(Tier::Low),
        1 => Some(Tier::Medium),
        2 => Some(Tier::High),
        _ => None,
    }
}
