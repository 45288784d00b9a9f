//! The tokens of a chunk in their order: what deleting it, phrases and feedback read.

use smallvec::SmallVec;

use crate::lexical::fields::{FIELDS, Field};

use super::codec;

/// The numbers of the terms of a chunk, field by field. Each field begins with how many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence(Box<[u8]>);

/// A term in a field; `whole` where it stands beside its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) field: Field,
    pub(super) term: u32,
    pub(super) whole: bool,
}

impl Sequence {
    /// Terms are below 2^31.
    pub(super) fn new(fields: &[Vec<(u32, bool)>; FIELDS]) -> Self {
        // Most numbers take two bytes. What is left over is given back.
        let mut bytes = Vec::with_capacity(FIELDS + fields.iter().map(Vec::len).sum::<usize>() * 3);
        for tokens in fields {
            codec::put(u32::try_from(tokens.len()).unwrap_or(u32::MAX), &mut bytes);
            for (term, whole) in tokens {
                codec::put(term << 1 | u32::from(*whole), &mut bytes);
            }
        }
        Self(bytes.into_boxed_slice())
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        let mut bytes = &*self.0;
        let mut fields = Field::ALL.into_iter();
        let mut current = None;
        let mut left = 0;
        std::iter::from_fn(move || {
            while left == 0 {
                current = fields.next();
                current?;
                left = codec::take(&mut bytes)?;
            }
            left -= 1;
            let number = codec::take(&mut bytes)?;
            Some(Token { field: current?, term: number >> 1, whole: number & 1 == 1 })
        })
    }

    /// Hands over each term with how often it is in each field: by term, then by field.
    pub(super) fn counts(&self, mut see: impl FnMut(u32, &[(Field, u32)])) {
        let mut tokens: Vec<(u32, Field)> = self.tokens().map(|token| (token.term, token.field)).collect();
        tokens.sort_unstable();
        let mut counts: SmallVec<[(Field, u32); FIELDS]> = SmallVec::new();
        for same in tokens.chunk_by(|a, b| a.0 == b.0) {
            counts.clear();
            counts.extend(
                same.chunk_by(|a, b| a == b).filter_map(|same| Some((same.first()?.1, same.len() as u32))),
            );
            if let Some((term, _)) = same.first() {
                see(*term, &counts);
            }
        }
    }

    /// How often the terms stand one after another, by field. Wholes are passed over.
    pub(super) fn occurrences(&self, phrase: &[u32]) -> [u32; FIELDS] {
        let parts: Vec<Token> = self.tokens().filter(|token| !token.whole).collect();
        let mut found = [0; FIELDS];
        for window in parts.windows(phrase.len().max(1)) {
            let same = window.iter().map(|token| &token.term).eq(phrase);
            let (Some(first), Some(last)) = (window.first(), window.last()) else { continue };
            if let Some(count) =
                found.get_mut(first.field as usize).filter(|_| same && first.field == last.field)
            {
                *count += 1;
            }
        }
        found
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}
