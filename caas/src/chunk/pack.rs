//! Which parts of a text become one chunk.

use std::ops::Range;

use super::section::Section;
use super::split::split;
use super::{ChunkError, ChunkSizes, heads};
use crate::model::{Block, BlockKind, Parsed};
use crate::tokens::TokenCounter;

/// A piece of a block, small enough for a chunk.
struct Piece {
    range: Range<usize>,
    tokens: usize,
    /// It must not be the last of a chunk.
    heads: bool,
}

/// The ranges of the chunks of a document, in order.
pub(super) fn pack(
    parsed: &Parsed,
    sections: &[Section],
    sizes: ChunkSizes,
    counter: &dyn TokenCounter,
) -> Result<Vec<Range<usize>>, ChunkError> {
    let mut packer = Packer { parsed, sizes, counter, chunks: Vec::new() };
    // Not by recursion: a document may be as deep as its limits allow.
    let mut due: Vec<&Section> = sections.iter().rev().collect();
    while let Some(section) = due.pop() {
        if !packer.whole(section) {
            packer.own(section)?;
            due.extend(section.parts.iter().rev());
        }
    }
    Ok(packer.chunks)
}

struct Packer<'a> {
    parsed: &'a Parsed,
    sizes: ChunkSizes,
    counter: &'a dyn TokenCounter,
    chunks: Vec<Range<usize>>,
}

impl Packer<'_> {
    fn blocks(&self, range: &Range<usize>) -> &[Block] {
        self.parsed.blocks.get(range.clone()).unwrap_or_default()
    }

    fn count(&self, range: &Range<usize>) -> usize {
        self.counter.count(self.parsed.text.get(range.clone()).unwrap_or_default())
    }

    /// Makes a section one chunk, if it is small enough for that.
    fn whole(&mut self, section: &Section) -> bool {
        let blocks = self.blocks(&section.all);
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return true };
        let range = first.range.start..last.range.end;
        // An item of a program is better whole than of the usual size.
        let most = if first.kind == BlockKind::Signature { self.sizes.most } else { self.sizes.target };
        // A token is at least one byte, and most are fewer than eight: no need to count what is far too long.
        if most.saturating_mul(64) < range.len() || most < self.count(&range) {
            return false;
        }
        self.chunks.push(range);
        true
    }

    /// Packs the own text of a section.
    fn own(&mut self, section: &Section) -> Result<(), ChunkError> {
        let mut open: Vec<Piece> = Vec::new();
        for block in self.blocks(&section.own).to_vec() {
            for piece in self.pieces(&block)? {
                let tokens: usize = open.iter().map(|piece| piece.tokens).sum();
                if !open.is_empty() && self.sizes.target < tokens + piece.tokens {
                    self.close(&mut open);
                }
                open.push(piece);
            }
        }
        while !open.is_empty() {
            let left = open.len();
            self.close(&mut open);
            if open.len() == left {
                // A heading that heads nothing but subsections.
                let whole =
                    open.first().zip(open.last()).map(|(first, last)| first.range.start..last.range.end);
                self.chunks.extend(whole);
                open.clear();
            }
        }
        Ok(())
    }

    /// A block in pieces of which each fits a chunk.
    fn pieces(&self, block: &Block) -> Result<Vec<Piece>, ChunkError> {
        let tokens = self.count(&block.range);
        if tokens <= self.sizes.target {
            return Ok(vec![Piece { range: block.range.clone(), tokens, heads: heads(block.kind) }]);
        }
        let text = self.parsed.text.get(block.range.clone()).unwrap_or_default();
        let by_lines =
            matches!(block.kind, BlockKind::Table | BlockKind::Code | BlockKind::Body | BlockKind::Record);
        let parts = split(text, by_lines, self.sizes, self.counter);
        let parts = parts.map_err(|at| ChunkError::Unsplittable(block.range.start + at))?;
        let piece = |part: Range<usize>| {
            let range = block.range.start + part.start..block.range.start + part.end;
            Piece { tokens: self.count(&range), range, heads: false }
        };
        Ok(parts.into_iter().map(piece).collect())
    }

    /// Makes what is open a chunk, but for headings at its end, which stay open.
    fn close(&mut self, open: &mut Vec<Piece>) {
        let kept = open.iter().rposition(|piece| !piece.heads).map_or(0, |last| last + 1);
        let heading = open.split_off(kept);
        let pieces = std::mem::replace(open, heading);
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else { return };
        let range = first.range.start..last.range.end;
        // Tokens of a whole may be more than those of its parts; a chunk that is too large for that is two.
        if self.sizes.most < self.count(&range) && 1 < pieces.len() {
            let middle = pieces.get(pieces.len() / 2).map_or(range.end, |piece| piece.range.start);
            let before =
                pieces.get((pieces.len() / 2).saturating_sub(1)).map_or(middle, |piece| piece.range.end);
            self.chunks.extend([range.start..before, middle..range.end]);
        } else {
            self.chunks.push(range);
        }
    }
}
