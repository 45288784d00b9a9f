//! The files of one store, as rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_primitives::{LabelSet, Timestamp};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::table::dir;
use super::{
    Failure, Hit, Kind, Listing, MAX_POSTGRES_FILE, MAX_POSTGRES_SEARCHED, RelPath, Stat, Version, VfsError,
    Write, Written, at,
};
use crate::vfs::backend::remote::{Change, damaged, labels_from_text, labels_to_text, plan, version};
use crate::vfs::backend::{Entry, Usage, WriteMode};

/// A parameter and its type, so that a statement takes one journey.
type Given<'a> = (&'a (dyn ToSql + Sync), Type);

const LOOK: &str = "SELECT f.is_file, f.labels, f.version, f.size, f.expires, \
     EXISTS (SELECT 1 FROM agent_os_files WHERE store = $1 AND expires <= $4) AS has_ended, \
     CASE WHEN w.place = cardinality($3) THEN substring(f.content FROM $5 FOR $6) END AS part \
     FROM unnest($2, $3) WITH ORDINALITY AS w (dir, name, place) \
     LEFT JOIN agent_os_files f ON f.store = $1 AND f.dir = w.dir AND f.name = w.name ORDER BY w.place";

const HOLD: &str = "SELECT size, files, last, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
     FROM agent_os_files WHERE store = $1 AND dir = $2 AND name = '' FOR UPDATE";

const BOOK: &str =
    "UPDATE agent_os_files SET size = $3, files = $4, last = $5 WHERE store = $1 AND dir = $2 AND name = ''";

const MAKE: &str = "INSERT INTO agent_os_files (store, dir, name, path, is_file, labels, size) \
     SELECT $1, dir, name, path, false, $5, 0 FROM unnest($2, $3, $4) AS made (dir, name, path)";

const CREATE: &str = "INSERT INTO agent_os_files \
     (store, dir, name, path, is_file, labels, version, size, expires, content, searched, words) \
     VALUES ($1, $2, $3, $4, true, $5, $6, $7, $8, $9, octet_length($10), to_tsvector('english', $10))";

const REPLACE: &str = "UPDATE agent_os_files SET labels = $5, version = $6, size = $7, expires = $8, content = $9, \
     searched = octet_length($10), words = to_tsvector('english', $10) \
     WHERE store = $1 AND dir = $2 AND name = $3 AND path = $4";

const APPEND: &str = "UPDATE agent_os_files SET labels = $5, version = $6, size = $7, expires = $8, \
     content = content || $9, searched = octet_length($10), words = to_tsvector('english', $10) \
     WHERE store = $1 AND dir = $2 AND name = $3 AND path = $4";

const REMOVE: &str = "DELETE FROM agent_os_files WHERE store = $1 AND dir = $2 AND name = $3 AND is_file";

const PRUNE: &str = "DELETE FROM agent_os_files WHERE store = $1 AND dir = $2 AND name = $3 AND NOT is_file \
     AND NOT EXISTS (SELECT 1 FROM agent_os_files WHERE store = $1 AND dir = $4)";

const ENDED: &str = "DELETE FROM agent_os_files WHERE store = $1 AND expires <= $2 RETURNING path, size";

const LIST: &str = "SELECT name, is_file, labels, version, size, expires FROM agent_os_files \
     WHERE store = $1 AND dir = $2 AND name > $3 AND (expires IS NULL OR expires > $4) ORDER BY name LIMIT $5";

/// What `plainto_tsquery` makes of a text is joined by `&`; here one word is enough.
const SEARCH: &str = "SELECT path, ts_rank(words, query)::float8, labels, \
     ts_headline('english', convert_from(substring(content FROM 1 FOR searched), 'UTF8'), query, \
     'StartSel=\"\", StopSel=\"\", MaxWords=100, MinWords=50') \
     FROM agent_os_files, CAST(replace(plainto_tsquery('english', $2)::text, ' & ', ' | ') AS tsquery) AS query \
     WHERE store = $1 AND words @@ query AND starts_with(path, $3) AND (expires IS NULL OR expires > $4) \
     ORDER BY 2 DESC, path LIMIT $5";

/// The files of `store` at the time `now`, in microseconds.
pub(super) struct Tree<'a> {
    pub(super) client: Arc<Client>,
    pub(super) store: &'a str,
    pub(super) now: i64,
}

/// What lies on the way to a path.
pub(super) struct Found {
    /// What is at each segment.
    pub(super) way: Vec<Option<Stat>>,
    /// The part of the file that was asked for.
    pub(super) part: Vec<u8>,
    /// Whether something in the store has reached its end and is still there.
    pub(super) has_ended: bool,
}

/// What the root's row says.
struct Root {
    usage: Usage,
    last: u64,
    /// The server's time in microseconds.
    micros: i64,
}

impl Tree<'_> {
    /// What is on the way to `path`, all of one moment.
    pub(super) async fn look(
        &self,
        path: RelPath<'_>,
        (offset, length): (u64, usize),
    ) -> Result<Found, Failure> {
        let places: Vec<RelPath<'_>> = way_to(path);
        let mut dirs = vec![dir("")];
        let mut names = vec![""];
        for (parent, name) in places.iter().filter_map(|place| place.split_name()) {
            dirs.push(dir(parent.as_str()));
            names.push(name);
        }
        let start = i32::try_from(offset).unwrap_or(i32::MAX - 1).saturating_add(1);
        let length = i32::try_from(length).unwrap_or(i32::MAX).min(i32::MAX - start);
        let given: [Given<'_>; 6] = [
            (&self.store, Type::TEXT),
            (&dirs, Type::BYTEA_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&self.now, Type::INT8),
            (&start, Type::INT4),
            (&length, Type::INT4),
        ];
        let rows = self.client.query_typed(LOOK, &given).await?;
        let (root, below) = rows.split_first().ok_or_else(|| damaged("rows"))?;
        let part: Option<Vec<u8>> = rows.last().map(|row| row.try_get("part")).transpose()?.flatten();
        Ok(Found {
            way: below.iter().map(stat).collect::<Result<_, _>>()?,
            part: part.unwrap_or_default(),
            has_ended: root.try_get("has_ended")?,
        })
    }

    pub(super) async fn write(&self, path: RelPath<'_>, write: &Write) -> Result<Written, Failure> {
        let root = self.hold().await?;
        let usage = self.end(root.usage).await?;
        let searched = if write.mode == WriteMode::Append { MAX_POSTGRES_SEARCHED } else { 0 };
        let found = self.look(path, (0, searched)).await?;
        let number = root.last + 1;
        let version = version(root.micros, number);
        let change = plan(write, &found.way, usage, version, MAX_POSTGRES_FILE)?;
        self.make(path, &change).await?;
        self.put(path, write, &change, found.part).await?;
        self.book(change.usage, number).await?;
        Ok(change.written)
    }

    pub(super) async fn remove(&self, path: RelPath<'_>, expected: Option<Version>) -> Result<(), Failure> {
        let root = self.hold().await?;
        let usage = self.end(root.usage).await?;
        let stat = at(&self.look(path, (0, 0)).await?.way)?;
        if stat.kind == Kind::Directory {
            return Err(VfsError::IsDirectory.into());
        }
        if expected.is_some() && expected != stat.version {
            return Err(VfsError::Conflict.into());
        }
        let Some((parent, name)) = path.split_name() else { return Err(VfsError::IsDirectory.into()) };
        let key = dir(parent.as_str());
        self.client
            .execute_typed(REMOVE, &[(&self.store, Type::TEXT), (&key, Type::BYTEA), (&name, Type::TEXT)])
            .await?;
        self.prune(BTreeSet::from([parent.as_str().to_owned()])).await?;
        self.book(usage.without(stat.size), root.last).await
    }

    /// Removes what has reached its end.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        let root = self.hold().await?;
        let usage = self.end(root.usage).await?;
        self.book(usage, root.last).await
    }

    pub(super) async fn list(
        &self,
        path: RelPath<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, Failure> {
        let (key, after, most) = (dir(path.as_str()), after.unwrap_or_default(), limit as i64 + 1);
        let given: [Given<'_>; 5] = [
            (&self.store, Type::TEXT),
            (&key, Type::BYTEA),
            (&after, Type::TEXT),
            (&self.now, Type::INT8),
            (&most, Type::INT8),
        ];
        let rows = self.client.query_typed(LIST, &given).await?;
        // A directory is never empty: its last file went after it was found.
        if rows.is_empty() && after.is_empty() && !path.is_root() {
            return Err(VfsError::NotFound.into());
        }
        let mut entries = Vec::with_capacity(rows.len().min(limit));
        for row in rows.iter().take(limit) {
            let stat = stat(row)?.ok_or_else(|| damaged("row"))?;
            entries.push(Entry::new(row.try_get("name")?, stat));
        }
        let next = entries.last().filter(|_| limit < rows.len()).map(|entry| entry.name.clone());
        Ok(Listing::new(entries, next))
    }

    pub(super) async fn search(
        &self,
        path: RelPath<'_>,
        text: &str,
        limit: usize,
    ) -> Result<Vec<Hit>, Failure> {
        let prefix = if path.is_root() { String::new() } else { format!("{path}/") };
        let (text, most) = (text.replace('\0', " "), limit as i64);
        let given: [Given<'_>; 5] = [
            (&self.store, Type::TEXT),
            (&text, Type::TEXT),
            (&prefix, Type::TEXT),
            (&self.now, Type::INT8),
            (&most, Type::INT8),
        ];
        let rows = self.client.query_typed(SEARCH, &given).await?;
        let mut hits = Vec::with_capacity(rows.len());
        for row in rows {
            let whole: &str = row.try_get(0)?;
            let below = whole.strip_prefix(&prefix).unwrap_or(whole).to_owned();
            hits.push(Hit::new(below, row.try_get(1)?, row.try_get(3)?, labels_from_text(row.try_get(2)?)?));
        }
        Ok(hits)
    }

    /// Locks the store for the transaction: whoever else writes to it waits.
    async fn hold(&self) -> Result<Root, Failure> {
        let root = dir("");
        let row =
            self.client.query_typed_opt(HOLD, &[(&self.store, Type::TEXT), (&root, Type::BYTEA)]).await?;
        let row = row.ok_or_else(|| damaged("root"))?;
        let usage = Usage { bytes: count(&row, 0)?, files: count(&row, 1)? };
        Ok(Root { usage, last: count(&row, 2)?, micros: row.try_get(3)? })
    }

    async fn book(&self, usage: Usage, last: u64) -> Result<(), Failure> {
        let root = dir("");
        let (bytes, files, last) = (signed(usage.bytes)?, signed(usage.files)?, signed(last)?);
        let given: [Given<'_>; 5] = [
            (&self.store, Type::TEXT),
            (&root, Type::BYTEA),
            (&bytes, Type::INT8),
            (&files, Type::INT8),
            (&last, Type::INT8),
        ];
        self.client.execute_typed(BOOK, &given).await?;
        Ok(())
    }

    /// Removes what has reached its end, and the directories that are empty without it; what is left of `usage`.
    async fn end(&self, usage: Usage) -> Result<Usage, Failure> {
        let rows =
            self.client.query_typed(ENDED, &[(&self.store, Type::TEXT), (&self.now, Type::INT8)]).await?;
        let (mut usage, mut parents) = (usage, BTreeSet::new());
        for row in rows {
            let path: &str = row.try_get(0)?;
            parents.insert(path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned());
            usage = usage.without(count(&row, 1)?);
        }
        self.prune(parents).await?;
        Ok(usage)
    }

    /// Removes those of `directories`, and of the ones above them, in which nothing is left.
    async fn prune(&self, mut directories: BTreeSet<String>) -> Result<(), Failure> {
        // What lies below sorts after, so the last one is never above another one.
        while let Some(path) = directories.pop_last() {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
            if name.is_empty() {
                continue;
            }
            let (key, own) = (dir(parent), dir(&path));
            let given: [Given<'_>; 4] =
                [(&self.store, Type::TEXT), (&key, Type::BYTEA), (&name, Type::TEXT), (&own, Type::BYTEA)];
            if self.client.execute_typed(PRUNE, &given).await? != 0 {
                directories.insert(parent.to_owned());
            }
        }
        Ok(())
    }

    /// Makes the directories that the file at `path` needs.
    async fn make(&self, path: RelPath<'_>, change: &Change) -> Result<(), Failure> {
        if change.made == 0 {
            return Ok(());
        }
        let places = way_to(path);
        let missing = places.iter().rev().skip(1).take(change.made);
        let (mut dirs, mut names, mut paths) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (parent, name)) in missing.filter_map(|place| Some((place, place.split_name()?))) {
            dirs.push(dir(parent.as_str()));
            names.push(name);
            paths.push(place.as_str());
        }
        let labels = labels_to_text(&change.written.labels);
        let given: [Given<'_>; 5] = [
            (&self.store, Type::TEXT),
            (&dirs, Type::BYTEA_ARRAY),
            (&names, Type::TEXT_ARRAY),
            (&paths, Type::TEXT_ARRAY),
            (&labels, Type::TEXT),
        ];
        self.client.execute_typed(MAKE, &given).await?;
        Ok(())
    }

    /// Writes the file itself. `before` is the beginning of what is there, if the write adds to it.
    async fn put(
        &self,
        path: RelPath<'_>,
        write: &Write,
        change: &Change,
        before: Vec<u8>,
    ) -> Result<(), Failure> {
        let Some((parent, name)) = path.split_name() else { return Err(VfsError::IsDirectory.into()) };
        let (key, whole) = (dir(parent.as_str()), path.as_str());
        let labels = labels_to_text(&change.written.labels);
        let version = change.written.version.as_u128().to_be_bytes().to_vec();
        let size = signed(change.written.size)?;
        let expires = change.expires.map(Timestamp::as_micros);
        let data: &[u8] = &write.data;
        let text = searched(before, data);
        let given: [Given<'_>; 10] = [
            (&self.store, Type::TEXT),
            (&key, Type::BYTEA),
            (&name, Type::TEXT),
            (&whole, Type::TEXT),
            (&labels, Type::TEXT),
            (&version, Type::BYTEA),
            (&size, Type::INT8),
            (&expires, Type::INT8),
            (&data, Type::BYTEA),
            (&text, Type::TEXT),
        ];
        let statement = match write.mode {
            _ if change.is_new => CREATE,
            WriteMode::Append => APPEND,
            WriteMode::Replace | WriteMode::CreateNew => REPLACE,
        };
        if self.client.execute_typed(statement, &given).await? == 1 {
            Ok(())
        } else {
            Err(damaged("row").into())
        }
    }
}

/// `path` and every directory above it but the root, from the top down.
fn way_to(path: RelPath<'_>) -> Vec<RelPath<'_>> {
    let above = std::iter::successors(Some(path), |path| path.split_name().map(|(parent, _)| parent));
    let mut places: Vec<_> = above.take_while(|path| !path.is_root()).collect();
    places.reverse();
    places
}

/// What of a file is searched: its beginning, if that is text; nothing of any other file. PostgreSQL's text holds no NUL.
fn searched(mut before: Vec<u8>, data: &[u8]) -> String {
    let room = MAX_POSTGRES_SEARCHED.saturating_sub(before.len());
    let is_cut = room < data.len();
    before.extend(data.iter().take(room));
    let text = match String::from_utf8(before) {
        Ok(text) => text,
        // Only a character that the cut went through may be incomplete.
        Err(error) if error.utf8_error().error_len().is_none() && is_cut => {
            let valid = error.utf8_error().valid_up_to();
            let bytes = error.into_bytes().into_iter().take(valid).collect();
            String::from_utf8(bytes).unwrap_or_default()
        }
        Err(_) => String::new(),
    };
    if text.contains('\0') { String::new() } else { text }
}

/// What a row says is there; `None` for a place without one.
fn stat(row: &Row) -> Result<Option<Stat>, Failure> {
    let is_file: Option<bool> = row.try_get("is_file")?;
    let Some(is_file) = is_file else { return Ok(None) };
    let labels: LabelSet = labels_from_text(row.try_get("labels")?)?;
    if !is_file {
        return Ok(Some(Stat::directory(labels)));
    }
    let version: Option<&[u8]> = row.try_get("version")?;
    let version = version.and_then(|bytes| bytes.try_into().ok()).map(u128::from_be_bytes);
    let version = version.map(Version::from_u128).ok_or_else(|| damaged("version"))?;
    let size: i64 = row.try_get("size")?;
    let expires: Option<i64> = row.try_get("expires")?;
    let size = u64::try_from(size).map_err(|_| damaged("size"))?;
    Ok(Some(Stat::file(size, version, labels).expiring(expires.map(Timestamp::from_micros))))
}

fn count(row: &Row, column: usize) -> Result<u64, Failure> {
    let value: i64 = row.try_get(column)?;
    Ok(u64::try_from(value).map_err(|_| damaged("count"))?)
}

fn signed(value: u64) -> Result<i64, Failure> {
    Ok(i64::try_from(value).map_err(|_| VfsError::TooLarge)?)
}
