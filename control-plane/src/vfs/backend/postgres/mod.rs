//! Files in a PostgreSQL server.

mod session;
mod table;
mod tree;

use std::fmt;
use std::sync::Arc;

use agent_primitives::Clock;
use tokio_postgres::{Client, Config};

use super::remote::{MAX_PAGE, Pool, StoreError, at, drive, store_name};
use super::{
    Answer, Content, Hit, Kind, Listing, MemoryBackend, Page, RelPath, Search, Stat, Version, VfsError,
    Write, Written,
};
use session::{Failure, connect, transaction};
use tree::Tree;

/// Longest file, in bytes: half of what PostgreSQL takes for one value.
pub const MAX_POSTGRES_FILE: u64 = 512 << 20;

/// How much of a file is searched, in bytes from its beginning.
pub const MAX_POSTGRES_SEARCHED: usize = 256 << 10;

/// How often an operation that the server gave up for the sake of another one is begun again.
const MAX_ATTEMPTS: usize = 3;

/// The name of the engine in errors.
const ENGINE: &str = "PostgreSQL";

/// A store in a PostgreSQL server, version 13 or later, shared by all who open it under one name.
///
/// All stores of a database live in one table, `agent_os_files`, which [`Postgres::open`] creates in the first schema of the
/// connection's search path. A write is one transaction, which holds the store's row from before it looks until it is
/// committed: compare-and-set, the quota and labels hold among all processes that use the store. Listing costs what is
/// listed. A file expires by the clock given here, so processes that share a store should share the time. A write is as
/// durable as the server's `synchronous_commit` says.
///
/// A search finds files that hold one of the words of the query, by their English stems, in the first
/// [`MAX_POSTGRES_SEARCHED`] bytes of what is UTF-8 throughout that part; those that hold more of them come first.
///
/// A store keeps at most [`MAX_CONNECTIONS`](super::MAX_CONNECTIONS) connections and no task; they move only while an
/// operation is polled. After the server went away the next operation answers `Backend` and the one after it connects anew.
/// An operation that is dropped, or loses its connection, is rolled back, unless its commit was on the way. There is no
/// time-out of its own: the deadline is the caller's. TLS is not spoken.
pub struct Postgres {
    config: Config,
    name: String,
    clock: Arc<dyn Clock>,
    pool: Pool<Arc<Client>>,
}

impl Postgres {
    /// The store `name` in the server at `address`: a URL `postgresql://user@host/database`, or
    /// `host=… user=… dbname=…`, where a host that begins with `/` is the folder of a Unix socket.
    ///
    /// # Errors
    /// `Address`, `Name`; `Server` when it cannot be reached or does not let the table be made; `Format` when the table is
    /// there in another form.
    pub async fn open(address: &str, name: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let config: Config = address
            .parse()
            .map_err(|_| StoreError::Address { engine: ENGINE, reason: "it cannot be read".to_owned() })?;
        let store = Self { config, name: store_name(name)?, clock, pool: Pool::new() };
        let mut link = connect(&store.config).await.map_err(server)?;
        let opened = drive(&mut link.driver, table::open(&link.client, &store.name)).await;
        opened.map_err(|_| server("the connection ended"))??;
        Ok(store)
    }

    /// Does `work` on a connection, again if the server gave it up for the sake of another one.
    async fn on<T, F>(&self, work: impl Fn(Arc<Client>) -> F) -> Result<T, VfsError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let connect = async {
            connect(&self.config).await.map_err(|error| {
                tracing::warn!(%error, "cannot connect to a PostgreSQL server");
                VfsError::Backend
            })
        };
        let mut lease = self.pool.lease(connect).await?;
        for _ in 0..MAX_ATTEMPTS {
            let client = Arc::clone(&lease.link.client);
            match drive(&mut lease.link.driver, work(client)).await {
                Ok(Ok(done)) => {
                    lease.give_back();
                    return Ok(done);
                }
                Ok(Err(Failure::Refused(error))) => {
                    lease.give_back();
                    return Err(error);
                }
                Ok(Err(Failure::GivenUp)) => {}
                Ok(Err(Failure::Lost)) | Err(_) => {
                    lease.lost();
                    return Err(VfsError::Backend);
                }
            }
        }
        lease.give_back();
        Err(VfsError::Backend)
    }

    fn tree(&self, client: Arc<Client>) -> Tree<'_> {
        Tree { client, store: &self.name, now: self.clock.now().as_micros() }
    }

    /// What is found on the way to `path`, and the part of the file that is asked for, once nothing has ended there.
    async fn look(&self, path: RelPath<'_>, part: (u64, usize)) -> Result<tree::Found, VfsError> {
        self.on(async |client| {
            let tree = self.tree(client);
            let found = tree.look(path, part).await?;
            if !found.has_ended {
                return Ok(found);
            }
            transaction(&tree.client, tree.clear()).await?;
            tree.look(path, part).await
        })
        .await
    }
}

fn server(error: impl fmt::Display) -> StoreError {
    StoreError::Server { engine: ENGINE, reason: error.to_string() }
}

impl MemoryBackend for Postgres {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let found = self.look(path, (offset, length)).await?;
            let stat = at(&found.way)?;
            let (Kind::File, Some(version)) = (stat.kind, stat.version) else {
                return Err(VfsError::IsDirectory);
            };
            Ok(Content::new(found.part.into(), version, stat.labels))
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move {
            let (path, write) = (&path, &write);
            self.on(async |client| {
                let tree = self.tree(client);
                transaction(&tree.client, tree.write(*path, write)).await
            })
            .await
        })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move {
            self.on(async |client| {
                let tree = self.tree(client);
                transaction(&tree.client, tree.remove(path, expected)).await
            })
            .await
        })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            if at(&self.look(path, (0, 0)).await?.way)?.kind == Kind::File {
                return Err(VfsError::NotDirectory);
            }
            let limit = page.limit.min(MAX_PAGE);
            self.on(async |client| self.tree(client).list(path, page.after, limit).await).await
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move { at(&self.look(path, (0, 0)).await?.way) })
    }

    fn search<'a>(&'a self, path: RelPath<'a>, query: Search<'a>) -> Answer<'a, Vec<Hit>> {
        Box::pin(async move {
            if at(&self.look(path, (0, 0)).await?.way)?.kind == Kind::File {
                return Err(VfsError::NotDirectory);
            }
            let limit = query.limit.min(MAX_PAGE);
            self.on(async |client| self.tree(client).search(path, query.text, limit).await).await
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("name", &self.name).field("pool", &self.pool).finish_non_exhaustive()
    }
}
