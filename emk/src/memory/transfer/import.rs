//! Writing a ledger from an export.

use std::io::BufRead;

use agent_primitives::Digest;
use agent_primitives::json::{self, Limits};
use serde_json::{Map, Value};

use super::super::mark::Mark;
use super::super::{PROGRESS_EVERY, Rule};
use super::{FORMAT, ImportError, LineError, Lines, MAX_LINE_BYTES};
use crate::episode::Episode;
use crate::{EntryKind, Head, Ledger, LedgerError, chain, hex};

/// What was imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Records.
    pub records: u64,
    /// Of these, records whose body was erased before the export.
    pub erased: u64,
    /// The head, which is that of the export.
    pub head: Head,
}

/// Writes the records of an export to `ledger`, which has to be empty, of the same name, and not sealing itself. Every body
/// is read as what its kind says, and in the end the head has to be that of the export. `progress` hears the number of
/// records. Blocks until all is durable.
///
/// # Errors
/// The first line that cannot be used, with its number. Records before it stay: throw the ledger away.
pub fn import_ledger(
    ledger: &Ledger,
    input: impl BufRead,
    mut progress: impl FnMut(u64),
) -> Result<Imported, ImportError> {
    let mut lines = Lines::new(input);
    let mut import = Import { ledger, records: 0, erased: 0 };
    let done = loop {
        let number = lines.number + 1;
        let step = lines.next().and_then(|line| import.line(number, line.ok_or(LineError::EndsEarly)?));
        match step {
            Ok(None) if import.records.is_multiple_of(PROGRESS_EVERY) => progress(import.records),
            Ok(None) => {}
            Ok(Some(head)) => break Ok((number, head)),
            Err(cause) => break Err((number, cause)),
        }
    };
    let done = done.and_then(|(number, head)| match lines.next() {
        Ok(None) => Ok((number, head)),
        Ok(Some(_)) => Err((number + 1, LineError::invalid("head", "more lines follow it"))),
        Err(cause) => Err((number + 1, cause)),
    });
    let done = done.and_then(|(number, head)| match ledger.flush() {
        Ok(()) => Ok(head),
        Err(error) => Err((number, error.into())),
    });
    progress(import.records);
    let Import { records, erased, .. } = import;
    done.map(|head| Imported { records, erased, head }).map_err(|(line, cause)| ImportError {
        line,
        imported: records,
        cause,
    })
}

struct Import<'a> {
    ledger: &'a Ledger,
    records: u64,
    erased: u64,
}

impl Import<'_> {
    /// Takes one line; the head if it was the last.
    fn line(&mut self, number: u64, line: &[u8]) -> Result<Option<Head>, LineError> {
        let object = object(line)?;
        if number == 1 {
            return self.first(&object).map(|()| None);
        }
        if object.contains_key("head") {
            return self.last(&object).map(Some);
        }
        self.record(&object).map(|()| None)
    }

    fn first(&self, object: &Map<String, Value>) -> Result<(), LineError> {
        only(object, &["emk_export", "ledger"])?;
        let format = object.get("emk_export").ok_or_else(|| LineError::missing("emk_export"))?;
        if format.as_u64() != Some(FORMAT) {
            return Err(LineError::invalid("emk_export", "this version reads 1"));
        }
        let name = text(object, "ledger")?;
        if name != self.ledger.id().as_str() {
            let reason = format!("this ledger is `{}`, and a name is part of every hash", self.ledger.id());
            return Err(LineError::invalid("ledger", reason));
        }
        if self.ledger.head().count != 0 {
            return Err(LineError::invalid("ledger", "this ledger is not empty"));
        }
        if self.ledger.seals().is_some() {
            return Err(LineError::invalid("ledger", "this ledger would seal itself in between"));
        }
        Ok(())
    }

    fn record(&mut self, object: &Map<String, Value>) -> Result<(), LineError> {
        only(object, &["body", "body_hex", "content_id", "erased", "kind", "seq"])?;
        let seq = object.get("seq").ok_or_else(|| LineError::missing("seq"))?;
        if seq.as_u64() != Some(self.records) {
            return Err(LineError::invalid("seq", format!("the next record is {}", self.records)));
        }
        let kind = text(object, "kind")?;
        let known = EntryKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let kind = known.ok_or_else(|| LineError::invalid("kind", "it is not known"))?;
        match object.get("erased") {
            Some(Value::Bool(true)) => self.take_erased(kind, object)?,
            Some(_) => return Err(LineError::invalid("erased", "it is `true` or absent")),
            None => self.take(kind, &body(object)?)?,
        }
        self.records += 1;
        Ok(())
    }

    fn take(&self, kind: EntryKind, body: &[u8]) -> Result<(), LineError> {
        match kind {
            EntryKind::Episode => drop(Episode::decode(body)?),
            EntryKind::Rule => drop(Rule::decode(self.records, body)?),
            EntryKind::Tombstone => drop(Mark::decode(self.records, body)?),
            EntryKind::Checkpoint | EntryKind::Event => {}
        }
        let id = chain::content_id(kind, body);
        self.patiently(|| self.ledger.append_hashed(kind, id, body).map(drop))
    }

    fn take_erased(&mut self, kind: EntryKind, object: &Map<String, Value>) -> Result<(), LineError> {
        only(object, &["content_id", "erased", "kind", "seq"])?;
        let id: Digest =
            text(object, "content_id")?.parse().map_err(|error| LineError::invalid("content_id", error))?;
        self.patiently(|| self.ledger.append_erased(kind, id).map(drop))?;
        self.erased += 1;
        Ok(())
    }

    /// Waits for the disk where the buffer is full.
    fn patiently(&self, append: impl Fn() -> Result<(), LedgerError>) -> Result<(), LineError> {
        match append() {
            Err(LedgerError::Full { .. }) => {
                self.ledger.flush()?;
                Ok(append()?)
            }
            appended => Ok(appended?),
        }
    }

    fn last(&self, object: &Map<String, Value>) -> Result<Head, LineError> {
        only(object, &["head"])?;
        let expected: Head =
            text(object, "head")?.parse().map_err(|error| LineError::invalid("head", error))?;
        let found = self.ledger.head();
        if found == expected { Ok(found) } else { Err(LineError::OtherHead { found, expected }) }
    }
}

fn object(line: &[u8]) -> Result<Map<String, Value>, LineError> {
    let limits = Limits { bytes: MAX_LINE_BYTES, depth: Limits::MAX_DEPTH, nodes: 2 << 20 };
    match json::parse(line, &limits) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(LineError::Syntax { message: "it is another value".to_owned() }),
        Err(error) => Err(LineError::Syntax { message: error.to_string() }),
    }
}

fn text<'o>(object: &'o Map<String, Value>, field: &str) -> Result<&'o str, LineError> {
    let value = object.get(field).ok_or_else(|| LineError::missing(field))?;
    value.as_str().ok_or_else(|| LineError::invalid(field, "it is no text"))
}

/// A field that nobody reads would be dropped.
fn only(object: &Map<String, Value>, known: &[&str]) -> Result<(), LineError> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(other) => {
            let field: String = other.chars().take(64).collect();
            Err(LineError::InvalidField { field, reason: "it is not known here".to_owned() })
        }
        None => Ok(()),
    }
}

fn body(object: &Map<String, Value>) -> Result<Vec<u8>, LineError> {
    only(object, &["body", "body_hex", "kind", "seq"])?;
    match (object.get("body"), object.get("body_hex")) {
        (Some(body), None) => json::canonical(body).map_err(|error| LineError::invalid("body", error)),
        (None, Some(Value::String(digits))) => hex::decode_all(digits)
            .ok_or_else(|| LineError::invalid("body_hex", "it is not an even number of hex digits")),
        (None, Some(_)) => Err(LineError::invalid("body_hex", "it is no text")),
        (None, None) => Err(LineError::missing("body")),
        (Some(_), Some(_)) => Err(LineError::invalid("body_hex", "there is a body already")),
    }
}
