//! A name is bytes to the store, whatever they mean to the engine below.

use super::Store;
use crate::vfs::VfsError;
use crate::vfs::WriteMode::{CreateNew, Replace};

/// Names that mean something to a shell, a URL, a glob, SQL or a key pattern.
const NAMES: [&str; 26] = [
    "with space",
    "a%20b",
    "%",
    "%2F",
    "'",
    "\"",
    "`",
    "*",
    "[a-z]",
    "a?b",
    "\\",
    "a\\b",
    "{x}",
    "$HOME",
    "-rf",
    "~",
    ".hidden",
    "...",
    "a:b",
    "a_b",
    ";--",
    "null",
    "\u{65e5}\u{672c}\u{8a9e}",
    "\u{1f980}",
    "Zo\u{eb}",
    "a,b=c&d#e",
];

/// Each is written, read, listed and removed, and no other file is touched by it.
pub async fn any_name_is_a_name_and_nothing_more(store: Store) {
    for name in NAMES {
        store.put(CreateNew, &format!("d/{name}"), name.as_bytes()).await.unwrap();
        store.put(CreateNew, &format!("deep/{name}/f"), name.as_bytes()).await.unwrap();
    }
    let mut expected = NAMES;
    expected.sort_unstable();
    assert_eq!(store.names("d").await, expected);
    assert_eq!(store.names_by("deep", 3).await, expected);
    for (gone, name) in expected.into_iter().enumerate() {
        let path = format!("d/{name}");
        assert_eq!(store.read(&path).await.unwrap(), name);
        assert_eq!(store.names(&format!("deep/{name}")).await, ["f"]);
        store.remove(&path, None).await.unwrap();
        assert_eq!(store.stat(&path).await, Err(VfsError::NotFound));
        match expected.get(gone + 1..) {
            Some(left) if !left.is_empty() => assert_eq!(store.names("d").await, left, "without `{name}`"),
            _ => assert_eq!(store.stat("d").await, Err(VfsError::NotFound)),
        }
    }
}

/// Names apart by case, by a wildcard that would match, or as the beginning of each other.
pub async fn names_that_look_alike_are_different_files(store: Store) {
    let names = ["A", "a", "a_", "aa", "ab", "a%", "a*", "a ", "a.", "a/b", "a-/b", "a0/b"];
    let files = names.into_iter().filter(|name| *name != "a");
    for name in files.clone() {
        store.put(Replace, name, name.as_bytes()).await.unwrap();
    }
    for name in files {
        assert_eq!(store.read(name).await.unwrap(), name);
    }
    assert_eq!(store.read("a").await, Err(VfsError::IsDirectory));
    assert_eq!(store.names("a").await, ["b"]);
}

/// As deep and as long as a path may be.
pub async fn the_longest_path_works(store: Store) {
    let deep = vec!["d"; 63].join("/") + "/f";
    store.put(CreateNew, &deep, b"deep").await.unwrap();
    assert_eq!(store.read(&deep).await.unwrap(), "deep");
    let long = "n".repeat(255);
    store.put(CreateNew, &long, b"long").await.unwrap();
    assert_eq!(store.names("").await, ["d", &long]);
    let both = vec![long.as_str(); 15].join("/");
    store.put(CreateNew, &format!("x/{both}"), b"both").await.unwrap();
    assert_eq!(store.read(&format!("x/{both}")).await.unwrap(), "both");
    store.remove(&deep, None).await.unwrap();
    assert_eq!(store.stat("d").await, Err(VfsError::NotFound));
}
