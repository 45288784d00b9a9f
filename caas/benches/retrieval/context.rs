//! From the texts of a set to chunks, as documents are read and cut by this crate.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::ingest::{Declared, Limits, Parser};
use caas_core::tokens::TokenCounter;
use caas_core::{Block, Chunk, ChunkId, DocumentId, Format, Language, Parsed, Path, Tier};

use crate::counter::Pieces;
use crate::set::{Set, Text};

/// A document with its chunks.
pub(crate) struct Cut {
    pub(crate) id: DocumentId,
    pub(crate) title: String,
    pub(crate) chunks: Vec<Chunk>,
}

/// Chunks of a set, and which of its texts each chunk is, or is of.
pub(crate) struct Corpus {
    pub(crate) documents: Vec<Cut>,
    pub(crate) names: HashMap<ChunkId, String>,
}

impl Corpus {
    /// Every text is a chunk. Those of programs get their path, tiers and outline from the whole program.
    pub(crate) fn of_texts(set: &Set) -> anyhow::Result<Self> {
        let programs = set.programs.iter().map(|(name, text)| Ok((name.as_str(), Program::read(text)?)));
        let programs: HashMap<&str, Program> = programs.collect::<anyhow::Result<_>>()?;
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut corpus = Self { documents: Vec::new(), names: HashMap::new() };
        for (number, text) in set.corpus.iter().enumerate() {
            let name = set.document_of(text);
            let place = match places.get(name) {
                Some(place) => *place,
                None => {
                    corpus.documents.push(Cut {
                        id: name.parse()?,
                        title: text.title.clone(),
                        chunks: Vec::new(),
                    });
                    places.insert(name, corpus.documents.len() - 1);
                    corpus.documents.len() - 1
                }
            };
            let chunks = &mut corpus.documents[place].chunks;
            let id: ChunkId = format!("{number:032x}").parse()?;
            chunks.push(chunk(id, u32::try_from(chunks.len())?, text, programs.get(name)));
            corpus.names.insert(id, text.id.clone());
        }
        Ok(corpus)
    }

    /// Whether any chunk lies beneath something.
    pub(crate) fn has_paths(&self) -> bool {
        self.documents.iter().flat_map(|document| &document.chunks).any(|chunk| !chunk.path.is_empty())
    }

    /// Texts are cut into chunks.
    pub(crate) fn of_documents(
        set: &Set,
        sizes: ChunkSizes,
        counter: &Arc<dyn TokenCounter>,
    ) -> anyhow::Result<Self> {
        let chunker = StructureChunker::new(sizes, Arc::clone(counter))?;
        let parser = Parser::new(Limits::DEFAULT)?;
        let mut corpus = Self { documents: Vec::new(), names: HashMap::new() };
        for text in &set.corpus {
            let id: DocumentId = text.id.parse()?;
            let read = parser.parse(text.text.as_bytes(), &Declared::format(Format::Text))?;
            anyhow::ensure!(read.parsed.text == text.text, "`{id}` is not read as it stands");
            let chunks = chunker.cut(&id, &read.parsed)?;
            corpus.names.extend(chunks.iter().map(|chunk| (chunk.id, text.id.clone())));
            corpus.documents.push(Cut { id, title: text.title.clone(), chunks });
        }
        Ok(corpus)
    }
}

/// A whole program.
struct Program {
    parsed: Parsed,
    outline: Option<Arc<str>>,
}

impl Program {
    /// Read in the language whose grammar reads most of it.
    fn read(text: &Text) -> anyhow::Result<Self> {
        let parser = Parser::new(Limits::DEFAULT)?;
        let mut best: Option<Parsed> = None;
        for language in Language::ALL {
            let declared = Declared { language: Some(*language), ..Declared::format(Format::Code) };
            let read = parser.parse(text.text.as_bytes(), &declared)?.parsed;
            if best.as_ref().is_none_or(|best| best.quality < read.quality) {
                best = Some(read);
            }
        }
        let parsed = best.context("no language")?;
        let chunks = StructureChunker::new(ChunkSizes::default(), Arc::new(Pieces))?
            .cut(&text.id.parse()?, &parsed)?;
        let outline = chunks.first().and_then(|chunk| chunk.outline.clone());
        Ok(Self { parsed, outline })
    }

    /// The blocks of a part, by their ranges in it; one block of the medium tier where the part is not found.
    fn blocks(&self, part: &str) -> (Path, Vec<(Tier, Range<usize>)>) {
        let Some(start) = self.parsed.text.find(part.trim()) else {
            return (Path::from([]), vec![(Tier::Medium, 0..part.len())]);
        };
        let lead = part.len() - part.trim_start().len();
        let end = start + part.trim().len();
        let within = |block: &&Block| start < block.range.end && block.range.start < end;
        let blocks: Vec<&Block> = self.parsed.blocks.iter().filter(within).collect();
        let tiers = blocks.iter().map(|block| {
            let range = block.range.start.max(start) - start + lead..block.range.end.min(end) - start + lead;
            (block.kind.tier(), range)
        });
        (blocks.first().map_or_else(|| Path::from([]), |block| Arc::clone(&block.path)), tiers.collect())
    }
}

fn chunk(id: ChunkId, ordinal: u32, text: &Text, program: Option<&Program>) -> Chunk {
    let whole = (Path::from([]), vec![(Tier::Medium, 0..text.text.len())]);
    let (path, tiers) = program.map_or(whole, |program| program.blocks(&text.text));
    Chunk {
        id,
        ordinal,
        range: 0..text.text.len(),
        text: text.text.as_str().into(),
        path,
        tiers,
        outline: program.and_then(|program| program.outline.clone()),
        page: None,
        language: program.and_then(|program| program.parsed.language),
        tokens: 0,
    }
}
