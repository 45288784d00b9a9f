//! Arguments that name files.

use std::io;
use std::path::{Path, PathBuf};

use agent_primitives::json::Value;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::Serialize;

use crate::error::ToolError;

/// Longest path argument in bytes.
pub const MAX_PATH: usize = 4096;

/// Where an argument that names a file may lead.
///
/// The agent speaks of `/data/report.txt`; the host keeps it in `host`. Before the call is judged the text must be
/// absolute and normalised, must lie under `mounted_at`, and what it names, with every link followed, must lie beneath
/// `host`.
///
/// That check sees the file system as it is at that moment. Somebody who can change it may put a link in place between
/// the check and the tool's own opening of the file, so a tool still opens through a `cap_std::fs::Dir` of its own,
/// which checks each step as it takes it. The check here is for the policy and the record: it refuses early, and says why.
#[derive(Clone, Debug)]
pub struct PathRoot {
    /// The directory as the agent sees it: absolute and normalised, such as `/data`.
    pub mounted_at: String,
    /// The directory of the host behind it. It is opened once, at registration.
    pub host: PathBuf,
    /// Whether the file has to exist. If not, the nearest directory above it that exists has to lie beneath `host`.
    pub must_exist: bool,
}

/// What a contract says about a path argument; the host's side is nobody else's business.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PathTerms {
    pointer: String,
    mounted_at: String,
    must_exist: bool,
}

#[derive(Debug)]
pub(crate) struct PathArgument {
    terms: PathTerms,
    root: Dir,
}

impl PathArgument {
    pub(crate) fn open(pointer: String, root: PathRoot) -> Result<Self, String> {
        if !pointer.starts_with('/') {
            return Err(format!("`{pointer}` is not the JSON pointer of an argument"));
        }
        if root.mounted_at != "/" {
            normalised(&root.mounted_at).map_err(|reason| format!("the mount of `{pointer}`: {reason}"))?;
        }
        let dir = Dir::open_ambient_dir(&root.host, ambient_authority())
            .map_err(|error| format!("the root of `{pointer}` cannot be opened: {error}"))?;
        let terms = PathTerms { pointer, mounted_at: root.mounted_at, must_exist: root.must_exist };
        Ok(Self { terms, root: dir })
    }

    pub(crate) fn terms(&self) -> PathTerms {
        self.terms.clone()
    }

    /// Whether the path among `arguments` stays beneath the root. An argument that is absent or null names no file;
    /// whether it may be absent is the schema's business.
    pub(crate) fn check(&self, arguments: &Value) -> Result<(), ToolError> {
        let escapes = |reason| ToolError::PathEscapes { pointer: self.terms.pointer.clone(), reason };
        let text = match arguments.pointer(&self.terms.pointer) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::String(text)) => text,
            Some(_) => return Err(escapes("it is not text")),
        };
        normalised(text).map_err(escapes)?;
        let relative = self.beneath_mount(text).ok_or_else(|| escapes("it is not beneath its mount"))?;
        match self.resolve(Path::new(relative)) {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => {
                Err(ToolError::PathMissing { pointer: self.terms.pointer.clone() })
            }
            Err(_) => Err(escapes("a link leads out of its root, or it cannot be resolved")),
        }
    }

    /// The part of `text` after the mount, at a border between segments.
    fn beneath_mount<'a>(&self, text: &'a str) -> Option<&'a str> {
        let rest = text.strip_prefix(self.terms.mounted_at.trim_end_matches('/'))?;
        if rest.is_empty() { Some(".") } else { rest.strip_prefix('/') }
    }

    fn resolve(&self, relative: &Path) -> io::Result<()> {
        for ancestor in relative.ancestors() {
            let ancestor = if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor };
            match self.root.canonicalize(ancestor) {
                Ok(_) => return Ok(()),
                Err(error) if self.terms.must_exist || error.kind() != io::ErrorKind::NotFound => {
                    return Err(error);
                }
                // A link that leads nowhere would decide later where the new file goes.
                Err(_) if self.root.symlink_metadata(ancestor).is_ok() => {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                Err(_) => {}
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Absolute, bounded, and with exactly one spelling.
fn normalised(text: &str) -> Result<(), &'static str> {
    if MAX_PATH < text.len() {
        return Err("it is too long");
    }
    let rest = text.strip_prefix('/').ok_or("it is not absolute")?;
    if rest.contains('\0') {
        return Err("it holds a NUL");
    }
    if rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err("it holds an empty, `.` or `..` segment");
    }
    Ok(())
}
