//! A file that has reached its end does not exist.

use std::time::Duration;

use agent_primitives::LabelSet;

use super::Store;
use super::store::{ROOMY, plain, set};
use crate::vfs::WriteMode::{Append, CreateNew, Replace};
use crate::vfs::{Quota, VfsError, Write, WriteMode};

const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_micros(1);

async fn put_for(store: &Store, mode: WriteMode, path: &str, data: &[u8], wait: Duration) {
    store.write(path, plain(mode, data).expiring(store.after(wait))).await.unwrap();
}

/// To the microsecond, for every way of asking, and nobody else goes with it.
pub async fn a_file_is_there_until_its_end_and_not_after(store: Store) {
    let end = store.after(MINUTE);
    put_for(&store, Replace, "d/f", b"soon gone", MINUTE).await;
    store.put(Replace, "d/stays", b"1").await.unwrap();
    assert_eq!(store.stat("d/f").await.unwrap().expires, end);
    assert_eq!(store.stat("d/stays").await.unwrap().expires, None);
    store.advance(MINUTE - TICK);
    assert_eq!(store.read("d/f").await.unwrap(), "soon gone");
    assert_eq!(store.names("d").await, ["f", "stays"]);
    store.advance(TICK);
    assert_eq!(store.read("d/f").await, Err(VfsError::NotFound));
    assert_eq!(store.stat("d/f").await, Err(VfsError::NotFound));
    assert_eq!(store.page("d/f", None, 10).await, Err(VfsError::NotFound));
    assert_eq!(store.remove("d/f", None).await, Err(VfsError::NotFound));
    assert_eq!(store.names("d").await, ["stays"]);
    assert_eq!(store.read("d/stays").await.unwrap(), "1");
}

/// In each mode as if nothing had been there: no content, no label and no name of it stays.
pub async fn what_has_ended_is_written_anew(store: Store) {
    for (path, mode) in [("a", CreateNew), ("b", Append), ("c", Replace)] {
        let first = Write::new(Replace, "old".into(), set(&["secret"]), ROOMY);
        store.write(path, first.expiring(store.after(MINUTE))).await.unwrap();
        store.advance(MINUTE);
        let written = store.put_labelled(mode, path, b"new", &["pii"]).await.unwrap();
        assert_eq!((written.size, &written.labels), (3, &set(&["pii"])), "{mode:?}");
        assert_eq!(store.read(path).await.unwrap(), "new");
        assert_eq!(store.labels(path).await, set(&["pii"]));
        assert_eq!(store.stat(path).await.unwrap().expires, None);
    }
    put_for(&store, Replace, "x", b"a file", MINUTE).await;
    store.advance(MINUTE);
    store.put(CreateNew, "x/y", b"a directory now").await.unwrap();
    assert_eq!(store.names("x").await, ["y"]);
}

/// Replacing sets it anew; appending keeps it, unless it brings another.
pub async fn each_mode_sets_the_end_as_it_says(store: Store) {
    let ends = [None, store.after(MINUTE), store.after(2 * MINUTE)];
    for (mode, end, expected) in [
        (CreateNew, ends[1], ends[1]),
        (Append, None, ends[1]),
        (Append, ends[2], ends[2]),
        (Append, ends[1], ends[1]),
        (Replace, ends[2], ends[2]),
        (Replace, None, None),
        (Append, None, None),
        (Append, ends[2], ends[2]),
    ] {
        store.write("f", plain(mode, b"x").expiring(end)).await.unwrap();
        assert_eq!(store.stat("f").await.unwrap().expires, expected, "{mode:?} {end:?}");
    }
    store.advance(MINUTE);
    assert_eq!(store.read("f").await.unwrap(), "xxx", "an end that was moved does not come");
    store.put(Replace, "f", b"for ever").await.unwrap();
    store.advance(5 * MINUTE);
    assert_eq!(store.read("f").await.unwrap(), "for ever");
}

/// At every depth, and at once.
pub async fn a_directory_of_ended_files_is_gone(store: Store) {
    put_for(&store, Replace, "a/b/one", b"1", MINUTE).await;
    put_for(&store, Replace, "a/b/c/two", b"2", MINUTE).await;
    put_for(&store, Replace, "a/three", b"3", 2 * MINUTE).await;
    store.advance(MINUTE);
    assert_eq!(store.stat("a/b").await, Err(VfsError::NotFound));
    assert_eq!(store.page("a/b/c", None, 10).await, Err(VfsError::NotFound));
    assert_eq!(store.names("a").await, ["three"]);
    store.advance(MINUTE);
    assert_eq!(store.names("").await, Vec::<String>::new());
    assert_eq!(store.stat("a").await, Err(VfsError::NotFound));
    store.put(CreateNew, "a", b"a file now").await.unwrap();
}

/// Room is made before a write is refused for want of it.
pub async fn what_has_ended_uses_no_quota(store: Store) {
    let tight = Quota { bytes: 10, files: 2 };
    let write = |data: &'static str| Write::new(Replace, data.into(), LabelSet::EMPTY, tight);
    store.write("a", write("12345").expiring(store.after(MINUTE))).await.unwrap();
    store.write("b", write("12345").expiring(store.after(2 * MINUTE))).await.unwrap();
    assert_eq!(store.write("c", write("1")).await, Err(VfsError::Quota));
    store.advance(MINUTE);
    store.write("c", write("12345")).await.unwrap();
    assert_eq!(store.write("d", write("")).await, Err(VfsError::Quota));
    assert_eq!(store.write("c", write("123456")).await, Err(VfsError::Quota));
    store.advance(MINUTE);
    store.write("c", write("1234567890")).await.unwrap();
    assert_eq!(store.names("").await, ["c"]);
}

/// Written is written: what was there is gone, and nothing has come in its place.
pub async fn an_end_in_the_past_leaves_no_file(store: Store) {
    store.put(Replace, "f", b"before").await.unwrap();
    put_for(&store, Replace, "f", b"after", Duration::ZERO).await;
    assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
    assert_eq!(store.names("").await, Vec::<String>::new());
    store.put(CreateNew, "f", b"anew").await.unwrap();
    assert_eq!(store.read("f").await.unwrap(), "anew");
}

/// Also once a file of the same name and content is there again.
pub async fn a_version_of_an_ended_file_is_stale(store: Store) {
    let write = plain(Replace, b"same").expiring(store.after(MINUTE));
    let version = store.write("f", write).await.unwrap().version;
    store.advance(MINUTE);
    let expecting = || plain(Replace, b"x").expecting(Some(version));
    assert_eq!(store.write("f", expecting()).await, Err(VfsError::Conflict));
    let again = store.put(Replace, "f", b"same").await.unwrap().version;
    assert_ne!(version, again);
    assert_eq!(store.write("f", expecting()).await, Err(VfsError::Conflict));
    assert_eq!(store.remove("f", Some(version)).await, Err(VfsError::Conflict));
    assert_eq!(store.read("f").await.unwrap(), "same");
}

/// A store that keeps no ends says so, and writes nothing.
pub async fn an_end_that_cannot_be_kept_is_refused(store: Store) {
    for mode in [Replace, Append, CreateNew] {
        let write = plain(mode, b"1").expiring(store.after(MINUTE));
        assert_eq!(store.write("f", write).await, Err(VfsError::NotSupported), "{mode:?}");
        assert_eq!(store.stat("f").await, Err(VfsError::NotFound));
    }
}
