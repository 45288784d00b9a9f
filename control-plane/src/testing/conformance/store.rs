//! A backend with the arguments of its methods as a law likes to write them.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agent_primitives::{Clock, LabelSet, ManualClock, Timestamp};
use bytes::Bytes;

use crate::vfs::{
    Answer, Content, Hit, Kind, Listing, MemoryBackend, Page, Quota, RelPath, Search, Stat, Version,
    VfsError, Write, WriteMode, Written,
};

/// Room for whatever a law writes that is not about room.
pub(super) const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };

/// The store that a law is about, and the clock it goes by.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn MemoryBackend>,
    clock: ManualClock,
}

impl Store {
    /// `backend`, which goes by `clock`.
    #[must_use]
    pub fn new(backend: Arc<dyn MemoryBackend>, clock: ManualClock) -> Self {
        Self { backend, clock }
    }

    /// The moment that lies `wait` ahead.
    pub(super) fn after(&self, wait: Duration) -> Option<Timestamp> {
        let wait = i64::try_from(wait.as_micros()).unwrap();
        Some(Timestamp::from_micros(self.clock.now().as_micros() + wait))
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    pub(super) async fn put(&self, mode: WriteMode, path: &str, data: &[u8]) -> Result<Written, VfsError> {
        self.write(path, plain(mode, data)).await
    }

    pub(super) async fn put_labelled(
        &self,
        mode: WriteMode,
        path: &str,
        data: &[u8],
        labels: &[&str],
    ) -> Result<Written, VfsError> {
        self.write(path, Write::new(mode, Bytes::copy_from_slice(data), set(labels), ROOMY)).await
    }

    /// What a file carries, by every way of asking.
    pub(super) async fn labels(&self, path: &str) -> LabelSet {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let stat = self.stat(path).await.unwrap();
        let entries = self.page(parent, None, 100).await.unwrap().entries;
        let entry = entries.into_iter().find(|entry| entry.name == name).unwrap();
        assert_eq!(entry.stat, stat, "a listing says the same as a stat");
        if stat.kind == Kind::File {
            for length in [0, 1, 1 << 20] {
                let read = self.part(path, 0, length).await.unwrap();
                assert_eq!(read.labels, stat.labels, "a read of {length} bytes says the same as a stat");
            }
        }
        stat.labels
    }

    pub(super) async fn write(&self, path: &str, write: Write) -> Result<Written, VfsError> {
        self.backend.write(RelPath::parse(path).unwrap(), write).await
    }

    /// A write that nobody has polled yet.
    pub(super) fn writing<'a>(&'a self, path: &'a str, write: Write) -> Answer<'a, Written> {
        self.backend.write(RelPath::parse(path).unwrap(), write)
    }

    pub(super) async fn read(&self, path: &str) -> Result<Bytes, VfsError> {
        self.content(path).await.map(|content| content.bytes)
    }

    pub(super) async fn content(&self, path: &str) -> Result<Content, VfsError> {
        self.part(path, 0, 1 << 20).await
    }

    pub(super) async fn part(&self, path: &str, offset: u64, length: usize) -> Result<Content, VfsError> {
        self.backend.read(RelPath::parse(path).unwrap(), offset, length).await
    }

    pub(super) async fn remove(&self, path: &str, expected: Option<Version>) -> Result<(), VfsError> {
        self.backend.remove(RelPath::parse(path).unwrap(), expected).await
    }

    pub(super) async fn stat(&self, path: &str) -> Result<Stat, VfsError> {
        self.backend.stat(RelPath::parse(path).unwrap()).await
    }

    pub(super) async fn page(
        &self,
        path: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, VfsError> {
        self.backend.list(RelPath::parse(path).unwrap(), Page::new(after, limit)).await
    }

    /// The names in a directory, page by page, as a caller lists it.
    pub(super) async fn names(&self, path: &str) -> Vec<String> {
        self.names_by(path, 100).await
    }

    pub(super) async fn names_by(&self, path: &str, limit: usize) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(path, after.as_deref(), limit).await.unwrap();
            assert!(page.entries.len() <= limit, "a page of {limit} has {} entries", page.entries.len());
            names.extend(page.entries.into_iter().map(|entry| entry.name));
            assert!(page.next.is_none() || after < page.next, "each page leads on");
            after = page.next;
            if after.is_none() {
                return names;
            }
        }
    }

    pub(super) async fn search(&self, path: &str, text: &str, limit: usize) -> Result<Vec<Hit>, VfsError> {
        self.backend.search(RelPath::parse(path).unwrap(), Search::new(text, limit)).await
    }

    /// Runs `work` for each number below `tasks`, all at once, and answers what each came to.
    pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        tasks: usize,
        work: impl Fn(Self, usize) -> F,
    ) -> Vec<T> {
        let running: Vec<_> = (0..tasks).map(|task| tokio::spawn(work(self.clone(), task))).collect();
        let mut done = Vec::with_capacity(tasks);
        for task in running {
            done.push(task.await.unwrap());
        }
        done
    }
}

/// How often a reader looks, and how many states it has to have seen, beside a writer.
const LOOKS: usize = 100;
const STATES: usize = 20;

impl Store {
    /// Reads the file at `path` over and over while `write` changes it over and over, and has `look` see each read.
    pub(super) async fn beside<F: Future<Output = ()> + Send>(
        &self,
        path: &str,
        write: impl Fn(Self, usize) -> F + Send + 'static,
        look: impl Fn(&Content),
    ) {
        let enough = Arc::new(AtomicBool::new(false));
        let writer = {
            let (store, enough) = (self.clone(), Arc::clone(&enough));
            tokio::spawn(async move {
                let mut round = 0;
                while !enough.load(Ordering::Acquire) {
                    write(store.clone(), round).await;
                    round += 1;
                    tokio::task::yield_now().await;
                }
            })
        };
        let mut states = HashSet::new();
        let mut looks = 0;
        while (looks < LOOKS || states.len() < STATES) && !writer.is_finished() {
            let content = self.content(path).await.unwrap();
            look(&content);
            states.insert(content.version);
            looks += 1;
            tokio::task::yield_now().await;
        }
        enough.store(true, Ordering::Release);
        writer.await.unwrap();
    }
}

pub(super) fn plain(mode: WriteMode, data: &[u8]) -> Write {
    Write::new(mode, Bytes::copy_from_slice(data), LabelSet::EMPTY, ROOMY)
}

pub(super) fn set(labels: &[&str]) -> LabelSet {
    LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
}

/// A store, and something that has to live as long: the folder it lies in, the server it talks to.
pub struct Guarded<B, G> {
    store: B,
    _guard: G,
}

impl<B, G> Guarded<B, G> {
    /// `store`, which is dropped before `guard` is.
    pub const fn new(store: B, guard: G) -> Self {
        Self { store, _guard: guard }
    }
}

impl<B: fmt::Debug, G> fmt::Debug for Guarded<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl<B: MemoryBackend, G: Send + Sync> MemoryBackend for Guarded<B, G> {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        self.store.read(path, offset, length)
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        self.store.write(path, write)
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        self.store.remove(path, expected)
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        self.store.list(path, page)
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        self.store.stat(path)
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        self.store.search(path, query)
    }
}
