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
        bits.extend((count % 64 != 0).then(|| (1 << (count % 64)) - 1));
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
            let kept = items.iter().rev().fold(0, |kept, item| kept << 1 | u64::from(passes(item)));
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

    /// Sets the scores of what does not pass to 0.
    pub(super) fn clear_others(&self, scores: &mut [f64]) {
        let Self::Some(bits) = self else { return };
        for (word, scores) in bits.iter().zip(scores.chunks_mut(64)) {
            match *word {
                0 => scores.fill(0.0),
                u64::MAX => {}
                word => {
                    for (bit, score) in scores.iter_mut().enumerate() {
                        *score = if word >> bit & 1 == 1 { *score } else { 0.0 };
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
