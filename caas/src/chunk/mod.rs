//! Documents cut where they are cut already: at sections, items, paragraphs, lines.
//!
//! A section, or an item of a program, that fits is one chunk. One that does not is its own text, packed up to a target, and
//! its subsections each for itself. No chunk reaches over the heading of another section of its level; no heading and no signature
//! stands at the end of a chunk without what it heads.

mod pack;
mod section;
mod split;
mod trail;

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use agent_primitives::Digest;

use crate::index::Chunker;
use crate::model::{Block, BlockKind, Chunk, ChunkId, DocumentId, Parsed, Path};
use crate::tokens::TokenCounter;

/// Changes whenever the same text would be cut in another way, or its chunks had other ids.
const RULES: &str = "structure 1";

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSizes {
    /// Tokens that text is packed up to.
    pub target: usize,
    /// Tokens that no chunk has more of. Not above what an embedder takes, less the trail before each chunk, at most
    /// [`ChunkSizes::MAX_TRAIL`].
    pub most: usize,
}

impl ChunkSizes {
    /// Fewest tokens of a target: any character has fewer.
    pub const LEAST: usize = 16;
    /// Most tokens of the headings before a chunk.
    pub const MAX_TRAIL: usize = 64;
    /// Most tokens of the outline of a program.
    pub const MAX_OUTLINE: usize = 150;
}

impl Default for ChunkSizes {
    /// 200 and 400 tokens: 200 is a strong default in comparisons of ways to cut (Smith and Troynikov 2024).
    fn default() -> Self {
        Self { target: 200, most: 400 }
    }
}

/// Why documents cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// A target that is too small, or above the most.
    #[error("a target is {} tokens or more, and not above the most", ChunkSizes::LEAST)]
    BadSizes,
    /// A single character has more tokens than a chunk may have.
    #[error("a character at byte {0} does not fit a chunk")]
    Unsplittable(usize),
    /// Blocks that are not in order, or not on the borders of characters.
    #[error("the blocks of the document are not in order")]
    BadBlocks,
}

impl ChunkError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadSizes => "AK0770",
            Self::Unsplittable(_) => "AK0771",
            Self::BadBlocks => "AK0772",
        }
    }
}

/// Cuts documents by their structure.
#[derive(Clone, Debug)]
pub struct StructureChunker {
    sizes: ChunkSizes,
    counter: Arc<dyn TokenCounter>,
}

impl StructureChunker {
    /// Cuts into chunks of these sizes, as counted by `counter`.
    ///
    /// # Errors
    /// `BadSizes`.
    pub fn new(sizes: ChunkSizes, counter: Arc<dyn TokenCounter>) -> Result<Self, ChunkError> {
        if sizes.target < ChunkSizes::LEAST || sizes.most < sizes.target {
            return Err(ChunkError::BadSizes);
        }
        Ok(Self { sizes, counter })
    }

    /// The chunks of a document, in order. They cover every byte that is not white space, once.
    ///
    /// # Errors
    /// `Unsplittable`, `BadBlocks`.
    pub fn cut(&self, document: &DocumentId, parsed: &Parsed) -> Result<Vec<Chunk>, ChunkError> {
        check(parsed)?;
        let sections = section::tree(&parsed.blocks);
        let ranges = pack::pack(parsed, &sections, self.sizes, &*self.counter)?;
        let outline = trail::outline(parsed, &*self.counter);
        let mut equals: BTreeMap<Digest, u32> = BTreeMap::new();
        let mut first = 0;
        let mut chunks = Vec::with_capacity(ranges.len());
        for (ordinal, range) in (0..).zip(ranges) {
            // Chunks are in order, so the blocks of each begin no earlier than those of the one before.
            first += parsed
                .blocks
                .get(first..)
                .unwrap_or_default()
                .partition_point(|block| block.range.end <= range.start);
            let blocks = parsed.blocks.get(first..).unwrap_or_default();
            let count = blocks.partition_point(|block| block.range.start < range.end);
            let blocks = blocks.get(..count).unwrap_or_default();
            let text = parsed.text.get(range.clone()).unwrap_or_default();
            let path = blocks
                .first()
                .map_or_else(|| Path::from([]), |block| trail::path(&block.path, &*self.counter));
            let content = content(document, &path, text);
            let nth = equals.entry(content).or_default();
            let id = identity(content, *nth);
            *nth += 1;
            chunks.push(Chunk {
                id,
                ordinal,
                tokens: self.counter.count(text),
                text: text.into(),
                path,
                tiers: tiers(blocks, &range),
                outline: outline.clone(),
                page: blocks.first().and_then(|block| block.page),
                language: blocks.first().and_then(|block| block.language),
                range,
            });
        }
        Ok(chunks)
    }
}

impl Chunker for StructureChunker {
    fn chunks(
        &self,
        document: &DocumentId,
        parsed: &Parsed,
    ) -> Result<Vec<Chunk>, Box<dyn Error + Send + Sync>> {
        Ok(self.cut(document, parsed)?)
    }

    fn settings(&self) -> String {
        let ChunkSizes { target, most } = self.sizes;
        format!("{RULES}, {target} to {most} tokens of {}", self.counter.name())
    }
}

/// Whether a block heads what comes behind it.
const fn heads(kind: BlockKind) -> bool {
    matches!(kind, BlockKind::Heading(_) | BlockKind::Signature | BlockKind::Title)
}

fn check(parsed: &Parsed) -> Result<(), ChunkError> {
    let mut from = 0;
    for Block { range, .. } in &parsed.blocks {
        if range.start < from || range.end < range.start || parsed.text.get(range.clone()).is_none() {
            return Err(ChunkError::BadBlocks);
        }
        from = range.end;
    }
    Ok(())
}

fn content(document: &DocumentId, path: &Path, text: &str) -> Digest {
    // Lengths before parts, so that no two contents are one text.
    let mut all = format!("{}\n{document}\n{}\n", document.as_str().len(), path.len());
    for step in path.iter() {
        all.push_str(&format!("{}\n{step}\n", step.len()));
    }
    all.push_str(text);
    Digest::of("agent-os caas chunk v1", all.as_bytes())
}

fn identity(content: Digest, nth: u32) -> ChunkId {
    let digest = Digest::of("agent-os caas chunk id v1", format!("{content}{nth}").as_bytes());
    ChunkId(digest.as_bytes().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes)))
}

/// The tiers of the blocks of a chunk, as ranges of its text; neighbours of one tier together.
fn tiers(blocks: &[Block], chunk: &Range<usize>) -> Vec<(crate::model::Tier, Range<usize>)> {
    let mut tiers: Vec<(crate::model::Tier, Range<usize>)> = Vec::new();
    for block in blocks {
        let from = block.range.start.max(chunk.start) - chunk.start;
        let until = block.range.end.min(chunk.end).saturating_sub(chunk.start);
        match tiers.last_mut() {
            Some((tier, range)) if *tier == block.kind.tier() => range.end = until,
            _ if from < until => tiers.push((block.kind.tier(), from..until)),
            _ => {}
        }
    }
    tiers
}

#[cfg(test)]
mod tests;
