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
    pub(super) fn of(passes: impl Iterator<Item = bool>) -> Self {
        let mut bits = Vec::new();
        let (mut word, mut filled) = (0u64, 0u32);
        for pass in passes {
            word |= u64::from(pass) << filled;
            filled += 1;
            if filled == u64::BITS {
                bits.push(std::mem::take(&mut word));
                filled = 0;
            }
        }
        bits.push(word);
        Self::Some(bits)
    }

    /// None of the first `count` documents.
    pub(super) fn none(count: usize) -> Self {
        Self::Some(vec![0; count / 64 + 1])
    }

    /// Lets a document pass.
    pub(super) fn set(&mut self, document: usize) {
        if let Self::Some(bits) = self
            && let Some(word) = bits.get_mut(document / 64)
        {
            *word |= 1 << (document % 64);
        }
    }

    /// The documents that pass, ascending; none where all do.
    pub(super) fn listed(&self) -> impl Iterator<Item = usize> + '_ {
        let words = match self {
            Self::All => &[],
            Self::Some(bits) => bits.as_slice(),
        };
        words.iter().enumerate().flat_map(|(place, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(64 * place + bit)
            })
        })
    }

    #[inline]
    pub(super) fn passes(&self, document: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(bits) => bits.get(document / 64).is_some_and(|word| word >> (document % 64) & 1 == 1),
        }
    }
}
