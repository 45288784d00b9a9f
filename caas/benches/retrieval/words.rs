//! The index of words, whole and with parts taken away.

use std::collections::HashMap;
use std::sync::Arc;

use caas_core::lexical::{Feedback, LexicalDocument, LexicalIndex, LexicalQuery, MemoryBm25, Parameters};
use caas_core::{Chunk, ChunkId, DocumentId, Language, Tier};

use crate::set::{Right, Set};
use crate::system::System;

pub(crate) fn systems(set: &Set) -> anyhow::Result<Vec<Box<dyn System>>> {
    if let Right::Spans(_) = set.right {
        return Ok(Vec::new());
    }
    let code = (!set.programs.is_empty()).then_some(Language::Rust);
    let mut parameters = Parameters::DEFAULT;
    for (name, to) in
        [("K1", &mut parameters.k1), ("B", &mut parameters.b), ("TITLE", &mut parameters.weights.title)]
    {
        if let Ok(v) = std::env::var(name) {
            *to = v.parse()?;
        }
    }
    let mut feedback = Feedback::DEFAULT;
    if let Ok(v) = std::env::var("FW") {
        feedback.weight = v.parse()?;
    }
    if let Ok(v) = std::env::var("FH") {
        feedback.hits = v.parse()?;
    }
    if let Ok(v) = std::env::var("FT") {
        feedback.words = v.parse()?;
    }
    let mut systems: Vec<Box<dyn System>> = vec![];
    if code.is_some() {
        systems.push(Box::new(Words::new("lexical, English analyzer", set, parameters, None, None)?));
    }
    systems.push(Box::new(Words::new("lexical", set, parameters, code, None)?));
    systems.push(Box::new(Words::new("lexical + feedback", set, parameters, code, Some(feedback))?));
    Ok(systems)
}

struct Words {
    name: String,
    index: MemoryBm25,
    names: HashMap<ChunkId, String>,
    feedback: Option<Feedback>,
}

impl Words {
    fn new(
        name: &str,
        set: &Set,
        parameters: Parameters,
        code: Option<Language>,
        feedback: Option<Feedback>,
    ) -> anyhow::Result<Self> {
        let index = MemoryBm25::new(parameters)?;
        let mut names = HashMap::new();
        let mut docs: HashMap<String, (String, Vec<Chunk>)> = HashMap::new();
        for (place, text) in set.corpus.iter().enumerate() {
            let id: ChunkId = format!("{place:032x}").parse()?;
            names.insert(id, text.id.clone());
            let entry = docs.entry(set.document_of(text).to_owned()).or_default();
            entry.0 = text.title.clone();
            entry.1.push(Chunk {
                id,
                ordinal: 0,
                range: 0..text.text.len(),
                text: text.text.as_str().into(),
                path: Arc::new([]),
                tiers: vec![(Tier::Medium, 0..text.text.len())],
                outline: None,
                page: None,
                language: code,
                tokens: 0,
            });
        }
        for (doc, (title, chunks)) in &docs {
            let id: DocumentId = doc.parse()?;
            index.replace_document(LexicalDocument { id: &id, title, chunks })?;
        }
        eprintln!("{:?}", index.stats()?);
        Ok(Self { name: name.into(), index, names, feedback })
    }
}

impl System for Words {
    fn name(&self) -> &str {
        &self.name
    }
    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let mut q = LexicalQuery::new(question, k);
        q.feedback = self.feedback;
        Ok(self.index.search(&q, &|_| true)?.iter().map(|hit| self.names[&hit.chunk].clone()).collect())
    }
}
