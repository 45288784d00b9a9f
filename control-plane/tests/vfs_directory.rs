//! A folder of the host: nothing leads out of it, and nothing half done shows.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::future::Future;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use agent_control_plane::vfs::{
    Access, Content, Directory, DirectoryError, MemoryBackend, Mount, Namespace, Page, Quota, RelPath, Usage,
    VfsError, VfsPath, Write, WriteMode, Written,
};
use agent_primitives::LabelSet;
use bytes::Bytes;
use tempfile::TempDir;

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };
const STAGED: &str = ".agent-os-staged";

fn rel(path: &str) -> RelPath<'_> {
    RelPath::parse(path).unwrap()
}

async fn put(store: &Directory, mode: WriteMode, path: &str, data: &[u8]) -> Result<Written, VfsError> {
    store.write(rel(path), Write::new(mode, Bytes::copy_from_slice(data), LabelSet::EMPTY, ROOMY)).await
}

async fn get(store: &Directory, path: &str) -> Result<Bytes, VfsError> {
    store.read(rel(path), 0, 1 << 20).await.map(|content| content.bytes)
}

async fn names(store: &Directory, path: &str) -> Vec<String> {
    let entries = store.list(rel(path), Page::new(None, 1000)).await.unwrap().entries;
    entries.into_iter().map(|entry| entry.name).collect()
}

/// Every file and folder below `root`, with links not followed.
fn host_tree(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(host_tree(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        }
        found.push(name);
    }
    found.sort();
    found
}

/// A folder with a secret beside it, and links of all kinds that lead there.
fn folder_with_links() -> (TempDir, Directory) {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir_all(root.join("inside")).unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    fs::write(root.join("inside/file"), "inside").unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../secret", root.join("relative")).unwrap();
    symlink("..", root.join("up")).unwrap();
    symlink("/etc", root.join("etc")).unwrap();
    symlink("inside/file", root.join("within")).unwrap();
    symlink("inside", root.join("folder")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    let store = Directory::open(&root).unwrap();
    (outside, store)
}

#[tokio::test]
async fn no_link_is_followed_not_even_inside() {
    let (outside, store) = folder_with_links();
    let before = host_tree(outside.path());
    for path in ["absolute", "relative", "within", "dangling", "up", "etc", "folder"] {
        let denied = Some(VfsError::AccessDenied);
        assert_eq!(get(&store, path).await.err(), denied, "{path}");
        assert_eq!(store.stat(rel(path)).await.err(), denied, "{path}");
        assert_eq!(store.remove(rel(path), None).await.err(), denied, "{path}");
        assert_eq!(store.list(rel(path), Page::new(None, 9)).await.err(), denied, "{path}");
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::CreateNew] {
            assert_eq!(put(&store, mode, path, b"x").await.err(), denied, "{path}");
        }
    }
    for path in ["up/secret", "etc/passwd", "folder/file", "up/root/inside/file"] {
        let denied = Some(VfsError::AccessDenied);
        assert_eq!(get(&store, path).await.err(), denied, "{path}");
        assert_eq!(store.remove(rel(path), None).await.err(), denied, "{path}");
        assert_eq!(put(&store, WriteMode::Replace, path, b"x").await.err(), denied, "{path}");
    }
    assert_eq!(names(&store, "").await, ["inside"]);
    assert_eq!(host_tree(outside.path()), before);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).unwrap(), "secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_swapped_for_a_link_meanwhile_leads_nowhere() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    let secret = outside.path().join("elsewhere");
    for folder in [&root, &secret] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "inside").unwrap();
    fs::write(secret.join("f"), "secret").unwrap();
    let store = Directory::open(&root).unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = {
        let (stop, root, secret) = (Arc::clone(&stop), root.clone(), secret.clone());
        std::thread::spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                fs::rename(root.join("d"), root.join("kept")).unwrap();
                symlink(&secret, root.join("d")).unwrap();
                fs::remove_file(root.join("d")).unwrap();
                fs::rename(root.join("kept"), root.join("d")).unwrap();
            }
        })
    };
    let (mut tried, mut reached) = (0, 0);
    // On a busy machine it may take long to meet the folder while it is in place.
    while tried < 2000 || (reached == 0 && tried < 1_000_000) {
        tried += 1;
        match get(&store, "d/f").await {
            Ok(bytes) => {
                assert_ne!(bytes, "secret");
                reached += 1;
            }
            Err(error) => {
                let expected = [VfsError::NotFound, VfsError::AccessDenied, VfsError::NotDirectory];
                assert!(expected.contains(&error), "{error:?}");
            }
        }
        // The quota keeps this from making `d` anew while it is away, so the swapper can put it back.
        let write =
            Write::new(WriteMode::Append, Bytes::new(), LabelSet::EMPTY, Quota { bytes: 0, files: 0 });
        let _either_way = store.write(rel("d/f"), write).await;
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    swapper.join().unwrap();
    assert!(reached > 0);
    assert_eq!(fs::read_to_string(secret.join("f")).unwrap(), "secret");
    assert_eq!(host_tree(&secret), ["f"]);
}

#[tokio::test]
async fn pipes_and_unspellable_names_are_hidden_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(fifo.success());
    fs::write(folder.path().join("line\nfeed"), "hidden").unwrap();
    fs::write(folder.path().join("cafe\u{301}"), "hidden").unwrap();
    fs::write(folder.path().join("plain"), "seen").unwrap();
    let store = Directory::open(folder.path()).unwrap();
    assert_eq!(names(&store, "").await, ["plain"]);
    assert_eq!(store.usage(), Usage { bytes: 4, files: 1 });
    assert_eq!(get(&store, "pipe").await, Err(VfsError::AccessDenied));
    for mode in [WriteMode::Replace, WriteMode::Append] {
        assert_eq!(put(&store, mode, "pipe", b"x").await.unwrap_err(), VfsError::AccessDenied);
    }
}

#[tokio::test]
async fn appending_to_a_hard_link_leaves_its_other_name_alone() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("original"), "original").unwrap();
    fs::hard_link(outside.path().join("original"), root.join("link")).unwrap();
    let store = Directory::open(&root).unwrap();
    assert_eq!(put(&store, WriteMode::Append, "link", b" and more").await.unwrap().size, 17);
    assert_eq!(get(&store, "link").await.unwrap(), "original and more");
    assert_eq!(fs::read_to_string(outside.path().join("original")).unwrap(), "original");
}

#[tokio::test]
async fn what_a_crash_left_behind_is_cleared_at_the_next_opening() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    for at in ["", "a", "a/b"] {
        fs::write(folder.path().join(at).join(STAGED), "half").unwrap();
    }
    fs::write(folder.path().join("a/b/whole"), "whole").unwrap();
    let store = Directory::open(folder.path()).unwrap();
    assert_eq!(host_tree(folder.path()), ["a", "a/b", "a/b/whole"]);
    assert_eq!(store.usage(), Usage { bytes: 5, files: 1 });
}

#[tokio::test]
async fn no_agent_can_use_the_name_of_staged_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let invalid = Some(VfsError::InvalidPath);
    for path in [STAGED.to_owned(), format!("a/{STAGED}"), format!("{STAGED}/a"), format!("a/{STAGED}/b/c")] {
        for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::CreateNew] {
            assert_eq!(put(&store, mode, &path, b"x").await.err(), invalid, "{path}");
        }
        assert_eq!(get(&store, &path).await.err(), invalid, "{path}");
        assert_eq!(store.stat(rel(&path)).await.err(), invalid, "{path}");
        assert_eq!(store.remove(rel(&path), None).await.err(), invalid, "{path}");
        assert_eq!(store.list(rel(&path), Page::new(None, 9)).await.err(), invalid, "{path}");
    }
    assert_eq!(host_tree(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_write_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    put(&store, WriteMode::Replace, "kept", b"1").await.unwrap();
    fs::create_dir(folder.path().join("hosts")).unwrap();
    // A directory under the name of the staged file makes every attempt to stage one fail.
    fs::create_dir(folder.path().join(STAGED)).unwrap();
    for path in ["a/b/c", "kept"] {
        assert!(put(&store, WriteMode::Replace, path, b"22").await.is_err(), "{path}");
    }
    assert_eq!(host_tree(folder.path()), [STAGED, "hosts", "kept"]);
    assert_eq!(get(&store, "kept").await.unwrap(), "1");
    assert_eq!(store.usage(), Usage { bytes: 1, files: 1 });
    fs::remove_dir(folder.path().join(STAGED)).unwrap();
    put(&store, WriteMode::Replace, "hosts/a/b", b"22").await.unwrap();
    assert_eq!(store.usage(), Usage { bytes: 3, files: 2 });
}

#[tokio::test]
async fn the_count_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let expected = {
        let store = Directory::open(folder.path()).unwrap();
        put(&store, WriteMode::Replace, "a/b", b"12345").await.unwrap();
        put(&store, WriteMode::Append, "a/b", b"678").await.unwrap();
        put(&store, WriteMode::CreateNew, "c", b"1").await.unwrap();
        put(&store, WriteMode::Replace, "d", b"1").await.unwrap();
        store.remove(rel("d"), None).await.unwrap();
        store.usage()
    };
    assert_eq!(expected, Usage { bytes: 9, files: 2 });
    assert_eq!(Directory::open(folder.path()).unwrap().usage(), expected);
}

#[test]
fn a_folder_has_one_writer_and_any_number_of_readers() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let second = Directory::open(folder.path());
    assert!(matches!(&second, Err(DirectoryError::InUse { .. })), "{second:?}");
    assert_eq!(second.unwrap_err().code(), "AK0421");
    Directory::open_read_only(folder.path()).unwrap();
    drop(store);
    Directory::open(folder.path()).unwrap();
    let missing = Directory::open(folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.code(), "AK0420");
}

#[tokio::test]
async fn a_folder_opened_for_reading_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "1").unwrap();
    let store = Directory::open_read_only(folder.path()).unwrap();
    assert_eq!(get(&store, "f").await.unwrap(), "1");
    for mode in [WriteMode::Replace, WriteMode::Append, WriteMode::CreateNew] {
        assert_eq!(put(&store, mode, "f", b"2").await.unwrap_err(), VfsError::ReadOnly);
    }
    assert_eq!(store.remove(rel("f"), None).await, Err(VfsError::ReadOnly));
    assert_eq!(host_tree(folder.path()), ["f"]);
}

#[tokio::test]
async fn a_change_by_another_program_is_a_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("f");
    let store = Directory::open(folder.path()).unwrap();
    for change in [
        |host: &Path| fs::write(host, "edited in place").unwrap(),
        |host: &Path| {
            fs::write(host.with_extension("new"), "abc").unwrap();
            fs::rename(host.with_extension("new"), host).unwrap();
        },
    ] {
        let version = put(&store, WriteMode::Replace, "f", b"abc").await.unwrap().version;
        change(&host);
        let write = Write::new(WriteMode::Replace, Bytes::from_static(b"x"), LabelSet::EMPTY, ROOMY)
            .expecting(Some(version));
        assert_eq!(store.write(rel("f"), write).await, Err(VfsError::Conflict));
        assert_eq!(store.remove(rel("f"), Some(version)).await, Err(VfsError::Conflict));
    }
}

#[tokio::test]
async fn replacing_keeps_the_permissions() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("script");
    fs::write(&host, "old").unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o750)).unwrap();
    let store = Directory::open(folder.path()).unwrap();
    put(&store, WriteMode::Replace, "script", b"new").await.unwrap();
    assert_eq!(fs::metadata(&host).unwrap().permissions().mode() & 0o777, 0o750);
}

#[test]
fn without_a_runtime_operations_fail_and_nothing_panics() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let mut stat = store.stat(rel("f"));
    let polled = stat.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(Err(VfsError::Backend)));
}

/// Drops writes at every stage they can be in. Whatever the file holds right after the drop, it holds for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_happens_after_a_write_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    put(&store, WriteMode::Replace, "f", b"0").await.unwrap();
    let (mut undone, mut done) = (0, 0);
    for round in 1..=300_u32 {
        let data = round.to_string();
        let mode = if round % 2 == 0 { WriteMode::Replace } else { WriteMode::Append };
        let before = fs::read(folder.path().join("f")).unwrap();
        let mut write = Box::pin(put(&store, mode, "f", data.as_bytes()));
        let _may_be_through = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        for _ in 0..round * 400 {
            std::hint::spin_loop();
        }
        drop(write);
        let after = fs::read(folder.path().join("f")).unwrap();
        // Writers follow each other, so once this one is through, the dropped one is as well.
        put(&store, WriteMode::Replace, "other", b"").await.unwrap();
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), after, "round {round}");
        if before == after { undone += 1 } else { done += 1 }
    }
    assert!(undone > 0, "no write was dropped early enough: {undone} {done}");
    assert_eq!(host_tree(folder.path()), ["f", "other"]);
}

#[tokio::test]
async fn an_agent_never_learns_a_host_path() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("private-name");
    fs::create_dir(&root).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    let namespace = Namespace::new();
    let point = VfsPath::parse("/files").unwrap();
    let store = Arc::new(Directory::open(&root).unwrap());
    namespace.mount(Mount::new(point, store, Access::ReadWrite(ROOMY))).unwrap();
    for path in ["/files/link", "/files/none", "/files/link/below"] {
        let error = namespace.read(&VfsPath::parse(path).unwrap(), 0, 10).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(path) && !text.contains("private-name") && !text.contains("passwd"), "{text}");
    }
}

#[tokio::test]
async fn a_version_read_is_good_for_a_write() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("f"), "from the host").unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let Content { version, .. } = store.read(rel("f"), 0, 4).await.unwrap();
    assert_eq!(store.stat(rel("f")).await.unwrap().version, Some(version));
    let write = Write::new(WriteMode::Append, Bytes::from_static(b"!"), LabelSet::EMPTY, ROOMY)
        .expecting(Some(version));
    store.write(rel("f"), write).await.unwrap();
}

async fn put_labelled(
    store: &Directory,
    mode: WriteMode,
    path: &str,
    data: &[u8],
    labels: &LabelSet,
) -> Result<Written, VfsError> {
    store.write(rel(path), Write::new(mode, Bytes::copy_from_slice(data), labels.clone(), ROOMY)).await
}

async fn labels_of(store: &Directory, path: &str) -> Result<LabelSet, VfsError> {
    let read = store.read(rel(path), 0, 1 << 20).await?.labels;
    assert_eq!(store.stat(rel(path)).await?.labels, read);
    Ok(read)
}

fn labels(words: &[&str]) -> LabelSet {
    LabelSet::new(words.iter().map(|word| word.parse().unwrap())).unwrap()
}

fn set_attribute(file: &Path, value: &[u8]) {
    rustix::fs::setxattr(file, LABELS, value, rustix::fs::XattrFlags::empty()).unwrap();
}

const LABELS: &str = "user.agentos.labels";

#[tokio::test]
async fn labels_survive_reopening_and_renaming_by_the_host() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = Directory::open(folder.path()).unwrap();
        let first = labels(&["pii", "tool:mail.read"]);
        put_labelled(&store, WriteMode::CreateNew, "a/f", b"1", &first).await.unwrap();
        put_labelled(&store, WriteMode::Append, "a/f", b"2", &labels(&["untrusted"])).await.unwrap();
    }
    fs::rename(folder.path().join("a/f"), folder.path().join("a/g")).unwrap();
    let expected = labels(&["pii", "tool:mail.read", "untrusted"]);
    let store = Directory::open(folder.path()).unwrap();
    assert_eq!(labels_of(&store, "a/g").await.unwrap(), expected);
    assert_eq!(store.stat(rel("a")).await.unwrap().labels, labels(&["pii", "tool:mail.read"]));
    drop(store);
    assert_eq!(labels_of(&Directory::open_read_only(folder.path()).unwrap(), "a/g").await.unwrap(), expected);
}

#[tokio::test]
async fn what_the_host_puts_there_carries_nothing_until_somebody_writes() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(folder.path().join("d/f"), "1").unwrap();
    let store = Directory::open(folder.path()).unwrap();
    assert_eq!(labels_of(&store, "d/f").await.unwrap(), LabelSet::EMPTY);
    put_labelled(&store, WriteMode::Append, "d/f", b"2", &labels(&["pii"])).await.unwrap();
    assert_eq!(labels_of(&store, "d/f").await.unwrap(), labels(&["pii"]));
    assert_eq!(get(&store, "d/f").await.unwrap(), "12");
    assert_eq!(store.stat(rel("d")).await.unwrap().labels, LabelSet::EMPTY);
}

#[tokio::test]
async fn an_append_that_adds_no_label_stays_in_place_and_one_that_does_replaces() {
    use std::os::unix::fs::MetadataExt;

    let folder = tempfile::tempdir().unwrap();
    let inode = || fs::metadata(folder.path().join("f")).unwrap().ino();
    let store = Directory::open(folder.path()).unwrap();
    put_labelled(&store, WriteMode::Replace, "f", b"1", &labels(&["pii"])).await.unwrap();
    let before = inode();
    put_labelled(&store, WriteMode::Append, "f", b"2", &labels(&["pii"])).await.unwrap();
    assert_eq!(inode(), before);
    let held = fs::File::open(folder.path().join("f")).unwrap();
    put_labelled(&store, WriteMode::Append, "f", b"3", &labels(&["untrusted"])).await.unwrap();
    assert_ne!(inode(), before);
    // Whoever has the old file open sees neither the new bytes nor the new labels.
    let mut stored = [0; 64];
    let length = rustix::fs::fgetxattr(&held, LABELS, &mut stored).unwrap();
    assert_eq!((&stored[..length], held.metadata().unwrap().len()), (&b"pii"[..], 2));
}

#[tokio::test]
async fn labels_that_cannot_be_understood_close_the_file_but_not_the_way_to_be_rid_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    for garbage in [&b"Secret"[..], b"pii,", b"", b"\xff", b"pii\n"] {
        fs::write(folder.path().join("f"), "1").unwrap();
        set_attribute(&folder.path().join("f"), garbage);
        assert_eq!(get(&store, "f").await, Err(VfsError::Backend), "{garbage:?}");
        assert_eq!(store.stat(rel("f")).await, Err(VfsError::Backend));
        assert_eq!(store.list(rel(""), Page::new(None, 9)).await, Err(VfsError::Backend));
        assert_eq!(put(&store, WriteMode::Append, "f", b"2").await, Err(VfsError::Backend));
        assert_eq!(fs::read(folder.path().join("f")).unwrap(), b"1");
        put_labelled(&store, WriteMode::Replace, "f", b"3", &labels(&["pii"])).await.unwrap();
        assert_eq!(labels_of(&store, "f").await.unwrap(), labels(&["pii"]));
        set_attribute(&folder.path().join("f"), garbage);
        store.remove(rel("f"), None).await.unwrap();
    }
}

#[tokio::test]
async fn a_set_the_file_system_has_no_room_for_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::open(folder.path()).unwrap();
    let long = |count: usize| {
        let name = "x".repeat(270);
        LabelSet::new((0..count).map(|number| format!("own:{name}{number}").parse().unwrap())).unwrap()
    };
    // 1 024 labels of 277 bytes are beyond what any attribute of Linux holds.
    put_labelled(&store, WriteMode::Replace, "f", b"1", &labels(&["pii"])).await.unwrap();
    for (mode, path) in [(WriteMode::Replace, "f"), (WriteMode::Append, "f"), (WriteMode::CreateNew, "d/new")]
    {
        let refused = put_labelled(&store, mode, path, b"2", &long(1023)).await.unwrap_err();
        assert_eq!(refused, VfsError::TooManyLabels, "{mode:?}");
    }
    let beyond = put_labelled(&store, WriteMode::Append, "f", b"2", &long(1024)).await.unwrap_err();
    assert_eq!((beyond.name(), beyond.code()), ("E2BIG", "AK0418"));
    assert_eq!(host_tree(folder.path()), ["f"]);
    assert_eq!(labels_of(&store, "f").await.unwrap(), labels(&["pii"]));
    assert_eq!(get(&store, "f").await.unwrap(), "1");
    // Longer than most, and still within what every file system with attributes keeps.
    put_labelled(&store, WriteMode::Replace, "f", b"3", &long(8)).await.unwrap();
    assert_eq!(labels_of(&store, "f").await.unwrap(), long(8));
}

#[tokio::test]
async fn replacing_a_file_that_nobody_may_write_labels_it_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("f");
    fs::write(&host, "1").unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o444)).unwrap();
    let store = Directory::open(folder.path()).unwrap();
    put_labelled(&store, WriteMode::Replace, "f", b"2", &labels(&["pii"])).await.unwrap();
    assert_eq!(labels_of(&store, "f").await.unwrap(), labels(&["pii"]));
    assert_eq!(fs::metadata(&host).unwrap().permissions().mode() & 0o777, 0o444);
}
