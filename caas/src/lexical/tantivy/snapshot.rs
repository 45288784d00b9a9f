//! The index as of one commit.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ::tantivy::postings::{Postings, SegmentPostings};
use ::tantivy::schema::{IndexRecordOption, Value};
use ::tantivy::{
    DocAddress, DocId, DocSet, IndexReader, Searcher, SegmentReader, TERMINATED, TantivyDocument, Term,
};

use crate::lexical::feedback::Evidence;
use crate::lexical::fields::{FIELDS, Field, GROUPS};
use crate::lexical::query::Question;
use crate::lexical::score::{Model, Totals};
use crate::lexical::search::Searchable;
use crate::lexical::top::Top;
use crate::lexical::{Analyzer, Keep, LexicalError, LexicalHit, LexicalStats, Parameters};
use crate::{ChunkId, DocumentId};

use super::schema::{ANALYZER, CHUNK, Fields, LENGTHS, analyzer_of};
use super::store;

pub(super) struct Snapshot {
    searcher: Searcher,
    fields: Fields,
    segments: Vec<Arc<Rows>>,
    totals: Totals,
    analyzers: BTreeSet<Analyzer>,
    model: Model,
}

/// What of the chunks of a segment is looked at for every hit.
struct Rows(Vec<Row>);

#[derive(Clone, Copy)]
struct Row {
    chunk: ChunkId,
    analyzer: Analyzer,
    lengths: [u32; GROUPS],
}

/// Chunks of a segment with what is said of each.
type Found<T> = Vec<(usize, DocId, T)>;

impl Snapshot {
    /// The last commit that `reader` knows. Segments never change but for what is deleted, so their rows are taken over
    /// from the snapshot `before`.
    pub(super) fn new(
        reader: &IndexReader,
        parameters: Parameters,
        fields: Fields,
        before: Option<&Self>,
    ) -> Result<Self, LexicalError> {
        let searcher = reader.searcher();
        let (mut totals, mut analyzers, mut segments) = (Totals::default(), BTreeSet::new(), Vec::new());
        for segment in searcher.segment_readers() {
            let rows = match before.and_then(|before| before.rows_of(segment)) {
                Some(rows) => rows,
                None => Arc::new(Rows::read(segment)?),
            };
            for row in segment.doc_ids_alive().filter_map(|doc| rows.0.get(doc as usize)) {
                totals.add(&row.lengths);
                analyzers.insert(row.analyzer);
            }
            segments.push(rows);
        }
        let model = Model::new(&parameters, &totals);
        Ok(Self { searcher, fields, segments, totals, analyzers, model })
    }

    fn rows_of(&self, segment: &SegmentReader) -> Option<Arc<Rows>> {
        let mut own = self.searcher.segment_readers().iter().zip(&self.segments);
        own.find(|(reader, _)| reader.segment_id() == segment.segment_id()).map(|(_, rows)| Arc::clone(rows))
    }

    fn row(&self, segment: usize, doc: DocId) -> Option<&Row> {
        self.segments.get(segment)?.0.get(doc as usize)
    }

    /// The chunks of a document.
    pub(super) fn chunks_of(&self, document: &DocumentId) -> Result<HashSet<ChunkId>, LexicalError> {
        let found = self.alive(self.fields.document, &self.fields.document_term(document))?;
        Ok(found.into_iter().filter_map(|(segment, doc)| Some(self.row(segment, doc)?.chunk)).collect())
    }

    /// Where a chunk is.
    pub(super) fn find(&self, chunk: ChunkId) -> Result<Option<DocAddress>, LexicalError> {
        let found = self.alive(self.fields.chunk, &self.fields.chunk_term(chunk))?;
        let segment = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Ok(found.first().map(|(place, doc)| DocAddress::new(segment(*place), *doc)))
    }

    fn alive(
        &self,
        column: ::tantivy::schema::Field,
        term: &Term,
    ) -> Result<Vec<(usize, DocId)>, LexicalError> {
        let mut found = Vec::new();
        for (place, segment) in self.searcher.segment_readers().iter().enumerate() {
            let inverted = segment.inverted_index(column).map_err(store)?;
            let Some(mut postings) = inverted.read_postings(term, IndexRecordOption::Basic).map_err(store)?
            else {
                continue;
            };
            while postings.doc() != TERMINATED {
                if !segment.is_deleted(postings.doc()) {
                    found.push((place, postings.doc()));
                }
                postings.advance();
            }
        }
        Ok(found)
    }

    /// The chunks that hold a word, with its weighted frequency.
    fn holders(&self, word: &str) -> Result<Found<f64>, LexicalError> {
        let mut found = Vec::new();
        for (place, segment) in self.searcher.segment_readers().iter().enumerate() {
            let mut frequencies: BTreeMap<DocId, f64> = BTreeMap::new();
            for (field, column) in Field::ALL.into_iter().zip(self.fields.texts) {
                let Some(mut postings) =
                    self.postings(segment, column, word, IndexRecordOption::WithFreqs)?
                else {
                    continue;
                };
                while postings.doc() != TERMINATED {
                    let doc = postings.doc();
                    if let Some(row) = self.row(place, doc).filter(|_| !segment.is_deleted(doc)) {
                        *frequencies.entry(doc).or_default() +=
                            self.model.frequency(field, postings.term_freq(), &row.lengths);
                    }
                    postings.advance();
                }
            }
            found.extend(frequencies.into_iter().map(|(doc, frequency)| (place, doc, frequency)));
        }
        Ok(found)
    }

    /// The chunks that hold a phrase, with its weighted frequency.
    fn phrase_holders(&self, phrase: &[String]) -> Result<Found<f64>, LexicalError> {
        let mut found = Vec::new();
        for (place, segment) in self.searcher.segment_readers().iter().enumerate() {
            let mut counts: BTreeMap<DocId, [u32; FIELDS]> = BTreeMap::new();
            for (field, column) in Field::ALL.into_iter().zip(self.fields.texts) {
                let with = IndexRecordOption::WithFreqsAndPositions;
                let words = phrase.iter().map(|word| self.postings(segment, column, word, with));
                let Some(words) = words.collect::<Result<Option<Vec<_>>, _>>()? else { continue };
                for (doc, times) in occurrences(words) {
                    if let Some(count) = counts.entry(doc).or_default().get_mut(field as usize) {
                        *count = times;
                    }
                }
            }
            for (doc, counts) in counts {
                if let Some(row) = self.row(place, doc).filter(|_| !segment.is_deleted(doc)) {
                    found.push((place, doc, self.model.frequencies(&counts, &row.lengths)));
                }
            }
        }
        Ok(found)
    }

    fn postings(
        &self,
        segment: &SegmentReader,
        column: ::tantivy::schema::Field,
        word: &str,
        with: IndexRecordOption,
    ) -> Result<Option<SegmentPostings>, LexicalError> {
        let inverted = segment.inverted_index(column).map_err(store)?;
        inverted.read_postings(&Term::from_field_text(column, word), with).map_err(store)
    }

    pub(super) fn stats(&self, bytes: usize) -> Result<LexicalStats, LexicalError> {
        let mut documents = HashSet::new();
        let mut terms = 0;
        for segment in self.searcher.segment_readers() {
            for column in self.fields.texts {
                terms += segment.inverted_index(column).map_err(store)?.terms().num_terms();
            }
            let names = segment.inverted_index(self.fields.document).map_err(store)?;
            let mut stream = names.terms().stream().map_err(store)?;
            while let Some((name, info)) = stream.next() {
                let mut postings =
                    names.read_postings_from_terminfo(info, IndexRecordOption::Basic).map_err(store)?;
                while postings.doc() != TERMINATED && segment.is_deleted(postings.doc()) {
                    postings.advance();
                }
                if postings.doc() != TERMINATED {
                    documents.insert(name.to_vec());
                }
            }
        }
        Ok(LexicalStats { documents: documents.len(), chunks: self.totals.chunks, terms, bytes })
    }
}

impl Searchable for Snapshot {
    fn chunks(&self) -> usize {
        self.totals.chunks
    }

    fn analyzers(&self) -> BTreeSet<Analyzer> {
        self.analyzers.clone()
    }

    fn best(&self, question: &Question, k: usize, keep: Keep<'_>) -> Result<Vec<LexicalHit>, LexicalError> {
        let mut scores: Vec<Vec<f64>> = self.segments.iter().map(|rows| vec![0.0; rows.0.len()]).collect();
        let mut add = |holders: Found<f64>, weight: f64| {
            let worth = weight * self.model.idf(holders.len());
            for (segment, doc, frequency) in holders {
                if let Some(score) = scores.get_mut(segment).and_then(|scores| scores.get_mut(doc as usize)) {
                    *score += worth * self.model.saturated(frequency);
                }
            }
        };
        for (word, weight) in &question.words {
            add(self.holders(word)?, *weight);
        }
        for phrase in &question.phrases {
            add(self.phrase_holders(phrase)?, 1.0);
        }
        let mut top = Top::new(k, keep);
        for (row, score) in self.segments.iter().flat_map(|rows| &rows.0).zip(scores.into_iter().flatten()) {
            if 0.0 < score {
                top.offer(LexicalHit { chunk: row.chunk, score });
            }
        }
        Ok(top.into_hits())
    }

    fn evidence(&self, hits: &[LexicalHit]) -> Result<Vec<Evidence>, LexicalError> {
        let mut evidence = Vec::new();
        for hit in hits {
            let Some(address) = self.find(hit.chunk)? else { continue };
            let stored: TantivyDocument = self.searcher.doc(address).map_err(store)?;
            let value = stored.get_first(self.fields.words);
            let text =
                value.and_then(|value| std::str::from_utf8(value.as_bytes()?).ok()).unwrap_or_default();
            let mut words: BTreeMap<String, f64> = BTreeMap::new();
            for line in text.lines() {
                let (Some(number), Some(word)) = (line.chars().next(), line.get(1..)) else { continue };
                let field = number.to_digit(10).and_then(|number| Field::ALL.get(number as usize));
                if let Some(field) = field {
                    *words.entry(word.to_owned()).or_default() += self.model.weight(*field);
                }
            }
            evidence.push(Evidence { score: hit.score, words });
        }
        Ok(evidence)
    }

    fn rarity<'w>(&self, words: BTreeSet<&'w str>) -> Result<BTreeMap<&'w str, f64>, LexicalError> {
        let idf = |holders: usize| if holders == 0 { 0.0 } else { self.model.idf(holders) };
        words.into_iter().map(|word| Ok((word, idf(self.holders(word)?.len())))).collect()
    }
}

impl Rows {
    fn read(segment: &SegmentReader) -> Result<Self, LexicalError> {
        let columns = segment.fast_fields();
        let [high, low] = CHUNK.map(|name| columns.u64(name));
        let (high, low) = (high.map_err(store)?, low.map_err(store)?);
        let analyzer = columns.u64(ANALYZER).map_err(store)?;
        let lengths: Vec<_> =
            LENGTHS.into_iter().map(|name| columns.u64(name).map_err(store)).collect::<Result<_, _>>()?;
        let damaged = || LexicalError::Store { source: "a chunk without its columns".into() };
        let row = |doc: DocId| {
            let (high, low) = high.first(doc).zip(low.first(doc))?;
            let mut row = Row {
                chunk: ChunkId(u128::from(high) << 64 | u128::from(low)),
                analyzer: analyzer_of(analyzer.first(doc)?)?,
                lengths: [0; GROUPS],
            };
            for (length, column) in row.lengths.iter_mut().zip(&lengths) {
                *length = u32::try_from(column.first(doc)?).ok()?;
            }
            Some(row)
        };
        Ok(Self((0..segment.max_doc()).map(|doc| row(doc).ok_or_else(damaged)).collect::<Result<_, _>>()?))
    }
}

/// The chunks that hold words one after another, and how often.
fn occurrences(mut words: Vec<SegmentPostings>) -> Vec<(DocId, u32)> {
    let mut found = Vec::new();
    let mut positions: Vec<Vec<u32>> = vec![Vec::new(); words.len()];
    while let Some(doc) = next_common(&mut words) {
        for (word, positions) in words.iter_mut().zip(&mut positions) {
            word.positions(positions);
        }
        let Some((first, rest)) = positions.split_first() else { break };
        let follow = |start: &&u32| {
            (1..).zip(rest).all(|(place, positions)| positions.binary_search(&(**start + place)).is_ok())
        };
        let times = first.iter().filter(follow).count();
        if 0 < times {
            found.push((doc, u32::try_from(times).unwrap_or(u32::MAX)));
        }
        if let Some(first) = words.first_mut() {
            first.advance();
        }
    }
    found
}

/// Moves all to the next chunk that all of them hold.
fn next_common(words: &mut [SegmentPostings]) -> Option<DocId> {
    let mut doc = words.first()?.doc();
    loop {
        let mut furthest = doc;
        for word in words.iter_mut() {
            if word.doc() < doc {
                word.seek(doc);
            }
            furthest = furthest.max(word.doc());
        }
        if furthest == TERMINATED {
            return None;
        }
        if furthest == doc {
            return Some(doc);
        }
        doc = furthest;
    }
}
