//! What is put on record about calls, before anybody sees their results.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{AgentId, Digest, Resource, TicketId, Timestamp};
use serde::{Serialize, Serializer};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Stage;
use crate::executor::Pending;
use crate::executor::Usage;
use crate::isolation::{GuaranteeSet, Level};

/// Names a call: a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(super) Uuid);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One call, as it went. Arguments and result are there as digests only; no secret that the call was given is.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The call.
    pub call: CallId,
    /// The call within which a tool made this one.
    pub parent: Option<CallId>,
    /// On whose behalf, from the first principal to the one that called.
    pub chain: Vec<AgentId>,
    /// The name that was called, cut to 260 characters; whether there is such a tool or not.
    pub tool: String,
    /// The tool's version.
    pub version: Option<String>,
    /// The digest of its contract.
    pub digest: Option<Digest>,
    /// The digest of the arguments.
    pub arguments: Option<Digest>,
    /// What decided: `rules`, `permissive`, `none`, or what the host's own calls itself.
    pub authorizer: String,
    /// What it decided: `allow`, `ask`, `deny`; nothing if it was not asked.
    pub decision: Option<&'static str>,
    /// The consent that was used.
    pub ticket: Option<TicketId>,
    /// Where it was run; nothing for a function of the host, and for what was not run.
    pub level: Option<Level>,
    /// What was in force there.
    pub guarantees: Option<GuaranteeSet>,
    /// How often the tool was called.
    pub attempts: u32,
    /// When the call came in.
    pub started: Timestamp,
    /// When it was over.
    pub stopped: Timestamp,
    /// How long that took, on the monotonic clock, in whole microseconds.
    #[serde(rename = "took_us", serialize_with = "micros")]
    pub took: Duration,
    /// The exit code of a program that said with it that it failed.
    pub exit_code: Option<i32>,
    /// What the program used.
    pub usage: Option<Usage>,
    /// What the tool reported to have used.
    pub spent: BTreeMap<Resource, u64>,
    /// The digest of the result.
    pub result: Option<Digest>,
    /// The stage at which it ended without a result.
    pub failed_at: Option<Stage>,
    /// The code of the error.
    pub error: Option<&'static str>,
    /// What the host may know of the error, without secrets, cut to 1024 characters.
    pub detail: Option<String>,
}

fn micros<S: Serializer>(took: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

/// A record was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record was not kept: {reason}")]
pub struct NotKept {
    /// Why, for the host.
    pub reason: String,
}

impl NotKept {
    /// With a reason.
    #[must_use]
    pub fn new(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Keeps audit records.
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Takes a record at once, before this returns, without waiting; the future says whether it is kept. A call that
    /// nobody waits for any more drops the future, and its record has to be kept all the same.
    fn record(&self, record: AuditRecord) -> Pending<'static, Result<(), NotKept>>;
}

/// Keeps the last records in memory, and forgets them with the process. Clones share them.
#[derive(Clone, Debug)]
pub struct MemoryAudit(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    most: usize,
    records: VecDeque<AuditRecord>,
    forgotten: u64,
}

impl MemoryAudit {
    /// Keeps the last `most` records.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let kept = Kept { most: most.max(1), records: VecDeque::new(), forgotten: 0 };
        Self(Arc::new(Mutex::new(kept)))
    }

    /// The records, the oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<AuditRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// How many records had to make room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.lock().forgotten
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // INVARIANT: each change is one operation of the queue, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for MemoryAudit {
    fn record(&self, record: AuditRecord) -> Pending<'static, Result<(), NotKept>> {
        let mut kept = self.lock();
        if kept.most <= kept.records.len() {
            kept.records.pop_front();
            kept.forgotten += 1;
        }
        kept.records.push_back(record);
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Most records that wait to be written.
const MAX_QUEUED: usize = 1024;

/// Whether a record is kept once the operating system has it, or once the disk has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It outlives the process.
    Written,
    /// It outlives the machine's sudden end.
    Synced,
}

/// Appends records to a file, one JSON object a line, on a thread of its own. A record that comes while 1024 wait is not
/// kept. After a failed write nothing more is, since what the file ends with is not known.
#[derive(Debug)]
pub struct JsonlAudit {
    queue: SyncSender<Line>,
}

struct Line {
    text: Vec<u8>,
    kept: oneshot::Sender<Result<(), NotKept>>,
}

impl JsonlAudit {
    /// Opens a file to append to, and makes it if it is not there. The thread ends when this is dropped and what waits is
    /// written.
    ///
    /// # Errors
    /// The file cannot be opened or the thread not be started.
    pub fn open(path: &Path, durability: Durability) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let (queue, lines) = sync_channel(MAX_QUEUED);
        let writer = move || write_all(file, &lines, durability);
        std::thread::Builder::new().name("atr-audit".to_owned()).spawn(writer)?;
        Ok(Self { queue })
    }
}

impl AuditSink for JsonlAudit {
    fn record(&self, record: AuditRecord) -> Pending<'static, Result<(), NotKept>> {
        let (kept, told) = oneshot::channel();
        let queued = serde_json::to_vec(&record).map_err(NotKept::new).and_then(|mut text| {
            text.push(b'\n');
            self.queue.try_send(Line { text, kept }).map_err(|_| NotKept::new("too many records wait"))
        });
        Box::pin(async move {
            queued?;
            told.await.unwrap_or_else(|_| Err(NotKept::new("the writer has ended")))
        })
    }
}

/// Writes what comes, as many records at a time as wait, and then says so to each.
fn write_all(mut file: File, lines: &Receiver<Line>, durability: Durability) {
    let mut broken = None;
    while let Ok(first) = lines.recv() {
        let batch: Vec<Line> = [first].into_iter().chain(lines.try_iter().take(MAX_QUEUED)).collect();
        if broken.is_none() {
            let text: Vec<u8> = batch.iter().flat_map(|line| line.text.iter().copied()).collect();
            let written = file.write_all(&text).and_then(|()| match durability {
                Durability::Written => Ok(()),
                Durability::Synced => file.sync_data(),
            });
            broken = written.err().map(NotKept::new);
        }
        for line in batch {
            let _ = line.kept.send(broken.clone().map_or(Ok(()), Err));
        }
    }
}
