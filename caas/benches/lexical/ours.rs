//! The indexes of this crate.

use std::sync::Arc;

use caas_core::lexical::{Feedback, LexicalDocument, LexicalIndex, LexicalQuery};
use caas_core::{Chunk, DocumentId, Tier};

use crate::texts::Document;
use crate::{Asked, Engine, HITS};

pub(crate) struct Ours<I> {
    name: &'static str,
    index: I,
    place: &'static str,
    feedback: Option<Feedback>,
    chunks: u128,
}

impl<I: LexicalIndex> Ours<I> {
    pub(crate) const fn new(name: &'static str, index: I, place: &'static str) -> Self {
        Self { name, index, place, feedback: None, chunks: 0 }
    }

    fn chunk(&mut self, text: &str) -> anyhow::Result<Chunk> {
        self.chunks += 1;
        Ok(Chunk {
            id: format!("{:032x}", self.chunks).parse()?,
            ordinal: 0,
            range: 0..text.len(),
            text: text.into(),
            path: Arc::new([]),
            tiers: vec![(Tier::Medium, 0..text.len())],
            outline: None,
            page: None,
            language: None,
            tokens: 0,
        })
    }
}

impl<I: LexicalIndex> Engine for Ours<I> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn put(&mut self, documents: &[Document]) -> anyhow::Result<()> {
        let mut cut: Vec<(DocumentId, &str, Vec<Chunk>)> = Vec::new();
        for document in documents {
            let chunks = document.chunks.iter().map(|text| self.chunk(text)).collect::<Result<_, _>>()?;
            cut.push((document.number.to_string().parse()?, &document.title, chunks));
        }
        let documents: Vec<LexicalDocument<'_>> =
            cut.iter().map(|(id, title, chunks)| LexicalDocument { id, title, chunks }).collect();
        Ok(self.index.replace_documents(&documents)?)
    }

    fn ask(&self, question: &str) -> anyhow::Result<usize> {
        let query = LexicalQuery { feedback: self.feedback, ..LexicalQuery::new(question, HITS) };
        Ok(self.index.search(&query, &|_| true)?.len())
    }

    fn bytes(&self) -> anyhow::Result<(usize, &'static str)> {
        Ok((self.index.stats()?.bytes, self.place))
    }
}

impl<I: LexicalIndex> Asked for Ours<I> {
    fn feedback(&mut self, feedback: Feedback) {
        self.feedback = Some(feedback);
    }
}
