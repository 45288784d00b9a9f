//! Records in segment files.
//!
//! ```text
//! dir/ledger.lock                  held by the one writer
//! dir/00000000000000000000.seg     header frame, record frames …
//! dir/00000000000000240118.seg     named after its first record
//! dir/00000000000000240118.seg.anew  while bodies are erased: what takes its place
//! ```
//!
//! A segment is synced as a whole before the next one is created, so only the last one can end in a torn record.
//!
//! Recovery takes what follows the last whole record for torn only if it looks like an interrupted write. A disk that
//! tears *and reorders* the pages of one batch at a power cut can leave a hole before whole records; the store then
//! answers `Corrupt` and leaves the decision to a person.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::erase::{by_segment, remove_unfinished, rewrite};
use super::fs::{SegmentFile, SegmentFs, StdFs};
use super::header::{SegmentHeader, header_frame_len, segment_name};
use super::places::Places;
use super::reader::{LiveReader, segments};
use super::recover::{Recovery, recover};
use super::{Batch, LedgerReader, LedgerStore, frame};
use crate::{Head, LedgerError, LedgerId, chain};

const LOCK_FILE: &str = "ledger.lock";

/// How a [`SegmentStore`] lays out its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOptions {
    /// A segment that would grow beyond this many bytes is closed and the next one begun. A segment takes at least one
    /// record, however large.
    pub segment_bytes: u64,
}

impl Default for SegmentOptions {
    /// 64 MiB.
    fn default() -> Self {
        Self { segment_bytes: 64 << 20 }
    }
}

/// Keeps records in the files of one directory. The directory has one writer at a time.
#[derive(Debug)]
pub struct SegmentStore<F: SegmentFs = StdFs> {
    fs: F,
    dir: PathBuf,
    options: SegmentOptions,
    ledger: LedgerId,
    genesis: Head,
    head: Head,
    recovery: Recovery,
    current: Segment<F::File>,
    /// Where records lie; its readers note it.
    places: Arc<Places>,
    /// Why nothing more can be written: nobody knows which file a name stands for after a power cut.
    failed: Option<LedgerError>,
    /// Holds the advisory lock; the operating system releases it with the process.
    _lock: DirLock,
}

impl SegmentStore {
    /// Opens the ledger `ledger` in `dir`, or begins it there.
    ///
    /// The last segment is read and checked as a whole; an unfinished record at its end is cut off, see
    /// [`SegmentStore::recovery`].
    ///
    /// # Errors
    /// `Locked` while another writer is there, `WrongLedger` for a directory of another ledger, `Corrupt` for damage
    /// that no crash explains (nothing is changed then), `Io`.
    pub fn open(
        dir: impl AsRef<Path>,
        ledger: LedgerId,
        options: SegmentOptions,
    ) -> Result<Self, LedgerError> {
        Self::open_on(StdFs, dir, ledger, options)
    }
}

impl<F: SegmentFs> SegmentStore<F> {
    /// As [`SegmentStore::open`], on another file system.
    ///
    /// # Errors
    /// As [`SegmentStore::open`].
    pub fn open_on(
        fs: F,
        dir: impl AsRef<Path>,
        ledger: LedgerId,
        options: SegmentOptions,
    ) -> Result<Self, LedgerError> {
        let dir = dir.as_ref().to_owned();
        create_dir(&fs, &dir)?;
        let lock = lock(&dir)?;
        let genesis = Head { count: 0, hash: chain::genesis(&ledger) };
        remove_unfinished(&fs, &dir)?;
        let tail = recover(&fs, &dir, &ledger, genesis)?;
        if let Some(segment) = &tail.recovery.segment {
            tracing::warn!(
                segment,
                bytes = tail.recovery.dropped_bytes,
                "cut an unfinished record off a ledger"
            );
        }
        let current = match tail.segment {
            Some(first_seq) => Segment::reopen(&fs, &dir, first_seq, tail.len, header_frame_len(&ledger))?,
            None => Segment::create(&fs, &dir, &ledger, genesis)?,
        };
        Ok(Self {
            fs,
            dir,
            options,
            ledger,
            genesis,
            head: tail.head,
            recovery: tail.recovery,
            current,
            places: Arc::default(),
            failed: None,
            _lock: lock,
        })
    }

    /// What opening had to cut off.
    #[must_use]
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Makes a segment that was put in place durable, and goes on writing to it if it is the last.
    fn take_up(&mut self, first_seq: u64, len: u64) -> Result<(), LedgerError> {
        if self.current.path != self.dir.join(segment_name(first_seq)) {
            return self.fs.sync_dir(&self.dir).map_err(|error| LedgerError::io("sync", &self.dir, error));
        }
        self.current = Segment::reopen(&self.fs, &self.dir, first_seq, len, self.current.header_len)?;
        Ok(())
    }

    fn rotate(&mut self, base: Head) -> Result<(), LedgerError> {
        self.current.sync()?;
        self.current = Segment::create(&self.fs, &self.dir, &self.ledger, base)?;
        Ok(())
    }
}

impl<F: SegmentFs> LedgerStore for SegmentStore<F> {
    fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    fn head(&self) -> Head {
        self.head
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let mut rest = batch.frames();
        while !rest.is_empty() {
            let room = self.options.segment_bytes.saturating_sub(self.current.len);
            let (fits, behind) = split_at_room(rest, room, self.current.is_empty());
            if fits.is_empty() {
                self.rotate(self.head)?;
                continue;
            }
            self.current.write(fits)?;
            rest = behind;
            // Only a segment that is about to be closed needs the head in the middle of the batch.
            if !behind.is_empty()
                && let Some(last) = frame::records(fits).last()
            {
                self.head = Head { count: last.seq + 1, hash: last.hash };
            }
        }
        self.head = batch.head();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        self.current.sync()
    }

    /// Writes each segment concerned anew; a failure before that one is in place leaves it as it was.
    fn erase(&mut self, seqs: &[u64]) -> Result<(), LedgerError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        for (first_seq, own) in by_segment(&segments(&self.dir)?, seqs)? {
            let rewritten = rewrite(&self.fs, &self.dir, first_seq, &own)?;
            self.places.forget(first_seq);
            if let Some(len) = rewritten
                && let Err(error) = self.take_up(first_seq, len)
            {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    fn can_erase(&self) -> bool {
        true
    }

    fn is_immediate(&self) -> bool {
        false
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        Arc::new(LiveReader { dir: self.dir.clone(), base: self.genesis, places: Arc::clone(&self.places) })
    }
}

/// Splits `frames` after the last frame that fits `room` bytes; the first one always fits if `at_least_one`.
fn split_at_room(frames: &[u8], room: u64, at_least_one: bool) -> (&[u8], &[u8]) {
    if frames.len() as u64 <= room {
        return (frames, &[]);
    }
    let mut fits = 0;
    let mut rest = frames;
    while let Some((frame, behind)) = frame::split_frame(rest) {
        let forced = at_least_one && fits == 0;
        if !forced && room < (fits + frame.len()) as u64 {
            break;
        }
        fits += frame.len();
        rest = behind;
    }
    frames.split_at_checked(fits).unwrap_or((frames, &[]))
}

/// The segment being written.
#[derive(Debug)]
struct Segment<W> {
    file: W,
    path: PathBuf,
    len: u64,
    header_len: u64,
}

impl<W: SegmentFile> Segment<W> {
    fn create<F: SegmentFs<File = W>>(
        fs: &F,
        dir: &Path,
        ledger: &LedgerId,
        base: Head,
    ) -> Result<Self, LedgerError> {
        let path = dir.join(segment_name(base.count));
        let header = SegmentHeader { ledger: ledger.clone(), base }.encode();
        let create = || {
            let mut file = fs.create(&path)?;
            file.write_all(&header)?;
            file.sync()?;
            fs.sync_dir(dir)?;
            Ok(file)
        };
        let file = create().map_err(|error| LedgerError::io("create", &path, error))?;
        let header_len = header.len() as u64;
        Ok(Self { file, path, len: header_len, header_len })
    }

    /// Opens a segment whose first `len` bytes were read and found whole.
    fn reopen<F: SegmentFs<File = W>>(
        fs: &F,
        dir: &Path,
        first_seq: u64,
        len: u64,
        header_len: u64,
    ) -> Result<Self, LedgerError> {
        let path = dir.join(segment_name(first_seq));
        // What a killed process wrote, and the name it created, may still be in memory alone; from here on both count
        // as durable.
        let open = || {
            let mut file = fs.open(&path)?;
            file.sync()?;
            fs.sync_dir(dir)?;
            Ok(file)
        };
        let file = open().map_err(|error| LedgerError::io("open", &path, error))?;
        Ok(Self { file, path, len, header_len })
    }

    const fn is_empty(&self) -> bool {
        self.len == self.header_len
    }

    fn write(&mut self, frames: &[u8]) -> Result<(), LedgerError> {
        self.file.write_all(frames).map_err(|error| LedgerError::io("write", &self.path, error))?;
        self.len += frames.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        self.file.sync().map_err(|error| LedgerError::io("sync", &self.path, error))
    }
}

/// Creates `dir` and what is missing above it, so that a power cut cannot take the directory with its ledger away.
fn create_dir<F: SegmentFs>(fs: &F, dir: &Path) -> Result<(), LedgerError> {
    let Some(parent) = dir.parent().filter(|_| !dir.is_dir()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    create_dir(fs, parent)?;
    match std::fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        created => created.and_then(|()| fs.sync_dir(parent)),
    }
    .map_err(|error| LedgerError::io("create", dir, error))
}

/// The advisory lock on a directory.
///
/// It is given up by name, not by closing the file: a process being spawned at that moment holds a copy of every open
/// file until it becomes another program, and would keep the lock that long.
#[derive(Debug)]
struct DirLock(File);

impl Drop for DirLock {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

fn lock(dir: &Path) -> Result<DirLock, LedgerError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| LedgerError::io("open", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(DirLock(file)),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(LedgerError::io("lock", &path, error)),
    }
}
