//! Files the host renders when they are read.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use agent_primitives::{Digest, LabelSet};
use bytes::Bytes;

use super::{
    Answer, Content, Entry, Listing, MemoryBackend, Page, RelPath, Stat, Version, VfsError, Write, Written,
};
use crate::vfs::BadPath;

const VERSION_DOMAIN: &str = "agent-os vfs projection version v1";

/// A directory of fixed names whose content is a function of the host's state. Nothing in it can be written.
///
/// The content is rendered anew for each read, and for its length also for each listing and stat; the version is a digest
/// of it. A file that fails to render fails the listing with its error. Dropping a future is without consequence.
#[derive(Clone, Default)]
pub struct Projection {
    files: BTreeMap<Box<str>, Render>,
    labels: LabelSet,
}

type Render = Arc<dyn Fn() -> Result<Bytes, VfsError> + Send + Sync>;

impl Projection {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same directory with a file `name` that reads as what `render` answers. A name given twice means the last.
    ///
    /// `render` runs on the thread that polls the read, so it must neither block nor panic.
    ///
    /// # Errors
    /// [`BadPath`] when `name` is not exactly one segment of a path.
    pub fn file(
        mut self,
        name: &str,
        render: impl Fn() -> Result<Bytes, VfsError> + Send + Sync + 'static,
    ) -> Result<Self, BadPath> {
        if RelPath::parse(name)?.segments().count() != 1 {
            return Err(BadPath::NotNormalised);
        }
        self.files.insert(name.into(), Arc::new(render));
        Ok(self)
    }

    /// The same directory, each file of which carries `labels`; none unless said.
    #[must_use]
    pub fn labels(mut self, labels: LabelSet) -> Self {
        self.labels = labels;
        self
    }

    fn render(&self, path: RelPath<'_>) -> Result<Content, VfsError> {
        let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
        if let Some(first) = parent.segments().next() {
            let on_the_way = self.files.contains_key(first);
            return Err(if on_the_way { VfsError::NotDirectory } else { VfsError::NotFound });
        }
        self.rendered(self.files.get(name).ok_or(VfsError::NotFound)?)
    }

    fn page(&self, page: Page<'_>) -> Result<Listing, VfsError> {
        let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.files.range::<str, _>((from, Bound::Unbounded));
        let entries: Vec<Entry> = rest
            .by_ref()
            .take(page.limit)
            .map(|(name, render)| Ok(Entry::new(name.to_string(), stat(self.rendered(render)?))))
            .collect::<Result<_, VfsError>>()?;
        let next = rest.next().and_then(|_| entries.last().map(|entry| entry.name.clone()));
        Ok(Listing::new(entries, next))
    }

    fn rendered(&self, render: &Render) -> Result<Content, VfsError> {
        let bytes = render()?;
        let digest = Digest::of(VERSION_DOMAIN, &bytes);
        Ok(Content::new(bytes, Version::of_digest(digest), self.labels.clone()))
    }
}

fn stat(content: Content) -> Stat {
    Stat::file(content.bytes.len() as u64, content.version, content.labels)
}

impl MemoryBackend for Projection {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let mut content = self.render(path)?;
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.bytes.len());
            let end = start.saturating_add(length).min(content.bytes.len());
            content.bytes = content.bytes.slice(start..end);
            Ok(content)
        })
    }

    fn write<'a>(&'a self, _: RelPath<'a>, _: Write) -> Answer<'a, Written> {
        Box::pin(async { Err(VfsError::ReadOnly) })
    }

    fn remove<'a>(&'a self, _: RelPath<'a>, _: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async { Err(VfsError::ReadOnly) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            if path.is_root() {
                return self.page(page);
            }
            self.render(path)?;
            Err(VfsError::NotDirectory)
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move {
            if path.is_root() { Ok(Stat::directory(LabelSet::EMPTY)) } else { self.render(path).map(stat) }
        })
    }
}

impl fmt::Debug for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.files.keys()).finish()
    }
}
