//! Which documents may be looked at.

/// A set of documents by number.
#[derive(Clone, Debug)]
pub(super) enum Mask {
    /// All of them.
    All,
    /// Those whose bit is set.
    Some(Vec<u64>),
}

impl Mask {
    /// The documents for which `passes` holds.
    #[cfg(test)]
    pub(super) fn of(passes: impl Iterator<Item = bool>) -> Self {
        let passes: Vec<bool> = passes.collect();
        let mut mask = Self::every(passes.len());
        mask.keep(&passes, |passes| *passes);
        mask
    }

    /// None of the first `count` documents.
    pub(super) fn none(count: usize) -> Self {
        Self::Some(vec![0; count.div_ceil(64)])
    }

    /// All of the first `count` documents and no other, to be made fewer.
    pub(super) fn every(count: usize) -> Self {
        let mut bits = vec![u64::MAX; count / 64];
        bits.extend((!count.is_multiple_of(64)).then(|| (1 << (count % 64)) - 1));
        Self::Some(bits)
    }

    /// Lets a document pass.
    pub(super) fn set(&mut self, document: usize) {
        if let Self::Some(bits) = self
            && let Some(word) = bits.get_mut(document / 64)
        {
            *word |= 1 << (document % 64);
        }
    }

    /// Of those that pass, keeps the ones for which `passes` holds of their item.
    pub(super) fn keep<T>(&mut self, items: &[T], passes: impl Fn(&T) -> bool) {
        let Self::Some(bits) = self else { return };
        for (word, items) in bits.iter_mut().zip(items.chunks(64)).filter(|(word, _)| **word != 0) {
            // No branch depends on what passes, which no processor foresees.
            let bits = (0..).zip(items).map(|(bit, item)| u64::from(passes(item)) << bit);
            let kept = bits.fold(0, |kept, bit: u64| kept | bit);
            *word &= kept;
        }
    }

    /// The same for a condition that costs more than finding out of which documents it has to be asked.
    pub(super) fn keep_places(&mut self, passes: impl Fn(usize) -> bool) {
        let Self::Some(bits) = self else { return };
        for (begin, word) in (0..).step_by(64).zip(bits) {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if !passes(begin + bit as usize) {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    /// Shows those of the first `count` documents that pass, ascending.
    #[inline]
    pub(super) fn each(&self, count: usize, mut see: impl FnMut(usize)) {
        match self {
            Self::All => (0..count).for_each(see),
            Self::Some(bits) => {
                for (begin, word) in (0..count).step_by(64).zip(bits) {
                    let mut left = *word;
                    while left != 0 {
                        see(begin + left.trailing_zeros() as usize);
                        left &= left - 1;
                    }
                }
            }
        }
    }

    #[inline]
    pub(super) fn passes(&self, document: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(bits) => bits.get(document / 64).is_some_and(|word| word >> (document % 64) & 1 == 1),
        }
    }
}
