//! Files in a Redis server.

mod link;
mod script;

use std::fmt;
use std::sync::Arc;

use agent_primitives::{Clock, MAX_LABELS, Timestamp};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;

use super::remote::{
    Lease, MAX_PAGE, Pool, StoreError, damaged, labels_from_text, labels_to_text, store_name, version,
};
use super::{
    Answer, Content, Entry, Listing, MemoryBackend, Page, RelPath, Stat, Version, VfsError, Write, WriteMode,
    Written,
};
use link::Server;
use script::{Arg, Reply};

/// Longest file, in bytes: what Redis takes for one value.
pub const MAX_REDIS_FILE: u64 = 512 << 20;

/// Greatest number that a script can count with exactly.
const MAX_EXACT: u64 = 1 << 53;

/// A store in a Redis server, version 7 or later, shared by all who open it under one name.
///
/// Every operation is one Lua script, which Redis runs alone: what it asks and what it changes is one step, for every process
/// that uses the store. Compare-and-set holds among all of them. Listing costs what is listed; a read costs the part that is
/// read. A file expires by the clock given here, so processes that share a store should share the time. Versions hold the
/// server's time and a count that the server keeps, so they do not repeat even if it loses its last writes.
///
/// How durable a write is depends on how the server is set up (`appendfsync`). Its `maxmemory-policy` must be `noeviction`:
/// a file whose content it dropped answers `Backend`. A write beyond `maxmemory` answers `NoSpace`.
///
/// A store keeps at most [`MAX_CONNECTIONS`](super::MAX_CONNECTIONS) connections and no task; they move only while an
/// operation is polled. After the server went away the next operation answers `Backend` and the one after it connects anew.
/// Nothing is tried twice. An operation that is dropped, or loses its connection, while its script is on the way may have
/// taken effect. There is no time-out of its own: the deadline is the caller's. A redirection to another server of a cluster
/// is never followed and answers `Backend`.
pub struct Redis {
    server: Server,
    /// What the keys of the store begin with.
    prefix: String,
    clock: Arc<dyn Clock>,
    pool: Pool<MultiplexedConnection>,
}

impl Redis {
    /// The store `name` in the server at `address`, `redis://[user:password@]host[:port][/database]` or
    /// `redis+unix:///path`. Connects when it is first used. Its keys begin with `agent-os:{name}`.
    ///
    /// # Errors
    /// `Address` when the address is none, or asks for TLS; `Name` when `name` does not fit.
    pub fn new(address: &str, name: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let server = Server::parse(address)?;
        Ok(Self { server, prefix: format!("agent-os:{{{}}}", store_name(name)?), clock, pool: Pool::new() })
    }

    /// Runs `script` on `path`, again as long as it has files to remove whose time has come.
    async fn run(
        &self,
        script: &'static script::Source,
        path: RelPath<'_>,
        rest: &[Arg<'_>],
    ) -> Result<Reply, VfsError> {
        let mut lease = self.pool.lease(self.server.connect()).await?;
        loop {
            let now = self.clock.now().as_micros();
            let answer = script.run(&mut lease.link, &self.prefix, now, path.as_str(), rest).await;
            match answer {
                Ok(reply) if reply.says("Again") => {}
                other => return settle(lease, other),
            }
        }
    }
}

/// Keeps the connection if it is in order, and says what the answer means.
fn settle(
    lease: Lease<'_, MultiplexedConnection>,
    answer: Result<Reply, script::Failure>,
) -> Result<Reply, VfsError> {
    match answer {
        Ok(reply) => {
            lease.give_back();
            reply.ok()
        }
        Err(script::Failure::Refused(error)) => {
            lease.give_back();
            Err(error)
        }
        Err(script::Failure::Lost) => {
            lease.lost();
            Err(VfsError::Backend)
        }
    }
}

impl MemoryBackend for Redis {
    fn read<'a>(&'a self, path: RelPath<'a>, offset: u64, length: usize) -> Answer<'a, Content> {
        Box::pin(async move {
            let start = offset.min(MAX_REDIS_FILE);
            let end = start.saturating_add(length as u64).min(MAX_REDIS_FILE).checked_sub(1);
            let end = end.filter(|end| start <= *end);
            let range = [Arg::Number(start), end.map_or(Arg::Text(""), Arg::Number)];
            let mut reply = self.run(&script::READ, path, &range).await?;
            let (labels, version) = (labels_from_text(&reply.text()?)?, version_from(&reply.text()?)?);
            Ok(Content::new(Bytes::from(reply.bytes()?), version, labels))
        })
    }

    fn write<'a>(&'a self, path: RelPath<'a>, write: Write) -> Answer<'a, Written> {
        Box::pin(async move {
            let expected = write.expected.map(version_to_text).unwrap_or_default();
            let labels = labels_to_text(&write.labels);
            let expires = write.expires.map(|time| time.as_micros().to_string()).unwrap_or_default();
            let arguments = [
                Arg::Text(mode(write.mode)),
                Arg::Bytes(&write.data),
                Arg::Text(&expected),
                Arg::Text(&labels),
                Arg::Text(&expires),
                Arg::Number(write.quota.bytes.min(MAX_EXACT)),
                Arg::Number(write.quota.files.min(MAX_EXACT)),
                Arg::Number(MAX_REDIS_FILE),
                Arg::Number(MAX_LABELS as u64),
            ];
            let mut reply = self.run(&script::WRITE, path, &arguments).await?;
            let version = version_from(&reply.text()?)?;
            let size = reply.number()?;
            Ok(Written::new(version, size, labels_from_text(&reply.text()?)?))
        })
    }

    fn remove<'a>(&'a self, path: RelPath<'a>, expected: Option<Version>) -> Answer<'a, ()> {
        Box::pin(async move {
            let expected = expected.map(version_to_text).unwrap_or_default();
            self.run(&script::REMOVE, path, &[Arg::Text(&expected)]).await.map(drop)
        })
    }

    fn list<'a>(&'a self, path: RelPath<'a>, page: Page<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            let from = page.after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
            let limit = page.limit.min(MAX_PAGE) as u64;
            let mut reply = self.run(&script::LIST, path, &[Arg::Text(&from), Arg::Number(limit)]).await?;
            let more = reply.text()? == "more";
            let mut entries = Vec::new();
            while !reply.is_empty() {
                let name = reply.text()?;
                entries.push(Entry::new(name, stat(&mut reply)?));
            }
            let next = entries.last().filter(|_| more).map(|entry| entry.name.clone());
            Ok(Listing::new(entries, next))
        })
    }

    fn stat<'a>(&'a self, path: RelPath<'a>) -> Answer<'a, Stat> {
        Box::pin(async move { stat(&mut self.run(&script::STAT, path, &[]).await?) })
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

const fn mode(mode: WriteMode) -> &'static str {
    match mode {
        WriteMode::Replace => "Replace",
        WriteMode::Append => "Append",
        WriteMode::CreateNew => "CreateNew",
    }
}

fn stat(reply: &mut Reply) -> Result<Stat, VfsError> {
    let kind = reply.text()?;
    let labels = labels_from_text(&reply.text()?)?;
    let (size, version, expires) = (reply.number()?, reply.text()?, reply.text()?);
    if kind == "directory" {
        return Ok(Stat::directory(labels));
    }
    let expires = match expires.as_str() {
        "" => None,
        micros => Some(Timestamp::from_micros(micros.parse().map_err(|_| damaged("time"))?)),
    };
    Ok(Stat::file(size, version_from(&version)?, labels).expiring(expires))
}

/// `micros.number`: the text that the scripts make of a version.
fn version_to_text(version: Version) -> String {
    let value = version.as_u128();
    format!("{}.{}", value >> 64, value & u128::from(u64::MAX))
}

fn version_from(text: &str) -> Result<Version, VfsError> {
    let halves = text.split_once('.');
    let parsed = halves.and_then(|(micros, number)| Some((micros.parse().ok()?, number.parse().ok()?)));
    parsed.map(|(micros, number)| version(micros, number)).ok_or_else(|| damaged("version"))
}
