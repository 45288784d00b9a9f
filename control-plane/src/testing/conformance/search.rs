//! A search finds what the files say, and carries what they carry.

use std::time::Duration;

use super::Store;
use super::store::{plain, set};
use crate::vfs::VfsError;
use crate::vfs::WriteMode::Replace;

const TEXTS: [(&str, &str); 4] = [
    ("sea/whales", "the blue whale is the largest animal that ever lived in the ocean"),
    ("sea/ships", "a ship of the line carried seventy four guns across the ocean"),
    ("land/volcanoes", "a volcano erupts when magma rises through the crust"),
    ("land/rivers", "the river carries sediment from the mountains down to its delta"),
];

async fn filled(store: &Store) {
    for (path, text) in TEXTS {
        store.put(Replace, path, text.as_bytes()).await.unwrap();
    }
}

async fn paths(store: &Store, directory: &str, text: &str, limit: usize) -> Vec<String> {
    let hits = store.search(directory, text, limit).await.unwrap();
    hits.into_iter().map(|hit| hit.path).collect()
}

/// Paths are told from the directory that was searched, the best first, with text of the file.
pub async fn the_fitting_file_comes_first(store: Store) {
    assert_eq!(store.search("", "anything", 5).await, Ok(vec![]));
    filled(&store).await;
    for (query, best) in [
        ("largest whale animal", "sea/whales"),
        ("magma volcano erupts", "land/volcanoes"),
        ("ship with seventy four guns", "sea/ships"),
    ] {
        let hits = store.search("", query, 5).await.unwrap();
        let first = hits.first().unwrap();
        assert_eq!(first.path, best, "{query}");
        let (_, text) = TEXTS.into_iter().find(|(path, _)| *path == best).unwrap();
        assert!(!first.text.is_empty() && text.contains(first.text.trim()), "`{}`", first.text);
        assert!(hits.iter().all(|hit| hit.score.is_finite()));
        assert!(hits.is_sorted_by(|one, next| one.score >= next.score), "{query}: the best comes first");
    }
}

/// What the file carries, no more and no less.
pub async fn a_hit_carries_the_labels_of_its_file(store: Store) {
    filled(&store).await;
    store.put_labelled(Replace, "secret/plan", b"the whale plan", &["pii", "secret"]).await.unwrap();
    let hits = store.search("", "whale plan", 5).await.unwrap();
    for hit in &hits {
        let carried = store.labels(&hit.path).await;
        assert_eq!(hit.labels, carried, "{}", hit.path);
    }
    let secret = hits.iter().find(|hit| hit.path == "secret/plan").unwrap();
    assert_eq!(secret.labels, set(&["pii", "secret"]));
}

/// Neither what lies beside the directory nor more than was asked for.
pub async fn hits_lie_below_the_directory_and_within_the_limit(store: Store) {
    filled(&store).await;
    store.put(Replace, "seaside/whales", b"whale watching from the shore").await.unwrap();
    assert_eq!(paths(&store, "sea", "whale", 5).await.first().unwrap(), "whales");
    for text in ["whale", "ocean", "carries"] {
        let below = paths(&store, "sea", text, 5).await;
        assert!(below.iter().all(|path| ["whales", "ships"].contains(&path.as_str())), "{below:?}");
    }
    assert_eq!(paths(&store, "", "ocean whale river volcano", 1).await.len(), 1);
    assert_eq!(store.search("gone", "whale", 5).await, Err(VfsError::NotFound));
    assert_eq!(store.search("sea/whales", "whale", 5).await, Err(VfsError::NotDirectory));
}

/// Removed, or at its end.
pub async fn what_is_gone_is_not_found(store: Store) {
    filled(&store).await;
    let minute = Duration::from_secs(60);
    store.write("brief", plain(Replace, b"a whale of a note").expiring(store.after(minute))).await.unwrap();
    assert!(paths(&store, "", "whale", 5).await.contains(&"brief".to_owned()));
    store.remove("sea/whales", None).await.unwrap();
    store.advance(minute);
    let left = paths(&store, "", "largest whale note", 5).await;
    assert!(!left.contains(&"brief".to_owned()) && !left.contains(&"sea/whales".to_owned()), "{left:?}");
}

/// By its new words; not by the old.
pub async fn what_has_changed_is_found_as_it_is(store: Store) {
    filled(&store).await;
    store.put_labelled(Replace, "sea/whales", b"nothing but submarines here", &["pii"]).await.unwrap();
    let hits = store.search("", "submarines", 5).await.unwrap();
    let first = hits.first().unwrap();
    assert_eq!((first.path.as_str(), &first.labels), ("sea/whales", &set(&["pii"])));
    let old = store.search("", "largest whale animal", 5).await.unwrap();
    assert!(old.iter().all(|hit| !hit.text.contains("largest")), "{old:?}");
}

/// A store that cannot search says so.
pub async fn a_search_that_cannot_be_done_is_refused(store: Store) {
    store.put(Replace, "d/f", b"whale").await.unwrap();
    for directory in ["", "d"] {
        assert_eq!(store.search(directory, "whale", 5).await, Err(VfsError::NotSupported));
    }
}
