//! Anchors: places that the holder of a ledger does not control, or cannot change unnoticed, to keep checkpoints in.
//!
//! A chain and a signature show what was changed. That the end is missing shows only to someone who knows a later state.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::fs::SegmentFile;
use crate::{Checkpoint, EntryKind, Ledger};

/// Largest anchor file that is read: room for more than 100 000 checkpoints.
pub const MAX_ANCHOR_BYTES: u64 = 64 << 20;

/// What keeps checkpoints.
///
/// It is called on the thread that writes the ledger, after those who wait for records were woken. Records that come
/// meanwhile wait for it: an anchor over a network should hand the checkpoint to a thread of its own and tell of a
/// failure the next time. A panic counts as a failure.
pub trait Anchor: Send {
    /// Its name, for reports.
    fn name(&self) -> &str;

    /// Keeps a checkpoint. Checkpoints come in order; after a failure the same one comes again, and the last one comes again
    /// when the ledger is opened.
    ///
    /// # Errors
    /// It could not be kept.
    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), AnchorError>;
}

/// Why a checkpoint could not be kept or read back.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// The file could not be written or read.
    #[error("cannot {operation} the anchor `{path}`: {source}")]
    Io {
        /// What was attempted, as a verb.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<std::io::Error>,
    },
    /// A line of an anchor file is no checkpoint.
    #[error("line {line} of the anchor `{path}`: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Any other reason, in the words of the anchor.
    #[error("{0}")]
    Failed(String),
}

impl AnchorError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "AK0844",
            Self::Damaged { .. } => "AK0845",
            Self::Failed(_) => "AK0846",
        }
    }

    fn io(operation: &'static str, path: &Path, error: std::io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source: Arc::new(error) }
    }
}

/// Keeps checkpoints in a file, one a line, each synced before it counts. Worth most on another disk, or where the
/// writer may append and not change.
#[derive(Debug)]
pub struct FileAnchor {
    path: PathBuf,
    file: File,
    /// Whether a write failed, so that the last line may have no end.
    torn: bool,
    /// The last checkpoint that was there, until one comes.
    found: Option<Checkpoint>,
}

impl FileAnchor {
    /// Opens an anchor file, creating it if need be. A last line without an end, as after a crash, is cut off.
    ///
    /// # Errors
    /// `Io`; `Damaged` if something else than checkpoints is in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, AnchorError> {
        let path = path.as_ref().to_owned();
        let open = || OpenOptions::new().create(true).append(true).read(true).open(&path);
        let file = open().map_err(|error| AnchorError::io("open", &path, error))?;
        let text = read(&path)?;
        let found = parse(&path, whole_lines(&text))?.pop();
        let mut anchor = Self { path, file, torn: true, found };
        anchor.cut()?;
        Ok(anchor)
    }

    /// The checkpoints in an anchor file, oldest first. A last line without an end is left out.
    ///
    /// # Errors
    /// As for [`FileAnchor::open`].
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Checkpoint>, AnchorError> {
        let path = path.as_ref();
        parse(path, whole_lines(&read(path)?))
    }

    /// Whether it is still there, and the last one: a ledger that is opened brings it again.
    fn ends_with(&self, checkpoint: &Checkpoint) -> Result<bool, AnchorError> {
        Ok(Self::read(&self.path)?.last() == Some(checkpoint))
    }

    /// Removes what an interrupted write left behind the last whole line, and nothing else: whole lines that somebody else
    /// wrote meanwhile are evidence too.
    fn cut(&mut self) -> Result<(), AnchorError> {
        if !self.torn {
            return Ok(());
        }
        let text = read(&self.path)?;
        let whole = whole_lines(&text).len();
        let cut = || {
            if whole < text.len() {
                self.file.set_len(whole as u64)?;
                self.file.sync_all()?;
            }
            Ok(())
        };
        cut().map_err(|error| AnchorError::io("cut", &self.path, error))?;
        self.torn = false;
        Ok(())
    }
}

impl Anchor for FileAnchor {
    fn name(&self) -> &str {
        self.path.to_str().unwrap_or("file")
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), AnchorError> {
        self.cut()?;
        if self.found.take().as_ref() == Some(checkpoint) && self.ends_with(checkpoint)? {
            return SegmentFile::sync(&mut self.file)
                .map_err(|error| AnchorError::io("sync", &self.path, error));
        }
        let line = format!("{}\n", checkpoint.to_json());
        let length = self.file.metadata().map_err(|error| AnchorError::io("read", &self.path, error))?.len();
        if MAX_ANCHOR_BYTES < length.saturating_add(line.len() as u64) {
            return Err(AnchorError::Failed("the anchor file is full: begin another one".to_owned()));
        }
        let mut write = || {
            self.file.write_all(line.as_bytes())?;
            // As for a segment: a file that was deleted keeps nothing.
            SegmentFile::sync(&mut self.file)
        };
        write().map_err(|error| {
            self.torn = true;
            AnchorError::io("write", &self.path, error)
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AnchorError> {
    let slurp = || {
        let mut text = Vec::new();
        File::open(path)?.take(MAX_ANCHOR_BYTES + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text: Vec<u8> = slurp().map_err(|error| AnchorError::io("read", path, error))?;
    if MAX_ANCHOR_BYTES < text.len() as u64 {
        return Err(AnchorError::io("read", path, std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

fn whole_lines(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
    text.get(..end).unwrap_or_default()
}

fn parse(path: &Path, lines: &[u8]) -> Result<Vec<Checkpoint>, AnchorError> {
    let lines = lines.split_inclusive(|&byte| byte == b'\n').enumerate();
    let parsed = lines.map(|(index, line)| {
        Checkpoint::from_json(line.trim_ascii_end()).map_err(|error| AnchorError::Damaged {
            path: path.to_owned(),
            line: index + 1,
            reason: error.to_string(),
        })
    });
    parsed.collect()
}

/// Keeps checkpoints as records of another ledger, durable before they count.
#[derive(Debug)]
pub struct LedgerAnchor(Ledger);

impl LedgerAnchor {
    /// Anchors in `ledger`. It must not be the one whose checkpoints come here: that would wait for itself.
    #[must_use]
    pub const fn new(ledger: Ledger) -> Self {
        Self(ledger)
    }

    /// The checkpoints of the ledger named `of` in `ledger`, oldest first.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn read(ledger: &Ledger, of: &crate::LedgerId) -> Result<Vec<Checkpoint>, AnchorError> {
        let mut kept = Vec::new();
        for entry in ledger.read(ledger.base().count) {
            let entry = entry.map_err(|error| AnchorError::Failed(error.to_string()))?;
            match Checkpoint::from_json(&entry.body) {
                Ok(checkpoint) if entry.kind == EntryKind::Event && checkpoint.ledger == *of => {
                    kept.push(checkpoint);
                }
                _ => {}
            }
        }
        Ok(kept)
    }
}

impl Anchor for LedgerAnchor {
    fn name(&self) -> &str {
        self.0.id().as_str()
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), AnchorError> {
        let kept = self.0.append(EntryKind::Event, checkpoint.to_json().as_bytes());
        let kept = kept.and_then(|appended| self.0.durable_blocking(appended.seq));
        kept.map_err(|error| AnchorError::Failed(error.to_string()))
    }
}
