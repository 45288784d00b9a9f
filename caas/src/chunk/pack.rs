//! Which parts of a text become one chunk.

use std::ops::Range;

use super::section::Section;
use super::split::split;
use super::{ChunkError, ChunkSizes, heads};
use crate::model::{Block, BlockKind, Parsed, Path};
use crate::tokens::TokenCounter;

/// A piece of a block, small enough for a chunk.
struct Piece {
    range: Range<usize>,
    tokens: usize,
    /// It must not be the last of a chunk.
    heads: bool,
}

/// The last chunk, while small items of a program may still join it.
struct Group {
    /// Its last block.
    end: usize,
    /// What the items that may join it lie beneath.
    path: Path,
}

/// The ranges of the chunks of a document, in order.
pub(super) fn pack(
    parsed: &Parsed,
    sections: &[Section],
    sizes: ChunkSizes,
    counter: &dyn TokenCounter,
) -> Result<Vec<Range<usize>>, ChunkError> {
    let mut packer = Packer { parsed, sizes, counter, chunks: Vec::new(), open: Vec::new(), group: None };
    // Not by recursion: a document may be as deep as its limits allow.
    let mut due: Vec<&Section> = sections.iter().rev().collect();
    while let Some(section) = due.pop() {
        if !packer.whole(section) {
            packer.own(section)?;
            due.extend(section.parts.iter().rev());
        }
    }
    let mut fitted = Vec::with_capacity(packer.chunks.len());
    for chunk in packer.chunks {
        fit(parsed, chunk, sizes, counter, &mut fitted)?;
    }
    Ok(fitted)
}

/// Splits a chunk that has more tokens as a whole than its pieces have, such as those of the blanks between them.
fn fit(
    parsed: &Parsed,
    chunk: Range<usize>,
    sizes: ChunkSizes,
    counter: &dyn TokenCounter,
    fitted: &mut Vec<Range<usize>>,
) -> Result<(), ChunkError> {
    let mut due = vec![(chunk, sizes.target)];
    while let Some((range, target)) = due.pop() {
        let text = parsed.text.get(range.clone()).unwrap_or_default();
        if counter.count(text) <= sizes.most {
            fitted.push(range);
            continue;
        }
        let smaller = ChunkSizes { target: target / 2, ..sizes };
        if smaller.target == 0 {
            return Err(ChunkError::Unsplittable(range.start));
        }
        let parts = split(text, true, smaller, counter);
        let parts = parts.map_err(|at| ChunkError::Unsplittable(range.start + at))?;
        let parts = parts.into_iter().rev().map(|part| range.start + part.start..range.start + part.end);
        due.extend(parts.map(|part| (part, smaller.target)));
    }
    Ok(())
}

struct Packer<'a> {
    parsed: &'a Parsed,
    sizes: ChunkSizes,
    counter: &'a dyn TokenCounter,
    chunks: Vec<Range<usize>>,
    /// Pieces of the next chunk. Between two sections, only what heads the second.
    open: Vec<Piece>,
    group: Option<Group>,
}

impl Packer<'_> {
    fn blocks(&self, range: &Range<usize>) -> &[Block] {
        self.parsed.blocks.get(range.clone()).unwrap_or_default()
    }

    fn count(&self, range: &Range<usize>) -> usize {
        self.counter.count(self.parsed.text.get(range.clone()).unwrap_or_default())
    }

    /// Makes a section one chunk with what heads it, or a part of the chunk before, if it is small enough for that.
    fn whole(&mut self, section: &Section) -> bool {
        let blocks = self.blocks(&section.all);
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else { return true };
        let alone = first.range.start..last.range.end;
        // An item of a program is better whole than of the usual size.
        let most = if first.kind == BlockKind::Signature { self.sizes.most } else { self.sizes.target };
        // A token is at least one byte, and most are fewer than eight: no need to count what is far too long.
        if most.saturating_mul(64) < alone.len() || most < self.count(&alone) {
            return false;
        }
        let range = self.open.first().map_or(alone.start, |piece| piece.range.start)..alone.end;
        let tokens = self.count(&range);
        if self.sizes.most < tokens {
            return false;
        }
        let path = first.path.clone();
        // Larger items begin a chunk, so that a change does not move the borders of all chunks after it.
        let small = is_code(first.kind) && tokens <= self.sizes.target / 2;
        if !(small && self.open.is_empty() && self.join(section, &path, range.end)) {
            self.chunks.push(range);
        }
        self.open.clear();
        self.group = small.then_some(Group { end: section.all.end, path });
        true
    }

    /// Puts a small item to those before it.
    fn join(&mut self, section: &Section, path: &Path, end: usize) -> bool {
        let beside =
            self.group.as_ref().is_some_and(|group| group.end == section.all.start && group.path == *path);
        let Some(joined) = self.chunks.last().filter(|_| beside).map(|last| last.start..end) else {
            return false;
        };
        let fits = self.count(&joined) <= self.sizes.target;
        if fits && let Some(last) = self.chunks.last_mut() {
            *last = joined;
        }
        fits
    }

    /// Packs the own text of a section. What heads nothing but a subsection goes with that.
    fn own(&mut self, section: &Section) -> Result<(), ChunkError> {
        let first_part = section.parts.first().and_then(|part| self.blocks(&part.own).first());
        let path = first_part.map(|block| block.path.clone());
        let mut code = false;
        let before = self.chunks.len();
        for block in self.blocks(&section.own).to_vec() {
            code = is_code(block.kind);
            for piece in self.pieces(&block)? {
                if !self.open.is_empty() && self.sizes.target < self.open_tokens() + piece.tokens {
                    self.close();
                }
                self.open.push(piece);
            }
        }
        if code && before < self.chunks.len() {
            self.tail();
        }
        self.close();
        if path.is_none() {
            self.give_up();
        }
        let small = code && self.open.is_empty();
        let last = self
            .chunks
            .last()
            .filter(|_| small)
            .is_some_and(|last| self.count(last) <= self.sizes.target / 2);
        self.group = path.filter(|_| last).map(|path| Group { end: section.own.end, path });
        Ok(())
    }

    fn open_tokens(&self) -> usize {
        self.open.iter().map(|piece| piece.tokens).sum()
    }

    /// The last lines of an item, if they are few, stay with the lines before them.
    fn tail(&mut self) {
        let few = self.open_tokens() <= self.sizes.target / 4;
        let (Some(last), Some(end)) = (self.chunks.last(), self.open.last().map(|piece| piece.range.end))
        else {
            return;
        };
        let joined = last.start..end;
        if few && self.count(&joined) <= self.sizes.most {
            self.chunks.pop();
            self.chunks.push(joined);
            self.open.clear();
        }
    }

    /// A block in pieces of which each fits a chunk.
    fn pieces(&self, block: &Block) -> Result<Vec<Piece>, ChunkError> {
        let tokens = self.count(&block.range);
        if tokens <= self.sizes.target {
            return Ok(vec![Piece { range: block.range.clone(), tokens, heads: heads(block.kind) }]);
        }
        let text = self.parsed.text.get(block.range.clone()).unwrap_or_default();
        let by_lines = matches!(
            block.kind,
            BlockKind::Table
                | BlockKind::Code
                | BlockKind::Signature
                | BlockKind::Body
                | BlockKind::Comment
                | BlockKind::Imports
                | BlockKind::Record
        );
        let parts = split(text, by_lines, self.sizes, self.counter);
        let parts = parts.map_err(|at| ChunkError::Unsplittable(block.range.start + at))?;
        let piece = |part: Range<usize>| {
            let range = block.range.start + part.start..block.range.start + part.end;
            Piece { tokens: self.count(&range), range, heads: false }
        };
        Ok(parts.into_iter().map(piece).collect())
    }

    /// Makes what is open a chunk, but for headings at its end, which stay open.
    fn close(&mut self) {
        let kept = self.open.iter().rposition(|piece| !piece.heads).map_or(0, |last| last + 1);
        let heading = self.open.split_off(kept);
        let pieces = std::mem::replace(&mut self.open, heading);
        self.chunk(&pieces);
    }

    /// Makes pieces one chunk. Where headings and a text are too large together, the outermost headings are left out first.
    fn chunk(&mut self, pieces: &[Piece]) {
        let Some(end) = pieces.last().map(|last| last.range.end) else { return };
        let mut rest = pieces;
        while let Some((first, others)) = rest.split_first() {
            let range = first.range.start..end;
            if others.is_empty() || self.count(&range) <= self.sizes.most {
                self.chunks.push(range);
                return;
            }
            self.chunks.push(first.range.clone());
            rest = others;
        }
    }

    /// Headings that head nothing are chunks all the same.
    fn give_up(&mut self) {
        let pieces = std::mem::take(&mut self.open);
        self.chunk(&pieces);
    }
}

/// Whether a block is a part of a program.
const fn is_code(kind: BlockKind) -> bool {
    matches!(
        kind,
        BlockKind::Signature | BlockKind::Body | BlockKind::Comment | BlockKind::Imports | BlockKind::Licence
    )
}
