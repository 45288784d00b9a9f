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
    let mut packed = Packed { text, sizes, counter, done: Vec::new(), open: 0..0, tokens: 0, apart: 0 };
    // Not by recursion, so that no text is too deep; parts in order, the next one last, each with the borders it was cut at.
    let mut due: Vec<(Range<usize>, Option<Border>)> = vec![(0..text.len(), None)];
    while let Some((piece, border)) = due.pop() {
        let part = text.get(piece.clone()).unwrap_or_default();
        let tokens = counter.count(part);
        let finer = match border {
            None => Some(Border::Paragraph),
            Some(Border::Paragraph) if !by_lines => Some(Border::Sentence),
            Some(border) => border.next(),
        };
        match finer {
            Some(finer) if sizes.target < tokens => {
                let mut end = piece.end;
                for inner in finer.parts(part).into_iter().rev() {
                    let start = end - inner.len();
                    due.push((start..end, Some(finer)));
                    end = start;
                }
            }
            None if sizes.most < tokens => return Err(piece.start),
            _ => packed.push(piece, tokens),
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
    /// Tokens of the open parts: as they were last counted together, and of each part since then by itself.
    tokens: usize,
    /// Tokens of the open parts, each counted by itself.
    apart: usize,
}

impl Packed<'_> {
    fn push(&mut self, part: Range<usize>, tokens: usize) {
        let apart = self.apart + tokens;
        match self.joined(&part, tokens, apart).filter(|_| !self.open.is_empty()) {
            Some(joined) => {
                self.open.end = part.end;
                (self.tokens, self.apart) = (joined, apart);
            }
            None => {
                self.close();
                self.open = part;
                (self.tokens, self.apart) = (tokens, tokens);
            }
        }
    }

    /// The tokens of what is open with a part, if they fit.
    fn joined(&self, part: &Range<usize>, tokens: usize, apart: usize) -> Option<usize> {
        let (target, joined) = (self.sizes.target, self.tokens + tokens);
        if joined <= target {
            return Some(joined);
        }
        if target.saturating_mul(2) < apart {
            return None;
        }
        // Words counted one by one are more than together. What was counted is kept: to count again for each word takes
        // a hundred times as long.
        let whole = self.text.get(self.open.start..part.end).unwrap_or_default();
        Some(self.counter.count(whole)).filter(|whole| *whole <= target)
    }

    fn close(&mut self) {
        let open = self.text.get(self.open.clone()).unwrap_or_default();
        let from = self.open.start + (open.len() - open.trim_start().len());
        let until = self.open.end - (open.len() - open.trim_end().len());
        if from < until {
            self.done.push(from..until);
        }
        self.open = self.open.end..self.open.end;
        (self.tokens, self.apart) = (0, 0);
    }
}
