//! The laws of reading, for a store whose files do not come from writes a law could make.

use std::collections::BTreeMap;

use super::Store;
use crate::vfs::{Kind, VfsError};

/// Holds a store that has exactly `files`, by path, to what every store promises to readers.
pub async fn holds(store: Store, files: &BTreeMap<String, Vec<u8>>) {
    let mut directories: BTreeMap<String, Vec<String>> = BTreeMap::from([(String::new(), Vec::new())]);
    for (path, data) in files {
        file(&store, path, data).await;
        let mut below = path.as_str();
        loop {
            let (parent, name) = below.rsplit_once('/').unwrap_or(("", below));
            let names = directories.entry(parent.to_owned()).or_default();
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
            if parent.is_empty() {
                break;
            }
            below = parent;
        }
    }
    for (path, mut names) in directories {
        names.sort_unstable();
        directory(&store, &path, &names).await;
    }
    for path in ["no such file", "no such/file"] {
        assert_eq!(store.read(path).await, Err(VfsError::NotFound));
        assert_eq!(store.stat(path).await, Err(VfsError::NotFound));
        assert_eq!(store.page(path, None, 10).await, Err(VfsError::NotFound));
    }
}

async fn file(store: &Store, path: &str, data: &[u8]) {
    let whole = store.content(path).await.unwrap();
    assert_eq!(whole.bytes, data, "`{path}`");
    let stat = store.stat(path).await.unwrap();
    assert_eq!((stat.kind, stat.size), (Kind::File, data.len() as u64), "`{path}`");
    assert_eq!((stat.version, &stat.labels), (Some(whole.version), &whole.labels), "`{path}`");
    for offset in [0, 1, data.len() / 2, data.len(), data.len() + 1] {
        for length in [0, 1, 7, usize::MAX] {
            let end = offset.saturating_add(length).min(data.len());
            let expected = data.get(offset..end).unwrap_or_default();
            let part = store.part(path, offset as u64, length).await.unwrap();
            assert_eq!(part.bytes, expected, "`{path}` from {offset}, {length} bytes");
        }
    }
    let below = format!("{path}/below");
    assert_eq!(store.read(&below).await, Err(VfsError::NotDirectory));
    assert_eq!(store.stat(&below).await, Err(VfsError::NotDirectory));
    assert_eq!(store.page(path, None, 10).await, Err(VfsError::NotDirectory));
}

async fn directory(store: &Store, path: &str, names: &[String]) {
    assert_eq!(store.read(path).await, Err(VfsError::IsDirectory));
    assert_eq!(store.stat(path).await.unwrap().kind, Kind::Directory);
    for limit in [1, 2, names.len().max(1), names.len() + 1] {
        assert_eq!(store.names_by(path, limit).await, names, "`{path}` by {limit}");
    }
    for entry in store.page(path, None, names.len() + 1).await.unwrap().entries {
        let below = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
        assert_eq!(store.stat(&below).await, Ok(entry.stat), "`{below}`");
    }
}
