//! Which chunks hold a term, and how often in which field.

use smallvec::SmallVec;

use crate::lexical::fields::Field;

use super::codec;

/// The chunks that hold a term, in ascending order of their slots, deleted ones included.
///
/// Each is the distance to the slot before, then a byte for every field that holds the term: the field in bits 0 to 2, bit
/// 3 where another field follows, the count in bits 4 to 7, or 0 there and the count as a number of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Postings {
    bytes: SmallVec<[u8; 16]>,
    last: u32,
    /// Chunks that are not deleted.
    pub(super) holders: u32,
}

const MORE: u8 = 1 << 3;

impl Postings {
    /// Adds a chunk behind the last one. Counts are not 0, fields are in order.
    pub(super) fn push(&mut self, slot: u32, counts: &[(Field, u32)]) {
        let mut added: SmallVec<[u8; 16]> = SmallVec::new();
        codec::put(slot - self.last, &mut added);
        for (place, (field, count)) in counts.iter().enumerate() {
            let more = if place + 1 < counts.len() { MORE } else { 0 };
            let head = *field as u8 | more;
            match u8::try_from(*count) {
                Ok(few @ 1..=15) => added.push(head | few << 4),
                _ => {
                    added.push(head);
                    codec::put(*count, &mut added);
                }
            }
        }
        if self.bytes.capacity() - self.bytes.len() < added.len() {
            // Doubling would leave half of a long list empty.
            self.bytes.reserve_exact(added.len().max(self.bytes.len() / 8 + 4));
        }
        self.bytes.extend_from_slice(&added);
        self.last = slot;
        self.holders += 1;
    }

    /// Reads them from the first on.
    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { bytes: &self.bytes, slot: 0 }
    }

    pub(super) fn heap(&self) -> usize {
        if self.bytes.spilled() { self.bytes.capacity() } else { 0 }
    }

    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

/// How far postings were read.
#[derive(Debug)]
pub(super) struct Cursor<'p> {
    bytes: &'p [u8],
    slot: u32,
}

impl Cursor<'_> {
    /// The next slot, after its counts were handed to `count`.
    pub(super) fn next(&mut self, mut count: impl FnMut(u32, Field, u32)) -> Option<u32> {
        self.slot += codec::take(&mut self.bytes)?;
        loop {
            let (head, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            let field = *Field::ALL.get(usize::from(head & 7))?;
            let times = match head >> 4 {
                0 => codec::take(&mut self.bytes)?,
                few => u32::from(few),
            };
            count(self.slot, field, times);
            if head & MORE == 0 {
                return Some(self.slot);
            }
        }
    }
}
