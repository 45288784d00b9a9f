//! From a text to its tree, within bounds.

use std::cell::Cell;
use std::ops::ControlFlow;

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::grammar;
use super::kinds::Kinds;
use crate::model::Language;

/// Longest program that is read by a grammar, in bytes: a tree takes up to some hundred times its text.
const MAX_BYTES: usize = 2 << 20;

/// Steps of a parser between two looks at whether it goes on, as tree-sitter has it.
const STEPS_PER_LOOK: usize = 100;

/// Steps that a parser may take for each byte. A text that follows its grammar takes about one; one that does not may take time that
/// grows faster than itself.
const STEPS_PER_BYTE: usize = 20;

/// Steps that any text may take.
const STEPS: usize = 1 << 20;

/// Bytes that are handed to a parser at a time.
const PIECE: usize = 4096;

/// How often a parser may read the whole text. A string or a comment that does not end is read to the end of the text from wherever
/// one might begin, and no step is counted for that.
const READS: usize = 32;

/// A program as its grammar sees it.
pub(super) struct Read {
    pub(super) tree: Tree,
    /// The part of it that follows the grammar, 0 to 1; 1 only where all does.
    pub(super) quality: f32,
}

/// Reads a program by the grammar of its language that fits best. Nothing where there is none, and where it takes too long.
pub(super) fn read(text: &str, language: Language, kinds: &Kinds) -> Option<Read> {
    let mut best: Option<Read> = None;
    for grammar in grammar::of(language) {
        let Some(tree) = parse(text, &grammar) else { continue };
        let quality = quality(text, &tree, kinds);
        if best.as_ref().is_none_or(|best| best.quality < quality) {
            best = Some(Read { tree, quality });
        }
        if 1.0 <= quality {
            break;
        }
    }
    best
}

/// The tree of a text. The bound is on steps, not on time: the same text is read in the same way on any machine.
fn parse(text: &str, grammar: &tree_sitter::Language) -> Option<Tree> {
    if MAX_BYTES < text.len() {
        return None;
    }
    let mut parser = Parser::new();
    parser.set_language(grammar).ok()?;
    let mut looks = (STEPS + text.len() * STEPS_PER_BYTE) / STEPS_PER_LOOK;
    let mut look = |_: &tree_sitter::ParseState| match looks.checked_sub(1) {
        Some(left) => {
            looks = left;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    };
    let (mut left, mut end) = (STEPS + text.len() * READS, usize::MAX);
    let over = Cell::new(false);
    let mut bytes = |at: usize, _| {
        // Behind the piece before, or at a character that its end cuts: all of that was read.
        if at < text.len() && at <= end && end - at < 4 {
            left = left.saturating_sub(PIECE);
        }
        over.set(over.get() || left == 0);
        let rest = if over.get() { &[] } else { text.as_bytes().get(at..).unwrap_or_default() };
        let piece = rest.get(..PIECE).unwrap_or(rest);
        end = at + piece.len();
        piece
    };
    let options = ParseOptions::new().progress_callback(&mut look);
    parser.parse_with_options(&mut bytes, None, Some(options)).filter(|_| !over.get())
}

fn quality(text: &str, tree: &Tree, kinds: &Kinds) -> f32 {
    let root = tree.root_node();
    if !root.has_error() {
        return 1.0;
    }
    let mut wrong = 0;
    let mut due: Vec<Node<'_>> = vec![root];
    while let Some(node) = due.pop() {
        // What is missing has no bytes, and is wrong for all that.
        wrong += usize::from(node.is_missing());
        let mut known = 0;
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if node.is_error() && !child.is_error() && kinds.is_known(child) {
                known += child.byte_range().len();
            }
            // Inside of what is wrong already, only items can be right.
            if child.has_error() && (!node.is_error() || kinds.is_known(child)) {
                due.push(child);
            }
        }
        if node.is_error() {
            wrong += node.byte_range().len().saturating_sub(known).max(1);
        }
    }
    let all = text.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "a program has at most two million bytes")]
    let quality = 1.0 - wrong.min(all) as f32 / all as f32;
    quality
}
