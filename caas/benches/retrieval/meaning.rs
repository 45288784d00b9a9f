//! Search by meaning, and by words and meaning together.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use agent_primitives::search::{Embedder, TextKind, embed};
use caas_core::embed::CandleBert;
use caas_core::fuse::{Fusion, fuse};
use caas_core::lexical::{Feedback, LexicalDocument, LexicalIndex, LexicalQuery, MemoryBm25, Parameters};
use caas_core::vector::{DocumentVectors, ExactVectors, VectorStore};
use caas_core::{Chunk, ChunkId};

use crate::context::Corpus;
use crate::report::HITS;
use crate::set::Set;
use crate::system::System;

pub(crate) fn systems(set: &Set, model: &CandleBert) -> anyhow::Result<Vec<Box<dyn System>>> {
    let half = Fusion::PROSE;
    let mut rows = vec![
        ("dense", true, None, None),
        ("hybrid, convex 0.5", true, Some(half), None),
        ("hybrid, convex 0.3", true, Some(Fusion::CODE), None),
        ("hybrid, RRF", true, Some(Fusion::Reciprocal { k: 60.0 }), None),
        ("hybrid, convex 0.5 + feedback", true, Some(half), Some(Feedback::DEFAULT)),
    ];
    let legs = Rc::new(Legs::new(set, model.clone(), true)?);
    let pathless = if set.programs.is_empty() {
        Rc::clone(&legs)
    } else {
        rows.extend([
            ("dense, path off", false, None, None),
            ("hybrid, convex 0.5, dense path off", false, Some(half), None),
            ("hybrid, convex 0.3, dense path off", false, Some(Fusion::CODE), None),
        ]);
        Rc::new(Legs::new(set, model.clone(), false)?)
    };
    let rows = rows.into_iter().map(|(name, path, fusion, feedback)| {
        let legs = Rc::clone(if path { &legs } else { &pathless });
        let system: Box<dyn System> = Box::new(Meaning { name, fusion, feedback, legs });
        system
    });
    Ok(rows.collect())
}

/// Both indexes of a set.
struct Legs {
    model: CandleBert,
    vectors: ExactVectors,
    words: MemoryBm25,
    names: HashMap<ChunkId, String>,
}

impl Legs {
    fn new(set: &Set, model: CandleBert, path: bool) -> anyhow::Result<Self> {
        let corpus = Corpus::of_texts(set)?;
        let (vectors, words) = (ExactVectors::new(), MemoryBm25::new(Parameters::DEFAULT)?);
        wait(vectors.bind(model.model(), model.dimensions()))?;
        let (mut cut, mut all) = (0, 0);
        for document in &corpus.documents {
            let (id, title, chunks) = (&document.id, document.title.as_str(), &document.chunks);
            words.replace_document(LexicalDocument { id, title, chunks })?;
            let passages: Vec<String> = chunks.iter().map(|chunk| passage(title, chunk, path)).collect();
            let mut fitting = Vec::with_capacity(passages.len());
            for passage in &passages {
                let taken = model.fitting(TextKind::Passage, passage)?;
                cut += usize::from(taken.len() < passage.len());
                fitting.push(taken);
            }
            all += passages.len();
            let embedded = wait(embed(&model, TextKind::Passage, &fitting))?;
            let new = chunks.iter().map(|chunk| chunk.id).zip(embedded).collect();
            wait(vectors.replace(id, DocumentVectors { kept: Vec::new(), new }))?;
        }
        let mut questions = 0;
        for question in &set.questions {
            questions +=
                usize::from(model.fitting(TextKind::Query, &question.text)?.len() < question.text.len());
        }
        println!(
            "{}{}: of {all} texts {cut}, and of {} questions {questions}, are embedded up to {} tokens only",
            set.name,
            if path { "" } else { ", path off" },
            set.questions.len(),
            model.max_tokens().unwrap_or_default()
        );
        Ok(Self { model, vectors, words, names: corpus.names })
    }

    fn dense(&self, question: &str, k: usize) -> anyhow::Result<Vec<(ChunkId, f64)>> {
        let question = self.model.fitting(TextKind::Query, question)?;
        let vectors = wait(embed(&self.model, TextKind::Query, &[question]))?;
        Ok(wait(self.vectors.search(&vectors[0], k, &|_| true))?)
    }

    fn lexical(
        &self,
        question: &str,
        k: usize,
        feedback: Option<Feedback>,
    ) -> anyhow::Result<Vec<(ChunkId, f64)>> {
        let query = LexicalQuery { feedback, ..LexicalQuery::new(question, k) };
        let hits = self.words.search(&query, &|_| true)?;
        Ok(hits.iter().map(|hit| (hit.chunk, hit.score)).collect())
    }
}

/// The chunk beneath what it lies beneath, as an index gives it to an embedder.
fn passage(title: &str, chunk: &Chunk, path: bool) -> String {
    let path = chunk.path.iter().filter(|_| path).map(|step| &**step);
    let trail = std::iter::once(title).chain(path).collect::<Vec<_>>().join(" > ");
    format!("{trail}\n{}", chunk.text)
}

/// One way to use both.
struct Meaning {
    name: &'static str,
    /// `None` for meaning alone.
    fusion: Option<Fusion>,
    feedback: Option<Feedback>,
    legs: Rc<Legs>,
}

impl System for Meaning {
    fn name(&self) -> &str {
        self.name
    }

    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let dense = self.legs.dense(question, k.max(HITS))?;
        let mut hits: Vec<(ChunkId, f64)> = match self.fusion {
            None => dense,
            Some(fusion) => {
                let words = self.legs.lexical(question, k.max(HITS), self.feedback)?;
                let fused = fuse(Some(&words), Some(&dense), fusion);
                fused.into_iter().map(|(chunk, fused)| (chunk, fused.score)).collect()
            }
        };
        hits.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        Ok(hits.iter().take(k).map(|(chunk, _)| self.legs.names[chunk].clone()).collect())
    }
}

/// The answer of a future that waits for nothing but its own work.
fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return answer;
        }
    }
}
