//! A directory read as a file.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_primitives::LabelSet;
use bytes::Bytes;
use serde::Serialize;

use super::{Entry, Kind, Mount, Page, RelPath, Stat, VfsError};

/// Entries asked of a store at a time: about 64 KiB of listing.
const PAGE: usize = 1024;

/// The bytes from `offset`, at most `length`, of a directory's listing: the entries of the store's directory, if there is
/// one, and `junctions`, in byte order of the names. A junction hides an entry of its name.
///
/// They carry what the mount does and every entry before their end: what comes before `offset` shows in where it falls.
pub(super) async fn render(
    store: Option<(Arc<Mount>, RelPath<'_>)>,
    junctions: BTreeSet<String>,
    offset: u64,
    length: usize,
) -> Result<(Bytes, LabelSet), VfsError> {
    let listed_without_store = !junctions.is_empty();
    let mut junctions = junctions.into_iter().peekable();
    let labels = store.as_ref().map_or(LabelSet::EMPTY, |(mount, _)| mount.added_labels().clone());
    let mut window = Window { skip: offset, room: length, bytes: Vec::new(), labels };
    let mut after: Option<String> = None;
    if let Some((mount, path)) = store {
        while !window.is_full() {
            let page = match mount.list(path, Page::new(after.as_deref(), PAGE)).await {
                Err(VfsError::NotFound | VfsError::NotDirectory) if listed_without_store => break,
                page => page?,
            };
            let entries = in_order(page.entries, after.as_deref())?;
            for entry in entries {
                while let Some(name) = junctions.next_if(|name| *name < entry.name) {
                    window.push(&junction(name))?;
                }
                if junctions.peek() != Some(&entry.name) {
                    window.push(&entry)?;
                }
            }
            match page.next {
                None => break,
                Some(next) if after.as_ref().is_none_or(|after| *after < next) => after = Some(next),
                Some(_) => return Err(VfsError::Backend),
            }
        }
    }
    for name in junctions {
        window.push(&junction(name))?;
    }
    Ok((window.bytes.into(), window.labels))
}

/// A mount point has its name from the host.
fn junction(name: String) -> Entry {
    Entry::new(name, Stat::directory(LabelSet::EMPTY))
}

/// One line of a listing, with a line feed behind it.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    kind: Kind,
    size: u64,
}

/// Keeps a part of a text that is never there as a whole.
struct Window {
    /// Bytes still to pass over.
    skip: u64,
    /// Bytes still to keep.
    room: usize,
    bytes: Vec<u8>,
    /// What the text carries so far, from its beginning.
    labels: LabelSet,
}

impl Window {
    fn is_full(&self) -> bool {
        self.room == 0
    }

    fn push(&mut self, entry: &Entry) -> Result<(), VfsError> {
        if self.is_full() {
            return Ok(());
        }
        self.labels = self.labels.join(&entry.stat.labels)?;
        let line = Line { name: &entry.name, kind: entry.stat.kind, size: entry.stat.size };
        let mut text = serde_json::to_vec(&line).map_err(|_| VfsError::Backend)?;
        text.push(b'\n');
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(text.len());
        self.skip -= skipped as u64;
        let kept = text.into_iter().skip(skipped).take(self.room);
        let before = self.bytes.len();
        self.bytes.extend(kept);
        self.room -= self.bytes.len() - before;
        Ok(())
    }
}

/// A store that repeats itself could keep a listing going for ever, so its order is checked.
fn in_order(entries: Vec<Entry>, after: Option<&str>) -> Result<Vec<Entry>, VfsError> {
    let ascending = entries.is_sorted_by(|one, next| one.name < next.name);
    let onward = entries.first().is_none_or(|first| after.is_none_or(|after| after < first.name.as_str()));
    if ascending && onward { Ok(entries) } else { Err(VfsError::Backend) }
}
