//! How the index is searched: term at a time, over a score for every slot.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexical::feedback::Evidence;
use crate::lexical::fields::{FIELDS, Field};
use crate::lexical::query::Question;
use crate::lexical::score::Model;
use crate::lexical::search::Searchable;
use crate::lexical::top::Top;
use crate::lexical::{Analyzer, Keep, LexicalError, LexicalHit};

use super::postings::Postings;
use super::store::Store;

impl Searchable for Store {
    fn chunks(&self) -> usize {
        self.totals.chunks
    }

    fn analyzers(&self) -> BTreeSet<Analyzer> {
        self.analyzers.iter().filter(|(_, chunks)| 0 < **chunks).map(|(analyzer, _)| *analyzer).collect()
    }

    fn best(&self, question: &Question, k: usize, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError> {
        let mut top = Top::new(k, keep);
        for (slot, score) in self.slots.iter().zip(self.scores(question)) {
            if 0.0 < score {
                top.offer(LexicalHit { chunk: slot.chunk, score });
            }
        }
        Ok(top.into_hits())
    }

    fn evidence(&self, hits: &[LexicalHit]) -> Result<Vec<Evidence>, LexicalError> {
        let model = self.model();
        let evidence = hits.iter().filter_map(|hit| {
            let slot = self.slots.get(self.slot_of(hit.chunk)? as usize)?;
            let mut words: BTreeMap<String, f64> = BTreeMap::new();
            for token in slot.sequence.tokens() {
                let word = self.dictionary.term(token.term).to_owned();
                *words.entry(word).or_default() += model.weight(token.field);
            }
            Some(Evidence { score: hit.score, words })
        });
        Ok(evidence.collect())
    }

    fn rarity<'w>(&self, words: BTreeSet<&'w str>) -> Result<BTreeMap<&'w str, f64>, LexicalError> {
        let model = self.model();
        let idf = |word| self.postings_of(word).map_or(0.0, |postings| model.idf(postings.holders as usize));
        Ok(words.into_iter().map(|word| (word, idf(word))).collect())
    }
}

impl Store {
    fn model(&self) -> Model {
        Model::new(&self.parameters, &self.totals)
    }

    /// The score of every slot; 0 for deleted chunks.
    fn scores(&self, question: &Question) -> Vec<f64> {
        let model = self.model();
        let mut scores = vec![0.0; self.slots.len()];
        for (word, weight) in &question.words {
            let Some(postings) = self.postings_of(word) else { continue };
            let worth = weight * model.idf(postings.holders as usize);
            self.add_word(&model, postings, worth, &mut scores);
        }
        for phrase in &question.phrases {
            // A phrase is as if it were one word.
            let holders = self.holders(phrase);
            let worth = model.idf(holders.len());
            for (slot, counts) in holders {
                let place = slot as usize;
                if let (Some(score), Some(slot)) = (scores.get_mut(place), self.slots.get(place)) {
                    *score += worth * model.saturated(model.frequencies(&counts, &slot.lengths));
                }
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
        let terms: Option<Vec<u32>> = phrase.iter().map(|word| self.dictionary.find(word)).collect();
        let Some(terms) = terms else { return Vec::new() };
        // How many of the words, from the first on, a slot holds.
        let mut held: Vec<u8> = vec![0; self.slots.len()];
        for (before, term) in (0u8..).zip(&terms) {
            let Some(postings) = self.postings.get(*term as usize) else { continue };
            let mut cursor = postings.cursor();
            while let Some(slot) = cursor.next(|_, _: Field, _| {}) {
                if let Some(held) = held.get_mut(slot as usize).filter(|held| **held == before) {
                    *held += 1;
                }
            }
        }
        let slots = (0..).zip(self.slots.iter().zip(held));
        slots
            .filter(|(_, (slot, held))| slot.alive && usize::from(*held) == terms.len())
            .map(|(place, (slot, _))| (place, slot.sequence.occurrences(&terms)))
            .filter(|(_, counts)| counts.iter().any(|count| 0 < *count))
            .collect()
    }
}
