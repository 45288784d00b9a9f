//! A chunker of paragraphs, an embedder of hashed words, and stores that can be told to fail.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use agent_primitives::search::{EmbedError, Embedder, Embedding, TextKind, tokenise};
use agent_primitives::{Digest, ManualClock};

#[cfg(feature = "redb")]
use crate::index::IndexError;
use crate::index::{Chunker, Document, Index, IndexOptions};
use crate::lexical::{MemoryBm25, Parameters};
use crate::model::{
    Block, BlockKind, Chunk, ChunkId, Classification, DocumentId, Format, Metadata, Parsed, Source,
    SourceKind, Tier,
};
#[cfg(feature = "redb")]
use crate::shelf::Shelf;
use crate::vector::{Answer, DocumentVectors, ExactVectors, Keep, VectorError, VectorStore};

pub(crate) fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

/// Waits for a future on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A chunk for each paragraph.
#[derive(Debug)]
pub(crate) struct Paragraphs;

impl Chunker for Paragraphs {
    fn chunks(
        &self,
        document: &DocumentId,
        parsed: &Parsed,
    ) -> Result<Vec<Chunk>, Box<dyn Error + Send + Sync>> {
        if parsed.text.contains("cannot be cut") {
            return Err("it cannot".into());
        }
        let mut equals: BTreeMap<&str, usize> = BTreeMap::new();
        let mut chunks = Vec::new();
        for (ordinal, block) in (0..).zip(&parsed.blocks) {
            let text = parsed.text.get(block.range.clone()).unwrap_or_default();
            let nth = equals.entry(text).or_default();
            let digest = Digest::of("agent-os test v1", format!("{document}\n{nth}\n{text}").as_bytes());
            *nth += 1;
            let id = u128::from_be_bytes(*digest.as_bytes().first_chunk().ok_or("short")?);
            chunks.push(Chunk {
                id: ChunkId(id),
                ordinal,
                range: block.range.clone(),
                text: text.into(),
                path: Arc::clone(&block.path),
                tiers: vec![(Tier::Medium, 0..text.len())],
                outline: None,
                page: None,
                language: None,
                tokens: text.len(),
            });
        }
        Ok(chunks)
    }

    fn settings(&self) -> String {
        "paragraphs of a test".to_owned()
    }
}

pub(crate) fn document(name: &str, paragraphs: &[&str]) -> Document {
    let (mut text, mut blocks) = (String::new(), Vec::new());
    for paragraph in paragraphs {
        let from = text.len();
        text.push_str(paragraph);
        let range = from..text.len();
        blocks.push(Block {
            kind: BlockKind::Paragraph,
            range,
            path: Arc::from([]),
            page: None,
            language: None,
        });
        text.push_str("\n\n");
    }
    let parsed = Parsed {
        format: Format::Text,
        language: None,
        title: None,
        text,
        blocks,
        removed: Vec::new(),
        attributes: BTreeMap::new(),
        pages: None,
        replaced: 0,
        quality: 1.0,
    };
    let metadata = Metadata::new(Source::of(SourceKind::Wiki), Classification::Public);
    Document { id: id(name), parsed, metadata }
}

/// Words hashed into 32 components: alike where they share words.
#[derive(Debug, Default)]
pub(crate) struct Hashed {
    pub(crate) texts: AtomicUsize,
    pub(crate) fails: AtomicBool,
    pub(crate) hangs: AtomicBool,
}

impl Embedder for Hashed {
    fn model(&self) -> &str {
        "hashed words of a test"
    }

    fn dimensions(&self) -> usize {
        32
    }

    fn max_tokens(&self) -> Option<usize> {
        None
    }

    fn embed<'a>(&'a self, kind: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        Box::pin(async move {
            if self.fails.load(Ordering::Relaxed) {
                return Err(EmbedError::Failed { source: "told to fail".into() });
            }
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if kind == TextKind::Passage {
                self.texts.fetch_add(texts.len(), Ordering::Relaxed);
            }
            Ok(texts.iter().map(|text| hashed(text)).collect())
        })
    }
}

fn hashed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.01; 32];
    for word in tokenise(text) {
        let digest = Digest::of("agent-os test v1", word.as_bytes());
        let bucket = digest.as_bytes().first().copied().unwrap_or_default() % 32;
        if let Some(part) = vector.get_mut(usize::from(bucket)) {
            *part += 1.0;
        }
    }
    vector
}

/// Exact vectors that fail for one document, or answer what they must not.
#[derive(Debug, Default)]
pub(crate) struct Faulty {
    inner: ExactVectors,
    pub(crate) fails_for: Mutex<Option<DocumentId>>,
    pub(crate) leaks: AtomicBool,
}

impl VectorStore for Faulty {
    fn bind<'a>(&'a self, model: &'a str, dimensions: usize) -> Answer<'a, ()> {
        self.inner.bind(model, dimensions)
    }

    fn replace<'a>(&'a self, document: &'a DocumentId, vectors: DocumentVectors) -> Answer<'a, ()> {
        let fails = self.fails_for.lock().unwrap().as_ref() == Some(document);
        if fails {
            return Box::pin(async { Err(VectorError::Store { source: "gone".into() }) });
        }
        self.inner.replace(document, vectors)
    }

    fn delete<'a>(&'a self, document: &'a DocumentId) -> Answer<'a, ()> {
        self.inner.delete(document)
    }

    fn search<'a>(&'a self, query: &'a [f32], k: usize, keep: Keep<'a>) -> Answer<'a, Vec<(ChunkId, f64)>> {
        let leaks = self.leaks.load(Ordering::Relaxed);
        self.inner.search(query, k, if leaks { &|_| true } else { keep })
    }

    fn count(&self) -> Answer<'_, usize> {
        self.inner.count()
    }
}

/// An index with everything that it is made of.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) index: Index,
    pub(crate) embedder: Arc<Hashed>,
    pub(crate) vectors: Arc<Faulty>,
    pub(crate) lexical: Arc<MemoryBm25>,
    pub(crate) clock: ManualClock,
}

pub(crate) fn fixture(options: IndexOptions) -> Fixture {
    let clock = ManualClock::at("2026-06-01T00:00:00Z".parse().unwrap());
    let (embedder, vectors) = (Arc::new(Hashed::default()), Arc::new(Faulty::default()));
    let lexical = Arc::new(MemoryBm25::new(Parameters::default()).unwrap());
    let timer = Arc::new(clock.clone());
    let index = Index::new(options, Arc::new(Paragraphs), Arc::<MemoryBm25>::clone(&lexical), timer).unwrap();
    let (model, store) = (Arc::<Hashed>::clone(&embedder), Arc::<Faulty>::clone(&vectors));
    let index = wait(index.with_vectors(model, store)).unwrap();
    Fixture { index, embedder, vectors, lexical, clock }
}

/// The same, on a shelf.
#[cfg(feature = "redb")]
pub(crate) fn shelved(shelf: Arc<dyn Shelf>) -> Result<Fixture, IndexError> {
    let Fixture { index, embedder, vectors, lexical, clock } = fixture(IndexOptions::default());
    let index = wait(index.with_shelf(shelf))?;
    Ok(Fixture { index, embedder, vectors, lexical, clock })
}
