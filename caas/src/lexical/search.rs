//! The steps of a search, which are the same in every index.

use std::collections::{BTreeMap, BTreeSet};

use super::feedback::{Evidence, expanded};
use super::query::Question;
use super::{Analyzer, Keep, LexicalError, LexicalHit, LexicalQuery};

/// What an index answers about the state that it is searched in.
pub(super) trait Searchable {
    /// Chunks there are.
    fn chunks(&self) -> usize;

    /// The analyzers of those chunks.
    fn analyzers(&self) -> BTreeSet<Analyzer>;

    /// The best chunks, ties by id.
    fn best(&self, question: &Question, k: usize, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError>;

    /// The words of hits.
    fn evidence(&self, hits: &[LexicalHit]) -> Result<Vec<Evidence>, LexicalError>;

    /// How rare words are; 0 for one that no chunk holds.
    fn rarity<'w>(&self, words: BTreeSet<&'w str>) -> Result<BTreeMap<&'w str, f64>, LexicalError>;
}

pub(super) fn search(
    index: &impl Searchable,
    query: &LexicalQuery<'_>,
    keep: Keep<'_>,
) -> Result<Vec<LexicalHit>, LexicalError> {
    query.check()?;
    let mut question = Question::new(query.text, index.analyzers());
    if let Some(feedback) = query.feedback.filter(|feedback| feedback.least_chunks <= index.chunks()) {
        let hits = index.best(&question, feedback.hits, keep)?;
        let evidence = index.evidence(&hits)?;
        let words = evidence.iter().flat_map(|hit| hit.words.keys()).map(String::as_str).collect();
        let rarity = index.rarity(words)?;
        let idf = |word: &str| rarity.get(word).copied().unwrap_or_default();
        question.words = expanded(&question.words, &evidence, &feedback, idf);
    }
    index.best(&question, query.k, keep)
}
