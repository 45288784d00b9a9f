//! Files in the memory of the process.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

use agent_primitives::{Clock, LabelSet, SystemClock, Timestamp};
use bytes::{Bytes, BytesMut};

use super::ends::Ends;
use super::{
    Answer, Content, Entry, Listing, MemoryBackend, Page, RelPath, Stat, Usage, Version, VfsError, Write,
    WriteMode, Written,
};

/// A store in memory, gone when it is dropped.
///
/// Reading hands out a part of the stored buffer without copying it; writing copies, so no buffer of the writer stays
/// alive in here. Appending grows the buffer in place as long as nobody holds a part of it, in amortised constant time;
/// such a buffer may be allocated up to twice its length. Listing costs what the directory holds, not what the store
/// does. An operation takes effect in one poll, so a future dropped after that changed what it was to change. Files that
/// have reached their end are removed by the first operation after it.
pub struct Memory {
    tree: RwLock<Tree>,
    clock: Arc<dyn Clock>,
}

impl Memory {
    /// An empty store, by the clock of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self { tree: RwLock::default(), clock: Arc::new(SystemClock::new()) }
    }

    /// The same store by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the store holds. Files that have reached their end count until the next operation.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).usage
    }

    fn look<T>(&self, look: impl FnOnce(&Tree) -> Result<T, VfsError>) -> Result<T, VfsError> {
        let tree = self.tree.read().map_err(|_| VfsError::Backend)?;
        match tree.ends.first() {
            Some(end) if end <= self.clock.now() => {
                drop(tree);
                self.change(|tree| look(tree))
            }
            _ => look(&tree),
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Tree) -> Result<T, VfsError>) -> Result<T, VfsError> {
        let mut tree = self.tree.write().map_err(|_| VfsError::Backend)?;
        if tree.ends.first().is_some() {
            tree.sweep(self.clock.now())?;
        }
        change(&mut tree)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend for Memory {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            self.look(|tree| match find(&tree.root, path)? {
                Node::Folder(_) => Err(VfsError::IsDirectory),
                Node::File(file) => Ok(file.part(offset, length)),
            })
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move { self.change(|tree| tree.write(path, &write)) })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move { self.change(|tree| tree.remove(path, expected)) })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            self.look(|tree| match find(&tree.root, path)? {
                Node::Folder(folder) => Ok(list(folder, page)),
                Node::File(_) => Err(VfsError::NotDirectory),
            })
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move { self.look(|tree| find(&tree.root, path).map(Node::stat)) })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// INVARIANT: no folder but the root is empty, `usage` is what the files add up to, and `ends` names each file that has an
/// end, and no other.
struct Tree {
    root: Node,
    usage: Usage,
    ends: Ends,
    /// The last version given out. Counts over the whole tree, so a file that comes back has a version of its own.
    version: u128,
}

enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Default)]
struct Folder {
    entries: BTreeMap<Box<str>, Node>,
    labels: LabelSet,
}

struct File {
    content: Bytes,
    version: Version,
    labels: LabelSet,
    expires: Option<Timestamp>,
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            root: Node::Folder(Folder::default()),
            usage: Usage::default(),
            ends: Ends::default(),
            version: 0,
        }
    }
}

impl Tree {
    fn write(&mut self, path: RelPath<'_>, write: &Write) -> Result<Written, VfsError> {
        let version = Version::from_u128(self.version.saturating_add(1));
        let (size, labels, expires) = match find_mut(&mut self.root, path) {
            Ok(Node::Folder(_)) => return Err(VfsError::IsDirectory),
            Ok(Node::File(file)) => {
                write.admit(Some(file.version))?;
                let size = write.size_after(file.size())?;
                let labels = write.labels_after(&file.labels)?;
                self.usage = write.quota.admit(self.usage, Some(file.size()), size)?;
                file.write(write, version, labels.clone());
                (size, labels, file.expires)
            }
            Err(VfsError::NotFound) => {
                write.admit(None)?;
                let size = write.size_after(0)?;
                let usage = write.quota.admit(self.usage, None, size)?;
                let labels = write.labels_after(&LabelSet::EMPTY)?;
                let expires = write.expires_after(None);
                let content = Bytes::copy_from_slice(&write.data);
                insert(&mut self.root, path, File { content, version, labels: labels.clone(), expires })?;
                self.usage = usage;
                (size, labels, expires)
            }
            Err(error) => return Err(error),
        };
        self.ends.set(path.as_str(), expires);
        self.version = version.as_u128();
        Ok(Written::new(version, size, labels))
    }

    fn remove(&mut self, path: RelPath<'_>, expected: Option<Version>) -> Result<(), VfsError> {
        let Node::Folder(root) = &mut self.root else { return Err(VfsError::Backend) };
        let size = remove(root, path.as_str(), expected)?;
        self.usage = self.usage.without(size);
        self.ends.set(path.as_str(), None);
        Ok(())
    }

    /// Removes what has reached its end by `now`.
    fn sweep(&mut self, now: Timestamp) -> Result<(), VfsError> {
        while let Some(path) = self.ends.due(now) {
            self.remove(RelPath::parse(&path)?, None)?;
        }
        Ok(())
    }
}

impl Node {
    fn stat(&self) -> Stat {
        match self {
            Self::File(file) => {
                Stat::file(file.size(), file.version, file.labels.clone()).expiring(file.expires)
            }
            Self::Folder(folder) => Stat::directory(folder.labels.clone()),
        }
    }
}

impl File {
    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn part(&self, offset: u64, length: usize) -> Content {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.content.len());
        let end = start.saturating_add(length).min(self.content.len());
        Content::new(self.content.slice(start..end), self.version, self.labels.clone())
    }

    fn write(&mut self, write: &Write, version: Version, labels: LabelSet) {
        self.version = version;
        self.labels = labels;
        self.expires = write.expires_after(self.expires);
        self.content = match write.mode {
            WriteMode::Append => appended(std::mem::take(&mut self.content), &write.data),
            WriteMode::Replace | WriteMode::CreateNew => Bytes::copy_from_slice(&write.data),
        };
    }
}

/// `content` followed by `data`; copies `content` only if somebody else holds a part of it.
fn appended(content: Bytes, data: &[u8]) -> Bytes {
    let mut grown = content.try_into_mut().unwrap_or_else(|shared| {
        let mut copy = BytesMut::with_capacity(shared.len().saturating_add(data.len()));
        copy.extend_from_slice(&shared);
        copy
    });
    grown.extend_from_slice(data);
    grown.freeze()
}

fn find<'t>(root: &'t Node, path: RelPath<'_>) -> Result<&'t Node, VfsError> {
    path.segments().try_fold(root, |node, name| match node {
        Node::Folder(folder) => folder.entries.get(name).ok_or(VfsError::NotFound),
        Node::File(_) => Err(VfsError::NotDirectory),
    })
}

fn find_mut<'t>(root: &'t mut Node, path: RelPath<'_>) -> Result<&'t mut Node, VfsError> {
    path.segments().try_fold(root, |node, name| match node {
        Node::Folder(folder) => folder.entries.get_mut(name).ok_or(VfsError::NotFound),
        Node::File(_) => Err(VfsError::NotDirectory),
    })
}

/// Puts a new file at `path`, where nothing is and no file lies on the way. The folders this makes carry what it does.
fn insert(root: &mut Node, path: RelPath<'_>, file: File) -> Result<(), VfsError> {
    let (parent, name) = path.split_name().ok_or(VfsError::IsDirectory)?;
    let made = || Node::Folder(Folder { entries: BTreeMap::new(), labels: file.labels.clone() });
    let parent = parent.segments().try_fold(root, |node, name| match node {
        Node::Folder(folder) => Ok(folder.entries.entry(name.into()).or_insert_with(made)),
        Node::File(_) => Err(VfsError::NotDirectory),
    })?;
    let Node::Folder(folder) = parent else { return Err(VfsError::NotDirectory) };
    folder.entries.insert(name.into(), Node::File(file));
    Ok(())
}

/// Removes a file and the folders that are empty without it; answers its size. Recurses once per segment of the path.
fn remove(folder: &mut Folder, path: &str, expected: Option<Version>) -> Result<u64, VfsError> {
    let (name, rest) = path.split_once('/').map_or((path, None), |(name, rest)| (name, Some(rest)));
    if name.is_empty() {
        return Err(VfsError::IsDirectory);
    }
    let (size, gone) = match (folder.entries.get_mut(name).ok_or(VfsError::NotFound)?, rest) {
        (Node::Folder(inner), Some(rest)) => {
            let size = remove(inner, rest, expected)?;
            (size, inner.entries.is_empty())
        }
        (Node::Folder(_), None) => return Err(VfsError::IsDirectory),
        (Node::File(_), Some(_)) => return Err(VfsError::NotDirectory),
        (Node::File(file), None) if expected.is_some_and(|expected| expected != file.version) => {
            return Err(VfsError::Conflict);
        }
        (Node::File(file), None) => (file.size(), true),
    };
    if gone {
        folder.entries.remove(name);
    }
    Ok(size)
}

fn list(folder: &Folder, page: Page<'_>) -> Listing {
    let from = page.after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = folder.entries.range::<str, _>((from, Bound::Unbounded));
    let entries: Vec<Entry> = rest
        .by_ref()
        .take(page.limit)
        .map(|(name, node)| Entry::new(name.to_string(), node.stat()))
        .collect();
    let next = rest.next().and_then(|_| entries.last().map(|entry| entry.name.clone()));
    Listing::new(entries, next)
}
