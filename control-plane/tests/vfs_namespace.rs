//! Mounts: what an agent sees where, and what it may do there.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_control_plane::vfs::{
    Access, Answer, Content, Entry, Kind, Listing, MAX_MOUNTS, MAX_TRANSFER, Memory, MemoryBackend, Mount,
    Namespace, OpenFlags, Page, PathError, Projection, Quota, RelPath, Stat, Version, VfsError, VfsPath,
    Write, WriteMode, Written,
};
use agent_primitives::LabelSet;
use bytes::Bytes;

const QUOTA: Quota = Quota { bytes: 64 << 20, files: 100 };
const ALL: OpenFlags = OpenFlags { read: true, write: true, append: true, create: true, exclusive: true };

fn path(text: &str) -> VfsPath {
    VfsPath::parse(text).unwrap()
}

fn mount(namespace: &Namespace, point: &str, backend: impl MemoryBackend + 'static, access: Access) {
    namespace.mount(Mount::new(path(point), Arc::new(backend), access)).unwrap();
}

/// The tree of an ordinary agent, in small.
fn tree() -> Namespace {
    let namespace = Namespace::new();
    mount(&namespace, "/mem/working", Memory::new(), Access::ReadWrite(QUOTA));
    mount(&namespace, "/mem/episodic", Memory::new(), Access::AppendOnly(QUOTA));
    mount(&namespace, "/state", Memory::new(), Access::ReadWrite(QUOTA));
    let policy = Projection::new().file("active.json", || Ok(Bytes::from_static(b"{\"rules\":[]}"))).unwrap();
    mount(&namespace, "/policy", policy, Access::ReadOnly);
    namespace
}

async fn put(namespace: &Namespace, at: &str, text: &str) -> Result<Written, VfsError> {
    let data = Bytes::copy_from_slice(text.as_bytes());
    namespace
        .write(&path(at), WriteMode::Replace, data, LabelSet::EMPTY, None)
        .await
        .map_err(|error| error.error())
}

async fn get(namespace: &Namespace, at: &str) -> Result<String, VfsError> {
    let read = namespace.read(&path(at), 0, MAX_TRANSFER).await.map_err(|error| error.error())?;
    Ok(String::from_utf8(read.bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn what_lies_under_no_mount_does_not_exist() {
    let namespace = tree();
    for at in ["/elsewhere", "/elsewhere/a", "/mem/other", "/mem/other/a", "/agent/v/mem/working/a"] {
        assert_eq!(get(&namespace, at).await, Err(VfsError::NotFound), "{at}");
        assert_eq!(put(&namespace, at, "x").await, Err(VfsError::NotFound), "{at}");
        assert_eq!(namespace.stat(&path(at)).await.unwrap_err().error(), VfsError::NotFound, "{at}");
        assert_eq!(namespace.remove(&path(at), None).await.unwrap_err().error(), VfsError::NotFound, "{at}");
        assert_eq!(
            namespace.open(&path(at), ALL, LabelSet::EMPTY).await.unwrap_err().error(),
            VfsError::NotFound,
            "{at}"
        );
    }
}

#[tokio::test]
async fn a_name_that_begins_like_a_mount_is_not_in_it() {
    let namespace = tree();
    for at in ["/policyfoo", "/policyfoo/active.json", "/statefoo/x", "/mem/workingx/a", "/mem/work/a"] {
        assert_eq!(put(&namespace, at, "x").await, Err(VfsError::NotFound), "{at}");
    }
    assert_eq!(get(&namespace, "/state").await.unwrap(), "");
}

#[tokio::test]
async fn directories_above_mounts_list_and_stat_and_nothing_else() {
    let namespace = tree();
    let line = |name: &str| format!("{{\"name\":\"{name}\",\"kind\":\"directory\",\"size\":0}}\n");
    assert_eq!(get(&namespace, "/").await.unwrap(), ["mem", "policy", "state"].map(line).concat());
    assert_eq!(get(&namespace, "/mem").await.unwrap(), ["episodic", "working"].map(line).concat());
    for at in ["/", "/mem", "/policy", "/mem/working"] {
        assert_eq!(namespace.stat(&path(at)).await, Ok(Stat::directory(LabelSet::EMPTY)), "{at}");
        assert_eq!(put(&namespace, at, "x").await, Err(VfsError::IsDirectory), "{at}");
        assert_eq!(
            namespace.remove(&path(at), None).await.unwrap_err().error(),
            VfsError::IsDirectory,
            "{at}"
        );
    }
    assert_eq!(get(&Namespace::new(), "/").await.unwrap(), "");
}

#[tokio::test]
async fn a_directory_reads_as_its_listing() {
    let namespace = tree();
    put(&namespace, "/mem/working/b", "12345").await.unwrap();
    put(&namespace, "/mem/working/a/x", "1").await.unwrap();
    put(&namespace, "/mem/working/q\"q", "").await.unwrap();
    let listing = "{\"name\":\"a\",\"kind\":\"directory\",\"size\":0}\n\
                   {\"name\":\"b\",\"kind\":\"file\",\"size\":5}\n\
                   {\"name\":\"q\\\"q\",\"kind\":\"file\",\"size\":0}\n";
    assert_eq!(get(&namespace, "/mem/working").await.unwrap(), listing);
    let whole = listing.len() as u64;
    for (offset, length) in [(0, 10), (7, 100), (45, 3), (whole, 5), (whole - 1, 5), (u64::MAX, 5), (3, 0)] {
        let read = namespace.read(&path("/mem/working"), offset, length).await.unwrap();
        let expected: String =
            listing.chars().skip(offset.min(whole) as usize).take(length as usize).collect();
        assert_eq!(read.bytes, expected, "{offset} {length}");
        assert_eq!(read.version, None);
    }
}

#[tokio::test]
async fn a_large_directory_reads_whole_in_pieces() {
    let namespace = Namespace::new();
    let quota = Quota { bytes: 0, files: 5000 };
    mount(&namespace, "/d", Memory::new(), Access::ReadWrite(quota));
    mount(&namespace, "/d/02500", Memory::new(), Access::ReadWrite(quota));
    for n in 0..3000 {
        if n != 2500 {
            put(&namespace, &format!("/d/{n:05}"), "").await.unwrap();
        }
    }
    let (mut text, mut offset) = (Vec::new(), 0);
    loop {
        let read = namespace.read(&path("/d"), offset, 10_000).await.unwrap();
        if read.bytes.is_empty() {
            break;
        }
        offset += read.bytes.len() as u64;
        text.extend_from_slice(&read.bytes);
    }
    let names: Vec<String> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, (0..3000).map(|n| format!("{n:05}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_longest_mount_wins_and_hides_what_is_beneath_it() {
    let namespace = Namespace::new();
    let outer = Arc::new(Memory::new());
    let access = Access::ReadWrite(QUOTA);
    namespace.mount(Mount::new(path("/a"), Arc::<Memory>::clone(&outer), access)).unwrap();
    put(&namespace, "/a/b/file", "outer").await.unwrap();
    put(&namespace, "/a/c", "a file").await.unwrap();
    mount(&namespace, "/a/b", Memory::new(), access);
    mount(&namespace, "/a/c/d", Memory::new(), access);
    assert_eq!(get(&namespace, "/a/b/file").await, Err(VfsError::NotFound));
    put(&namespace, "/a/b/file", "inner").await.unwrap();
    assert_eq!(namespace.stat(&path("/a/c")).await, Ok(Stat::directory(LabelSet::EMPTY)));
    assert_eq!(put(&namespace, "/a/c", "x").await, Err(VfsError::IsDirectory));
    assert_eq!(
        get(&namespace, "/a/c").await.unwrap(),
        "{\"name\":\"d\",\"kind\":\"directory\",\"size\":0}\n"
    );
    let names = |text: String| text.lines().filter(|line| line.contains("\"directory\"")).count();
    assert_eq!(get(&namespace, "/a").await.map(names), Ok(2));
    namespace.unmount(&path("/a/b")).unwrap();
    assert_eq!(get(&namespace, "/a/b/file").await.unwrap(), "outer");
}

#[tokio::test]
async fn a_mount_at_the_root_serves_what_no_other_does() {
    let namespace = tree();
    mount(&namespace, "/", Memory::new(), Access::ReadWrite(QUOTA));
    put(&namespace, "/policyfoo", "x").await.unwrap();
    assert_eq!(put(&namespace, "/policy/active.json", "x").await, Err(VfsError::ReadOnly));
    assert_eq!(get(&namespace, "/").await.unwrap().lines().count(), 4);
}

#[tokio::test]
async fn access_is_one_field_and_decides_alone() {
    use WriteMode::{Append, CreateNew, Replace};
    let denied = Some(VfsError::AccessDenied);
    let read_only = Some(VfsError::ReadOnly);
    for (access, replace, append, create, remove) in [
        (Access::ReadWrite(QUOTA), None, None, None, None),
        (Access::AppendOnly(QUOTA), denied, None, None, denied),
        (Access::ReadOnly, read_only, read_only, read_only, read_only),
    ] {
        let namespace = Namespace::new();
        let store = Memory::new();
        let seed = Write::new(Replace, Bytes::from_static(b"seed"), LabelSet::EMPTY, QUOTA);
        store.write(RelPath::parse("f").unwrap(), seed).await.unwrap();
        mount(&namespace, "/m", store, access);
        for (mode, at, expected) in
            [(Replace, "/m/f", replace), (Append, "/m/f", append), (CreateNew, "/m/n", create)]
        {
            let written =
                namespace.write(&path(at), mode, Bytes::from_static(b"x"), LabelSet::EMPTY, None).await;
            assert_eq!(written.err().map(|error| error.error()), expected, "{access:?} {mode:?}");
        }
        let removed = namespace.remove(&path("/m/f"), None).await;
        assert_eq!(removed.err().map(|error| error.error()), remove, "{access:?}");
        if access == Access::ReadOnly {
            assert_eq!(get(&namespace, "/m/f").await.unwrap(), "seed");
            assert_eq!(get(&namespace, "/m/n").await, Err(VfsError::NotFound));
        }
    }
}

#[tokio::test]
async fn writing_to_a_read_only_mount_fails_at_open_however_it_is_spelled() {
    let namespace = tree();
    for (write, append, create) in [
        (true, false, false),
        (false, true, false),
        (true, true, true),
        (false, true, true),
        (true, false, true),
    ] {
        for read in [true, false] {
            let flags = OpenFlags { read, write, append, create, exclusive: false };
            for at in ["/policy/active.json", "/policy/new.json"] {
                assert_eq!(
                    namespace.open(&path(at), flags, LabelSet::EMPTY).await.unwrap_err().error(),
                    VfsError::ReadOnly,
                    "{flags:?}"
                );
            }
        }
    }
    let append_only =
        namespace.open(&path("/mem/episodic/e"), OpenFlags { append: false, ..ALL }, LabelSet::EMPTY).await;
    assert_eq!(append_only.unwrap_err().error(), VfsError::AccessDenied);
    assert_eq!(get(&namespace, "/mem/episodic").await.unwrap(), "");
}

#[test]
fn a_point_is_mounted_once_and_mounts_are_bounded() {
    let namespace = Namespace::new();
    let backend = Arc::new(Memory::new());
    let try_mount = |point: &str| {
        namespace
            .mount(Mount::new(path(point), Arc::<Memory>::clone(&backend), Access::ReadOnly))
            .map_err(|error| error.error())
    };
    assert_eq!(try_mount("/m0"), Ok(()));
    assert_eq!(try_mount("/m0"), Err(VfsError::Exists));
    for n in 1..MAX_MOUNTS {
        assert_eq!(try_mount(&format!("/m{n}")), Ok(()));
    }
    assert_eq!(try_mount("/more"), Err(VfsError::NoSpace));
    assert_eq!(namespace.unmount(&path("/m0/sub")).unwrap_err().error(), VfsError::NotFound);
    namespace.unmount(&path("/m0")).unwrap();
    assert_eq!(try_mount("/more"), Ok(()));
}

#[tokio::test]
async fn two_namespaces_share_only_the_stores_mounted_in_both() {
    let (one, two) = (tree(), tree());
    let shared = Arc::new(Memory::new());
    one.mount(Mount::new(path("/shared"), Arc::<Memory>::clone(&shared), Access::ReadWrite(QUOTA))).unwrap();
    two.mount(Mount::new(path("/shared"), shared, Access::ReadOnly)).unwrap();
    put(&one, "/mem/working/secret", "mine").await.unwrap();
    put(&one, "/shared/note", "ours").await.unwrap();
    assert_eq!(get(&two, "/mem/working/secret").await, Err(VfsError::NotFound));
    assert_eq!(get(&two, "/shared/note").await.unwrap(), "ours");
    assert_eq!(put(&two, "/shared/note", "x").await, Err(VfsError::ReadOnly));
}

#[tokio::test]
async fn transfers_are_bounded() {
    let namespace = tree();
    let most = Bytes::from(vec![7; MAX_TRANSFER as usize]);
    let more = Bytes::from(vec![7; MAX_TRANSFER as usize + 1]);
    let at = path("/mem/working/big");
    let too_large = |error: PathError| error.error() == VfsError::TooLarge;
    assert!(
        namespace.write(&at, WriteMode::Replace, more, LabelSet::EMPTY, None).await.is_err_and(too_large)
    );
    namespace.write(&at, WriteMode::Replace, most.clone(), LabelSet::EMPTY, None).await.unwrap();
    namespace
        .write(&at, WriteMode::Append, Bytes::from_static(b"tail"), LabelSet::EMPTY, None)
        .await
        .unwrap();
    assert!(namespace.read(&at, 0, MAX_TRANSFER + 1).await.is_err_and(too_large));
    assert!(namespace.read(&at, 0, u64::MAX).await.is_err_and(too_large));
    assert_eq!(namespace.read(&at, 0, MAX_TRANSFER).await.unwrap().bytes, most);
    assert_eq!(namespace.read(&at, MAX_TRANSFER, MAX_TRANSFER).await.unwrap().bytes, "tail");
}

#[tokio::test]
async fn a_projection_renders_what_is_true_when_it_is_read() {
    let namespace = Namespace::new();
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let projection = Projection::new()
        .file("n", move || Ok(Bytes::from(counter.load(std::sync::atomic::Ordering::SeqCst).to_string())))
        .unwrap()
        .file("broken", || Err(VfsError::Timeout))
        .unwrap();
    mount(&namespace, "/p", projection, Access::ReadWrite(QUOTA));
    let first = namespace.stat(&path("/p/n")).await.unwrap();
    count.store(42, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(get(&namespace, "/p/n").await.unwrap(), "42");
    assert_eq!(namespace.read(&path("/p/n"), 1, 9).await.unwrap().bytes, "2");
    let second = namespace.stat(&path("/p/n")).await.unwrap();
    assert_eq!((first.size, second.size), (1, 2));
    assert_ne!(first.version, second.version);
    assert_eq!(get(&namespace, "/p/broken").await, Err(VfsError::Timeout));
    assert_eq!(get(&namespace, "/p").await, Err(VfsError::Timeout));
    assert_eq!(get(&namespace, "/p/x").await, Err(VfsError::NotFound));
    assert_eq!(get(&namespace, "/p/n/x").await, Err(VfsError::NotDirectory));
    // Even where the mount would permit it.
    assert_eq!(put(&namespace, "/p/n", "x").await, Err(VfsError::ReadOnly));
    assert_eq!(namespace.remove(&path("/p/n"), None).await.unwrap_err().error(), VfsError::ReadOnly);
}

#[test]
fn the_name_of_a_projected_file_is_one_segment() {
    for name in ["", "a/b", "..", "/a", "a\n"] {
        assert!(Projection::new().file(name, || Ok(Bytes::new())).is_err(), "{name:?}");
    }
}

#[tokio::test]
async fn errors_say_the_path_as_the_agent_sees_it() {
    let namespace = tree();
    let error = namespace.read(&path("/mem/working/none"), 0, 1).await.unwrap_err();
    assert_eq!(error.to_string(), "`/mem/working/none`: no such file or directory");
    assert_eq!((error.errno(), error.name(), error.code()), (2, "ENOENT", "AK0401"));
    assert_eq!(error.path().map(VfsPath::as_str), Some("/mem/working/none"));
}

/// A store that answers every listing with the same page, which is not the last, and every read with too much.
#[derive(Debug)]
struct Unruly(&'static [&'static str]);

impl MemoryBackend for Unruly {
    fn read<'a>(&'a self, path: RelPath<'a>, _: u64, _: usize) -> Answer<'a, Content> {
        let directory = path.as_str() == "dir";
        Box::pin(async move {
            if directory {
                return Err(VfsError::IsDirectory);
            }
            Ok(Content::new(Bytes::from_static(b"far too much"), Version::from_u128(1), LabelSet::EMPTY))
        })
    }

    fn write<'a>(&'a self, _: RelPath<'a>, _: Write) -> Answer<'a, Written> {
        Box::pin(async { Err(VfsError::NoSpace) })
    }

    fn remove<'a>(&'a self, _: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async { Err(VfsError::Timeout) })
    }

    fn list<'a>(&'a self, _: RelPath<'a>, _: Page<'a>) -> Answer<'a, Listing> {
        let entries: Vec<Entry> = self
            .0
            .iter()
            .map(|name| Entry::new((*name).to_owned(), Stat::directory(LabelSet::EMPTY)))
            .collect();
        let next = self.0.last().map_or_else(String::new, |name| (*name).to_owned());
        Box::pin(async move { Ok(Listing::new(entries, Some(next))) })
    }

    fn stat<'a>(&'a self, _: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async { Ok(Stat::file(1, Version::from_u128(1), LabelSet::EMPTY)) })
    }
}

#[tokio::test]
async fn an_unruly_store_neither_hangs_a_listing_nor_overfills_a_read() {
    for names in [&["a", "b"][..], &["b", "a"], &["a", "a"]] {
        let namespace = Namespace::new();
        mount(&namespace, "/u", Unruly(names), Access::ReadWrite(QUOTA));
        assert_eq!(get(&namespace, "/u/dir").await, Err(VfsError::Backend), "{names:?}");
        assert_eq!(namespace.read(&path("/u/f"), 0, 3).await.unwrap().bytes, "far");
        assert_eq!(put(&namespace, "/u/f", "x").await, Err(VfsError::NoSpace));
    }
}

#[test]
fn kinds_have_the_words_of_a_listing() {
    assert_eq!(serde_json::to_string(&[Kind::File, Kind::Directory]).unwrap(), r#"["file","directory"]"#);
}

fn labels(words: &[&str]) -> LabelSet {
    LabelSet::new(words.iter().map(|word| word.parse().unwrap())).unwrap()
}

async fn carried(namespace: &Namespace, at: &str) -> LabelSet {
    namespace.read(&path(at), 0, MAX_TRANSFER).await.unwrap().labels
}

async fn put_labelled(namespace: &Namespace, at: &str, words: &[&str]) -> Written {
    let data = Bytes::from_static(b"x");
    namespace.write(&path(at), WriteMode::Replace, data, labels(words), None).await.unwrap()
}

#[tokio::test]
async fn what_a_mount_adds_is_on_all_that_is_read_there_and_stored_nowhere() {
    let namespace = Namespace::new();
    let store = Arc::new(Memory::new());
    for (point, added) in [("/inbox", &["untrusted"][..]), ("/plain", &[])] {
        let mount = Mount::new(path(point), Arc::<Memory>::clone(&store), Access::ReadWrite(QUOTA));
        namespace.mount(mount.labels(labels(added))).unwrap();
    }
    assert_eq!(carried(&namespace, "/inbox").await, labels(&["untrusted"]));
    let written = put_labelled(&namespace, "/inbox/f", &["pii"]).await;
    assert_eq!(written.labels, labels(&["pii"]));
    assert_eq!(carried(&namespace, "/inbox/f").await, labels(&["pii", "untrusted"]));
    assert_eq!(namespace.stat(&path("/inbox/f")).await.unwrap().labels, labels(&["pii", "untrusted"]));
    assert_eq!(carried(&namespace, "/inbox").await, labels(&["pii", "untrusted"]));
    assert_eq!(carried(&namespace, "/plain/f").await, labels(&["pii"]));
    assert_eq!(carried(&namespace, "/").await, LabelSet::EMPTY);

    let flags = OpenFlags { append: false, exclusive: false, ..ALL };
    let file = namespace.open(&path("/inbox/f"), flags, LabelSet::EMPTY).await.unwrap();
    assert_eq!(namespace.read_open(file, None, 1).await.unwrap().labels, labels(&["pii", "untrusted"]));
    for offset in [0, 1] {
        let data = Bytes::from_static(b"y");
        namespace.write_open(file, Some(offset), data, LabelSet::EMPTY).await.unwrap();
        assert_eq!(carried(&namespace, "/plain/f").await, labels(&["pii"]), "{offset}");
    }
}

#[tokio::test]
async fn a_listing_carries_what_its_entries_up_to_its_end_do() {
    let namespace = tree();
    for (name, label) in [("a", "own:a"), ("b", "own:b"), ("c/d", "own:c"), ("c/e", "own:e")] {
        put_labelled(&namespace, &format!("/mem/working/{name}"), &[label]).await;
    }
    let line = r#"{"name":"a","kind":"file","size":1}"#.len() as u64 + 1;
    let at = path("/mem/working");
    for (offset, length, expected) in [
        (0, MAX_TRANSFER, &["own:a", "own:b", "own:c"][..]),
        (0, line, &["own:a"]),
        (0, line + 1, &["own:a", "own:b"]),
        (line, line, &["own:a", "own:b"]),
        (0, 0, &[]),
        (1000, 1, &["own:a", "own:b", "own:c"]),
    ] {
        let read = namespace.read(&at, offset, length).await.unwrap();
        assert_eq!(read.labels, labels(expected), "{offset} {length}");
    }
    assert_eq!(carried(&namespace, "/mem").await, LabelSet::EMPTY);
}

#[tokio::test]
async fn a_projection_carries_what_the_host_said() {
    let namespace = Namespace::new();
    let projection = Projection::new().labels(labels(&["pii"])).file("n", || Ok(Bytes::new())).unwrap();
    mount(&namespace, "/p", projection, Access::ReadOnly);
    assert_eq!(carried(&namespace, "/p/n").await, labels(&["pii"]));
    assert_eq!(namespace.stat(&path("/p/n")).await.unwrap().labels, labels(&["pii"]));
    assert_eq!(carried(&namespace, "/p").await, labels(&["pii"]));
}

#[tokio::test]
async fn a_value_that_would_lose_a_label_is_not_handed_out() {
    let many = |from: usize| {
        LabelSet::new((from..from + 600).map(|number| format!("own:{number}").parse().unwrap())).unwrap()
    };
    let namespace = Namespace::new();
    let mount = Mount::new(path("/m"), Arc::new(Memory::new()), Access::ReadWrite(QUOTA)).labels(many(0));
    namespace.mount(mount).unwrap();
    let write = async |mode, labels| namespace.write(&path("/m/f"), mode, Bytes::new(), labels, None).await;
    write(WriteMode::Replace, many(600)).await.unwrap();
    let appended = write(WriteMode::Append, many(1200)).await.unwrap_err();
    for error in [
        appended,
        namespace.read(&path("/m/f"), 0, 1).await.unwrap_err(),
        namespace.stat(&path("/m/f")).await.unwrap_err(),
        namespace.read(&path("/m"), 0, 1).await.unwrap_err(),
    ] {
        assert_eq!(error.error(), VfsError::TooManyLabels);
    }
    write(WriteMode::Replace, many(100)).await.unwrap();
    assert_eq!(namespace.read(&path("/m/f"), 0, 1).await.unwrap().labels.len(), 700);
}
