//! The files of a directory as documents, and which of them changed since the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_primitives::{Clock, Digest, Timestamp};
use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};

use super::error::shortened;
use super::{Declared, IngestError, Ingested, Parser};
use crate::model::DocumentId;

/// Most entries that are looked at, and how deep. What is beyond is said to be missing.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_DEPTH: usize = 64;
/// A file that was changed so shortly before it was read may change again without a newer time: file systems count in steps
/// of up to two seconds.
const SETTLES: Duration = Duration::from_secs(2);
const RAW_DOMAIN: &str = "agent-os caas source v1";

/// A directory whose files are documents, named by their paths beneath it with `/` between names.
///
/// Nothing outside of it is ever read: links are not followed, pipes and devices are not opened, and names that begin with a
/// dot are left out. Sizes are compared with [`Limits::raw`](super::Limits::raw) before a file is opened.
#[derive(Clone, Debug)]
pub struct Folder {
    root: Arc<Dir>,
    parser: Parser,
    clock: Arc<dyn Clock>,
}

/// What is known of a file that was read: enough to tell without reading it that it is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Its length in bytes.
    pub size: u64,
    /// When it was changed, as the file system says.
    pub modified: Option<Timestamp>,
    /// Digest of its bytes.
    pub raw: Digest,
    /// Digest of its text: [`Ingested::digest`].
    pub text: Digest,
    /// Whether its time can be relied on: it was not changed just before or while it was read.
    pub settled: bool,
}

/// The stamps of the last time, by document. The host keeps them beside its index.
pub type Known = BTreeMap<DocumentId, Stamp>;

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// Its path beneath the folder.
    pub id: DocumentId,
    /// Its length in bytes.
    pub size: u64,
    /// When it was changed, as the file system says.
    pub modified: Option<Timestamp>,
}

/// Something that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failed {
    /// Its path beneath the folder; empty for the folder itself.
    pub path: String,
    /// Why.
    pub error: IngestError,
}

/// Something that is left out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ignored {
    /// Its path beneath the folder.
    pub path: String,
    /// Why.
    pub why: &'static str,
}

/// What is in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// Its files, in the order of their names.
    pub files: Vec<Found>,
    /// What is left out.
    pub ignored: Vec<Ignored>,
    /// What could not be looked at: what is beneath it may still be there.
    pub failed: Vec<Failed>,
}

/// How a folder differs from what is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Files that are not known.
    pub new: Vec<Found>,
    /// Files whose size or time is another one, or whose time cannot be relied on.
    pub changed: Vec<Found>,
    /// How many files are the same.
    pub same: usize,
    /// Documents whose files are gone. One that merely could not be looked at is not among them.
    pub gone: Vec<DocumentId>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FolderDocument {
    /// Its path beneath the folder.
    pub id: DocumentId,
    /// What it says.
    pub ingested: Ingested,
    /// What to know of it the next time.
    pub stamp: Stamp,
}

/// How far reading a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// Files that were read or failed.
    pub done: usize,
    /// Files that are to be read in all.
    pub total: usize,
    /// The file that is read next.
    pub next: &'a DocumentId,
}

/// What came of reading a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many documents were handed over.
    pub read: usize,
    /// How many files were not read because they are the same.
    pub same: usize,
    /// Files that were written anew with the same bytes, with their new stamps.
    pub touched: Vec<(DocumentId, Stamp)>,
    /// Documents whose files are gone.
    pub gone: Vec<DocumentId>,
    /// What could not be read. A document that is known keeps its last version until the host decides.
    pub failed: Vec<Failed>,
    /// What is left out.
    pub ignored: Vec<Ignored>,
    /// Documents that say the same as another one, which comes second. Both were handed over.
    pub duplicates: Vec<(DocumentId, DocumentId)>,
    /// Whether all of the folder was read: nothing failed and nobody stopped it.
    pub complete: bool,
}

impl Folder {
    /// Opens a directory.
    ///
    /// # Errors
    /// [`IngestError::Io`] if it cannot be opened.
    pub fn open(path: &Path, parser: Parser, clock: Arc<dyn Clock>) -> Result<Self, IngestError> {
        let root = Dir::open_ambient_dir(path, ambient_authority());
        let root = root.map_err(|error| io(&path.display().to_string(), &error))?;
        Ok(Self { root: Arc::new(root), parser, clock })
    }

    /// Looks at all files without reading any.
    #[must_use]
    pub fn survey(&self) -> Survey {
        let mut visit = Visit { survey: Survey::default(), left: MAX_ENTRIES };
        visit.folder(&self.root, "", 1);
        visit.survey
    }

    /// Reads a file that was found.
    ///
    /// # Errors
    /// What [`Parser::parse`] gives, `TooLarge` before the file is opened, `Io`.
    pub fn read(&self, found: &Found) -> Result<FolderDocument, IngestError> {
        let (raw, stamp) = self.bytes(found)?;
        self.document(found, &raw, stamp)
    }

    /// Reads what is new or was changed, and hands over one document after the other; memory holds one at a time. `progress` is
    /// told before each file, and either of the two may end the work.
    pub fn read_changed(
        &self,
        known: &Known,
        mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
        mut each: impl FnMut(FolderDocument) -> ControlFlow<()>,
    ) -> Report {
        let survey = self.survey();
        let changes = survey.changes(known);
        let mut report = Report {
            same: changes.same,
            gone: changes.gone,
            failed: survey.failed,
            ignored: survey.ignored,
            ..Report::default()
        };
        let mut said: BTreeMap<Digest, DocumentId> = BTreeMap::new();
        let unread: BTreeSet<&DocumentId> =
            changes.new.iter().chain(&changes.changed).map(|found| &found.id).collect();
        for (id, stamp) in known.iter().filter(|(id, _)| !unread.contains(id) && !report.gone.contains(id)) {
            said.entry(stamp.text).or_insert_with(|| id.clone());
        }
        let total = unread.len();
        for (done, found) in changes.new.iter().chain(&changes.changed).enumerate() {
            if progress(Progress { done, total, next: &found.id }).is_break() {
                return report;
            }
            match self.read_unless(found, known.get(&found.id)) {
                Ok(Seen::Same(stamp)) => {
                    said.entry(stamp.text).or_insert_with(|| found.id.clone());
                    report.touched.push((found.id.clone(), stamp));
                }
                Ok(Seen::Other(document)) => {
                    report.read += 1;
                    let first = said.entry(document.stamp.text).or_insert_with(|| found.id.clone());
                    if *first != found.id {
                        report.duplicates.push((found.id.clone(), first.clone()));
                    }
                    if each(*document).is_break() {
                        return report;
                    }
                }
                Err(error) => report.failed.push(Failed { path: found.id.to_string(), error }),
            }
        }
        report.complete = report.failed.is_empty();
        report
    }

    fn read_unless(&self, found: &Found, known: Option<&Stamp>) -> Result<Seen, IngestError> {
        let (raw, stamp) = self.bytes(found)?;
        if let Some(known) = known
            && known.raw == stamp.raw
        {
            return Ok(Seen::Same(Stamp { text: known.text, ..stamp }));
        }
        self.document(found, &raw, stamp).map(|document| Seen::Other(Box::new(document)))
    }

    fn document(&self, found: &Found, raw: &[u8], stamp: Stamp) -> Result<FolderDocument, IngestError> {
        let ingested = self.parser.parse(raw, &Declared::named(found.id.as_str()))?;
        let stamp = Stamp { text: ingested.digest, ..stamp };
        Ok(FolderDocument { id: found.id.clone(), ingested, stamp })
    }

    /// The bytes of a file, and what is known of it but for its text.
    fn bytes(&self, found: &Found) -> Result<(Vec<u8>, Stamp), IngestError> {
        let limit = self.parser.limits().raw;
        let too_large = || IngestError::TooLarge { what: "bytes of source", limit };
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        if most < found.size {
            return Err(too_large());
        }
        let path = found.id.as_str();
        let failed = |error: std::io::Error| io(path, &error);
        let mut options = OpenOptions::new();
        options.read(true).follow(FollowSymlinks::No).nonblock(true);
        let mut file = self.root.open_with(path, &options).map_err(failed)?.into_std();
        let before = file.metadata().map_err(failed)?;
        if !before.is_file() {
            return Err(IngestError::Io { path: path.to_owned(), why: "it is no plain file".to_owned() });
        }
        if most < before.len() {
            return Err(too_large());
        }
        let mut raw = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
        // A file may grow while it is read.
        file.by_ref().take(most.saturating_add(1)).read_to_end(&mut raw).map_err(failed)?;
        if limit < raw.len() {
            return Err(too_large());
        }
        let after = file.metadata().map_err(failed)?;
        let modified = timestamp(before.modified());
        let steps = i64::try_from(SETTLES.as_micros()).unwrap_or(i64::MAX);
        let old = modified
            .is_some_and(|time| time.as_micros().saturating_add(steps) <= self.clock.now().as_micros());
        let settled = old && modified == timestamp(after.modified()) && before.len() == after.len();
        let stamp = Stamp {
            size: before.len(),
            modified,
            raw: Digest::of(RAW_DOMAIN, &raw),
            text: Digest::ZERO,
            settled,
        };
        Ok((raw, stamp))
    }
}

enum Seen {
    Same(Stamp),
    Other(Box<FolderDocument>),
}

impl Survey {
    /// How the folder differs from what is known.
    #[must_use]
    pub fn changes(&self, known: &Known) -> Changes {
        let mut changes = Changes::default();
        for found in &self.files {
            match known.get(&found.id) {
                None => changes.new.push(found.clone()),
                Some(stamp)
                    if stamp.settled && stamp.size == found.size && stamp.modified == found.modified =>
                {
                    changes.same += 1;
                }
                Some(_) => changes.changed.push(found.clone()),
            }
        }
        let there: BTreeSet<&DocumentId> = self.files.iter().map(|found| &found.id).collect();
        let gone = known.keys().filter(|id| !there.contains(id) && !self.is_unseen(id.as_str()));
        changes.gone = gone.cloned().collect();
        changes
    }

    /// Whether a path is, or is beneath, one that could not be looked at.
    fn is_unseen(&self, path: &str) -> bool {
        self.failed.iter().any(|failed| {
            let rest = path.strip_prefix(failed.path.as_str());
            failed.path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

struct Visit {
    survey: Survey,
    left: usize,
}

impl Visit {
    /// Recurses [`MAX_DEPTH`] folders deep at most, with one of each open.
    fn folder(&mut self, folder: &Dir, path: &str, depth: usize) {
        let entries = folder.entries().and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.failed(path, io(path, &error)),
        };
        entries.sort_by_key(cap_std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let below = if path.is_empty() { shown.to_string() } else { format!("{path}/{shown}") };
            if self.left == 0 {
                let error = IngestError::TooLarge { what: "entries in the folder", limit: MAX_ENTRIES };
                return self.failed(path, error);
            }
            self.left -= 1;
            if shown.starts_with('.') {
                self.ignored(below, "its name begins with a dot");
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && MAX_DEPTH <= depth => {
                    self.failed(
                        &below,
                        IngestError::TooLarge { what: "folders in folders", limit: MAX_DEPTH },
                    );
                }
                Ok(kind) if kind.is_dir() => match folder.open_dir_nofollow(&name) {
                    Ok(inner) => self.folder(&inner, &below, depth + 1),
                    Err(error) => self.failed(&below, io(&below, &error)),
                },
                Ok(kind) if kind.is_file() => {
                    match (name.to_str().map(|_| below.parse()), entry.metadata()) {
                        (Some(Ok(id)), Ok(metadata)) => {
                            let modified =
                                timestamp(metadata.modified().map(cap_std::time::SystemTime::into_std));
                            self.survey.files.push(Found { id, size: metadata.len(), modified });
                        }
                        (_, Err(error)) => self.failed(&below, io(&below, &error)),
                        _ => {
                            let path = shortened(&below);
                            self.failed(&below, IngestError::BadPath { path });
                        }
                    }
                }
                Ok(kind) if kind.is_symlink() => self.ignored(below, "it is a link"),
                Ok(_) => self.ignored(below, "it is no plain file"),
                Err(error) => self.failed(&below, io(&below, &error)),
            }
        }
    }

    fn failed(&mut self, path: &str, error: IngestError) {
        self.survey.failed.push(Failed { path: path.to_owned(), error });
    }

    fn ignored(&mut self, path: String, why: &'static str) {
        self.survey.ignored.push(Ignored { path, why });
    }
}

fn io(path: &str, error: &std::io::Error) -> IngestError {
    IngestError::Io { path: shortened(&path), why: shortened(error) }
}

fn timestamp(time: std::io::Result<SystemTime>) -> Option<Timestamp> {
    let time = time.ok()?;
    let micros = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).ok()?,
        Err(before) => i64::try_from(before.duration().as_micros()).ok()?.checked_neg()?,
    };
    Some(Timestamp::from_micros(micros))
}
