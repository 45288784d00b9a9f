//! What of a chunk is in the files.

use ::tantivy::schema::{
    FAST, Field as Column, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions,
};
use ::tantivy::tokenizer::{PreTokenizedString, Token};
use ::tantivy::{TantivyDocument, Term};

use crate::lexical::fields::{AnalyzedChunk, FIELDS, GROUPS};
use crate::lexical::{Analyzer, Tokens};
use crate::{ChunkId, DocumentId};

/// Changes whenever tokens, or what is kept of them, would differ from what is in the files: an index of another version
/// has another schema and is refused.
const VERSION: u32 = 1;

pub(super) const LENGTHS: [&str; GROUPS] = ["length_title", "length_path", "length_outline", "length_text"];
pub(super) const CHUNK: [&str; 2] = ["chunk_high", "chunk_low"];
pub(super) const ANALYZER: &str = "analyzer";
const TEXTS: [&str; FIELDS] = ["title", "path", "outline", "high", "medium", "low"];

/// The columns of the schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) document: Column,
    /// The chunk's id as text, to look it up by.
    pub(super) chunk: Column,
    chunk_parts: [Column; 2],
    analyzer: Column,
    lengths: [Column; GROUPS],
    pub(super) texts: [Column; FIELDS],
    /// All tokens, for feedback: a line for each, the number of the field before it.
    pub(super) words: Column,
}

impl Fields {
    pub(super) fn new() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let text = TextOptions::default().set_indexing_options(indexing);
        let fields = Self {
            document: schema.add_text_field("document", STRING),
            chunk: schema.add_text_field("chunk", STRING),
            chunk_parts: CHUNK.map(|name| schema.add_u64_field(name, FAST)),
            analyzer: schema.add_u64_field(ANALYZER, FAST),
            lengths: LENGTHS.map(|name| schema.add_u64_field(name, FAST)),
            texts: TEXTS.map(|name| schema.add_text_field(name, text.clone())),
            words: schema.add_bytes_field(&format!("words_{VERSION}"), STORED),
        };
        (schema.build(), fields)
    }

    pub(super) fn document_term(&self, document: &DocumentId) -> Term {
        Term::from_field_text(self.document, document.as_str())
    }

    pub(super) fn chunk_term(&self, chunk: ChunkId) -> Term {
        Term::from_field_text(self.chunk, &chunk.to_string())
    }

    pub(super) fn document(
        &self,
        document: &DocumentId,
        chunk: ChunkId,
        analyzed: &AnalyzedChunk,
    ) -> TantivyDocument {
        let mut row = TantivyDocument::new();
        row.add_text(self.document, document.as_str());
        row.add_text(self.chunk, chunk.to_string());
        let [high, low] = self.chunk_parts;
        row.add_u64(high, (chunk.0 >> 64) as u64);
        row.add_u64(low, chunk.0 as u64);
        row.add_u64(self.analyzer, analyzer_number(analyzed.analyzer));
        for (column, length) in self.lengths.into_iter().zip(analyzed.lengths()) {
            row.add_u64(column, u64::from(length));
        }
        let mut words = String::new();
        for ((number, column), tokens) in ('0'..).zip(self.texts).zip(&analyzed.fields) {
            if !tokens.is_empty() {
                row.add_pre_tokenized_text(column, positioned(tokens));
            }
            for (token, _) in tokens.iter() {
                words.push(number);
                words.push_str(token);
                words.push('\n');
            }
        }
        row.add_bytes(self.words, words.as_bytes());
        row
    }
}

/// Parts stand one after another. Wholes come behind them with gaps between, so that no phrase runs into one.
fn positioned(tokens: &Tokens) -> PreTokenizedString {
    let token = |position, text: &str| Token {
        offset_from: 0,
        offset_to: 0,
        position,
        text: text.to_owned(),
        position_length: 1,
    };
    let of = |wanted: bool| tokens.iter().filter(move |(_, whole)| *whole == wanted).map(|(token, _)| token);
    let parts = (0..).zip(of(false)).map(|(position, part)| token(position, part));
    let wholes =
        (tokens.parts() + 1..).step_by(2).zip(of(true)).map(|(position, whole)| token(position, whole));
    PreTokenizedString { text: String::new(), tokens: parts.chain(wholes).collect() }
}

const fn analyzer_number(analyzer: Analyzer) -> u64 {
    match analyzer {
        Analyzer::English => 0,
        Analyzer::Code => 1,
    }
}

pub(super) const fn analyzer_of(number: u64) -> Option<Analyzer> {
    match number {
        0 => Some(Analyzer::English),
        1 => Some(Analyzer::Code),
        _ => None,
    }
}
