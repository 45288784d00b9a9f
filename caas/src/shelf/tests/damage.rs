use std::fs;
use std::sync::Arc;

use redb::{Database, TableDefinition};

use super::{Disk, RedbShelf, Shelf, ShelfError, found, open};
use crate::index::fixture::{Fixture, document, id, shelved, wait};

fn filled() -> (Vec<u8>, Vec<String>) {
    let disk = Disk::default();
    let fixture = open(&disk).unwrap();
    let batch =
        (0..40).map(|number| document(&format!("d{number}"), &[&format!("whale number{number}"), "a whale"]));
    wait(fixture.index.put_batch(batch.collect())).unwrap();
    let all = found(&fixture);
    drop(fixture);
    (disk.bytes(), all)
}

/// Every byte would take hours; every so many, with a step that shares no factor with pages, takes all kinds of them.
#[test]
fn no_damage_is_taken_for_a_shelf_with_less_in_it() {
    let (bytes, all) = filled();
    let (mut refused, mut same) = (0, 0);
    for at in (0..320).step_by(5).chain((320..bytes.len()).step_by(2801)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        match open(&Disk::of(damaged)) {
            Ok(fixture) => {
                assert_eq!(found(&fixture), all, "byte {at}");
                same += 1;
            }
            Err(error) => {
                assert!(["AK0622", "AK0623"].contains(&error.code()), "byte {at}: {error:?}");
                refused += 1;
            }
        }
    }
    assert!(10 < refused && 10 < same, "{refused} {same}");
}

#[test]
fn a_file_that_is_cut_short_is_damaged() {
    let (bytes, all) = filled();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    fs::write(&path, &bytes).unwrap();
    assert_eq!(found(&on(&path)), all);
    for length in [0, 1, 100, 4096, bytes.len() / 2, bytes.len() - 4096] {
        fs::write(&path, &bytes[..length]).unwrap();
        let error = RedbShelf::open(&path).unwrap_err();
        assert_eq!(error.code(), "AK0623", "{length} bytes: {error:?}");
    }
}

#[test]
fn what_is_something_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    fs::write(&path, "a text that is no database at all\n".repeat(1000)).unwrap();
    let text = fs::read(&path).unwrap();
    assert_eq!(RedbShelf::open(&path).unwrap_err().code(), "AK0623");
    assert_eq!(fs::read(&path).unwrap(), text);

    let other = folder.path().join("other");
    let table: TableDefinition<'static, &str, &str> = TableDefinition::new("settings");
    for (key, value) in [("theirs", "1"), ("format", "agent-os caas shelf 2")] {
        let database = Database::create(&other).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert(key, value).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = RedbShelf::open(&other).unwrap_err();
        assert_eq!(error.code(), "AK0622", "{error:?}");
    }
    assert_eq!(RedbShelf::open(folder.path()).unwrap_err().code(), "AK0623", "a folder is no shelf");
}

fn on(path: &std::path::Path) -> Fixture {
    shelved(Arc::new(RedbShelf::open(path).unwrap())).unwrap()
}

#[test]
fn two_have_it_never_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    let first = RedbShelf::open(&path).unwrap();
    assert!(matches!(RedbShelf::open(&path), Err(ShelfError::InUse)));
    first.compact().unwrap();
    assert!(matches!(RedbShelf::open(&path), Err(ShelfError::InUse)), "its new file is locked too");
    drop(first);
    RedbShelf::open(&path).unwrap();
}

#[test]
fn a_file_that_vanishes_takes_no_change_and_memory_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    let fixture = on(&path);
    wait(fixture.index.put(document("a", &["whale"]))).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::write(&path, "another file").unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        let put = wait(fixture.index.put(document("a", &["another whale"])));
        assert_eq!(put.unwrap_err().code(), "AK0625");
        assert_eq!(wait(fixture.index.compact()).unwrap_err().code(), "AK0625");
        assert_eq!(found(&fixture), ["a: whale"]);
    }
    assert_eq!(wait(fixture.index.forget(&id("a"))).unwrap_err().code(), "AK0625");
    assert!(found(&fixture).is_empty());
    assert_eq!(fs::read(&path).unwrap(), b"another file", "it is nobody's to write to");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[cfg(unix)]
#[test]
fn a_shelf_is_its_owners_alone_unless_the_host_says_otherwise() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    let rights = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let shelf = RedbShelf::open(&path).unwrap();
    assert_eq!(rights(), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    shelf.compact().unwrap();
    assert_eq!(rights(), 0o640);
}

#[test]
fn a_shelf_that_cannot_be_made_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let error = RedbShelf::open(folder.path().join("no such folder/shelf")).unwrap_err();
    assert!(matches!(error, ShelfError::Io(_)), "{error:?}");
}

#[test]
fn what_was_forgotten_is_nowhere_in_the_file_once_it_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shelf");
    let fixture = on(&path);
    let holds = |word: &str| {
        let bytes = fs::read(&path).unwrap();
        bytes.windows(word.len()).any(|window| window == word.as_bytes())
    };
    let many = (0..80).map(|number| document(&format!("d{number}"), &[&format!("whale number{number}")]));
    wait(fixture.index.put_batch(many.collect())).unwrap();
    wait(fixture.index.put(document("canary-name", &["a whale with a canary-text in it"]))).unwrap();
    wait(fixture.index.put(document("d1", &["a whale that was canary-old"]))).unwrap();
    wait(fixture.index.put(document("d1", &["a whale that is new"]))).unwrap();
    assert!(holds("canary-name") && holds("canary-text"));
    wait(fixture.index.forget(&id("canary-name"))).unwrap();
    let all = found(&fixture);
    assert!(!all.iter().any(|hit| hit.contains("canary")));
    fs::write(folder.path().join("shelf.compact"), "left by a process that was killed").unwrap();
    wait(fixture.index.compact()).unwrap();
    assert!(!["canary-name", "canary-text", "canary-old"].into_iter().any(holds));
    assert!(holds("number79"));
    wait(fixture.index.put(document("last", &["whale of the last"]))).unwrap();
    drop(fixture);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    fs::write(folder.path().join("shelf.compact"), "left by a process that was killed").unwrap();
    let again = found(&on(&path));
    assert_eq!(again.len(), all.len() + 1);
    assert!(all.iter().all(|hit| again.contains(hit)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
