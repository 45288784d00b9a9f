//! Which documents hold a word, and how often: a few bits for each.

/// A list that only grows at its end, kept as variable-length numbers: twice the gap to the document before, plus one where
/// the word stands more than once and its count follows. The last document is kept apart, as its count may still grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Postings {
    bytes: Vec<u8>,
    /// One more than the last document in `bytes`, so that no gap is zero.
    end: u32,
    /// The last document, if there is one.
    last: u32,
    /// How often the word stands in it.
    count: u32,
    holders: u32,
}

impl Postings {
    /// Counts the word once more in a document, and says whether that is the first time. INVARIANT: documents come in
    /// ascending order.
    pub(super) fn add(&mut self, document: u32) -> bool {
        let is_new = self.count == 0 || self.last != document;
        if is_new {
            self.put_away();
            (self.last, self.holders) = (document, self.holders + 1);
        }
        self.count += 1;
        is_new
    }

    /// Writes the last document down.
    fn put_away(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count == 0 {
            return;
        }
        let gap = u64::from((self.last + 1).saturating_sub(self.end));
        if self.bytes.capacity() < self.bytes.len() + 10 {
            // Doubling would leave half of a large list empty.
            self.bytes.reserve_exact(self.bytes.len() / 4 + if self.bytes.is_empty() { 4 } else { 12 });
        }
        self.write(gap << 1 | u64::from(1 < count));
        if 1 < count {
            self.write(u64::from(count));
        }
        self.end = self.last + 1;
    }

    fn write(&mut self, mut number: u64) {
        while 0x7f < number {
            self.bytes.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// In how many documents the word stands.
    pub(super) fn holders(&self) -> u32 {
        self.holders
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holders == 0
    }

    /// Documents in ascending order, with counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut bytes = self.bytes.iter();
        let mut end = 0u32;
        let last = (self.count != 0).then_some((self.last, self.count));
        let written = std::iter::from_fn(move || {
            let head = read(&mut bytes)?;
            end += (head >> 1) as u32;
            let count = if head & 1 == 0 { 1 } else { read(&mut bytes)? as u32 };
            Some((end - 1, count))
        });
        written.chain(last)
    }

    /// The list without a document, if the document is in it.
    pub(super) fn without(&self, document: u32) -> Option<Self> {
        if !self.iter().any(|(held, _)| held == document) {
            return None;
        }
        let mut rest = Self::default();
        for (held, count) in self.iter().filter(|(held, _)| *held != document) {
            rest.put_away();
            (rest.last, rest.count, rest.holders) = (held, count, rest.holders + 1);
        }
        Some(rest)
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

#[inline]
fn read(bytes: &mut std::slice::Iter<'_, u8>) -> Option<u64> {
    let first = *bytes.next()?;
    let mut number = u64::from(first & 0x7f);
    let (mut byte, mut shift) = (first, 7);
    while byte & 0x80 != 0 {
        byte = *bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(set in proptest::collection::btree_map(0u32..5_000_000, 1u32..300, 0..200)) {
            let mut list = Postings::default();
            for (document, count) in &set {
                prop_assert!(list.add(*document));
                (1..*count).for_each(|_| assert!(!list.add(*document)));
            }
            prop_assert_eq!(list.iter().collect::<Vec<_>>(), set.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(list.holders() as usize, set.len());
            if let Some(first) = set.keys().nth(set.len() / 2) {
                let mut rest = set.clone();
                rest.remove(first);
                let without = list.without(*first).unwrap();
                prop_assert_eq!(without.iter().collect::<Vec<_>>(), rest.into_iter().collect::<Vec<_>>());
                prop_assert!(without.without(*first).is_none());
            }
        }
    }
}
