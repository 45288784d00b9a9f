//! What the index holds, and how it changes.

use std::collections::{HashMap, HashSet};

use crate::lexical::fields::{AnalyzedChunk, FIELDS, GROUPS};
use crate::lexical::score::Totals;
use crate::lexical::{Analyzer, LexicalError, LexicalStats, Parameters, Tokens};
use crate::{ChunkId, DocumentId};

use super::MemoryBm25;
use super::dictionary::Dictionary;
use super::numbers::Numbers;
use super::postings::Postings;
use super::sequence::Sequence;

/// Fewest slots of deleted chunks that are worth tidying up.
const FEW: usize = 256;

/// Chunks have slots in the order they came in. A slot is not used again until [`Store::tidy`] closes the gaps.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) parameters: Parameters,
    pub(super) dictionary: Dictionary,
    /// By the number of the term.
    pub(super) postings: Vec<Postings>,
    pub(super) slots: Vec<Slot>,
    by_chunk: Numbers,
    documents: HashMap<DocumentId, Vec<u32>>,
    pub(super) totals: Totals,
    /// Chunks by the analyzer of theirs.
    pub(super) analyzers: HashMap<Analyzer, usize>,
    sequence_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) chunk: ChunkId,
    pub(super) alive: bool,
    pub(super) analyzer: Analyzer,
    pub(super) lengths: [u32; GROUPS],
    pub(super) sequence: Sequence,
}

pub(super) type Analyzed = (DocumentId, Vec<(ChunkId, AnalyzedChunk)>);

impl Store {
    pub(super) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            dictionary: Dictionary::default(),
            postings: Vec::new(),
            slots: Vec::new(),
            by_chunk: Numbers::default(),
            documents: HashMap::new(),
            totals: Totals::default(),
            analyzers: HashMap::new(),
            sequence_bytes: 0,
        }
    }

    pub(super) fn contains(&self, chunk: ChunkId) -> bool {
        self.slot_of(chunk).is_some()
    }

    pub(super) fn slot_of(&self, chunk: ChunkId) -> Option<u32> {
        self.by_chunk.find(chunk, &self.slots)
    }

    /// Either all of it, or nothing.
    pub(super) fn replace(&mut self, documents: Vec<Analyzed>) -> Result<(), LexicalError> {
        self.check(&documents)?;
        for (document, chunks) in documents {
            self.delete_slots(&document);
            let slots: Vec<u32> =
                chunks.into_iter().map(|(chunk, analyzed)| self.add(chunk, &analyzed)).collect();
            self.documents.insert(document, slots);
        }
        self.tidy_if_due();
        Ok(())
    }

    pub(super) fn delete(&mut self, document: &DocumentId) -> bool {
        let there = self.delete_slots(document);
        self.tidy_if_due();
        there
    }

    fn check(&self, documents: &[Analyzed]) -> Result<(), LexicalError> {
        let replaced: HashSet<u32> = documents
            .iter()
            .filter_map(|(document, _)| self.documents.get(document))
            .flatten()
            .copied()
            .collect();
        let mut seen = HashSet::new();
        let mut letters = self.dictionary.letters();
        for (chunk, analyzed) in documents.iter().flat_map(|(_, chunks)| chunks) {
            let elsewhere = self.slot_of(*chunk).is_some_and(|slot| !replaced.contains(&slot));
            if elsewhere || !seen.insert(*chunk) {
                let why = if elsewhere { "it is in another document" } else { "it is there twice" };
                return Err(LexicalError::BadChunk { chunk: *chunk, why });
            }
            letters +=
                analyzed.fields.iter().flat_map(Tokens::iter).map(|(token, _)| token.len()).sum::<usize>();
        }
        for (what, count, limit) in [
            ("chunks", self.slots.len().saturating_add(seen.len()), MemoryBm25::MAX_CHUNKS),
            ("bytes of terms", letters, Dictionary::MAX_BYTES),
        ] {
            if limit < count {
                return Err(LexicalError::TooLarge { what, limit });
            }
        }
        Ok(())
    }

    fn add(&mut self, chunk: ChunkId, analyzed: &AnalyzedChunk) -> u32 {
        let mut fields: [Vec<(u32, bool)>; FIELDS] = Default::default();
        for (tokens, numbers) in analyzed.fields.iter().zip(&mut fields) {
            // None is missing: the room was checked before.
            numbers.extend(
                tokens.iter().filter_map(|(token, whole)| Some((self.dictionary.number(token)?, whole))),
            );
        }
        self.place(chunk, analyzed.analyzer, analyzed.lengths(), &fields)
    }

    fn place(
        &mut self,
        chunk: ChunkId,
        analyzer: Analyzer,
        lengths: [u32; GROUPS],
        fields: &[Vec<(u32, bool)>; FIELDS],
    ) -> u32 {
        let Self { dictionary, postings, .. } = self;
        reserve_tight(postings, dictionary.len().saturating_sub(postings.len()));
        postings.resize_with(dictionary.len(), Postings::default);
        let sequence = Sequence::new(fields);
        // Fits: there are no more than `MAX_CHUNKS`.
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        sequence.counts(|term, counts| {
            if let Some(postings) = postings.get_mut(term as usize) {
                postings.push(slot, counts);
            }
        });
        self.totals.add(&lengths);
        *self.analyzers.entry(analyzer).or_default() += 1;
        self.sequence_bytes += sequence.bytes();
        self.by_chunk.insert(chunk, slot, &self.slots);
        reserve_tight(&mut self.slots, 1);
        self.slots.push(Slot { chunk, alive: true, analyzer, lengths, sequence });
        slot
    }

    fn delete_slots(&mut self, document: &DocumentId) -> bool {
        let Some(slots) = self.documents.remove(document) else { return false };
        for slot in slots {
            if let Some(dead) = self.slots.get(slot as usize) {
                self.by_chunk.remove(dead.chunk, &self.slots);
            }
            let Some(slot) = self.slots.get_mut(slot as usize) else { continue };
            slot.alive = false;
            self.totals.remove(&slot.lengths);
            if let Some(chunks) = self.analyzers.get_mut(&slot.analyzer) {
                *chunks = chunks.saturating_sub(1);
            }
            let sequence = std::mem::take(&mut slot.sequence);
            self.sequence_bytes -= sequence.bytes();
            sequence.counts(|term, _| {
                if let Some(postings) = self.postings.get_mut(term as usize) {
                    postings.holders = postings.holders.saturating_sub(1);
                }
            });
        }
        true
    }

    /// Each chunk is moved at most once for one that was deleted.
    fn tidy_if_due(&mut self) {
        let dead = self.slots.len().saturating_sub(self.totals.chunks);
        if FEW.max(self.totals.chunks) < dead {
            self.tidy();
        }
    }

    /// Closes the gaps: slots of deleted chunks, and terms that no chunk holds.
    pub(super) fn tidy(&mut self) {
        let mut tidied = Self::new(self.parameters);
        let old_slots = std::mem::take(&mut self.slots);
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for (old, slot) in (0..).zip(old_slots) {
            if slot.alive {
                moved.insert(old, tidied.adopt(slot, &self.dictionary));
            }
        }
        for (document, slots) in std::mem::take(&mut self.documents) {
            let slots = slots.iter().filter_map(|slot| moved.get(slot).copied()).collect();
            tidied.documents.insert(document, slots);
        }
        for postings in &mut tidied.postings {
            postings.shrink();
        }
        *self = tidied;
    }

    /// Takes a chunk over from a store with another dictionary.
    fn adopt(&mut self, slot: Slot, from: &Dictionary) -> u32 {
        let mut fields: [Vec<(u32, bool)>; FIELDS] = Default::default();
        for token in slot.sequence.tokens() {
            let number = self.dictionary.number(from.term(token.term));
            if let (Some(number), Some(numbers)) = (number, fields.get_mut(token.field as usize)) {
                numbers.push((number, token.whole));
            }
        }
        self.place(slot.chunk, slot.analyzer, slot.lengths, &fields)
    }

    pub(super) fn stats(&self) -> LexicalStats {
        let postings: usize = self.postings.iter().map(Postings::heap).sum();
        let documents: usize =
            self.documents.iter().map(|(id, slots)| id.as_str().len() + slots.capacity() * 4).sum();
        let tables = self.postings.capacity() * size_of::<Postings>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.by_chunk.bytes()
            + self.documents.capacity() * (size_of::<(DocumentId, Vec<u32>)>() + 1);
        LexicalStats {
            documents: self.documents.len(),
            chunks: self.totals.chunks,
            terms: self.dictionary.len(),
            bytes: self.dictionary.bytes() + postings + documents + tables + self.sequence_bytes,
        }
    }
}

/// Makes room for more in a list that seldom shrinks: an eighth of it to spare, where doubling would leave up to half of it.
pub(super) fn reserve_tight<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8 + 16));
    }
}
