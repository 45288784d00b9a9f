//! A pipeline whose documents outlive its process.
#![cfg(all(feature = "redb", unix))]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::future::Future;
use std::io::{BufRead, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agent_primitives::ManualClock;
use caas_core::index::Query;
use caas_core::ingest::{Declared, Folder, Limits, Parser};
use caas_core::pipeline::{FolderReport, Pipeline};
use caas_core::{Classification, DocumentId, Metadata, Source, SourceKind};

const SHELF: &str = "CAAS_SHELF_TEST_FILE";

/// Nothing here waits for anything else.
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2100-01-01T00:00:00Z".parse().unwrap()))
}

fn open(path: &Path) -> Pipeline {
    run(Pipeline::on_disk(path, clock())).unwrap()
}

fn wiki(_: &DocumentId) -> Metadata {
    Metadata::new(Source::of(SourceKind::Wiki), Classification::Internal)
}

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

fn ingest(pipeline: &Pipeline, name: &str, text: &str) -> Result<(), &'static str> {
    ingest_with(pipeline, id(name), text, wiki(&id(name)))
}

fn ingest_with(
    pipeline: &Pipeline,
    id: DocumentId,
    text: &str,
    metadata: Metadata,
) -> Result<(), &'static str> {
    let done = run(pipeline.ingest(id, text.as_bytes(), &Declared::named("a.md"), metadata));
    done.map(|_| ()).map_err(|error| error.code())
}

fn hits(pipeline: &Pipeline, text: &str) -> usize {
    run(pipeline.index().search(&Query::new(text, 1000))).unwrap().hits.len()
}

/// Not a test of its own: what the test below starts, and kills.
#[test]
fn child_that_is_killed() {
    let Some(path) = std::env::var_os(SHELF) else { return };
    let pipeline = open(Path::new(&path));
    for number in 0_u32.. {
        // One of ten names, so that documents are replaced and forgotten too.
        let name = format!("d{}", number % 10);
        let text =
            format!("# Whale\n\nstep{number}\n\n{}", "# Song\n\nA song.\n\n".repeat(number as usize % 40));
        ingest(&pipeline, &name, &text).unwrap();
        run(pipeline.index().forget(&id("d3"))).unwrap();
        if number % 7 == 6 {
            run(pipeline.index().compact()).unwrap();
        }
        println!("\ndone {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=8_u32 {
        let path = folder.path().join(format!("shelf{round}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(SHELF, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let answered = lines.filter_map(|line| line.strip_prefix("done ")?.parse::<u32>().ok());
        let last = answered.take_while(|number| *number < round * 5).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let pipeline = open(&path);
        let names = run(pipeline.index().documents());
        for number in last.saturating_sub(9)..=last {
            let name = format!("d{}", number % 10);
            let findable = hits(&pipeline, &format!("step{number}"));
            // The child may have done more than it could say: one round in hand and one on the way.
            let replaced = (last + 1..=last + 2).any(|later| later % 10 == number % 10);
            if name == "d3" {
                assert!(!names.contains(&id(&name)) || replaced, "{name} is forgotten");
            } else if !replaced {
                assert!(names.contains(&id(&name)) && findable == 1, "{name} of step {number} of {last}");
            }
        }
        drop(pipeline);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, round as usize, "nothing is left beside the shelf once it was opened again");
    }
}

fn follow(pipeline: &Pipeline, folder: &Path) -> FolderReport {
    let folder = Folder::open(folder, Parser::new(Limits::DEFAULT).unwrap(), clock()).unwrap();
    run(pipeline.follow_kept(&folder, "docs", wiki, |_| ControlFlow::Continue(())))
}

#[test]
fn after_a_restart_only_the_file_that_changed_is_read_again() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("shelf");
    let write = |number: u32, text: &str| {
        std::fs::write(files.path().join(format!("f{number:05}.md")), text).unwrap();
    };
    for number in 0..1000 {
        write(number, &format!("# Part {number}\n\nword{number}\n"));
    }
    let first = follow(&open(&path), files.path());
    assert_eq!((first.indexed, first.same, first.complete), (1000, 0, true), "{:?}", first.ended_by);
    write(500, "# Part 500\n\nthe canary and a whale\n");
    for number in 1..=70 {
        std::fs::remove_file(files.path().join(format!("f{number:05}.md"))).unwrap();
    }
    let pipeline = open(&path);
    let mut looked_at = Vec::new();
    let reader = Folder::open(files.path(), Parser::new(Limits::DEFAULT).unwrap(), clock()).unwrap();
    let second = run(pipeline.follow_kept(&reader, "docs", wiki, |progress| {
        looked_at.push(progress.next.to_string());
        ControlFlow::Continue(())
    }));
    assert_eq!(looked_at, ["f00500.md"]);
    assert_eq!((second.indexed, second.same, second.gone.len(), second.complete), (1, 929, 70, true));
    drop(pipeline);
    let pipeline = open(&path);
    let third = follow(&pipeline, files.path());
    assert_eq!((third.indexed, third.same, third.complete), (0, 930, true));
    assert_eq!((hits(&pipeline, "canary"), hits(&pipeline, "word70"), hits(&pipeline, "word99")), (1, 0, 1));
    // The folder still has it, so the index has it again.
    run(pipeline.index().forget(&id("f00099.md"))).unwrap();
    assert_eq!(hits(&pipeline, "word99"), 0);
    assert_eq!(follow(&pipeline, files.path()).indexed, 1);
}

#[test]
fn of_two_folders_that_share_a_path_neither_takes_a_document_of_the_other() {
    let (place, one, other) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(one.path().join("README.md"), "# One\n\nthe blue whale\n").unwrap();
    std::fs::write(other.path().join("README.md"), "# Other\n\nthe red fox\n").unwrap();
    std::fs::write(other.path().join("more.md"), "# More\n\nthe grey goose\n").unwrap();
    let pipeline = open(&place.path().join("shelf"));
    let follow = |name: &str, folder: &Path| {
        let folder = Folder::open(folder, Parser::new(Limits::DEFAULT).unwrap(), clock()).unwrap();
        run(pipeline.follow_kept(&folder, name, wiki, |_| ControlFlow::Continue(())))
    };
    assert!(follow("one", one.path()).complete);
    for _ in 0..2 {
        let second = follow("other", other.path());
        let refused: Vec<_> =
            second.refused.iter().map(|one| (one.document.as_str(), one.error.code())).collect();
        assert_eq!((refused, second.complete), (vec![("README.md", "AK0631")], false));
        std::fs::remove_file(other.path().join("README.md")).unwrap();
        let third = follow("other", other.path());
        assert!(third.complete && third.gone.is_empty());
        std::fs::write(other.path().join("README.md"), "# Other\n\nthe red fox\n").unwrap();
    }
    assert_eq!((hits(&pipeline, "whale"), hits(&pipeline, "fox"), hits(&pipeline, "goose")), (1, 0, 1));
}

#[test]
fn an_index_without_a_shelf_keeps_nothing_of_a_folder() {
    let files = tempfile::tempdir().unwrap();
    let report = follow(&Pipeline::in_memory(clock()).unwrap(), files.path());
    assert_eq!(report.ended_by.unwrap().code(), "AK0790");
    assert!(!report.complete);
}

/// A file system of two megabytes. Only root may mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=2m", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(folder.path()).status();
        assert!(mounted.unwrap().success(), "this test needs root, to mount a file system");
        Self(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_disk_that_is_only_read_opens_no_shelf() {
    let small = Small::mount();
    let path = small.0.path().join("shelf");
    ingest(&open(&path), "a", "# Whale").unwrap();
    let before = std::fs::read(&path).unwrap();
    let mounted = Command::new("mount").args(["-o", "remount,ro"]).arg(small.0.path()).status().unwrap();
    assert!(mounted.success());
    for path in [&path, &small.0.path().join("new")] {
        let error = run(Pipeline::on_disk(path, clock())).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "AK0620", "{error:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_full_disk_takes_nothing_and_loses_nothing() {
    let small = Small::mount();
    let path = small.0.path().join("shelf");
    let pipeline = open(&path);
    let mut taken = 0;
    let error = loop {
        let mut metadata = wiki(&id("x"));
        metadata.attributes.insert("song".to_owned(), "a long song of the sea".repeat(2000).into());
        match ingest_with(&pipeline, id(&format!("d{taken}")), &format!("# Whale\n\nstep{taken}\n"), metadata)
        {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 1000, "two megabytes hold no more than two megabytes");
    };
    assert_eq!(error, "AK0620");
    assert_eq!(run(pipeline.index().len()).0, taken);
    assert_eq!(hits(&pipeline, "step0"), 1);
    assert_eq!(ingest(&pipeline, "small", "text"), Err("AK0626"));
    drop(pipeline);
    let again = run(Pipeline::on_disk(&path, clock()));
    let again = again.map(|pipeline| run(pipeline.index().len()).0);
    // A disk without any room left may refuse to be written to at all. It never has less.
    assert!(
        again.as_ref().map_or_else(|error| error.code() == "AK0620", |documents| *documents == taken),
        "{again:?}"
    );
}
