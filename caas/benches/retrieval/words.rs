//! The index of words, whole and with parts of it taken away.

use std::collections::HashMap;

use caas_core::lexical::{Feedback, LexicalDocument, LexicalIndex, LexicalQuery, MemoryBm25, Parameters};
use caas_core::{Chunk, ChunkId, Tier};

use crate::context::Corpus;
use crate::set::Set;
use crate::system::System;

/// The row of the index as it is by default.
const WHOLE: &str = "lexical";

/// What is taken away.
#[derive(Clone, Copy, Default)]
struct Without {
    tiers: bool,
    path: bool,
    outline: bool,
    code: bool,
}

pub(crate) fn systems(set: &Set) -> anyhow::Result<Vec<Box<dyn System>>> {
    let corpus = Corpus::of_texts(set)?;
    let mut rows = vec![
        (WHOLE, Without::default(), None),
        ("lexical + feedback", Without::default(), Some(Feedback::DEFAULT)),
        ("lexical, tiers off", Without { tiers: true, ..Without::default() }, None),
    ];
    // Without the grammars of programs there is nothing to take away.
    if corpus.has_paths() {
        rows.extend([
            ("lexical, path off", Without { path: true, ..Without::default() }, None),
            ("lexical, outline off", Without { outline: true, ..Without::default() }, None),
            ("lexical, path, outline off", Without { path: true, outline: true, ..Without::default() }, None),
            (
                "lexical, path, outline, tiers off",
                Without { code: false, path: true, outline: true, tiers: true },
                None,
            ),
            (
                "lexical, path, outline, tiers, code off",
                Without { code: true, path: true, outline: true, tiers: true },
                None,
            ),
        ]);
    }
    let rows = rows.into_iter().map(|(name, without, feedback)| {
        let system: Box<dyn System> = Box::new(Words::new(name, &corpus, without, feedback)?);
        Ok(system)
    });
    rows.collect()
}

struct Words {
    name: &'static str,
    index: MemoryBm25,
    names: HashMap<ChunkId, String>,
    feedback: Option<Feedback>,
}

impl Words {
    fn new(
        name: &'static str,
        corpus: &Corpus,
        without: Without,
        feedback: Option<Feedback>,
    ) -> anyhow::Result<Self> {
        let index = MemoryBm25::new(Parameters::DEFAULT)?;
        for document in &corpus.documents {
            let chunks: Vec<Chunk> = document.chunks.iter().map(|chunk| without.of(chunk)).collect();
            index.replace_document(LexicalDocument {
                id: &document.id,
                title: &document.title,
                chunks: &chunks,
            })?;
        }
        Ok(Self { name, index, names: corpus.names.clone(), feedback })
    }
}

impl Without {
    fn of(self, chunk: &Chunk) -> Chunk {
        let mut chunk = chunk.clone();
        if self.tiers {
            chunk.tiers = vec![(Tier::Medium, 0..chunk.text.len())];
        }
        if self.path {
            chunk.path = [].into();
        }
        if self.outline {
            chunk.outline = None;
        }
        if self.code {
            chunk.language = None;
        }
        chunk
    }
}

impl System for Words {
    fn name(&self) -> &str {
        self.name
    }

    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let query = LexicalQuery { feedback: self.feedback, ..LexicalQuery::new(question, k) };
        let hits = self.index.search(&query, &|_| true)?;
        Ok(hits.iter().map(|hit| self.names[&hit.chunk].clone()).collect())
    }
}
