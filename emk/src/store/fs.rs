//! How the segment store writes to a disk.
//!
//! Everything that changes a file goes through these two traits, so that a test can make a disk full, short or dead.
//! Reading does not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file system to write segments to.
pub trait SegmentFs: Send {
    /// An open segment. Writes go to its end.
    type File: SegmentFile;

    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    /// What the operating system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// What the operating system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;

    /// Cuts a file to `len` bytes, durably.
    ///
    /// # Errors
    /// What the operating system says.
    fn truncate(&self, path: &Path, len: u64) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Puts the file `from` in the place of the file `to`, at once: whoever opens `to` finds the one or the other, whole.
    /// Both lie in one directory.
    ///
    /// # Errors
    /// What the operating system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Makes the names of files created and removed in `dir` durable.
    ///
    /// # Errors
    /// What the operating system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open segment.
pub trait SegmentFile: Write + Send {
    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What the operating system says. The content is then in doubt, and stays so.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct StdFs;

impl SegmentFs for StdFs {
    type File = File;

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create_new(true).open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).open(path)
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere a directory cannot be opened as a file, and its entries are made durable with the files.
        if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
    }
}

impl SegmentFile for File {
    /// Fails too where no name stands for the file any more: what is written to it goes with the process.
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()?;
        if is_removed(self)? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the file was removed"));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn is_removed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() == 0)
}

/// Elsewhere a file that is open keeps its name.
#[cfg(not(unix))]
fn is_removed(_: &File) -> io::Result<bool> {
    Ok(false)
}
