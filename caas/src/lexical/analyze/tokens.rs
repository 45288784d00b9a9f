//! What a text was taken apart into.

use super::MAX_TOKEN;

/// Tokens in the order of their text, in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    text: String,
    /// Where each ends, and whether it is a whole beside its parts.
    ends: Vec<(usize, bool)>,
    parts: usize,
}

impl Tokens {
    /// Adds a part. Empty and overlong ones are left out.
    pub(super) fn push(&mut self, token: &str) {
        self.add(token, false);
    }

    /// Adds a token that covers parts which are there as well, so that it adds nothing to the length of the text.
    pub(super) fn push_whole(&mut self, token: &str) {
        self.add(token, true);
    }

    fn add(&mut self, token: &str, whole: bool) {
        if !token.is_empty() && token.len() <= MAX_TOKEN {
            self.text.push_str(token);
            self.ends.push((self.text.len(), whole));
            self.parts += usize::from(!whole);
        }
    }

    /// Each token, and whether it is a whole beside its parts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, bool)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        // The ends are borders of characters within the buffer.
        starts
            .zip(&self.ends)
            .map(|(start, (end, whole))| (self.text.get(start..*end).unwrap_or_default(), *whole))
    }

    /// How many there are, wholes included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// How many there are without the wholes: the length of the text.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts
    }
}
