//! Blocks as the tree that their paths make of them.

use std::ops::Range;

use super::heads;
use crate::model::{Block, BlockKind};

/// A heading, or a signature, with what it heads.
#[derive(Debug)]
pub(super) struct Section {
    /// Its own blocks, the heading first.
    pub(super) own: Range<usize>,
    /// All of its blocks.
    pub(super) all: Range<usize>,
    pub(super) parts: Vec<Section>,
}

/// How deep a block lies; what heads lies as deep as what it heads. A title is in no path.
fn depth(block: &Block) -> usize {
    block.path.len() + usize::from(heads(block.kind) && block.kind != BlockKind::Title)
}

/// The sections of a document, in order. Each block is in one section's own blocks.
pub(super) fn tree(blocks: &[Block]) -> Vec<Section> {
    let mut done: Vec<Section> = Vec::new();
    // The sections that are open, each inside of the one before, with their depths.
    let mut open: Vec<(usize, Section)> = Vec::new();
    for (place, block) in blocks.iter().enumerate() {
        let depth = depth(block);
        let begins = heads(block.kind);
        while let Some((last, _)) = open.last() {
            let inside = if begins { *last < depth } else { *last <= depth };
            if inside {
                break;
            }
            close(&mut open, &mut done);
        }
        let goes_on = !begins && open.last().is_some_and(|(_, section)| section.parts.is_empty());
        for (_, section) in &mut open {
            section.all.end = place + 1;
        }
        match open.last_mut().filter(|_| goes_on) {
            Some((_, section)) => section.own.end = place + 1,
            None => open
                .push((depth, Section { own: place..place + 1, all: place..place + 1, parts: Vec::new() })),
        }
    }
    while !open.is_empty() {
        close(&mut open, &mut done);
    }
    done
}

fn close(open: &mut Vec<(usize, Section)>, done: &mut Vec<Section>) {
    if let Some((_, section)) = open.pop() {
        match open.last_mut() {
            Some((_, parent)) => parent.parts.push(section),
            None => done.push(section),
        }
    }
}
