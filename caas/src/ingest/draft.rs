//! The blocks of a text while they are found.

use std::ops::Range;
use std::sync::Arc;

use super::{IngestError, Limits};
use crate::model::{Block, BlockKind, Path};

/// What becomes of text between two blocks that nobody claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gaps {
    /// It is a block of this kind.
    Block(BlockKind),
    /// It belongs to the block after it: the comment above an entry, the bracket before it.
    Next,
}

/// Collects blocks and keeps the invariant of [`Parsed`](crate::Parsed) whatever the parser says: ascending, apart, and every byte
/// that is not white space in one of them.
#[derive(Debug)]
pub(super) struct Draft<'t> {
    text: &'t str,
    gaps: Gaps,
    most: usize,
    blocks: Vec<Block>,
    /// The end of the last block.
    end: usize,
    path: Path,
}

impl<'t> Draft<'t> {
    pub(super) fn new(text: &'t str, gaps: Gaps, limits: &Limits) -> Self {
        Self { text, gaps, most: limits.blocks, blocks: Vec::new(), end: 0, path: Arc::new([]) }
    }

    /// The text between two offsets, which are moved apart to the borders of characters.
    pub(super) fn slice(&self, range: Range<usize>) -> &'t str {
        self.text.get(range.start..range.end).unwrap_or_default()
    }

    /// Claims a range for a block; what of it is claimed already is not claimed again. Blank edges are left out, but the
    /// indentation of the first line stays where indentation means something.
    pub(super) fn push(
        &mut self,
        kind: BlockKind,
        range: Range<usize>,
        path: &Path,
    ) -> Result<Option<&mut Block>, IngestError> {
        let start = border(self.text, range.start.max(self.end));
        let end = border(self.text, range.end);
        let Some(range) = self.trimmed(start..end, indented(kind)) else { return Ok(None) };
        let range = match self.gaps {
            Gaps::Block(gap) => {
                let path = Arc::clone(&self.path);
                self.add(gap, self.end..range.start, &path)?;
                range
            }
            Gaps::Next => self.trimmed(self.end..range.end, true).unwrap_or(range),
        };
        self.path = Arc::clone(path);
        self.add(kind, range, path)?;
        Ok(self.blocks.last_mut())
    }

    /// From here on, what nobody claims lies beneath a heading that was just pushed.
    pub(super) fn enter(&mut self, path: Path) {
        self.path = path;
    }

    /// All blocks, with whatever is left at the end.
    pub(super) fn finish(mut self) -> Result<Vec<Block>, IngestError> {
        let rest = self.end..self.text.len();
        if let Some(rest) = self.trimmed(rest, false) {
            match (self.gaps, self.blocks.last_mut()) {
                (Gaps::Next, Some(last)) => last.range.end = rest.end,
                (Gaps::Next, None) => {
                    let path = Arc::clone(&self.path);
                    self.add(BlockKind::Record, rest, &path)?;
                }
                (Gaps::Block(gap), _) => {
                    let path = Arc::clone(&self.path);
                    self.add(gap, rest, &path)?;
                }
            }
        }
        Ok(self.blocks)
    }

    fn add(&mut self, kind: BlockKind, range: Range<usize>, path: &Path) -> Result<(), IngestError> {
        let Some(range) = self.trimmed(range, indented(kind)) else { return Ok(()) };
        if self.most <= self.blocks.len() {
            return Err(IngestError::TooLarge { what: "blocks", limit: self.most });
        }
        self.end = range.end;
        self.blocks.push(Block { kind, range, path: Arc::clone(path), page: None, language: None });
        Ok(())
    }

    fn trimmed(&self, range: Range<usize>, indented: bool) -> Option<Range<usize>> {
        let all = self.text.get(range.clone())?;
        let end = range.start + all.trim_end().len();
        let blank = all.len() - all.trim_start().len();
        let at_line = self.text.get(..range.start)?.chars().next_back().is_none_or(|char| char == '\n');
        let lead = match all.get(..blank)?.rfind('\n') {
            Some(line) if indented => line + 1,
            None if indented && at_line => 0,
            _ => blank,
        };
        let start = range.start + lead;
        (start < end).then_some(start..end)
    }
}

const fn indented(kind: BlockKind) -> bool {
    matches!(
        kind,
        BlockKind::Code | BlockKind::Signature | BlockKind::Body | BlockKind::Comment | BlockKind::Record
    )
}

/// The first border of a character at or after an offset.
fn border(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// The lines of a text with their ranges, line ends left out.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut at = 0;
    text.split('\n').map(move |line| {
        let start = at;
        at += line.len() + 1;
        (start..start + line.len(), line)
    })
}

/// The headings above what comes next.
#[derive(Debug, Default)]
pub(super) struct Outline {
    above: Vec<(u8, Arc<str>)>,
}

/// Longest heading that is kept in a path, in characters.
const MAX_HEADING: usize = 200;

impl Outline {
    /// What a heading of `level` lies beneath. Headings of its level and below end here.
    pub(super) fn above(&mut self, level: u8) -> Path {
        while self.above.last().is_some_and(|(last, _)| level <= *last) {
            self.above.pop();
        }
        self.path()
    }

    /// From here on, text lies beneath this heading.
    pub(super) fn enter(&mut self, level: u8, heading: &str) {
        let words: Vec<&str> = heading.split_whitespace().collect();
        let heading: String = words.join(" ").chars().take(MAX_HEADING).collect();
        self.above.push((level, heading.into()));
    }

    pub(super) fn path(&self) -> Path {
        self.above.iter().map(|(_, heading)| Arc::clone(heading)).collect()
    }
}
