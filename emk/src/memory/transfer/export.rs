//! Writing a memory out.

use std::io::Write;

use agent_primitives::json::{self, Limits};
use serde_json::{Value, json};

use super::super::{EpisodicMemory, PROGRESS_EVERY};
use super::FORMAT;
use crate::{Entry, Head, LedgerError, hex};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// The head that they lead to.
    pub head: Head,
}

impl EpisodicMemory {
    /// Writes every record of the ledger to `out`, as lines of JSON: see [`super`]. Hidden episodes are written too: this is
    /// a copy, not a view. `progress` hears the number of records written. Blocks.
    ///
    /// # Errors
    /// `Dropped` if the store no longer has the first records; `Io`; whatever the ledger fails with.
    pub fn export(
        &self,
        mut out: impl Write,
        mut progress: impl FnMut(u64),
    ) -> Result<Exported, LedgerError> {
        let ledger = self.ledger();
        let base = ledger.base();
        if base.count != 0 {
            return Err(LedgerError::Dropped { seq: 0, first: base.count });
        }
        let mut write = |line: &str| {
            let failed = |error| LedgerError::io("write", "export".as_ref(), error);
            out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(failed)
        };
        write(&json!({"emk_export": FORMAT, "ledger": ledger.id().as_str()}).to_string())?;
        // The head is that of the records written, not of those that are appended meanwhile.
        let mut head = base;
        for entry in ledger.read(0) {
            let entry = entry?;
            write(&line(&entry))?;
            head = Head { count: entry.seq + 1, hash: entry.hash };
            if head.count.is_multiple_of(PROGRESS_EVERY) {
                progress(head.count);
            }
        }
        write(&json!({"head": head.to_string()}).to_string())?;
        out.flush().map_err(|error| LedgerError::io("write", "export".as_ref(), error))?;
        progress(head.count);
        Ok(Exported { records: head.count, head })
    }
}

fn line(entry: &Entry) -> String {
    let (kind, seq) = (entry.kind.as_str(), entry.seq);
    if entry.erased {
        return json!({"content_id": entry.content_id, "erased": true, "kind": kind, "seq": seq}).to_string();
    }
    match canonical(&entry.body) {
        Some(body) => json!({"body": body, "kind": kind, "seq": seq}).to_string(),
        None => json!({"body_hex": hex::encode(&entry.body), "kind": kind, "seq": seq}).to_string(),
    }
}

/// The value of a body that is canonical JSON, so that its bytes can be made from it again.
fn canonical(body: &[u8]) -> Option<Value> {
    let limits = Limits { bytes: body.len(), depth: 100, nodes: 1 << 20 };
    let value = json::parse(body, &limits).ok()?;
    (json::canonical(&value).ok()? == body).then_some(value)
}
