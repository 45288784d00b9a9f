//! A file system that counts, holds and fails what the store does to it, on top of the real one.
//!
//! Syncs are counted and remembered but not done: which bytes a crash takes is for the test to choose.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use emk::store::fs::{SegmentFile, SegmentFs, StdFs};

#[derive(Clone, Default)]
pub(crate) struct FaultyFs(Arc<(Mutex<Faults>, Condvar)>);

#[derive(Default)]
struct Faults {
    /// Bytes that can still be written; everything beyond is `StorageFull`.
    room: Option<usize>,
    /// Most bytes one write takes.
    short: Option<usize>,
    sync_fails: bool,
    rename_fails: bool,
    /// Syncs wait while this is set.
    held: bool,
    syncs: u64,
    /// Syncs that have begun, held ones too.
    begun: u64,
    /// How long each file was when it was last synced.
    durable: BTreeMap<PathBuf, u64>,
}

impl FaultyFs {
    pub(crate) fn room(self, bytes: usize) -> Self {
        self.with(|faults| faults.room = Some(bytes));
        self
    }

    pub(crate) fn short_writes(self, bytes: usize) -> Self {
        self.with(|faults| faults.short = Some(bytes));
        self
    }

    pub(crate) fn fail_syncs(&self) {
        self.with(|faults| faults.sync_fails = true);
    }

    pub(crate) fn fail_renames(&self, fails: bool) {
        self.with(|faults| faults.rename_fails = fails);
    }

    pub(crate) fn hold_syncs(&self, held: bool) {
        self.with(|faults| faults.held = held);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.faults().syncs
    }

    pub(crate) fn begun(&self) -> u64 {
        self.faults().begun
    }

    /// Copies what a power cut right now would leave.
    pub(crate) fn power_cut(&self) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, len) in &self.faults().durable {
            let bytes = std::fs::read(path).unwrap();
            let kept = &bytes[..usize::try_from(*len).unwrap()];
            std::fs::write(dir.path().join(path.file_name().unwrap()), kept).unwrap();
        }
        dir
    }

    /// Waits until `count` syncs have begun.
    pub(crate) fn wait_for_sync(&self, count: u64) {
        drop(self.wait_while(|faults| faults.begun < count));
    }

    fn with(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults());
        self.0.1.notify_all();
    }

    fn wait_while(&self, waiting: impl Fn(&Faults) -> bool) -> MutexGuard<'_, Faults> {
        self.0.1.wait_while(self.faults(), |faults| waiting(faults)).unwrap()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.0.lock().unwrap()
    }
}

impl SegmentFs for FaultyFs {
    type File = FaultyFile;

    fn create(&self, path: &Path) -> io::Result<FaultyFile> {
        Ok(FaultyFile { file: StdFs.create(path)?, path: path.to_owned(), fs: self.clone() })
    }

    fn open(&self, path: &Path) -> io::Result<FaultyFile> {
        Ok(FaultyFile { file: StdFs.open(path)?, path: path.to_owned(), fs: self.clone() })
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        StdFs.truncate(path, len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|faults| {
            faults.durable.remove(path);
        });
        StdFs.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.faults().rename_fails {
            return Err(io::Error::other("injected"));
        }
        StdFs.rename(from, to)?;
        let len = std::fs::metadata(to)?.len();
        self.with(|faults| {
            faults.durable.remove(from);
            faults.durable.insert(to.to_owned(), len);
        });
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) struct FaultyFile {
    file: File,
    path: PathBuf,
    fs: FaultyFs,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut faults = self.fs.faults();
        let take = bytes.len().min(faults.short.unwrap_or(usize::MAX)).min(faults.room.unwrap_or(usize::MAX));
        if take == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        let written = self.file.write(&bytes[..take])?;
        faults.room = faults.room.map(|room| room - written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SegmentFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.fs.with(|faults| faults.begun += 1);
        let mut faults = self.fs.wait_while(|faults| faults.held);
        if faults.sync_fails {
            return Err(io::Error::other("injected"));
        }
        faults.syncs += 1;
        faults.durable.insert(self.path.clone(), self.file.metadata()?.len());
        Ok(())
    }
}
