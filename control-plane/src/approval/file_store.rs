//! Tickets in a folder, one file each.
//!
//! A file is replaced whole: written beside, synced, renamed, and the folder synced. So after a crash at any point each
//! ticket is there as it was before or as it was to be, and never in between.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use agent_primitives::{Digest, TicketId};

use super::Request;
use super::error::StoreError;
use super::store::ApprovalStore;

/// Largest file that is read as a ticket.
const MAX_FILE: u64 = 256 << 10;
/// Most files that are looked at.
const MAX_FILES: usize = 100_000;
/// Length of a digest in hex, with its line break.
const DIGEST_LINE: usize = 65;
const DOMAIN: &str = "agent-os approval file v1";
const EXTENSION: &str = "ticket";
const UNFINISHED: &str = "unfinished";

/// A folder that keeps tickets. One process has it open at a time.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    _lock: File,
}

impl FileStore {
    /// Opens a folder, creating it if need be.
    ///
    /// # Errors
    /// Another process has it open, or the disk fails.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder).map_err(|error| failed("create", &folder, &error))?;
        let path = folder.join("tickets.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(|error| failed("open", &path, &error))?;
        lock.try_lock().map_err(|error| StoreError::new(format!("`{}`: {error}", path.display())))?;
        Ok(Self { folder, _lock: lock })
    }

    fn path(&self, ticket: TicketId) -> PathBuf {
        self.folder.join(format!("{ticket}.{EXTENSION}"))
    }

    fn sync_folder(&self) -> Result<(), StoreError> {
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| failed("sync", &self.folder, &error))
    }
}

impl ApprovalStore for FileStore {
    /// Leaves out what was never finished, which nobody was told of. A file that is damaged is an error: what it granted
    /// or used up is not known.
    fn load(&self) -> Result<Vec<Request>, StoreError> {
        let entries =
            std::fs::read_dir(&self.folder).map_err(|error| failed("read", &self.folder, &error))?;
        let mut requests = Vec::new();
        for (number, entry) in entries.enumerate() {
            if MAX_FILES <= number {
                return Err(StoreError::new(format!("more than {MAX_FILES} files")));
            }
            let path = entry.map_err(|error| failed("read", &self.folder, &error))?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(UNFINISHED) => {
                    std::fs::remove_file(&path).map_err(|error| failed("remove", &path, &error))?;
                }
                Some(EXTENSION) => {
                    let request = read(&path)?;
                    if self.path(request.id()) != path {
                        return Err(damaged(&path, "it is named after another ticket"));
                    }
                    requests.push(request);
                }
                _ => {}
            }
        }
        Ok(requests)
    }

    fn save(&self, request: &Request) -> Result<(), StoreError> {
        let path = self.path(request.id());
        let unfinished = path.with_extension(UNFINISHED);
        let bytes = encode(request)?;
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(|error| failed("write", &unfinished, &error))?;
        std::fs::rename(&unfinished, &path).map_err(|error| failed("rename", &unfinished, &error))?;
        self.sync_folder()
    }

    fn remove(&self, ticket: TicketId) -> Result<(), StoreError> {
        let path = self.path(ticket);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &path, &error)),
            _ => self.sync_folder(),
        }
    }
}

/// The digest of what follows, as a line, then the ticket as JSON.
fn encode(request: &Request) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(request).map_err(StoreError::new)?;
    let mut bytes = format!("{}\n", Digest::of(DOMAIN, &json)).into_bytes();
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

fn read(path: &Path) -> Result<Request, StoreError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| failed("open", path, &error))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| failed("read", path, &error))?;
    if MAX_FILE < bytes.len() as u64 {
        return Err(damaged(path, "it is too large"));
    }
    let (head, json) = bytes.split_at_checked(DIGEST_LINE).ok_or_else(|| damaged(path, "it is cut off"))?;
    if *head != *format!("{}\n", Digest::of(DOMAIN, json)).as_bytes() {
        return Err(damaged(path, "its digest does not fit"));
    }
    serde_json::from_slice(json).map_err(|error| damaged(path, &error.to_string()))
}

fn failed(action: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::new(format!("cannot {action} `{}`: {error}", path.display()))
}

fn damaged(path: &Path, why: &str) -> StoreError {
    StoreError::new(format!("`{}` is damaged: {why}", path.display()))
}
