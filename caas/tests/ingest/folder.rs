//! Folders: what is read, what is not, and what changed.

use std::fs;
use std::ops::ControlFlow::{Break, Continue};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_primitives::{ManualClock, Timestamp};
use caas_core::ingest::{Folder, FolderDocument, Known, Limits, Parser, Report};

/// An hour after 2026-01-01.
const NOW: i64 = 1_767_229_200_000_000;

fn open(path: &Path) -> Folder {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(NOW)));
    Folder::open(path, Parser::new(Limits::DEFAULT).unwrap(), clock).unwrap()
}

/// Writes a file as it was so many seconds ago.
fn write(root: &Path, name: &str, text: &[u8], ago: u64) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(NOW.unsigned_abs()) - Duration::from_secs(ago);
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
}

fn read(folder: &Folder, known: &mut Known) -> (Report, Vec<String>) {
    let mut documents: Vec<FolderDocument> = Vec::new();
    let report = folder.read_changed(
        known,
        |_| Continue(()),
        |document| {
            documents.push(document);
            Continue(())
        },
    );
    let ids = documents.iter().map(|document| document.id.to_string()).collect();
    known.extend(documents.into_iter().map(|document| (document.id, document.stamp)));
    known.extend(report.touched.iter().cloned());
    for gone in &report.gone {
        known.remove(gone);
    }
    (report, ids)
}

#[test]
fn only_what_changed_is_read() {
    let root = tempfile::tempdir().unwrap();
    for at in 0..200 {
        write(root.path(), &format!("d{}/f{at}.md", at % 7), format!("# File {at}\n").as_bytes(), 60);
    }
    let (folder, mut known) = (open(root.path()), Known::new());
    let (first, _) = read(&folder, &mut known);
    assert!(first.complete && first.read == 200 && first.same == 0, "{first:?}");
    let (second, ids) = read(&folder, &mut known);
    assert!(second.complete && second.same == 200 && ids.is_empty());
    write(root.path(), "d3/f10.md", b"# File ten\n", 30);
    write(root.path(), "d4/f11.md", b"# File 11\n", 20);
    fs::remove_file(root.path().join("d5/f12.md")).unwrap();
    write(root.path(), "new.txt", b"new", 20);
    let (third, ids) = read(&folder, &mut known);
    assert_eq!(ids, ["new.txt", "d3/f10.md"]);
    assert_eq!(third.touched.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["d4/f11.md"]);
    assert_eq!(third.gone.iter().map(ToString::to_string).collect::<Vec<_>>(), ["d5/f12.md"]);
    assert_eq!(third.same, 197);
}

/// Same size, same time, other bytes: what was written within the steps of the clock is read again.
#[test]
fn a_change_within_the_same_second_is_seen() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"one", 0);
    let (folder, mut known) = (open(root.path()), Known::new());
    read(&folder, &mut known);
    write(root.path(), "a.txt", b"two", 0);
    let (report, ids) = read(&folder, &mut known);
    assert_eq!((ids, report.same), (vec!["a.txt".to_owned()], 0));
}

#[cfg(unix)]
#[test]
fn links_pipes_and_dots_are_left_out() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "secret.txt", b"secret", 60);
    write(root.path(), "sub/a.txt", b"a", 60);
    write(root.path(), ".git/config", b"x", 60);
    std::os::unix::fs::symlink("..", root.path().join("sub/loop")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret.txt"), root.path().join("link.txt")).unwrap();
    std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    let (report, ids) = read(&open(root.path()), &mut Known::new());
    assert_eq!(ids, ["sub/a.txt"]);
    let ignored: Vec<_> = report.ignored.iter().map(|one| (one.path.as_str(), one.why)).collect();
    assert_eq!(
        ignored,
        [
            (".git", "its name begins with a dot"),
            ("link.txt", "it is a link"),
            ("socket", "it is no plain file"),
            ("sub/loop", "it is a link"),
        ]
    );
    assert!(report.complete);
}

#[test]
fn what_fails_is_named_and_the_rest_is_read() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"a", 60);
    write(root.path(), "b.txt", &[0; 100], 60);
    write(root.path(), "c.png", b"\x89PNG\r\n\x1a\n", 60);
    write(root.path(), "z.txt", b"z", 60);
    // 200 MB of nothing: a sparse file, which is refused by its size.
    fs::File::create(root.path().join("huge.txt")).unwrap().set_len(200 << 20).unwrap();
    let (report, ids) = read(&open(root.path()), &mut Known::new());
    assert_eq!(ids, ["a.txt", "z.txt"]);
    let failed: Vec<_> = report.failed.iter().map(|one| (one.path.as_str(), one.error.code())).collect();
    assert_eq!(failed, [("b.txt", "AK0758"), ("c.png", "AK0760"), ("huge.txt", "AK0757")]);
    assert!(!report.complete);
}

#[test]
fn equal_documents_are_reported_and_both_are_there() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"the same", 60);
    let (folder, mut known) = (open(root.path()), Known::new());
    read(&folder, &mut known);
    write(root.path(), "b.md", b"the same", 60);
    let (report, ids) = read(&folder, &mut known);
    assert_eq!(ids, ["b.md"]);
    let pairs: Vec<_> = report.duplicates.iter().map(|(one, first)| (one.as_str(), first.as_str())).collect();
    assert_eq!(pairs, [("b.md", "a.txt")]);
}

#[test]
fn whoever_stops_gets_what_was_read_and_knows_it_is_not_all() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a.txt", "b.txt", "c.txt"] {
        write(root.path(), name, name.as_bytes(), 60);
    }
    let folder = open(root.path());
    let mut seen = Vec::new();
    let report = folder.read_changed(
        &Known::new(),
        |progress| {
            seen.push((progress.done, progress.total, progress.next.to_string()));
            if progress.done == 2 { Break(()) } else { Continue(()) }
        },
        |_| Continue(()),
    );
    assert_eq!((report.read, report.complete), (2, false));
    assert_eq!(seen, [(0, 3, "a.txt".into()), (1, 3, "b.txt".into()), (2, 3, "c.txt".into())]);
    let report = folder.read_changed(&Known::new(), |_| Continue(()), |_| Break(()));
    assert_eq!((report.read, report.complete), (1, false));
}

/// What could not be looked at is not taken for deleted.
#[test]
fn a_folder_that_vanished_deletes_nothing() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "in/a.txt", b"a", 60);
    let inner = root.path().join("in");
    let (folder, mut known) = (open(&inner), Known::new());
    read(&folder, &mut known);
    fs::remove_dir_all(&inner).unwrap();
    let survey = folder.survey();
    // A directory that was removed lists as empty or not at all; in neither case may a file fail to be accounted for.
    let changes = survey.changes(&known);
    assert_eq!(changes.gone.len(), usize::from(survey.failed.is_empty()));
    let deep: std::path::PathBuf = std::iter::repeat_n("d", 70).collect();
    fs::create_dir_all(root.path().join(&deep)).unwrap();
    write(root.path(), deep.join("f.txt").to_str().unwrap(), b"deep", 60);
    let folder = open(root.path());
    let id = deep.join("f.txt").to_str().unwrap().parse().unwrap();
    let stamp = *known.values().next().unwrap();
    let survey = folder.survey();
    assert_eq!(survey.failed[0].error.code(), "AK0757");
    assert!(survey.changes(&[(id, stamp)].into()).gone.is_empty());
}

#[test]
fn stamps_survive_their_text_form() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a.txt", b"a", 60);
    let (folder, mut known) = (open(root.path()), Known::new());
    read(&folder, &mut known);
    let text = serde_json::to_string(&known).unwrap();
    assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), known);
    assert!(
        Folder::open(
            &root.path().join("none"),
            Parser::new(Limits::DEFAULT).unwrap(),
            Arc::new(ManualClock::default())
        )
        .is_err()
    );
}
