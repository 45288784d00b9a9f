//! Erasing bodies from segment files.
//!
//! A segment is written anew beside the old one, without the bodies, synced, and put in its place by a rename: a crash
//! leaves the one or the other, whole. What a crash left of the new one still holds bodies, so it is removed when the
//! directory is opened. The blocks of the old file go back to the file system, which does not overwrite them by itself.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::frame;
use super::fs::{SegmentFile, SegmentFs};
use super::header::segment_name;
use super::reader::{SegmentScan, damage_error};
use crate::{LedgerError, Record};

/// How the name of a segment ends that is being written anew.
const ENDING: &str = ".anew";
/// How much is gathered before it is written.
const WRITE_BYTES: usize = 256 << 10;

/// Writes the segment named after `first_seq` anew without the bodies of the records at `seqs`, and puts it in place.
/// Answers its length; `None` if every body was gone already and nothing was changed.
pub(super) fn rewrite<F: SegmentFs>(
    fs: &F,
    dir: &Path,
    first_seq: u64,
    seqs: &BTreeSet<u64>,
) -> Result<Option<u64>, LedgerError> {
    if !check(dir, first_seq, seqs)? {
        return Ok(None);
    }
    let path = dir.join(segment_name(first_seq));
    let anew = anew(&path);
    let len = copy(fs, dir, first_seq, seqs, &anew).inspect_err(|_| {
        // What cannot be removed now is removed when the directory is opened.
        let _ = fs.remove(&anew);
    })?;
    fs.rename(&anew, &path).map_err(|error| LedgerError::io("replace", &path, error))?;
    Ok(Some(len))
}

/// Removes what a crash left of segments that were being written anew.
pub(super) fn remove_unfinished<F: SegmentFs>(fs: &F, dir: &Path) -> Result<(), LedgerError> {
    let list = |error| LedgerError::io("list", dir, error);
    let mut removed = false;
    for item in std::fs::read_dir(dir).map_err(list)? {
        let path = item.map_err(list)?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(ENDING)) {
            fs.remove(&path).map_err(|error| LedgerError::io("remove", &path, error))?;
            removed = true;
        }
    }
    if removed { fs.sync_dir(dir).map_err(|error| LedgerError::io("sync", dir, error)) } else { Ok(()) }
}

fn anew(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ENDING);
    name.into()
}

/// Whether a body is left to erase. Every record has to be there and of a kind that can be erased.
fn check(dir: &Path, first_seq: u64, seqs: &BTreeSet<u64>) -> Result<bool, LedgerError> {
    let mut scan = open(dir, first_seq)?;
    let mut left = false;
    let mut missing = seqs.clone();
    while let Some(entry) = scan.next_entry().map_err(|damage| damage_error(dir, first_seq, damage))? {
        if missing.remove(&entry.seq) {
            left |= !entry.erased;
            if !entry.kind.is_erasable() {
                return Err(LedgerError::NotErasable { seq: entry.seq, reason: "records of its kind stay" });
            }
        }
    }
    match missing.first() {
        Some(&seq) => Err(LedgerError::Missing { seq }),
        None => Ok(left),
    }
}

fn copy<F: SegmentFs>(
    fs: &F,
    dir: &Path,
    first_seq: u64,
    seqs: &BTreeSet<u64>,
    anew: &Path,
) -> Result<u64, LedgerError> {
    let failed = |error| LedgerError::io("write", anew, error);
    let mut scan = open(dir, first_seq)?;
    let mut file = match fs.create(anew) {
        // An earlier attempt that could not be tidied up.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs.remove(anew).and_then(|()| fs.create(anew)).map_err(failed)?
        }
        created => created.map_err(failed)?,
    };
    let mut out = scan.header.encode();
    let mut len = 0;
    while let Some(entry) = scan.next_entry().map_err(|damage| damage_error(dir, first_seq, damage))? {
        let record = entry.as_record();
        let erased = record.erased || seqs.contains(&record.seq);
        let body = if erased { &[] } else { record.body };
        frame::encode_record(&mut out, &Record { erased, body, ..record });
        if WRITE_BYTES <= out.len() {
            file.write_all(&out).map_err(failed)?;
            len += out.len() as u64;
            out.clear();
        }
    }
    file.write_all(&out).map_err(failed)?;
    file.sync().map_err(|error| LedgerError::io("sync", anew, error))?;
    Ok(len + out.len() as u64)
}

fn open(dir: &Path, first_seq: u64) -> Result<SegmentScan, LedgerError> {
    SegmentScan::open(dir, first_seq).map_err(|damage| damage_error(dir, first_seq, damage))
}

/// The segments among `firsts`, in order, that hold the records at `seqs`, with those of each.
pub(super) fn by_segment(firsts: &[u64], seqs: &[u64]) -> Result<Vec<(u64, BTreeSet<u64>)>, LedgerError> {
    let mut found: Vec<(u64, BTreeSet<u64>)> = Vec::new();
    let ordered: BTreeSet<u64> = seqs.iter().copied().collect();
    for seq in ordered {
        let before = firsts.partition_point(|&first| first <= seq);
        let first = before.checked_sub(1).and_then(|index| firsts.get(index)).copied();
        let first = first.ok_or(LedgerError::Missing { seq })?;
        match found.last_mut().filter(|(last, _)| *last == first) {
            Some((_, own)) => {
                own.insert(seq);
            }
            None => found.push((first, BTreeSet::from([seq]))),
        }
    }
    Ok(found)
}
