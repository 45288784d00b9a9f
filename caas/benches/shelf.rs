//! What it costs to keep an index: `cargo bench -p caas-core --features redb --bench shelf -- [DOCUMENTS]`.
//!
//! Documents of made-up words, with vectors of 384 numbers that cost nothing: what is measured is what the index and the shelf add to
//! an embedder. One line for each step: seconds, and documents a second.
#![expect(clippy::print_stdout, reason = "a bench tells what it found")]

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agent_primitives::search::{Embedder, Embedding, TextKind};
use agent_primitives::{Clock, Digest, IdSource, ManualClock, SeededIds, SystemClock, id_source};
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::index::{Document, Index, IndexOptions};
use caas_core::ingest::{Declared, Limits, Parser};
use caas_core::lexical::{MemoryBm25, Parameters};
use caas_core::shelf::RedbShelf;
use caas_core::tokens::Estimate;
use caas_core::vector::ExactVectors;
use caas_core::{Classification, Metadata, Source, SourceKind};

const DIMENSIONS: usize = 384;
const BATCH: usize = 64;

/// A vector for each text, from its digest.
#[derive(Debug)]
struct Digests;

impl Embedder for Digests {
    fn model(&self) -> &'static str {
        "digests"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn max_tokens(&self) -> Option<usize> {
        None
    }

    fn embed<'a>(&'a self, _: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        let vector = |text: &&str| -> Vec<f32> {
            let digest = Digest::of("agent-os bench v1", text.as_bytes());
            digest.as_bytes().iter().cycle().take(DIMENSIONS).map(|byte| f32::from(*byte) - 127.5).collect()
        };
        Box::pin(async move { Ok(texts.iter().map(vector).collect()) })
    }
}

/// Nothing here waits for anything else.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

fn index() -> Result<Index, Box<dyn Error>> {
    let chunker = StructureChunker::new(ChunkSizes::default(), Arc::new(Estimate::default()))?;
    let lexical = Arc::new(MemoryBm25::new(Parameters::DEFAULT)?);
    let index =
        Index::new(IndexOptions::default(), Arc::new(chunker), lexical, Arc::new(ManualClock::default()))?;
    Ok(run(index.with_vectors(Arc::new(Digests), Arc::new(ExactVectors::new())))?)
}

fn documents(count: usize) -> Result<Vec<Document>, Box<dyn Error>> {
    let (parser, ids) = (Parser::new(Limits::DEFAULT)?, SeededIds::new(7));
    let document = |number| {
        let mut text = format!("# Document {number}\n\n");
        for section in 0..8 {
            text.push_str(&format!("## Section {section}\n\n"));
            for _ in 0..120 {
                text.push_str(&format!(
                    "word{} ",
                    (id_source::unit(&ids as &dyn IdSource)?.powi(3) * 30_000.0) as u32
                ));
            }
            text.push_str("\n\n");
        }
        let parsed = parser.parse(text.as_bytes(), &Declared::named("a.md"))?.parsed;
        let metadata = Metadata::new(Source::of(SourceKind::Wiki), Classification::Internal);
        Ok(Document { id: format!("d{number}").parse()?, parsed, metadata })
    };
    (0..count).map(document).collect()
}

/// What `work` makes, after a line about how long it took.
fn timed<T>(
    what: &str,
    count: usize,
    work: impl FnOnce() -> Result<T, Box<dyn Error>>,
) -> Result<T, Box<dyn Error>> {
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let done = work()?;
    let took = clock.monotonic().since(start).as_secs_f64();
    println!("{what:<24} {took:>8.2} s {:>10.0} documents a second", count as f64 / took.max(1e-9));
    Ok(done)
}

fn fill(index: &Index, documents: &[Document]) -> Result<(), Box<dyn Error>> {
    for batch in documents.chunks(BATCH) {
        run(index.put_batch(batch.to_vec()))?;
    }
    Ok(())
}

/// How long documents take that are put one by one.
fn one_by_one(index: &Index, documents: &[Document]) -> Result<(), Box<dyn Error>> {
    let (clock, mut waits) = (SystemClock::new(), Vec::new());
    for document in documents.iter().take(100) {
        let mut changed = document.clone();
        changed.metadata.title = Some("another title".to_owned());
        let start = clock.monotonic();
        run(index.put(changed))?;
        waits.push(clock.monotonic().since(start));
    }
    waits.sort_unstable();
    let (median, longest) = (waits.get(waits.len() / 2), waits.last());
    println!(
        "one document by itself: median {:.1?}, longest {:.1?}",
        median.ok_or("none")?,
        longest.ok_or("none")?
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let count: usize = arguments.next().map_or(Ok(2000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("shelf");
    let documents = documents(count)?;
    let memory = index()?;
    timed("put, in memory", count, || fill(&memory, &documents))?;
    println!("{:?} documents and chunks", run(memory.len()));
    one_by_one(&memory, &documents)?;
    drop(memory);
    let shelved = run(index()?.with_shelf(Arc::new(RedbShelf::open(&path)?)))?;
    timed("put, on a shelf", count, || fill(&shelved, &documents))?;
    one_by_one(&shelved, &documents)?;
    println!("{:.1} MB on disk", std::fs::metadata(&path)?.len() as f64 / 1e6);
    timed("written anew", count, || Ok(run(shelved.compact())?))?;
    println!("{:.1} MB on disk", std::fs::metadata(&path)?.len() as f64 / 1e6);
    drop(shelved);
    let shelf = timed("opened and checked", count, || Ok(RedbShelf::open(&path)?))?;
    let empty = index()?;
    let again = timed("filled from the shelf", count, || Ok(run(empty.with_shelf(Arc::new(shelf)))?))?;
    println!("{:?} documents and chunks", run(again.len()));
    Ok(())
}
