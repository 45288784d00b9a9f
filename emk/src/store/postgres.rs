//! Records as rows of a PostgreSQL table.
//!
//! ```text
//! emk_ledger   ledger text │ seq bigint │ kind smallint │ content_id bytea │ hash bytea │ body bytea
//!              primary key (ledger, seq); the form of the table is its comment
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use agent_primitives::Digest;
use bytes::Bytes;
use postgres::types::ToSql;
use postgres::{Client, Config, NoTls, Row};

use super::{Batch, EntryIter, LedgerReader, LedgerStore, frame};
use crate::{ChainVerifier, Entry, Head, LedgerError, LedgerId, Record, chain};

/// The form of the table that this version reads and writes.
const FORMAT: &str = "emk ledger 1";

/// What errors name in place of a file.
const TABLE: &str = "emk_ledger";

/// Most records, and about how many bytes, that one statement writes or one page reads. One record fits always.
const PAGE_RECORDS: i64 = 512;
const PAGE_BYTES: usize = 4 << 20;

/// How many records at the end are checked when a ledger is opened.
const CHECKED_TAIL: u64 = 1024;

const FOUND: &str =
    "SELECT obj_description(to_regclass('emk_ledger'), 'pg_class'), to_regclass('emk_ledger') IS NULL";

const CREATE: &str = r#"
CREATE TABLE emk_ledger (
    ledger     text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    kind       smallint NOT NULL,
    content_id bytea NOT NULL,
    hash       bytea NOT NULL,
    body       bytea NOT NULL,
    PRIMARY KEY (ledger, seq)
);
COMMENT ON TABLE emk_ledger IS 'emk ledger 1';
"#;

const INSERT: &str = "INSERT INTO emk_ledger (ledger, seq, kind, content_id, hash, body) \
     SELECT $1, * FROM unnest($2::bigint[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bytea[])";

const PAGE: &str = "SELECT seq, kind, content_id, hash, body FROM \
     (SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before FROM emk_ledger \
      WHERE ledger = $1 AND seq >= $2 ORDER BY seq LIMIT $3) AS page \
     WHERE before < $4 ORDER BY seq";

const KINDS: &str = "SELECT seq, kind FROM emk_ledger WHERE ledger = $1 AND seq = ANY($2) FOR UPDATE";

// 128 is the bit of an erased body, as in the frames of a file.
const ERASE: &str = "UPDATE emk_ledger SET body = '', kind = kind | 128::smallint \
     WHERE ledger = $1 AND seq = ANY($2) AND kind < 128";

/// Keeps records in a PostgreSQL server, version 13 or later. Many ledgers share a table, `emk_ledger`, in the first schema
/// of the connection's search path.
///
/// A batch is one transaction with `synchronous_commit` on, so what was appended is durable, whatever the ledger's
/// [`Durability`](crate::Durability), as far as the server has `fsync` on. A ledger has one writer: the session holds an
/// advisory lock, which the server gives up with the session, and what another session wrote meanwhile would collide with the
/// primary key. A pooler that hands a session on between transactions breaks the lock and must not be in between.
///
/// When the connection is lost the ledger refuses everything from then on, as after any failed write; opened again, it has
/// every record that was acknowledged. How long a silent network is waited for is said in the address (`tcp_user_timeout`).
/// TLS is not spoken.
pub struct PostgresStore {
    ledger: LedgerId,
    head: Head,
    session: Session,
    reader: Arc<Reader>,
}

impl PostgresStore {
    /// Opens the ledger `ledger` in the server at `address`, or begins it there. The address is a URL
    /// `postgresql://user@host/database`, or `host=… user=… dbname=…`, where a host that begins with `/` is the folder of a
    /// Unix socket. Blocks.
    ///
    /// The last 1024 records are checked against the chain.
    ///
    /// # Errors
    /// `Locked` while another writer is there, `UnsupportedFormat` when the table has another form, `Damaged` or `Missing`
    /// when the end of the ledger does not hold, `Io`.
    pub fn open(address: &str, ledger: LedgerId) -> Result<Self, LedgerError> {
        let config: Config = address.parse().map_err(|error| failed("read the address of", error))?;
        let mut session = Session::connect(&config)?;
        session.apart(|client| prepare(client, &ledger))?;
        let genesis = Head { count: 0, hash: chain::genesis(&ledger) };
        let reader = Arc::new(Reader { config, ledger, genesis, session: Mutex::new(None) });
        let head = reader.check_tail()?;
        Ok(Self { ledger: reader.ledger.clone(), head, session, reader })
    }
}

/// Takes the ledger for this session, and makes the table if there is none.
fn prepare(client: &mut Client, ledger: &LedgerId) -> Result<(), LedgerError> {
    let run = |error| failed("open", error);
    client.batch_execute("SET synchronous_commit = on").map_err(run)?;
    let mut transaction = client.transaction().map_err(run)?;
    // Two who create the same table at once would fail; this lock ends with the transaction.
    transaction.batch_execute("SELECT pg_advisory_xact_lock(hashtext('emk_ledger'))").map_err(run)?;
    let row = transaction.query_one(FOUND, &[]).map_err(run)?;
    let (found, is_missing): (Option<String>, bool) =
        (row.try_get(0).map_err(run)?, row.try_get(1).map_err(run)?);
    if is_missing {
        transaction.batch_execute(CREATE).map_err(run)?;
    } else if found.as_deref() != Some(FORMAT) {
        // The number at the end of the comment, or 0 for a table of another program.
        let version = found.and_then(|found| found.rsplit(' ').next()?.parse().ok()).unwrap_or(0);
        return Err(LedgerError::UnsupportedFormat { segment: TABLE.to_owned(), version });
    }
    let oid = "SELECT to_regclass('emk_ledger')::oid::bigint";
    let table: i64 = transaction.query_one(oid, &[]).and_then(|row| row.try_get(0)).map_err(run)?;
    transaction.commit().map_err(run)?;
    lock(client, ledger, table)
}

/// Makes this session the one writer of the ledger in that table. Two names that share a key would only keep each other out.
fn lock(client: &mut Client, ledger: &LedgerId, table: i64) -> Result<(), LedgerError> {
    let named = [table.to_le_bytes().as_slice(), ledger.as_str().as_bytes()].concat();
    let digest = Digest::of("agent-os emk postgres lock v1", &named);
    let key = digest.as_bytes().iter().take(8).fold(0_i64, |key, byte| key << 8 | i64::from(*byte));
    let held = client.query_one("SELECT pg_try_advisory_lock($1)", &[&key]).and_then(|row| row.try_get(0));
    match held.map_err(|error| failed("lock", error))? {
        true => Ok(()),
        false => Err(LedgerError::Locked { dir: format!("{TABLE}/{ledger}").into() }),
    }
}

impl LedgerStore for PostgresStore {
    fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    fn head(&self) -> Head {
        self.head
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        let ledger = &self.ledger;
        self.session
            .apart(|client| insert(client, ledger, batch).map_err(|error| failed("append to", error)))?;
        self.head = batch.head();
        Ok(())
    }

    /// What was appended is committed.
    fn sync(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// The rows are changed in one transaction; then the table is vacuumed, so that the server lets go of the old ones.
    /// What its write-ahead log, its backups and its replicas hold of them is for who runs the server to let go of.
    fn erase(&mut self, seqs: &[u64]) -> Result<(), LedgerError> {
        let ledger = &self.ledger;
        self.session.apart(|client| erase(client, ledger, seqs))
    }

    fn can_erase(&self) -> bool {
        true
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        Arc::new(SharedReader(Arc::clone(&self.reader)))
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("ledger", &self.ledger)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

/// Writes a batch in one transaction.
fn insert(client: &mut Client, ledger: &LedgerId, batch: &Batch<'_>) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    let mut page = Columns::default();
    for record in batch.records() {
        if page.is_full() {
            std::mem::take(&mut page).insert(&mut transaction, ledger)?;
        }
        page.push(&record);
    }
    page.insert(&mut transaction, ledger)?;
    transaction.commit()
}

/// Empties the bodies of rows, all of them or none.
fn erase(client: &mut Client, ledger: &LedgerId, seqs: &[u64]) -> Result<(), LedgerError> {
    let run = |error| failed("erase from", error);
    let wanted: Vec<i64> = seqs.iter().map(|seq| seq.cast_signed()).collect();
    let mut transaction = client.transaction().map_err(run)?;
    let given: [&(dyn ToSql + Sync); 2] = [&ledger.as_str(), &wanted];
    let rows = transaction.query(KINDS, &given).map_err(run)?;
    let mut found: BTreeMap<i64, i16> = BTreeMap::new();
    for row in &rows {
        found.insert(row.try_get(0).map_err(run)?, row.try_get(1).map_err(run)?);
    }
    for (&seq, key) in seqs.iter().zip(&wanted) {
        let kind = found.get(key).ok_or(LedgerError::Missing { seq })?;
        let kind = u8::try_from(*kind).ok().and_then(frame::kind_of);
        if !kind.is_some_and(|(kind, _)| kind.is_erasable()) {
            return Err(LedgerError::NotErasable { seq, reason: "records of its kind stay" });
        }
    }
    transaction.execute(ERASE, &given).map_err(run)?;
    transaction.commit().map_err(run)?;
    client.batch_execute("VACUUM emk_ledger").map_err(run)
}

/// Records by column.
#[derive(Default)]
struct Columns<'a> {
    seqs: Vec<i64>,
    kinds: Vec<i16>,
    content_ids: Vec<Vec<u8>>,
    hashes: Vec<Vec<u8>>,
    bodies: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Columns<'a> {
    fn is_full(&self) -> bool {
        PAGE_RECORDS <= self.seqs.len() as i64 || PAGE_BYTES <= self.bytes
    }

    fn push(&mut self, record: &Record<'a>) {
        self.seqs.push(record.seq.cast_signed());
        self.kinds.push(i16::from(frame::kind_byte(record.kind, record.erased)));
        self.content_ids.push(record.content_id.as_bytes().to_vec());
        self.hashes.push(record.hash.as_bytes().to_vec());
        self.bodies.push(record.body);
        self.bytes += record.body.len();
    }

    fn insert(
        self,
        transaction: &mut postgres::Transaction<'_>,
        ledger: &LedgerId,
    ) -> Result<(), postgres::Error> {
        let name = ledger.as_str();
        let given: [&(dyn ToSql + Sync); 6] =
            [&name, &self.seqs, &self.kinds, &self.content_ids, &self.hashes, &self.bodies];
        transaction.execute(INSERT, &given).map(drop)
    }
}

/// Reads one ledger over a connection of its own, which is made when it is needed.
struct Reader {
    config: Config,
    ledger: LedgerId,
    genesis: Head,
    session: Mutex<Option<Session>>,
}

impl Reader {
    /// Some of the records from position `from` on, at least one if there is one.
    fn page(&self, from: u64) -> Result<Vec<Entry>, LedgerError> {
        let rows = self.query(
            PAGE,
            &[&self.ledger.as_str(), &from.cast_signed(), &PAGE_RECORDS, &(PAGE_BYTES as i64)],
        )?;
        let mut entries = Vec::with_capacity(rows.len());
        for (seq, row) in (from..).zip(&rows) {
            let entry = entry(row, seq)?;
            if entry.seq != seq {
                return Err(LedgerError::Missing { seq });
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// The head, once the records before it hold.
    fn check_tail(&self) -> Result<Head, LedgerError> {
        let ends = "SELECT min(seq), max(seq) FROM emk_ledger WHERE ledger = $1";
        let rows = self.query(ends, &[&self.ledger.as_str()])?;
        let end = |column| rows.first().and_then(|row| row.try_get::<_, Option<i64>>(column).ok().flatten());
        let (Some(first), Some(last)) = (end(0), end(1)) else { return Ok(self.genesis) };
        if first != 0 {
            return Err(LedgerError::Missing { seq: 0 });
        }
        let count = last.cast_unsigned() + 1;
        let base = match count.checked_sub(CHECKED_TAIL).filter(|&before| before != 0) {
            None => self.genesis,
            Some(before) => {
                let entry = self.page(before - 1)?.into_iter().next();
                Head { count: before, hash: entry.ok_or(LedgerError::Missing { seq: before - 1 })?.hash }
            }
        };
        let mut verifier = ChainVerifier::new(base, None);
        while verifier.head().count < count {
            let seq = verifier.head().count;
            let page = self.page(seq)?;
            if page.is_empty() {
                return Err(LedgerError::Missing { seq });
            }
            for entry in page {
                verifier
                    .check(&entry.as_record())
                    .map_err(|error| damaged(error.seq, "it does not follow"))?;
            }
        }
        Ok(verifier.head())
    }

    /// Asks on the connection there is, or a new one. One that failed is not used again.
    fn query(&self, sql: &str, given: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, LedgerError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match session.take() {
            Some(open) => open,
            None => Session::connect(&self.config)?,
        };
        let rows = open.apart(|client| client.query(sql, given).map_err(|error| failed("read", error)))?;
        *session = Some(open);
        Ok(rows)
    }
}

/// The handle that is given out: its iterators hold the reader.
struct SharedReader(Arc<Reader>);

impl LedgerReader for SharedReader {
    fn base(&self) -> Head {
        self.0.genesis
    }

    fn entries(&self, from: u64) -> Result<EntryIter, LedgerError> {
        let reader = Arc::clone(&self.0);
        let first = reader.page(from)?;
        Ok(Box::new(Entries {
            reader,
            next: from + first.len() as u64,
            page: first.into_iter(),
            is_over: false,
        }))
    }
}

/// Entries in order, a page at a time.
struct Entries {
    reader: Arc<Reader>,
    page: std::vec::IntoIter<Entry>,
    /// Where the next page begins.
    next: u64,
    is_over: bool,
}

impl Iterator for Entries {
    type Item = Result<Entry, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.page.next() {
            return Some(Ok(entry));
        }
        if self.is_over {
            return None;
        }
        match self.reader.page(self.next) {
            Ok(page) => {
                self.is_over = page.is_empty();
                self.next += page.len() as u64;
                self.page = page.into_iter();
                self.page.next().map(Ok)
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(error))
            }
        }
    }
}

/// The entry in a row, which should be the one at `seq`.
fn entry(row: &Row, seq: u64) -> Result<Entry, LedgerError> {
    let read = |error| failed("read", error);
    let kind: i16 = row.try_get("kind").map_err(read)?;
    let kind = u8::try_from(kind).ok().and_then(frame::kind_of);
    let (kind, erased) = kind.ok_or_else(|| damaged(seq, "its kind is unknown"))?;
    let digest = |column| -> Result<Digest, LedgerError> {
        let bytes: &[u8] = row.try_get(column).map_err(read)?;
        bytes.try_into().map(Digest::from_bytes).map_err(|_| damaged(seq, "a digest has another length"))
    };
    let body: &[u8] = row.try_get("body").map_err(read)?;
    if erased && !body.is_empty() {
        return Err(damaged(seq, "it was erased and has a body"));
    }
    let found: i64 = row.try_get("seq").map_err(read)?;
    Ok(Entry {
        seq: found.cast_unsigned(),
        kind,
        content_id: digest("content_id")?,
        hash: digest("hash")?,
        body: Bytes::copy_from_slice(body),
        erased,
    })
}

fn damaged(seq: u64, reason: &'static str) -> LedgerError {
    LedgerError::Damaged { store: TABLE.to_owned(), seq, reason }
}

fn failed(operation: &'static str, error: postgres::Error) -> LedgerError {
    // The library's own text is only the class; what the server said is below it.
    let said = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
    LedgerError::io(operation, Path::new(TABLE), io::Error::other(said))
}

/// A connection that is used on threads of their own: its library runs a small runtime inside each call, which a thread that
/// serves another runtime must not do, and whoever opens or reads a ledger may be such a thread.
struct Session(Option<Client>);

impl Session {
    fn connect(config: &Config) -> Result<Self, LedgerError> {
        let client = apart(|| config.connect(NoTls).map_err(|error| failed("connect to", error)))?;
        Ok(Self(Some(client)))
    }

    fn apart<T: Send>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T, LedgerError> + Send,
    ) -> Result<T, LedgerError> {
        let client = self.0.as_mut().ok_or(LedgerError::Closed)?;
        apart(|| work(client))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let client = self.0.take();
        let closed = apart(move || {
            drop(client);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "a connection was not closed in order");
        }
    }
}

/// Does `work` on a thread of its own and waits for it.
fn apart<T: Send>(work: impl FnOnce() -> Result<T, LedgerError> + Send) -> Result<T, LedgerError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("emk-postgres".to_owned()).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| LedgerError::io("start", Path::new("emk-postgres"), error))?;
        thread.join().map_err(|_| LedgerError::Stopped)?
    })
}
