//! The index as a host uses it: by meaning, and by words and meaning together.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use agent_primitives::ManualClock;
use agent_primitives::search::{EmbedError, Embedder, Embedding, TextKind};
use caas_core::embed::CandleBert;
use caas_core::fuse::Fusion;
use caas_core::index::{Chunker, Document, Index, IndexOptions, Mode, Query};
use caas_core::lexical::{Feedback, MemoryBm25, Parameters};
use caas_core::vector::ExactVectors;
use caas_core::{Chunk, Classification, DocumentId, Format, Metadata, Parsed, Source, SourceKind};

use crate::context::{Corpus, Cut};
use crate::set::Set;
use crate::system::System;

pub(crate) fn systems(set: &Set, model: &CandleBert) -> anyhow::Result<Vec<Box<dyn System>>> {
    let corpus = Arc::new(Corpus::of_texts(set)?);
    let embedder = Arc::new(Fitting::new(model.clone(), true));
    // Each text was judged by itself, also where another says nearly the same.
    let fused = |fusion| IndexOptions { fusion, collapse: false, ..IndexOptions::default() };
    let usual = fused(if set.programs.is_empty() { Fusion::PROSE } else { Fusion::CODE });
    let feedback = IndexOptions { feedback: Some(Feedback::DEFAULT), ..fused(Fusion::PROSE) };
    let shallow = IndexOptions { depth: 100, ..usual.clone() };
    let rows = [
        ("dense", Mode::Meaning, fused(Fusion::PROSE)),
        ("hybrid, convex 0.5", Mode::All, fused(Fusion::PROSE)),
        ("hybrid, convex 0.3", Mode::All, fused(Fusion::CODE)),
        ("hybrid, RRF", Mode::All, fused(Fusion::Reciprocal { k: 60.0 })),
        ("hybrid, convex 0.5 + feedback", Mode::All, feedback),
        ("hybrid, legs of 100", Mode::All, shallow),
    ];
    let mut systems: Vec<Box<dyn System>> = Vec::new();
    for (name, mode, options) in rows {
        systems.push(Box::new(Whole::new(name, mode, options, &corpus, &embedder)?));
    }
    embedder.tell(set)?;
    if !set.programs.is_empty() {
        let bare = Arc::new(Fitting::new(model.clone(), false));
        for (name, mode) in
            [("dense, trail off", Mode::Meaning), ("hybrid, convex 0.3, dense trail off", Mode::All)]
        {
            systems.push(Box::new(Whole::new(name, mode, usual.clone(), &corpus, &bare)?));
        }
    }
    Ok(systems)
}

/// An index over a corpus, and how it is asked.
struct Whole {
    name: &'static str,
    mode: Mode,
    index: Index,
    corpus: Arc<Corpus>,
}

impl Whole {
    fn new(
        name: &'static str,
        mode: Mode,
        options: IndexOptions,
        corpus: &Arc<Corpus>,
        embedder: &Arc<Fitting>,
    ) -> anyhow::Result<Self> {
        // Nothing here depends on the time, and nothing is given up for it.
        let clock = Arc::new(ManualClock::at("2026-01-01T00:00:00Z".parse()?));
        let (chunker, words) = (Arc::new(Cuts::of(corpus)), Arc::new(MemoryBm25::new(Parameters::DEFAULT)?));
        let (embedder, vectors) = (Arc::<Fitting>::clone(embedder), Arc::new(ExactVectors::new()));
        let index = wait(Index::new(options, chunker, words, clock)?.with_vectors(embedder, vectors))?;
        wait(index.put_batch(corpus.documents.iter().map(document).collect()))?;
        Ok(Self { name, mode, index, corpus: Arc::clone(corpus) })
    }
}

impl System for Whole {
    fn name(&self) -> &str {
        self.name
    }

    fn search(&self, question: &str, k: usize) -> anyhow::Result<Vec<String>> {
        let query = Query { mode: self.mode, ..Query::new(question, k) };
        let hits = wait(self.index.search(&query))?.hits;
        Ok(hits.iter().map(|hit| self.corpus.names[&hit.chunk.id].clone()).collect())
    }
}

/// A document of which the index learns the title alone; its chunks are there.
fn document(cut: &Cut) -> Document {
    let mut metadata = Metadata::new(Source::of(SourceKind::Unknown), Classification::Public);
    metadata.title = Some(cut.title.clone()).filter(|title| !title.is_empty());
    let parsed = Parsed {
        format: Format::Text,
        language: None,
        title: None,
        text: String::new(),
        blocks: Vec::new(),
        removed: Vec::new(),
        attributes: BTreeMap::new(),
        pages: None,
        replaced: 0,
        quality: 1.0,
    };
    Document { id: cut.id.clone(), parsed, metadata }
}

/// The chunks that documents were cut into before.
#[derive(Debug)]
struct Cuts(HashMap<DocumentId, Vec<Chunk>>);

impl Cuts {
    fn of(corpus: &Corpus) -> Self {
        Self(corpus.documents.iter().map(|cut| (cut.id.clone(), cut.chunks.clone())).collect())
    }
}

impl Chunker for Cuts {
    fn chunks(&self, id: &DocumentId, _: &Parsed) -> Result<Vec<Chunk>, Box<dyn Error + Send + Sync>> {
        self.0.get(id).cloned().ok_or_else(|| "no such document".into())
    }

    fn settings(&self) -> String {
        format!("the chunks of {} documents that were cut before", self.0.len())
    }
}

/// Embeds as much of a text as the model takes, and each passage once.
#[derive(Debug)]
struct Fitting {
    model: CandleBert,
    /// Whether it sees the first line of a passage, which is what the chunk lies beneath.
    trail: bool,
    passages: Mutex<HashMap<String, Vec<f32>>>,
    cut: AtomicUsize,
}

impl Fitting {
    fn new(model: CandleBert, trail: bool) -> Self {
        Self { model, trail, passages: Mutex::default(), cut: AtomicUsize::new(0) }
    }

    async fn one(&self, kind: TextKind, text: &str) -> Result<Vec<f32>, EmbedError> {
        let known = || self.passages.lock().unwrap_or_else(PoisonError::into_inner);
        // Questions are embedded each time, for that is part of how long an answer takes.
        let passage = kind == TextKind::Passage;
        let text = match text.split_once('\n') {
            Some((_, body)) if passage && !self.trail => body,
            _ => text,
        };
        if let Some(vector) = passage.then(|| known().get(text).cloned()).flatten() {
            return Ok(vector);
        }
        let fitting = self.model.fitting(kind, text)?;
        let vector = self.model.embed(kind, &[fitting]).await?.pop().unwrap_or_default();
        if passage {
            self.cut.fetch_add(usize::from(fitting.len() < text.len()), Ordering::Relaxed);
            known().insert(text.to_owned(), vector.clone());
        }
        Ok(vector)
    }

    /// How much was left out.
    fn tell(&self, set: &Set) -> anyhow::Result<()> {
        let mut questions = 0;
        for question in &set.questions {
            let fitting = self.model.fitting(TextKind::Query, &question.text)?;
            questions += usize::from(fitting.len() < question.text.len());
        }
        println!(
            "{}: of {} passages {}, and of {} questions {questions}, are embedded up to {} tokens only",
            set.name,
            self.passages.lock().unwrap_or_else(PoisonError::into_inner).len(),
            self.cut.load(Ordering::Relaxed),
            set.questions.len(),
            self.model.max_tokens().unwrap_or_default()
        );
        Ok(())
    }
}

impl Embedder for Fitting {
    fn model(&self) -> &str {
        self.model.model()
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions()
    }

    /// Whatever is too long is cut here.
    fn max_tokens(&self) -> Option<usize> {
        None
    }

    fn embed<'a>(&'a self, kind: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        Box::pin(async move {
            let mut vectors = Vec::with_capacity(texts.len());
            for text in texts {
                vectors.push(self.one(kind, text).await?);
            }
            Ok(vectors)
        })
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
