use std::sync::atomic::Ordering;

use super::fixture::{Fixture, document, fixture, id, wait};
use crate::index::{IndexOptions, Query};
use crate::lexical::LexicalIndex;
use crate::vector::VectorStore;

fn found(fixture: &Fixture, text: &str) -> Vec<String> {
    let findings = wait(fixture.index.search(&Query::new(text, 100))).unwrap();
    findings.hits.iter().map(|hit| hit.chunk.text.to_string()).collect()
}

#[test]
fn one_edit_in_a_hundred_chunks_embeds_one() {
    let fixture = fixture(IndexOptions::default());
    let texts: Vec<String> = (0..100).map(|number| format!("paragraph number{number}")).collect();
    let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let first = wait(fixture.index.put(document("a", &texts))).unwrap();
    assert_eq!((first.chunks, first.embedded, first.unchanged), (100, 100, false));
    let again = wait(fixture.index.put(document("a", &texts))).unwrap();
    assert_eq!((again.embedded, again.unchanged, again.version), (0, true, first.version));
    texts.insert(0, "put before all others");
    texts[50] = "edited";
    let edited = wait(fixture.index.put(document("a", &texts))).unwrap();
    assert_eq!((edited.chunks, edited.embedded), (101, 2));
    assert_eq!(fixture.embedder.texts.load(Ordering::Relaxed), 102);
    assert_eq!(wait(fixture.vectors.count()).unwrap(), 101);
}

#[test]
fn a_document_that_shrinks_leaves_nothing_behind() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("a", &["one", "two", "three", "four", "canary"]))).unwrap();
    wait(fixture.index.put(document("a", &["one", "two", "three"]))).unwrap();
    assert_eq!(wait(fixture.index.len()), (1, 3));
    assert_eq!(wait(fixture.vectors.count()).unwrap(), 3);
    assert_eq!(fixture.lexical.stats().unwrap().chunks, 3);
    assert!(!found(&fixture, "canary").contains(&"canary".to_owned()));
}

#[test]
fn what_is_forgotten_is_gone() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("a", &["the canary sings", "more"]))).unwrap();
    wait(fixture.index.put(document("b", &["the canary sings"]))).unwrap();
    assert_eq!(wait(fixture.index.len()), (2, 3), "equal texts of two documents stay two");
    assert_eq!(wait(fixture.index.forget(&id("a"))).unwrap(), Some(2));
    assert_eq!(wait(fixture.index.forget(&id("b"))).unwrap(), Some(1));
    assert_eq!(wait(fixture.index.forget(&id("b"))).unwrap(), None);
    assert!(found(&fixture, "canary").is_empty());
    assert_eq!(wait(fixture.vectors.count()).unwrap(), 0);
    assert_eq!(fixture.lexical.stats().unwrap().chunks, 0);
}

#[test]
fn an_embedder_that_fails_leaves_what_was_there() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("a", &["as it was"]))).unwrap();
    fixture.embedder.fails.store(true, Ordering::Relaxed);
    let error = wait(fixture.index.put(document("a", &["as it shall be"]))).unwrap_err();
    assert_eq!(error.code(), "AK0704");
    let batch = vec![document("b", &["new"]), document("c", &["new too"])];
    assert_eq!(wait(fixture.index.put_batch(batch)).unwrap_err().code(), "AK0704");
    fixture.embedder.fails.store(false, Ordering::Relaxed);
    assert_eq!(found(&fixture, "it"), ["as it was"]);
    assert_eq!(wait(fixture.index.len()), (1, 1));
}

#[test]
fn a_store_that_vanishes_leaves_what_was_there() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("a", &["old words"]))).unwrap();
    *fixture.vectors.fails_for.lock().unwrap() = Some(id("a"));
    let error = wait(fixture.index.put(document("a", &["new words"]))).unwrap_err();
    assert_eq!(error.code(), "AK0789");
    assert_eq!(found(&fixture, "words"), ["old words"]);
}

#[test]
fn a_batch_that_breaks_in_its_middle_names_what_is_neither() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put_batch(vec![document("a", &["old a"]), document("b", &["old b"])])).unwrap();
    *fixture.vectors.fails_for.lock().unwrap() = Some(id("b"));
    let batch = || vec![document("a", &["new a"]), document("b", &["new b"]), document("c", &["new c"])];
    let error = wait(fixture.index.put_batch(batch())).unwrap_err();
    let crate::index::IndexError::HalfWritten { documents, .. } = &error else { panic!("{error}") };
    assert_eq!(*documents, [id("a")]);
    assert_eq!(found(&fixture, "old new a b c"), ["old b"], "half a document is not found");
    *fixture.vectors.fails_for.lock().unwrap() = None;
    wait(fixture.index.put_batch(batch())).unwrap();
    assert_eq!(wait(fixture.index.len()), (3, 3));
    assert_eq!(found(&fixture, "old").len(), 3, "all of them by meaning");
}

#[test]
fn a_batch_that_breaks_takes_back_what_was_new() {
    let fixture = fixture(IndexOptions::default());
    wait(fixture.index.put(document("b", &["old b"]))).unwrap();
    *fixture.vectors.fails_for.lock().unwrap() = Some(id("b"));
    let batch = vec![document("a", &["new a"]), document("b", &["new b"])];
    assert_eq!(wait(fixture.index.put_batch(batch)).unwrap_err().code(), "AK0789", "nothing is half written");
    assert_eq!(found(&fixture, "old new a b"), ["old b"]);
    assert_eq!(wait(fixture.vectors.count()).unwrap(), 1);
    assert_eq!(fixture.lexical.stats().unwrap().chunks, 1);
}

#[test]
fn what_cannot_be_indexed_is_refused() {
    let fixture = fixture(IndexOptions::default());
    let code = |documents| wait(fixture.index.put_batch(documents)).unwrap_err().code();
    assert_eq!(code(vec![document("a", &["x"]), document("a", &["y"])]), "AK0795");
    assert_eq!(code(vec![document("a", &["cannot be cut"])]), "AK0799");
    let mut timed = document("a", &["x"]);
    timed.metadata.valid_from = "2026-01-02T00:00:00Z".parse().ok();
    timed.metadata.valid_to = "2026-01-01T00:00:00Z".parse().ok();
    assert_eq!(code(vec![timed]), "AK0753");
    let after = |name: &str, before: &str| {
        let mut document = document(name, &["x"]);
        document.metadata.supersedes = vec![id(before)];
        document
    };
    assert_eq!(code(vec![after("a", "a")]), "AK0754");
    assert_eq!(code(vec![after("a", "b"), after("b", "c"), after("c", "a")]), "AK0796");
    wait(fixture.index.put(after("a", "b"))).unwrap();
    assert_eq!(code(vec![after("b", "a")]), "AK0796");
}

#[test]
fn metadata_alone_makes_another_version_and_embeds_nothing() {
    let fixture = fixture(IndexOptions::default());
    let first = wait(fixture.index.put(document("a", &["text"]))).unwrap();
    let mut changed = document("a", &["text"]);
    changed.metadata.updated_at = "2026-01-01T00:00:00Z".parse().ok();
    let second = wait(fixture.index.put(changed.clone())).unwrap();
    assert_ne!(first.version, second.version);
    assert_eq!((second.embedded, second.unchanged), (0, false));
    changed.metadata.title = Some("Title".to_owned());
    assert_eq!(wait(fixture.index.put(changed)).unwrap().embedded, 1, "the title is embedded with it");
}
