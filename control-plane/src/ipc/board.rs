//! The names in `/ipc`, as a directory.

use std::sync::Arc;

use agent_primitives::LabelSet;

use super::INBOX;
use super::room::{Room, Shown};
use crate::vfs::{
    Answer, Content, Entry, Listing, MemoryBackend, Page, RelPath, Stat, Version, VfsError, Write, Written,
};

/// Lists the own inbox, the live agents of the room and the topics that are open. Messages do not pass through here.
///
/// No file shows a size: how much waits for somebody is nobody else's business.
#[derive(Debug)]
pub(crate) struct Board(Arc<Room>);

impl Board {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self(room)
    }

    fn find(&self, path: RelPath<'_>) -> Result<Stat, VfsError> {
        if path.is_root() {
            return Ok(Stat::directory(LabelSet::EMPTY));
        }
        if path.as_str() == INBOX {
            return Ok(stat(LabelSet::EMPTY));
        }
        let name = path.as_str().parse().map_err(|_| VfsError::NotFound)?;
        self.0.find(&name).map(stat).ok_or(VfsError::NotFound)
    }

    fn page(&self, page: Page<'_>) -> Listing {
        let mut names = self.0.names(page.after, page.limit.saturating_add(1));
        names.retain(|shown| shown.name != INBOX);
        if page.after.is_none_or(|after| after < INBOX) {
            let at = names.partition_point(|shown| shown.name.as_str() < INBOX);
            names.insert(at, Shown { name: INBOX.to_owned(), labels: LabelSet::EMPTY });
        }
        let more = page.limit < names.len();
        names.truncate(page.limit);
        let next = names.last().filter(|_| more).map(|last| last.name.clone());
        let entries = names.into_iter().map(|shown| Entry::new(shown.name, stat(shown.labels))).collect();
        Listing::new(entries, next)
    }
}

/// A queue has no states that could be told apart.
fn stat(labels: LabelSet) -> Stat {
    Stat::file(0, Version::from_u128(0), labels)
}

impl MemoryBackend for Board {
    fn read<'a>(&'a self, path: RelPath<'a>, _: u64, _: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            self.find(path)?;
            Err(if path.is_root() { VfsError::IsDirectory } else { VfsError::AccessDenied })
        })
    }

    fn write<'a>(&'a self, _: RelPath<'a>, _: Write) -> Answer<'a, Written> {
        Box::pin(async { Err(VfsError::AccessDenied) })
    }

    fn remove<'a>(&'a self, _: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async { Err(VfsError::AccessDenied) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            self.find(path)?;
            if path.is_root() { Ok(self.page(page)) } else { Err(VfsError::NotDirectory) }
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move { self.find(path) })
    }
}
