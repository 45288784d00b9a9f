//! What is done once, when a folder is opened.

use std::fs::TryLockError;
use std::io;
use std::path::Path;

use cap_fs_ext::DirExt;
use cap_std::fs::Dir;

use super::end;
use super::error::DirectoryError;
use super::file::{Found, STAGED, spelled};
use crate::vfs::backend::ends::Ends;
use crate::vfs::{MAX_SEGMENTS, Usage};

/// Most entries counted when a folder is opened.
const MAX_ENTRIES: u64 = 1_000_000;

/// A folder's one writer. Ends when dropped, and with the process.
///
/// It is given up by name, not by closing the file: a process being spawned at that moment holds a copy of every open
/// file until it becomes another program, and would keep the claim that long.
#[derive(Debug)]
pub(super) struct Claim(std::fs::File);

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Claims the folder for one writer.
pub(super) fn claim(root: &Dir, path: &Path) -> Result<Claim, DirectoryError> {
    let lock = root.open(".").map_err(|error| DirectoryError::io(path, error))?.into_std();
    match lock.try_lock() {
        Ok(()) => Ok(Claim(lock)),
        Err(TryLockError::WouldBlock) => Err(DirectoryError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(DirectoryError::io(path, error)),
    }
}

/// Counts the files an agent can reach, notes which have an end, and removes what an interrupted write left behind.
pub(super) fn count(root: &Dir, path: &Path) -> Result<(Usage, Ends), DirectoryError> {
    let mut survey = Survey { usage: Usage::default(), ends: Ends::default(), entries_left: MAX_ENTRIES };
    match survey.visit(root, "", 1) {
        Ok(()) => Ok((survey.usage, survey.ends)),
        Err(Stop::TooMany) => {
            Err(DirectoryError::TooManyEntries { path: path.to_owned(), limit: MAX_ENTRIES })
        }
        Err(Stop::Io(error)) => Err(DirectoryError::io(path, error)),
    }
}

struct Survey {
    usage: Usage,
    ends: Ends,
    entries_left: u64,
}

enum Stop {
    TooMany,
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Survey {
    /// Recurses no deeper than a path has segments; an agent reaches nothing below that.
    fn visit(&mut self, folder: &Dir, path: &str, depth: usize) -> Result<(), Stop> {
        for entry in folder.entries()? {
            let entry = entry?;
            self.entries_left = self.entries_left.checked_sub(1).ok_or(Stop::TooMany)?;
            let name = entry.file_name();
            let kind = entry.file_type()?;
            if kind.is_file() && name.to_str() == Some(STAGED) {
                folder.remove_file(&name)?;
                continue;
            }
            let Some(spelling) = spelled(&name) else { continue };
            let below = if path.is_empty() { spelling.to_owned() } else { format!("{path}/{spelling}") };
            if kind.is_file() {
                self.usage.files = self.usage.files.saturating_add(1);
                self.usage.bytes = self.usage.bytes.saturating_add(entry.metadata()?.len());
                self.note_end(folder, spelling, &below);
            } else if kind.is_dir() && depth < MAX_SEGMENTS {
                self.visit(&folder.open_dir_nofollow(&name)?, &below, depth + 1)?;
            }
        }
        Ok(())
    }

    /// What cannot be opened, or has an end that cannot be read, is refused when it is asked for.
    fn note_end(&mut self, folder: &Dir, name: &str, path: &str) {
        let end = Found::open(folder, name, false).and_then(|found| end::load(&found.file));
        self.ends.set(path, end.unwrap_or_default());
    }
}
