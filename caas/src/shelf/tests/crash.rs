use agent_primitives::Digest;

use super::{Disk, found, open};
use crate::index::fixture::{Fixture, document, id, wait};
use crate::index::{Document, IndexError};
use crate::vector::VectorStore;

fn before() -> Vec<Document> {
    vec![document("a", &["whale one", "whale two", "whale three"]), document("b", &["whale of b"])]
}

fn change(fixture: &Fixture) -> Result<(), IndexError> {
    let batch =
        vec![document("a", &["whale one", "whale anew"]), document("c", &["whale of c", "more whale"])];
    wait(fixture.index.put_batch(batch)).map(|_| ())
}

fn forget(fixture: &Fixture) -> Result<(), IndexError> {
    wait(fixture.index.forget(&id("a"))).map(|_| ())
}

fn forget_all(fixture: &Fixture) -> Result<(), IndexError> {
    wait(fixture.index.forget_batch(&[id("a"), id("b"), id("none")])).map(|_| ())
}

/// Some of the changes that were not synced: none, all, and what chance says.
fn losses() -> Vec<Box<dyn Fn(usize) -> bool>> {
    let mut losses: Vec<Box<dyn Fn(usize) -> bool>> = vec![Box::new(|_| false), Box::new(|_| true)];
    for seed in 0..6_u8 {
        losses.push(Box::new(move |at| {
            let digest = Digest::of("agent-os test v1", &[seed, at as u8, (at >> 8) as u8]);
            digest.as_bytes()[0] < 128
        }));
    }
    losses
}

/// Does `work` on disks that fail one step later each time, until it is done, and looks at what is there after each.
fn at_any_step(work: fn(&Fixture) -> Result<(), IndexError>) {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    wait(fixture.index.put_batch(before())).unwrap();
    let old = found(&fixture);
    drop(fixture);
    let start = disk.bytes();
    let (mut failed, mut done) = (0, Vec::new());
    for steps in 0.. {
        let disk = Disk::of(start.clone());
        let fixture = open(&disk).unwrap();
        disk.fail_after(steps);
        let result = work(&fixture);
        let now = found(&fixture);
        if done.is_empty() {
            let whole = open(&Disk::of(start.clone())).unwrap();
            work(&whole).unwrap();
            done = found(&whole);
        }
        for keeps in losses() {
            let left = found(&open(&disk.after_loss(keeps)).unwrap());
            match result {
                Ok(()) => assert_eq!(left, done, "what was answered is there, after {steps} steps"),
                Err(_) => assert!(left == old || left == done, "after {steps} steps: {left:?}"),
            }
        }
        let Err(error) = result else { break };
        failed += 1;
        assert_eq!(error.code(), "AK0620", "{error:?}");
        assert!(!now.contains(&"a: whale anew".to_owned()), "memory is not ahead of the shelf");
        assert_eq!(change(&fixture).unwrap_err().code(), "AK0626", "nothing more is taken");
    }
    assert!(5 < failed, "a change has many steps, not {failed}");
}

#[test]
fn a_change_is_there_or_not_wherever_it_breaks_off() {
    at_any_step(change);
}

#[test]
fn a_document_is_gone_or_not_wherever_forgetting_it_breaks_off() {
    at_any_step(forget);
}

#[test]
fn documents_that_are_forgotten_together_are_gone_together() {
    at_any_step(forget_all);
}

#[test]
fn a_shelf_that_fails_leaves_memory_as_it_was_by_words_and_by_meaning() {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    wait(fixture.index.put_batch(before())).unwrap();
    let (old, vectors) = (found(&fixture), wait(fixture.vectors.count()).unwrap());
    disk.fail_after(3);
    assert_eq!(change(&fixture).unwrap_err().code(), "AK0620");
    assert_eq!(found(&fixture), old);
    assert_eq!(wait(fixture.vectors.count()).unwrap(), vectors);
    let query =
        crate::index::Query { mode: crate::index::Mode::Meaning, ..crate::index::Query::new("whale two", 1) };
    let best = wait(fixture.index.search(&query)).unwrap().hits;
    assert_eq!(&*best[0].chunk.text, "whale two", "its vector is back");
    // Whatever the shelf says, what shall be forgotten is found no more.
    assert_eq!(forget(&fixture).unwrap_err().code(), "AK0626");
    assert_eq!(found(&fixture), ["b: whale of b"]);
}

#[test]
fn a_batch_that_vectors_refuse_leaves_all_as_it_was() {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    wait(fixture.index.put_batch(before())).unwrap();
    let old = found(&fixture);
    *fixture.vectors.fails_for.lock().unwrap() = Some(id("c"));
    assert_eq!(
        change(&fixture).unwrap_err().code(),
        "AK0789",
        "not half written: the shelf knows the old vectors"
    );
    assert_eq!(found(&fixture), old);
    assert_eq!(found(&open(&disk.after_loss(|_| false)).unwrap()), old);
    *fixture.vectors.fails_for.lock().unwrap() = None;
    change(&fixture).unwrap();
    assert_eq!(found(&open(&disk.after_loss(|_| false)).unwrap()), found(&fixture));
}
