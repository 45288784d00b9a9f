//! A text that is too long for a chunk, split where it hurts least.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::ChunkSizes;
use crate::tokens::TokenCounter;

/// Where a text may be split, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Border {
    Paragraph,
    Line,
    Sentence,
    Word,
    Grapheme,
    Character,
}

impl Border {
    const fn next(self) -> Option<Self> {
        match self {
            Self::Paragraph => Some(Self::Line),
            Self::Line => Some(Self::Sentence),
            Self::Sentence => Some(Self::Word),
            Self::Word => Some(Self::Grapheme),
            Self::Grapheme => Some(Self::Character),
            Self::Character => None,
        }
    }

    /// The parts of a text between these borders, which cover all of it.
    fn parts(self, text: &str) -> Vec<&str> {
        match self {
            Self::Paragraph => text.split_inclusive("\n\n").collect(),
            Self::Line => text.split_inclusive('\n').collect(),
            Self::Sentence => text.split_sentence_bounds().collect(),
            Self::Word => text.split_word_bounds().collect(),
            Self::Grapheme => text.graphemes(true).collect(),
            Self::Character => text.split_inclusive(|_| true).collect(),
        }
    }
}

/// Ranges that cover a text but for white space at their ends, each of at most `most` tokens and packed up to `target`. Lines come
/// before sentences where `by_lines`; prose wraps its lines anywhere, so there sentences come first.
///
/// # Errors
/// Where a character does not fit.
pub(super) fn split(
    text: &str,
    by_lines: bool,
    sizes: ChunkSizes,
    counter: &dyn TokenCounter,
) -> Result<Vec<Range<usize>>, usize> {
    let mut packed = Packed { text, sizes, counter, done: Vec::new(), open: 0..0, tokens: 0 };
    // Not by recursion, so that no text is too deep; parts in order, the next one last.
    let mut due: Vec<(Range<usize>, Border)> = vec![(0..text.len(), Border::Paragraph)];
    while let Some((range, border)) = due.pop() {
        let part = text.get(range.clone()).unwrap_or_default();
        let mut at = range.start;
        let mut parts = Vec::new();
        for piece in border.parts(part) {
            parts.push(at..at + piece.len());
            at += piece.len();
        }
        let mut rest = parts.into_iter();
        for piece in rest.by_ref() {
            let tokens = counter.count(text.get(piece.clone()).unwrap_or_default());
            if tokens <= sizes.target {
                packed.push(piece, tokens);
                continue;
            }
            let Some(finer) = border.next() else {
                if sizes.most < tokens {
                    return Err(piece.start);
                }
                packed.push(piece, tokens);
                continue;
            };
            // What comes behind it is looked at when it is done.
            if piece.end < range.end {
                due.push((piece.end..range.end, border));
            }
            let finer = if finer == Border::Line && !by_lines { Border::Sentence } else { finer };
            due.push((piece, finer));
            break;
        }
    }
    packed.close();
    Ok(packed.done)
}

struct Packed<'t> {
    text: &'t str,
    sizes: ChunkSizes,
    counter: &'t dyn TokenCounter,
    done: Vec<Range<usize>>,
    open: Range<usize>,
    /// Tokens of the open parts, each counted for itself.
    tokens: usize,
}

impl Packed<'_> {
    fn push(&mut self, part: Range<usize>, tokens: usize) {
        let joined = self.tokens + tokens;
        let fits = joined <= self.sizes.target || {
            // Words counted one by one are more than together.
            let whole = self.text.get(self.open.start..part.end).unwrap_or_default();
            joined <= self.sizes.target.saturating_mul(2) && self.counter.count(whole) <= self.sizes.target
        };
        if fits && !self.open.is_empty() {
            self.open.end = part.end;
            self.tokens = joined;
        } else {
            self.close();
            self.open = part;
            self.tokens = tokens;
        }
    }

    fn close(&mut self) {
        let open = self.text.get(self.open.clone()).unwrap_or_default();
        let from = self.open.start + (open.len() - open.trim_start().len());
        let until = self.open.end - (open.len() - open.trim_end().len());
        if from < until {
            self.done.push(from..until);
        }
        self.open = self.open.end..self.open.end;
        self.tokens = 0;
    }
}
