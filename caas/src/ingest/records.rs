//! Entries of nested data, grouped into blocks of a size that can be read.

use std::ops::Range;
use std::sync::Arc;

use super::draft::Draft;
use super::{IngestError, Limits};
use crate::model::{BlockKind, Path};

/// A container up to this many bytes is one block; a larger one is taken apart. Entries beside each other share a block up
/// to it.
const TARGET: usize = 1024;
/// Longest key that is kept in a path, in characters.
const MAX_KEY: usize = 200;

/// How a container is called by the one it is in.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// It is not in another one.
    Root,
    Key(String),
    Index(usize),
}

#[derive(Debug)]
struct Frame {
    name: Name,
    start: usize,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    range: Range<usize>,
    /// None where it lies in the frame itself.
    path: Option<Path>,
}

/// Follows a parser in and out of containers. Nothing is kept of a container that turns out to be small but its range, so
/// memory goes with the blocks, not with the values.
#[derive(Debug)]
pub(super) struct Records<'l> {
    limits: &'l Limits,
    frames: Vec<Frame>,
}

impl<'l> Records<'l> {
    pub(super) fn new(limits: &'l Limits) -> Self {
        Self { limits, frames: vec![Frame { name: Name::Root, start: 0, parts: Vec::new() }] }
    }

    /// A container begins; `start` is that of its key, where it has one.
    pub(super) fn open(&mut self, name: Name, start: usize) -> Result<(), IngestError> {
        self.limits.nesting(self.frames.len())?;
        self.frames.push(Frame { name, start, parts: Vec::new() });
        Ok(())
    }

    /// A value that holds no others, with its key.
    pub(super) fn leaf(&mut self, range: Range<usize>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.add(Part { range, path: None });
        }
    }

    /// What was just added reaches to here: a comma belongs to what it follows.
    pub(super) fn extend(&mut self, end: usize) {
        if let Some(last) = self.frames.last_mut().and_then(|frame| frame.parts.last_mut()) {
            last.range.end = last.range.end.max(end);
        }
    }

    /// The innermost container ends.
    pub(super) fn close(&mut self, end: usize) {
        if self.frames.len() < 2 {
            return;
        }
        let Some(frame) = self.frames.pop() else { return };
        let range = frame.start..end;
        let small = range.len() <= TARGET || frame.parts.is_empty();
        let path = if small { None } else { Some(self.path(&frame.name)) };
        let Some(parent) = self.frames.last_mut() else { return };
        if small {
            parent.add(Part { range, path: None });
            return;
        }
        let parts =
            frame.parts.into_iter().map(|part| Part { path: part.path.or_else(|| path.clone()), ..part });
        let before = parent.parts.len();
        parent.parts.extend(parts);
        if let Some(first) = parent.parts.get_mut(before) {
            first.range.start = range.start;
        }
        if let Some(last) = parent.parts.last_mut() {
            last.range.end = range.end;
        }
    }

    /// Closes whatever is open and hands the parts over.
    pub(super) fn finish(mut self, end: usize, draft: &mut Draft<'_>) -> Result<(), IngestError> {
        while 1 < self.frames.len() {
            self.close(end);
        }
        let root: Path = Arc::new([]);
        for part in self.frames.pop().map(|root| root.parts).unwrap_or_default() {
            draft.push(BlockKind::Record, part.range, part.path.as_ref().unwrap_or(&root))?;
        }
        Ok(())
    }

    fn path(&self, last: &Name) -> Path {
        let names = self.frames.iter().map(|frame| &frame.name).chain([last]);
        names
            .filter_map(|name| match name {
                Name::Root => None,
                Name::Key(key) => Some(key.chars().take(MAX_KEY).collect::<String>().into()),
                Name::Index(index) => Some(format!("[{index}]").into()),
            })
            .collect()
    }
}

impl Frame {
    fn add(&mut self, part: Part) {
        if let Some(last) = self.parts.last_mut()
            && last.path.is_none()
            && part.path.is_none()
            && part.range.end.saturating_sub(last.range.start) <= TARGET
        {
            last.range.end = part.range.end;
            return;
        }
        self.parts.push(part);
    }
}
