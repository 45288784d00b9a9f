//! What somebody with access to the files of a recording could do to them.

use std::path::{Path, PathBuf};

use agent_control_plane::emk::{EntryKind, chain};
use agent_control_plane::primitives::{Digest, Timestamp, Verdict};
use agent_control_plane::recorder::{Body, Event, Outcome, Request};
use serde_json::Value;

use crate::case::Step;

/// What an audit step may do to the files.
pub(crate) const ACTIONS: [&str; 16] = [
    "rewrite_field",
    "rewrite",
    "delete_record",
    "remove",
    "delete",
    "swap",
    "reorder",
    "insert",
    "duplicate",
    "truncate_tail",
    "truncate",
    "tear",
    "torn_tail",
    "flip_byte",
    "rechain",
    "truncate_bytes",
];
/// The fields of a record that can be rewritten.
pub(crate) const FIELDS: [&str; 21] = [
    "verdict",
    "tool",
    "agent",
    "rule",
    "rules",
    "time",
    "timestamp",
    "ts",
    "args",
    "arguments",
    "path",
    "call",
    "seq",
    "hash",
    "prev",
    "previous",
    "content_id",
    "policy",
    "outcome",
    "result",
    "reason",
];

/// Where things stand in a record's payload: kind, sequence number, content id, entry hash, body.
const SEQ_AT: usize = 1;
const CONTENT_AT: usize = SEQ_AT + 8;
const HASH_AT: usize = CONTENT_AT + 32;
const BODY_AT: usize = HASH_AT + 32;
/// Where the hash before the first record stands in the first frame: after magic, version and count.
const BASE_AT: usize = 8 + 4 + 8;

/// Changes the recording in a folder. Checksums are put right: an attacker would not forget them.
pub(crate) fn tamper(folder: &Path, step: &Step) -> Result<(), String> {
    let mut frames = read_frames(folder)?;
    let count = usize::try_from(step.number("n").max(1)).map_err(|error| error.to_string())?;
    match step.text("action") {
        "rewrite_field" | "rewrite" => rewrite(&mut frames, step)?,
        "delete_record" | "remove" | "delete" => {
            frames.remove(record(&frames, step, "seq")?);
        }
        "swap" | "reorder" => {
            let first = record(&frames, step, step.first(&["a", "seq", "first"]).unwrap_or("seq"))?;
            let second = match step.first(&["b", "with", "other", "second"]) {
                Some(key) => record(&frames, step, key)?,
                None => first + 1,
            };
            if frames.len() <= second || first == second {
                return Err("there are no two records to swap".to_owned());
            }
            frames.swap(first, second);
        }
        "insert" | "duplicate" => {
            let at = record(&frames, step, "seq")?;
            frames.insert(at + 1, frames[at].clone());
        }
        "truncate_tail" | "truncate" if !step.fields.contains_key("bytes") => {
            frames.truncate(frames.len().saturating_sub(count).max(1));
        }
        "flip_byte" => return flip(folder, &frames, step),
        "truncate_tail" | "truncate" | "truncate_bytes" | "tear" | "torn_tail" => return tear(folder, step),
        "rechain" => rechain(&mut frames),
        other => return Err(format!("unknown audit action `{other}`")),
    }
    let again = ["rechain", "rehash", "recompute", "recompute_hashes", "fix_hashes"];
    if again.iter().any(|flag| step.value(flag) == &Value::Bool(true)) {
        rechain(&mut frames);
    }
    write_frames(folder, &frames)
}

/// The frame of the record that a step names. The cases count judged calls from zero; a number beyond them counts all
/// records.
fn record(frames: &[Vec<u8>], step: &Step, key: &str) -> Result<usize, String> {
    let number = usize::try_from(step.number(key)).map_err(|error| error.to_string())?;
    let judged = (1..frames.len()).filter(|at| is_judged(&frames[*at])).nth(number);
    let any = (1..frames.len()).nth(number);
    judged.or(any).ok_or_else(|| format!("there is no record {number}"))
}

fn is_judged(frame: &[u8]) -> bool {
    let event = postcard::from_bytes::<Event<'_>>(&frame[BODY_AT..]);
    event.is_ok_and(|event| {
        matches!(
            event.body,
            Body::Intent { .. }
                | Body::Held { .. }
                | Body::Refused { .. }
                | Body::Rejected { .. }
                | Body::Question { .. }
        )
    })
}

/// Rewrites a field of the record a step names or, when that record has no such field or has that value already, of the
/// first record that it changes.
fn rewrite(frames: &mut [Vec<u8>], step: &Step) -> Result<(), String> {
    let named = record(frames, step, "seq")?;
    let field = step.text("field");
    let value = step.value("value");
    for at in std::iter::once(named).chain(1..frames.len()) {
        let changed = rewritten(&frames[at], field, value);
        if let Some(changed) = changed.filter(|changed| *changed != frames[at]) {
            frames[at] = changed;
            return Ok(());
        }
    }
    Err(format!("no record has a field `{field}` to rewrite"))
}

fn rewritten(frame: &[u8], field: &str, value: &Value) -> Option<Vec<u8>> {
    let mut changed = frame.to_vec();
    match field {
        "seq" => {
            changed[SEQ_AT..CONTENT_AT].copy_from_slice(&value.as_u64().unwrap_or(u64::MAX).to_le_bytes());
        }
        "content_id" => changed[CONTENT_AT] ^= 1,
        "hash" | "prev" | "previous" => changed[HASH_AT] ^= 1,
        _ => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let mut event = postcard::from_bytes::<Event<'_>>(&frame[BODY_AT..]).ok()?;
            set(&mut event, field, value, &text)?;
            changed.truncate(BODY_AT);
            changed.extend(postcard::to_stdvec(&event).ok()?);
        }
    }
    Some(changed)
}

fn set<'a>(event: &mut Event<'a>, field: &str, value: &Value, text: &'a str) -> Option<()> {
    match field {
        "agent" => event.agent = text,
        "time" | "timestamp" | "ts" => {
            let micros = value.as_i64().unwrap_or_else(|| event.time.as_micros().saturating_add(1));
            event.time = Timestamp::from_micros(micros);
        }
        "call" => event.call = value.as_u64().unwrap_or(u64::MAX),
        _ => return set_in_body(&mut event.body, field, text),
    }
    Some(())
}

fn set_in_body<'a>(body: &mut Body<'a>, field: &str, text: &'a str) -> Option<()> {
    match body {
        Body::Intent { request, decision, .. }
        | Body::Held { request, decision, .. }
        | Body::Refused { request, decision }
        | Body::Question { request, decision } => {
            match (field, request) {
                ("verdict", _) => {
                    decision.verdict = match text {
                        "allow" => Verdict::Allow,
                        "ask" | "escalate" => Verdict::Ask,
                        _ => Verdict::Deny,
                    }
                }
                ("rule" | "rules" | "reason", _) => decision.rules = vec![text],
                ("policy", _) => decision.policy = Digest::of("agent-os test v1", text.as_bytes()),
                ("tool", Request::Exec { tool, .. }) => *tool = text,
                ("args" | "arguments", Request::Exec { arguments, .. }) => *arguments = text.as_bytes(),
                (
                    "path",
                    Request::Read { path, .. } | Request::Write { path, .. } | Request::Open { path, .. },
                ) => *path = text,
                // The path of a tool call is one of its arguments.
                ("path", Request::Exec { arguments, .. }) => *arguments = text.as_bytes(),
                _ => return None,
            }
        }
        Body::Outcome { outcome, .. } if matches!(field, "outcome" | "result") => {
            *outcome = Outcome::Failed { code: "AK0000", error: text };
        }
        Body::Rejected { what, code, .. } => match field {
            "verdict" | "reason" => *code = text,
            "tool" | "path" | "args" | "arguments" => *what = text,
            _ => return None,
        },
        _ => return None,
    }
    Some(())
}

/// Numbers and hashes every record anew, so that the whole is a chain again.
fn rechain(frames: &mut [Vec<u8>]) {
    let Some((header, records)) = frames.split_first_mut() else { return };
    let mut previous = Digest::from_bytes(header[BASE_AT..BASE_AT + 32].try_into().unwrap());
    for (seq, frame) in (0_u64..).zip(records) {
        let Some(kind) = EntryKind::from_number(frame[0]) else { return };
        let content = chain::content_id(kind, &frame[BODY_AT..]);
        let hash = chain::entry_hash(&previous, seq, kind, &content);
        frame[SEQ_AT..CONTENT_AT].copy_from_slice(&seq.to_le_bytes());
        frame[CONTENT_AT..HASH_AT].copy_from_slice(content.as_bytes());
        frame[HASH_AT..BODY_AT].copy_from_slice(hash.as_bytes());
        previous = hash;
    }
}

/// Flips a bit: at an offset of the file, from its end when negative, or else in the body of the record named.
fn flip(folder: &Path, frames: &[Vec<u8>], step: &Step) -> Result<(), String> {
    let path = segment(folder)?;
    let mut bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
    let offset = match step.first(&["offset", "at_byte"]).and_then(|key| step.value(key).as_i64()) {
        Some(offset) if offset < 0 => {
            bytes.len().checked_add_signed(isize::try_from(offset).unwrap_or(isize::MIN))
        }
        Some(offset) => usize::try_from(offset).ok(),
        None => {
            let at = record(frames, step, "seq")?;
            Some(frames[..at].iter().map(|frame| 8 + frame.len()).sum::<usize>() + 8 + BODY_AT + 1)
        }
    };
    let byte = offset.and_then(|offset| bytes.get_mut(offset)).ok_or("there is no such byte")?;
    *byte ^= 1;
    std::fs::write(path, bytes).map_err(|error| error.to_string())
}

/// Cuts the file off within its last record.
fn tear(folder: &Path, step: &Step) -> Result<(), String> {
    let path = segment(folder)?;
    let length = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
    let cut = step.number("bytes").max(1);
    let file = std::fs::OpenOptions::new().write(true).open(path).map_err(|error| error.to_string())?;
    file.set_len(length.saturating_sub(cut)).map_err(|error| error.to_string())
}

fn segment(folder: &Path) -> Result<PathBuf, String> {
    let files = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
    let segments = files.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut segments = segments.filter(|path| path.extension().is_some_and(|ext| ext == "seg"));
    segments.by_ref().min().ok_or_else(|| "there is no segment".to_owned())
}

/// The payloads of a segment file, header included.
fn read_frames(folder: &Path) -> Result<Vec<Vec<u8>>, String> {
    let bytes = std::fs::read(segment(folder)?).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    let mut rest = bytes.as_slice();
    while rest.len() >= 8 {
        let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        if length == 0 || rest.len() < 8 + length {
            break;
        }
        frames.push(rest[8..8 + length].to_vec());
        rest = &rest[8 + length..];
    }
    Ok(frames)
}

fn write_frames(folder: &Path, frames: &[Vec<u8>]) -> Result<(), String> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes
            .extend_from_slice(&u32::try_from(frame.len()).map_err(|error| error.to_string())?.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(frame).to_le_bytes());
        bytes.extend_from_slice(frame);
    }
    std::fs::write(segment(folder)?, bytes).map_err(|error| error.to_string())
}
