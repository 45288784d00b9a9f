//! The words of the documents, in memory.

use std::collections::HashMap;

use agent_primitives::search::{Bm25, Parameters};

use crate::vfs::{RelPath, Version};

/// Longest document that can be found, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// Most documents that can be found.
pub const MAX_DOCUMENTS: usize = 100_000;
/// Documents that have changed or gone before the index is made anew, however few are left.
const WEAR: usize = 1024;

/// BM25 over documents by path. A document that changes takes a new place, since the index only grows; its old place is
/// passed over, and when there are more of those than documents the index [is worn](Self::is_worn).
///
/// INVARIANT: `live` names the place of each document, and `places` has its path there; other places have none.
#[derive(Debug, Default)]
pub(super) struct Index {
    words: Option<Bm25>,
    places: Vec<Option<Box<str>>>,
    live: HashMap<Box<str>, (usize, Version)>,
}

impl Index {
    pub(super) fn put(&mut self, path: &str, version: Version, words: &[String]) {
        self.forget(path);
        if MAX_DOCUMENTS <= self.live.len() {
            return;
        }
        let index = match &mut self.words {
            Some(index) => index,
            none => match Bm25::new(Parameters::DEFAULT) {
                Ok(index) => none.insert(index),
                Err(_) => return,
            },
        };
        // Longer than can be counted: kept, and never found.
        let Ok(place) = index.push(words) else { return };
        self.places.push(Some(path.into()));
        self.live.insert(path.into(), (place, version));
    }

    pub(super) fn forget(&mut self, path: &str) {
        if let Some((place, _)) = self.live.remove(path)
            && let Some(taken) = self.places.get_mut(place)
        {
            *taken = None;
        }
    }

    pub(super) fn version(&self, path: &str) -> Option<Version> {
        self.live.get(path).map(|(_, version)| *version)
    }

    /// Whether it should be made anew.
    pub(super) fn is_worn(&self) -> bool {
        self.live.len() + WEAR < self.places.len() - self.live.len()
    }

    /// The documents below `directory` that hold any of the words, best first.
    pub(super) fn search(&self, words: &[String], directory: RelPath<'_>) -> Vec<(String, f64)> {
        let Some(index) = &self.words else { return Vec::new() };
        let hits = index.search(words, index.len()).into_iter();
        let named = hits.filter_map(|hit| Some((self.places.get(hit.seq)?.as_deref()?, hit.score)));
        let below = named.filter(|(path, _)| is_below(path, directory));
        below.map(|(path, score)| (path.to_owned(), score)).collect()
    }
}

fn is_below(path: &str, directory: RelPath<'_>) -> bool {
    directory.is_root() || path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_keeps_changing_wears_the_index_out() {
        let mut index = Index::default();
        let words = |text: &str| vec![text.to_owned()];
        for version in 0..(WEAR as u128 + 2) {
            index.put("a", Version::from_u128(version), &words("whale"));
            assert_eq!(index.search(&words("whale"), RelPath::parse("").unwrap()).len(), 1);
        }
        assert!(!index.is_worn());
        index.put("a", Version::from_u128(u128::MAX), &words("whale"));
        assert!(index.is_worn());
    }
}
