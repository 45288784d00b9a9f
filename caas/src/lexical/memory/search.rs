//! How the index is searched.

use std::collections::{BTreeMap, HashMap};

use crate::lexical::feedback::{Evidence, Feedback, expanded};
use crate::lexical::fields::{FIELDS, Field};
use crate::lexical::query::Question;
use crate::lexical::score::Model;
use crate::lexical::top::Top;
use crate::lexical::{Keep, LexicalHit, LexicalQuery};

use super::postings::Postings;
use super::store::Store;

impl Store {
    pub(super) fn search(&self, query: &LexicalQuery<'_>, keep: Keep<'_>) -> Vec<LexicalHit> {
        let model = Model::new(&self.parameters, &self.totals);
        let mut question = Question::new(query.text, self.analyzers());
        if let Some(feedback) = query.feedback.filter(|feedback| feedback.least_chunks <= self.totals.chunks)
        {
            let best = self.best(&self.scores(&model, &question), feedback.hits, keep);
            if !best.is_empty() {
                question.words = self.expanded(&model, &question.words, &best, &feedback);
            }
        }
        self.best(&self.scores(&model, &question), query.k, keep)
    }

    fn best(&self, scores: &[f64], k: usize, keep: Keep<'_>) -> Vec<LexicalHit> {
        let mut top = Top::new(k, keep);
        for (slot, score) in self.slots.iter().zip(scores) {
            if 0.0 < *score {
                top.offer(LexicalHit { chunk: slot.chunk, score: *score });
            }
        }
        top.into_hits()
    }

    /// The score of every slot; 0 for deleted chunks.
    fn scores(&self, model: &Model, question: &Question) -> Vec<f64> {
        let mut scores = vec![0.0; self.slots.len()];
        for (word, weight) in &question.words {
            let Some(postings) = self.postings_of(word) else { continue };
            let worth = weight * model.idf(postings.holders as usize);
            self.add_word(model, postings, worth, &mut scores);
        }
        for phrase in &question.phrases {
            let holders = self.holders(phrase);
            // A phrase is as if it were one word.
            let worth = model.idf(holders.len());
            for (slot, counts) in holders {
                let (Some(score), Some(held)) =
                    (scores.get_mut(slot as usize), self.slots.get(slot as usize))
                else {
                    continue;
                };
                let counts = Field::ALL.into_iter().zip(counts);
                let frequency =
                    counts.map(|(field, count)| model.frequency(field, count, &held.lengths)).sum();
                *score += worth * model.saturated(frequency);
            }
        }
        scores
    }

    fn add_word(&self, model: &Model, postings: &Postings, worth: f64, scores: &mut [f64]) {
        let mut cursor = postings.cursor();
        let mut frequency = 0.0;
        while let Some(slot) = cursor.next(|slot, field, count| {
            if let Some(slot) = self.slots.get(slot as usize).filter(|slot| slot.alive) {
                frequency += model.frequency(field, count, &slot.lengths);
            }
        }) {
            if let Some(score) = scores.get_mut(slot as usize) {
                *score += worth * model.saturated(frequency);
            }
            frequency = 0.0;
        }
    }

    fn postings_of(&self, word: &str) -> Option<&Postings> {
        self.postings.get(self.dictionary.find(word)? as usize)
    }

    /// The chunks that hold a phrase, and how often in which field.
    fn holders(&self, phrase: &[String]) -> Vec<(u32, [u32; FIELDS])> {
        let Some(terms) = phrase.iter().map(|word| self.dictionary.find(word)).collect::<Option<Vec<u32>>>()
        else {
            return Vec::new();
        };
        // How many of the words, from the first on, a slot holds.
        let mut held: Vec<u8> = vec![0; self.slots.len()];
        for (before, term) in (0u8..).zip(&terms) {
            let Some(postings) = self.postings.get(*term as usize) else { continue };
            let mut cursor = postings.cursor();
            while let Some(slot) = cursor.next(|_, _, _| {}) {
                if let Some(held) = held.get_mut(slot as usize).filter(|held| **held == before) {
                    *held += 1;
                }
            }
        }
        let all = (0..)
            .zip(self.slots.iter().zip(held))
            .filter(|(_, (slot, held))| slot.alive && usize::from(*held) == terms.len());
        let found = all.map(|(place, (slot, _))| (place, slot.sequence.occurrences(&terms)));
        found.filter(|(_, counts)| counts.iter().any(|count| 0 < *count)).collect()
    }

    fn expanded(
        &self,
        model: &Model,
        asked: &BTreeMap<String, f64>,
        best: &[LexicalHit],
        feedback: &Feedback,
    ) -> BTreeMap<String, f64> {
        let evidence: Vec<Evidence> = best
            .iter()
            .filter_map(|hit| {
                let slot = self.slots.get(self.slot_of(hit.chunk)? as usize)?;
                let mut words = HashMap::new();
                for token in slot.sequence.tokens() {
                    *words.entry(self.dictionary.term(token.term).to_owned()).or_default() +=
                        model.weight(token.field);
                }
                Some(Evidence { score: hit.score, words })
            })
            .collect();
        let idf =
            |word: &str| self.postings_of(word).map_or(0.0, |postings| model.idf(postings.holders as usize));
        expanded(asked, &evidence, feedback, idf)
    }
}
