//! What a store must do to be mounted, and the stores that come with the kernel.

#[cfg(any(unix, feature = "redb"))]
mod blocking;
#[cfg(feature = "chroma")]
mod chroma;
#[cfg(unix)]
mod directory;
mod ends;
mod episodic;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod projection;
mod quota;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "redis", feature = "postgres", feature = "chroma"))]
mod remote;
mod semantic;
#[cfg(feature = "chroma")]
mod vector;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use agent_primitives::{Digest, LabelSet, Timestamp};
use bytes::Bytes;

use super::{RelPath, VfsError};

#[cfg(feature = "chroma")]
pub use chroma::{Chroma, MAX_CHROMA_FILE};
#[cfg(unix)]
pub use directory::{Directory, DirectoryError};
pub use episodic::{Episodic, EpisodicError, MAX_EPISODE_BYTES, MAX_EPISODES};
pub use memory::Memory;
#[cfg(feature = "postgres")]
pub use postgres::{MAX_POSTGRES_FILE, MAX_POSTGRES_SEARCHED, Postgres};
pub use projection::Projection;
pub use quota::{Quota, Usage};
#[cfg(feature = "redb")]
pub use redb::{Redb, RedbError};
#[cfg(feature = "redis")]
pub use redis::{MAX_REDIS_FILE, Redis};
#[cfg(any(feature = "redis", feature = "postgres", feature = "chroma"))]
pub use remote::{MAX_CONNECTIONS, MAX_STORE_NAME, StoreError};
pub use semantic::{MAX_DOCUMENT_BYTES, MAX_DOCUMENTS, Semantic, SemanticError};
#[cfg(feature = "chroma")]
pub use vector::Embedder;

/// What the methods of a [`MemoryBackend`] return. Nothing happens before it is polled.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, VfsError>> + Send + 'a>>;

/// A store of files, open to be implemented over any engine. One store may be mounted by many agents at once.
///
/// The root always exists and is a directory; any other directory exists while a file lies below it. Writing makes the
/// directories on the way, and removing the last file of one removes it.
///
/// A file carries labels, which are part of its state: they come with each write, are kept as long as the file is, and are
/// answered with its content. Nothing but a write that replaces the content takes one away. A directory carries the labels
/// of the write that made it, since that is where its name comes from. A store that cannot keep what a write carries
/// refuses the write.
///
/// A file may have an end, [`Write::expires`]. From that moment on, by the store's [`Clock`](agent_primitives::Clock), it does
/// not exist: for no operation, neither as a name nor in a search; its labels do not reach a file that is written in its
/// place; a directory that holds nothing else is gone; and it uses up no quota that another write needs. A store judges
/// this by the time at each operation and needs no task of its own to clear up.
///
/// Each write and removal is atomic: all of it happens or none, and a reader sees the file as it was before or as it is
/// after. Dropping an [`Answer`] calls the operation off; what had not taken effect by then must never do so. A store
/// over a network cannot take back what is on the wire: that happens whole or not at all, be it after the drop.
///
/// # Stores over an engine
/// Nothing asks for more than one file to change in one step, but for the quota: what a store counts towards it may lag
/// behind in its own favour (refuse what would just fit), never against it. An engine that cannot compare and set has to be
/// given the comparison by the store: it claims the data for one process and orders writes by a lock of its own, as
/// [`Directory`] does. Where it cannot even do that it answers `NotSupported` to [`WriteMode::CreateNew`],
/// [`WriteMode::Append`] and any write or removal with an expected version, and never writes as if the condition held. In
/// the same way it answers `NotSupported` to labels or an end that it cannot keep.
///
/// The laws above are cases of `testing::conformance` (feature `test-util`), to be run over any store.
pub trait MemoryBackend: fmt::Debug + Send + Sync {
    /// The bytes of a file from `offset`, at most `length`; fewer only where the file ends, none beyond its end.
    ///
    /// The version is not newer than the bytes, so writing with it as the expected one never undoes an unseen change. The
    /// labels are those of the bytes.
    ///
    /// # Errors
    /// `NotFound`; `IsDirectory` for a directory; `NotDirectory` when a file lies on the way; or a failure of the store.
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content>;

    /// Writes a file as `write` says. The store itself must hold [`Write::admit`], [`Quota::admit`], [`Write::labels_after`]
    /// and [`Write::expires_after`], in one step with the change.
    ///
    /// # Errors
    /// `IsDirectory` for a directory; `NotDirectory` when a file lies on the way; what the three answer;
    /// `NotSupported` when it cannot keep the labels, the end or the condition; `TooManyLabels`; or a failure of the store.
    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written>;

    /// Removes a file, provided it is in the version `expected`, if one is given.
    ///
    /// # Errors
    /// `NotFound`; `IsDirectory` for a directory; `NotDirectory` when a file lies on the way; `Conflict` when the file is
    /// in another version; or a failure of the store.
    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()>;

    /// One page of what lies directly in a directory, in ascending byte order of the names.
    ///
    /// # Errors
    /// `NotFound`; `NotDirectory` for a file or when one lies on the way; or a failure of the store.
    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing>;

    /// What is at `path`.
    ///
    /// # Errors
    /// `NotFound`; `NotDirectory` when a file lies on the way; or a failure of the store.
    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat>;

    /// The files below a directory that fit a query best, the best first. A store that cannot search leaves this out.
    ///
    /// # Errors
    /// `NotSupported` when the store cannot search; `NotFound`; `NotDirectory` for a file; or a failure of the store.
    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        let _ = (path, query);
        Box::pin(async { Err(VfsError::NotSupported) })
    }
}

/// Which state of a file this is. Two states of one file never share a version, a state that was removed and written
/// anew included. Opaque otherwise: versions have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u128);

impl Version {
    /// Wraps what the store tells states apart by: a counter, or a digest of it.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }

    /// The first half of `digest`.
    pub(crate) fn of_digest(digest: Digest) -> Self {
        let (half, _) = digest.as_bytes().split_at(16);
        Self(half.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
    }

    /// The wrapped value.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

/// How a write treats what is there. Exhaustive: a store must know what it does in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteMode {
    /// The file holds these bytes and no others afterwards; it is created when missing.
    Replace,
    /// These bytes follow those of the file; it is created when missing.
    Append,
    /// The file is created with these bytes; refused when it exists.
    CreateNew,
}

/// One write.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Write {
    /// How to treat what is there.
    pub mode: WriteMode,
    /// What to write. May be a part of a larger buffer, so a store that keeps it copies it.
    pub data: Bytes,
    /// What the data carries.
    pub labels: LabelSet,
    /// The version the file must be in, if that matters.
    pub expected: Option<Version>,
    /// When the file ceases to exist, by the store's clock. `None` means never, and for [`WriteMode::Append`] what it was
    /// before; see [`Write::expires_after`]. What lies in the past leaves no file.
    pub expires: Option<Timestamp>,
    /// How much the store may hold after the write, all files taken together.
    pub quota: Quota,
}

impl Write {
    /// A write of `data`, which carries `labels`, whatever version the file is in.
    #[must_use]
    pub const fn new(mode: WriteMode, data: Bytes, labels: LabelSet, quota: Quota) -> Self {
        Self { mode, data, labels, expected: None, expires: None, quota }
    }

    /// The same write on the condition that the file is in version `expected`, if one is given.
    #[must_use]
    pub const fn expecting(mut self, expected: Option<Version>) -> Self {
        self.expected = expected;
        self
    }

    /// The same write of a file that ceases to exist at `expires`, if that is given.
    #[must_use]
    pub const fn expiring(mut self, expires: Option<Timestamp>) -> Self {
        self.expires = expires;
        self
    }

    /// Whether the write may go ahead on a file in version `current`, or on none.
    ///
    /// # Errors
    /// `Exists` when the file must be new and is not; `Conflict` when it is in another version than expected, or gone.
    pub fn admit(&self, current: Option<Version>) -> Result<(), VfsError> {
        match (self.mode, current) {
            (WriteMode::CreateNew, Some(_)) => Err(VfsError::Exists),
            _ if self.expected.is_some() && self.expected != current => Err(VfsError::Conflict),
            _ => Ok(()),
        }
    }

    /// When the file will cease to exist, given when it would now; for a file that is not there that is never. A write that
    /// replaces the content sets its end anew; one that adds to it keeps it, unless it brings another.
    #[must_use]
    pub fn expires_after(&self, now: Option<Timestamp>) -> Option<Timestamp> {
        match self.mode {
            WriteMode::Append => self.expires.or(now),
            WriteMode::Replace | WriteMode::CreateNew => self.expires,
        }
    }

    /// How long the file will be, given how long it is now.
    ///
    /// # Errors
    /// `TooLarge` when that is no number of 64 bits.
    pub fn size_after(&self, now: u64) -> Result<u64, VfsError> {
        let kept = if self.mode == WriteMode::Append { now } else { 0 };
        kept.checked_add(self.data.len() as u64).ok_or(VfsError::TooLarge)
    }

    /// What the file will carry, given what it carries now: exactly what the data does, or that as well when the data
    /// follows what is there.
    ///
    /// # Errors
    /// `TooManyLabels` when that is more than a set may hold.
    pub fn labels_after(&self, now: &LabelSet) -> Result<LabelSet, VfsError> {
        match self.mode {
            WriteMode::Append => Ok(now.join(&self.labels)?),
            WriteMode::Replace | WriteMode::CreateNew => Ok(self.labels.clone()),
        }
    }
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Content {
    /// The bytes.
    pub bytes: Bytes,
    /// The version they are of.
    pub version: Version,
    /// What the file carries.
    pub labels: LabelSet,
}

impl Content {
    /// `bytes` of a file in `version`, which carries `labels`.
    #[must_use]
    pub const fn new(bytes: Bytes, version: Version, labels: LabelSet) -> Self {
        Self { bytes, version, labels }
    }
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// The version the write made.
    pub version: Version,
    /// The length of the whole file in bytes afterwards.
    pub size: u64,
    /// What the whole file carries afterwards, as the store keeps it.
    pub labels: LabelSet,
}

impl Written {
    /// A file of `size` bytes, now in `version`, which carries `labels`.
    #[must_use]
    pub const fn new(version: Version, size: u64, labels: LabelSet) -> Self {
        Self { version, size, labels }
    }
}

/// What a name stands for. Exhaustive: there are no links, devices or pipes in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Holds bytes.
    File,
    /// Holds names.
    Directory,
}

/// What is known of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes; zero for a directory.
    pub size: u64,
    /// The version of a file; a directory has none.
    pub version: Option<Version>,
    /// What it carries: its content and its name, in the case of a directory the name alone.
    pub labels: LabelSet,
    /// When it ceases to exist; `None` for never, and for a directory.
    pub expires: Option<Timestamp>,
}

impl Stat {
    /// A file.
    #[must_use]
    pub const fn file(size: u64, version: Version, labels: LabelSet) -> Self {
        Self { kind: Kind::File, size, version: Some(version), labels, expires: None }
    }

    /// The same file, which ceases to exist at `expires`, if that is given.
    #[must_use]
    pub const fn expiring(mut self, expires: Option<Timestamp>) -> Self {
        self.expires = expires;
        self
    }

    /// A directory.
    #[must_use]
    pub const fn directory(labels: LabelSet) -> Self {
        Self { kind: Kind::Directory, size: 0, version: None, labels, expires: None }
    }
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// One segment of a path.
    pub name: String,
    /// What it stands for.
    pub stat: Stat,
}

impl Entry {
    /// `name`, which stands for `stat`.
    #[must_use]
    pub const fn new(name: String, stat: Stat) -> Self {
        Self { name, stat }
    }
}

/// Which part of a directory to list.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Page<'a> {
    /// Only names greater than this one in byte order.
    pub after: Option<&'a str>,
    /// At most this many entries.
    pub limit: usize,
}

impl<'a> Page<'a> {
    /// At most `limit` entries, but no fewer than one, with names greater than `after`.
    #[must_use]
    pub const fn new(after: Option<&'a str>, limit: usize) -> Self {
        Self { after, limit: if limit == 0 { 1 } else { limit } }
    }
}

/// One page of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// The entries in ascending byte order of their names.
    pub entries: Vec<Entry>,
    /// What to list the next page after; `None` when there is no more. A page may be short, or empty, before the end.
    pub next: Option<String>,
}

impl Listing {
    /// A page, and where the next one begins.
    #[must_use]
    pub const fn new(entries: Vec<Entry>, next: Option<String>) -> Self {
        Self { entries, next }
    }
}

/// What to look for below a directory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Search<'a> {
    /// The query, in words.
    pub text: &'a str,
    /// At most this many hits.
    pub limit: usize,
}

impl<'a> Search<'a> {
    /// At most `limit` hits for `text`, but no fewer than one.
    #[must_use]
    pub const fn new(text: &'a str, limit: usize) -> Self {
        Self { text, limit: if limit == 0 { 1 } else { limit } }
    }
}

/// A file that fits a query.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// Where it is, below the directory that was searched.
    pub path: String,
    /// How well it fits; comparable among the hits of one search only.
    pub score: f64,
    /// The content, or the part of it that fits.
    pub text: String,
    /// What the file carries.
    pub labels: LabelSet,
}

impl Hit {
    /// The file at `path`, which fits by `score`: `text` of it, which carries `labels`.
    #[must_use]
    pub const fn new(path: String, score: f64, text: String, labels: LabelSet) -> Self {
        Self { path, score, text, labels }
    }
}
