use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use agent_primitives::search::{Embedder, Embedding, TextKind};
use agent_primitives::{Digest, LabelSet, ManualClock};
use serde_json::json;

use super::{Disk, RedbShelf, Shelf, found, open};
use crate::chunk::{ChunkSizes, StructureChunker};
use crate::index::fixture::{Paragraphs, document, id, wait};
use crate::index::{Chunker, Index, IndexError, IndexOptions, Mode, Query};
use crate::ingest::{Declared, Limits, Parser, Stamp};
use crate::lexical::{MemoryBm25, Parameters};
use crate::shelf::{Change, Held, Stamps};
use crate::tokens::Estimate;
use crate::vector::{DocumentVectors, ExactVectors, VectorStore};

#[test]
fn what_is_opened_again_answers_the_same_and_embeds_nothing() {
    let disk = Disk::default();
    let first = open(&disk).unwrap();
    let mut old = document("old", &["the whale of old", "and its song"]);
    old.metadata.valid_from = "2025-01-01T00:00:00Z".parse().ok();
    old.metadata.labels = LabelSet::new(["secret".parse().unwrap()]).unwrap();
    old.metadata.attributes.insert("depth".to_owned(), json!({ "metres": [1.1, 1e300, -0.1], "of": null }));
    let mut new = document("new", &["the whale of today", "and its song", "a whale, a whale"]);
    new.metadata.supersedes = vec![id("old")];
    let many =
        (0..150).map(|number| document(&format!("d{number}"), &[&format!("whale number{number}"), "tree"]));
    wait(first.index.put_batch([old, new.clone()].into_iter().chain(many).collect())).unwrap();
    wait(first.index.put(document("d7", &["tree", "a changed whale"]))).unwrap();
    wait(first.index.forget(&id("d8"))).unwrap();
    let second = open(&disk.after_loss(|_| false)).unwrap();
    assert_eq!(wait(second.index.len()), wait(first.index.len()));
    for text in ["whale", "song of today", "number42", "changed tree", "number8"] {
        for mode in [Mode::All, Mode::Words, Mode::Meaning] {
            for include_superseded in [false, true] {
                let query = Query { mode, include_superseded, ..Query::new(text, 200) };
                let answer = |index: &Index| wait(index.search(&query)).unwrap();
                assert_eq!(answer(&second.index), answer(&first.index), "{text} {mode:?}");
            }
        }
    }
    assert!(wait(second.index.put(new)).unwrap().unchanged);
    assert_eq!(second.embedder.texts.load(Ordering::Relaxed), 0);
    let edited = wait(second.index.put(document("d7", &["tree", "another whale"]))).unwrap();
    assert_eq!(edited.embedded, 1, "of one that changed only the chunks that changed are embedded");
}

#[derive(Debug)]
struct Named(&'static str, usize);

impl Embedder for Named {
    fn model(&self) -> &str {
        self.0
    }

    fn dimensions(&self) -> usize {
        self.1
    }

    fn max_tokens(&self) -> Option<usize> {
        None
    }

    fn embed<'a>(&'a self, _: TextKind, texts: &'a [&'a str]) -> Embedding<'a> {
        Box::pin(async move { Ok(vec![vec![1.0; self.1]; texts.len()]) })
    }
}

fn words() -> Index {
    let lexical = Arc::new(MemoryBm25::new(Parameters::default()).unwrap());
    let timer = Arc::new(ManualClock::at("2026-06-01T00:00:00Z".parse().unwrap()));
    Index::new(IndexOptions::default(), Arc::new(Paragraphs), lexical, timer).unwrap()
}

fn index(chunker: Arc<dyn Chunker>, embedder: Option<Named>, disk: &Disk) -> Result<Index, IndexError> {
    let timer = Arc::new(ManualClock::at(agent_primitives::Timestamp::from_micros(0)));
    let lexical = Arc::new(MemoryBm25::new(Parameters::default())?);
    let mut index = Index::new(IndexOptions::default(), chunker, lexical, timer)?;
    if let Some(embedder) = embedder {
        index = wait(index.with_vectors(Arc::new(embedder), Arc::new(ExactVectors::new())))?;
    }
    wait(index.with_shelf(Arc::new(RedbShelf::on(disk.clone())?)))
}

fn structure(target: usize) -> Arc<dyn Chunker> {
    let sizes = ChunkSizes { target, most: 400 };
    Arc::new(StructureChunker::new(sizes, Arc::new(Estimate::default())).unwrap())
}

#[test]
fn documents_that_are_made_in_another_way_are_told_apart() {
    let disk = Disk::default();
    let made = || Some(Named("one", 3));
    wait(index(Arc::new(Paragraphs), made(), &disk).unwrap().put(document("a", &["whale"]))).unwrap();
    let cases: [(Arc<dyn Chunker>, _, _); 5] = [
        (Arc::new(Paragraphs), Some(Named("two", 3)), Err("AK0784")),
        (Arc::new(Paragraphs), Some(Named("one", 4)), Err("AK0784")),
        (Arc::new(Paragraphs), None, Err("AK0624")),
        (structure(200), made(), Err("AK0624")),
        (Arc::new(Paragraphs), made(), Ok((1, 1))),
    ];
    for (chunker, embedder, expected) in cases {
        let case = format!("{chunker:?} {embedder:?}");
        let opened = index(chunker, embedder, &disk);
        assert_eq!(opened.map(|index| wait(index.len())).map_err(|error| error.code()), expected, "{case}");
    }
    let other = index(structure(200), made(), &disk).unwrap_err().to_string();
    assert!(other.contains("`structure 1, 200 to 400 tokens of estimate`"), "{other}");
}

#[test]
fn a_shelf_without_documents_takes_those_of_another_making() {
    let disk = Disk::default();
    let first = index(structure(100), None, &disk).unwrap();
    wait(first.put(document("a", &["whale"]))).unwrap();
    drop(first);
    assert_eq!(index(structure(200), None, &disk).unwrap_err().code(), "AK0624");
    let first = index(structure(100), None, &disk).unwrap();
    wait(first.forget(&id("a"))).unwrap();
    drop(first);
    index(structure(200), Some(Named("one", 3)), &disk).unwrap();
}

#[test]
fn a_shelf_comes_last_and_to_an_empty_index() {
    let disk = Disk::default();
    let shelved = index(Arc::new(Paragraphs), None, &disk).unwrap();
    let late = wait(shelved.with_vectors(Arc::new(Named("one", 3)), Arc::new(ExactVectors::new())));
    assert_eq!(late.unwrap_err().code(), "AK0790");
    let full = words();
    wait(full.put(document("a", &["whale"]))).unwrap();
    let late = wait(full.with_shelf(Arc::new(RedbShelf::on(disk).unwrap())));
    assert_eq!(late.unwrap_err().code(), "AK0790");
}

/// A program and a text with all that chunks can have: outlines, languages, tiers, paths that many share.
fn rich(name: &str) -> Held {
    let text = match name {
        "a.py" => "# licence\nimport os\n\nclass Ledger(Base):\n    def append(self, x):\n        return x\n"
            .repeat(60),
        _ => "# One\n\nText é 🦀.\n\n## Two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- item\n\n".repeat(80),
    };
    let parsed =
        Parser::new(Limits::DEFAULT).unwrap().parse(text.as_bytes(), &Declared::named(name)).unwrap().parsed;
    let chunks: Vec<Arc<crate::model::Chunk>> =
        structure(16).chunks(&id(name), &parsed).unwrap().into_iter().map(Arc::new).collect();
    let metadata = Arc::new(document("x", &[]).metadata);
    let prints = (0..chunks.len() as u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    Held { version: Digest::of("agent-os test v1", b"v"), title: "Title".into(), metadata, chunks, prints }
}

#[test]
fn a_document_comes_back_as_it_was_put() {
    let shelf = RedbShelf::on(Disk::default()).unwrap();
    for name in ["a.py", "b.md"] {
        let (id, held) = (id(name), rich(name));
        let new: Vec<_> =
            held.chunks.iter().map(|chunk| (chunk.id, vec![-0.0, f32::MIN_POSITIVE, 1e30])).collect();
        let vectors = DocumentVectors { kept: Vec::new(), new };
        shelf.put(&[Change { id: &id, held: &held, vectors: &vectors }], None).unwrap();
        let kept = shelf.page(None, 9).unwrap().pop().unwrap();
        assert_eq!((&kept.id, &kept.held), (&id, &held));
        let given: BTreeMap<_, _> = vectors.new.into_iter().collect();
        assert_eq!(kept.vectors.into_iter().collect::<BTreeMap<_, _>>(), given);
    }
    let ids =
        |page: Vec<crate::shelf::Kept>| page.into_iter().map(|kept| kept.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(shelf.page(None, 1).unwrap()), ["a.py"]);
    assert_eq!(ids(shelf.page(Some(&id("a.py")), 9).unwrap()), ["b.md"]);
    assert!(shelf.page(Some(&id("b.md")), 9).unwrap().is_empty());
}

#[test]
fn what_is_known_of_a_file_goes_with_its_document() {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    let shelf = RedbShelf::on(Disk::default()).unwrap();
    let stamp = |size| Stamp { size, modified: None, raw: Digest::ZERO, text: Digest::ZERO, settled: true };
    let (a, b) = (id("a"), id("a b"));
    for (folder, files) in [
        ("docs", [(a.clone(), stamp(1)), (b.clone(), stamp(2))]),
        ("", [(a.clone(), stamp(3)), (b.clone(), stamp(4))]),
    ] {
        shelf.put(&[], Some(Stamps { folder, files: &files })).unwrap();
    }
    assert!(shelf.forget(std::slice::from_ref(&a)).unwrap());
    assert!(!shelf.forget(&[a.clone(), id("none")]).unwrap(), "there is nothing left");
    for (folder, size) in [("docs", 2), ("", 4)] {
        assert_eq!(shelf.stamps(folder).unwrap(), [(b.clone(), stamp(size))].into());
    }
    assert!(shelf.stamps("other").unwrap().is_empty());
    // A stamp without a document would hide the file for good.
    let files = [(a.clone(), stamp(1)), (b.clone(), stamp(2))];
    let stamps = Stamps { folder: "docs", files: &files };
    wait(fixture.index.put_known(vec![document("a", &["whale"])], Some(stamps))).unwrap();
    assert_eq!(wait(fixture.index.known("docs")).unwrap().into_keys().collect::<Vec<_>>(), [a]);
    assert_eq!(found(&open(&disk.after_loss(|_| false)).unwrap()), ["a: whale"]);
}

#[test]
fn vectors_that_are_not_those_of_the_chunks_are_damage() {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    wait(fixture.index.put(document("a", &["whale", "tree"]))).unwrap();
    let kept = {
        drop(fixture);
        let shelf = RedbShelf::on(disk.clone()).unwrap();
        let kept = shelf.page(None, 1).unwrap().pop().unwrap();
        let vectors = DocumentVectors { kept: vec![kept.vectors[0].0], new: Vec::new() };
        shelf.put(&[Change { id: &kept.id, held: &kept.held, vectors: &vectors }], None).unwrap();
        let unknown = DocumentVectors { kept: vec![kept.vectors[1].0], new: Vec::new() };
        let refused = shelf.put(&[Change { id: &kept.id, held: &kept.held, vectors: &unknown }], None);
        assert_eq!(refused.unwrap_err().code(), "AK0623");
        kept
    };
    assert_eq!(kept.vectors.len(), 2);
    assert_eq!(open(&disk).unwrap_err().code(), "AK0623");
}

#[test]
fn a_future_that_is_dropped_leaves_the_shelf_as_it_was() {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    wait(fixture.index.put(document("a", &["whale"]))).unwrap();
    fixture.embedder.hangs.store(true, Ordering::Relaxed);
    {
        let mut putting = Box::pin(fixture.index.put(document("a", &["another whale"])));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(putting.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(found(&fixture), ["a: whale"]);
    assert_eq!(found(&open(&disk.after_loss(|_| true)).unwrap()), ["a: whale"]);
    assert_eq!(wait(fixture.vectors.count()).unwrap(), 1);
}
