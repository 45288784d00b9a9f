//! The virtual file system.
//!
//! An agent sees one tree, its [`Namespace`]: a table of mounts, each a [`MemoryBackend`] with an [`Access`], and a
//! table of open [`Descriptor`]s. Nothing here judges: the kernel calls in after policy has allowed the call, and what
//! a mount does not permit stays refused whatever policy said.
//!
//! Every file carries labels, which come with what is written and are answered with what is read; a mount may add some to
//! all that is read from it. What they mean for a call is the kernel's business.
//!
//! A directory exists while a file lies below it, or a mount does. It is neither made nor removed by itself, which
//! every engine behind a backend can keep, key-value stores included.

mod backend;
mod descriptor;
mod error;
mod listing;
mod mount;
pub(crate) mod namespace;
mod path;
mod query;
mod relative;

pub use backend::{
    Answer, Content, Entry, Episodic, EpisodicError, Hit, Kind, Listing, MAX_DOCUMENT_BYTES, MAX_DOCUMENTS,
    MAX_EPISODE_BYTES, MAX_EPISODES, Memory, MemoryBackend, Page, Projection, Quota, Search, Semantic,
    SemanticError, Stat, Usage, Version, Write, WriteMode, Written,
};
#[cfg(feature = "chroma")]
pub use backend::{Chroma, Embedder, MAX_CHROMA_FILE};
#[cfg(unix)]
pub use backend::{Directory, DirectoryError};
#[cfg(any(feature = "redis", feature = "postgres", feature = "chroma"))]
pub use backend::{MAX_CONNECTIONS, MAX_STORE_NAME, StoreError};
#[cfg(feature = "postgres")]
pub use backend::{MAX_POSTGRES_FILE, MAX_POSTGRES_SEARCHED, Postgres};
#[cfg(feature = "redis")]
pub use backend::{MAX_REDIS_FILE, Redis};
#[cfg(feature = "redb")]
pub use backend::{Redb, RedbError};
pub use descriptor::{Descriptor, MAX_OPEN, OpenFlags};
pub use error::{PathError, VfsError};
pub use mount::{Access, MAX_MOUNTS, Mount};
pub use namespace::{Found, MAX_HIT_TEXT, MAX_TRANSFER, Namespace, Read};
pub use path::{BadPath, MAX_PATH_BYTES, MAX_SEGMENT_BYTES, MAX_SEGMENTS, VfsPath};
pub use query::{DEFAULT_HITS, MAX_HITS, MAX_QUERY_BYTES};
pub(crate) use query::{Query, encode_query};
pub use relative::RelPath;
