use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use agent_primitives::{ManualClock, SeededIds};

use super::*;
use crate::index::fixture::{Fixture, fixture, wait};
use crate::ingest::{Folder, Known};
use crate::model::{Classification, Source, SourceKind};

fn pipeline(index: Index) -> Pipeline {
    let assembler =
        Assembler::new(Arc::new(Estimate::default()), Arc::new(SeededIds::new(1)), Options::default())
            .unwrap();
    Pipeline::new(Parser::new(Limits::DEFAULT).unwrap(), index, assembler)
}

fn wiki(_: &DocumentId) -> Metadata {
    Metadata::new(Source::of(SourceKind::Wiki), Classification::Internal)
}

struct Followed {
    dir: tempfile::TempDir,
    folder: Folder,
    known: Known,
}

fn followed(files: usize) -> Followed {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..files {
        std::fs::write(
            dir.path().join(format!("f{number:05}.md")),
            format!("# Part {number}\n\nword{number}\n"),
        )
        .unwrap();
    }
    let clock = Arc::new(ManualClock::at("2100-01-01T00:00:00Z".parse().unwrap()));
    let folder = Folder::open(dir.path(), Parser::new(Limits::DEFAULT).unwrap(), clock).unwrap();
    Followed { dir, folder, known: Known::new() }
}

fn follow(pipeline: &Pipeline, followed: &mut Followed) -> FolderReport {
    wait(pipeline.follow(&followed.folder, &mut followed.known, wiki, |_| ControlFlow::Continue(())))
}

#[test]
fn of_a_thousand_files_only_the_one_that_changed_is_indexed_again() {
    let Fixture { index, embedder, .. } = fixture(IndexOptions::default());
    let pipeline = pipeline(index);
    let mut folder = followed(1000);
    let first = follow(&pipeline, &mut folder);
    assert_eq!((first.indexed, first.same, first.complete), (1000, 0, true));
    assert_eq!(embedder.texts.load(Ordering::Relaxed), 2000, "a title and a paragraph each");
    std::fs::write(folder.dir.path().join("f00500.md"), "# Part 500\n\nthe canary and a whale\n").unwrap();
    std::fs::remove_file(folder.dir.path().join("f00001.md")).unwrap();
    let second = follow(&pipeline, &mut folder);
    assert_eq!((second.indexed, second.embedded, second.same, second.gone.len()), (1, 1, 998, 1));
    assert_eq!(wait(pipeline.index().len()).0, 999);
    let answered = wait(pipeline.ask("canary", 200)).unwrap();
    assert!(answered.context.text.contains("the canary and a whale"));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_there() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    let mut folder = followed(3);
    std::fs::write(folder.dir.path().join("binary.md"), [0u8, 159, 146, 150, 0, 0, 1]).unwrap();
    std::fs::write(folder.dir.path().join("empty.md"), "").unwrap();
    let report = follow(&pipeline, &mut folder);
    assert_eq!((report.indexed, report.complete), (3, false));
    let mut failed: Vec<_> = report.failed.iter().map(|failed| failed.path.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["binary.md", "empty.md"]);
    assert!(report.ended_by.is_none());
}

#[test]
fn what_cannot_be_indexed_is_named_and_the_rest_is_there() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    let mut folder = followed(100);
    let file = folder.dir.path().join("f00010.md");
    std::fs::write(&file, "# Part 10\n\nthis cannot be cut\n").unwrap();
    for _ in 0..2 {
        let report = follow(&pipeline, &mut folder);
        let refused: Vec<_> =
            report.refused.iter().map(|one| (one.document.as_str(), one.error.code())).collect();
        assert_eq!(refused, [("f00010.md", "AK0799")]);
        assert!(!report.complete && report.ended_by.is_none());
        assert_eq!((wait(pipeline.index().len()).0, folder.known.len()), (99, 99));
    }
    std::fs::write(&file, "# Part 10\n\nthe canary\n").unwrap();
    let report = follow(&pipeline, &mut folder);
    assert_eq!((report.indexed, report.same, report.complete), (1, 99, true));
}

#[test]
fn an_embedder_that_fails_half_way_leaves_what_was_indexed_and_goes_on_from_there() {
    let Fixture { index, embedder, .. } = fixture(IndexOptions::default());
    let pipeline = pipeline(index);
    let mut folder = followed(200);
    let report = wait(pipeline.follow(&folder.folder, &mut folder.known, wiki, |progress| {
        embedder.fails.store(100 <= progress.done, Ordering::Relaxed);
        ControlFlow::Continue(())
    }));
    assert_eq!(report.ended_by.as_ref().map(PipelineError::code), Some("AK0704"));
    assert_eq!((report.indexed, report.complete, folder.known.len()), (64, false, 64));
    assert_eq!(wait(pipeline.index().len()).0, 64);
    embedder.fails.store(false, Ordering::Relaxed);
    let report = follow(&pipeline, &mut folder);
    assert_eq!((report.indexed, report.same, report.complete), (136, 64, true));
}

#[test]
fn what_is_said_of_a_file_holds_though_the_file_is_as_it_was() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    let mut folder = followed(3);
    follow(&pipeline, &mut folder);
    let narrower = |document: &DocumentId| {
        let one = document.as_str() == "f00001.md";
        let classification = if one { Classification::Secret } else { Classification::Internal };
        Metadata::new(Source::of(SourceKind::Wiki), classification)
    };
    for (indexed, same) in [(1, 2), (0, 3)] {
        let report =
            wait(pipeline.follow(&folder.folder, &mut folder.known, narrower, |_| ControlFlow::Continue(())));
        assert_eq!((report.indexed, report.same, report.embedded, report.complete), (indexed, same, 0, true));
    }
    let found = wait(pipeline.index().search(&Query::new("word1", 1))).unwrap();
    assert_eq!(found.hits[0].metadata.classification, Classification::Secret);
}

#[test]
fn what_the_index_has_lost_is_read_again() {
    let mut folder = followed(3);
    follow(&pipeline(fixture(IndexOptions::default()).index), &mut folder);
    let restarted = pipeline(fixture(IndexOptions::default()).index);
    assert_eq!(follow(&restarted, &mut folder).indexed, 3);
    assert_eq!(wait(restarted.index().len()).0, 3);
}

#[test]
fn work_that_is_stopped_is_named_as_not_complete() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    let mut folder = followed(10);
    let report = wait(pipeline.follow(&folder.folder, &mut folder.known, wiki, |progress| {
        if progress.done == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }));
    assert_eq!((report.indexed, report.complete), (4, false));
}

#[test]
fn a_budget_holds_over_the_whole_road() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    let text: String = (0..400)
        .map(|number| format!("## Whale {number}\n\nThe whale number {number} sings a song.\n\n"))
        .collect();
    wait(pipeline.ingest(
        "whales.md".parse().unwrap(),
        text.as_bytes(),
        &Declared::named("whales.md"),
        wiki(&"x".parse().unwrap()),
    ))
    .unwrap();
    for budget in [300, 1000, 5000] {
        let answered = wait(pipeline.ask("whale song", budget)).unwrap();
        assert!(answered.context.tokens <= budget && !answered.context.receipts.is_empty(), "{budget}");
        assert!(answered.degraded().is_empty());
    }
}

#[test]
fn what_disagrees_is_shown_with_both_sources() {
    let pipeline = pipeline(fixture(IndexOptions::default()).index);
    for (name, kind, text) in [
        ("guide.md", SourceKind::OfficialDocs, "The export service accepts 100 concurrent requests."),
        ("chat.md", SourceKind::TeamChat, "The export service accepts 50 concurrent requests."),
    ] {
        let metadata = Metadata::new(Source::of(kind), Classification::Internal);
        wait(pipeline.ingest(name.parse().unwrap(), text.as_bytes(), &Declared::named(name), metadata))
            .unwrap();
    }
    let answered = wait(pipeline.ask("concurrent requests of the export service", 1000)).unwrap();
    assert_eq!(answered.conflicts.found.len(), 1, "{:?}", answered.conflicts);
    let note = answered.context.text.lines().find(|line| line.starts_with("Note: ")).unwrap();
    assert!(note.contains("100") && note.contains("50"), "{note}");
}
