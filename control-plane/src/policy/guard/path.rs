//! A text argument that names a file.

use super::super::error::{Code, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::source::Node;
use super::Truth;
use crate::vfs::VfsPath;

/// The fields of the guard.
pub(in crate::policy) const FIELDS: [&str; 1] = ["under"];

/// At or below one of some folders.
#[derive(Debug)]
pub(in crate::policy) struct PathGuard {
    roots: Box<[VfsPath]>,
}

impl PathGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`path`", &FIELDS, report)?;
        let under = guard.require("under", "`path`", report)?;
        let texts = fields::texts(&under.value, "`under`", report)?;
        let mut roots = Vec::new();
        for (text, at) in texts {
            match clean(text) {
                Ok(root) => roots.push(root),
                Err(reason) => {
                    report.add(Code::BadOperand, at, format!("the folder {}: {reason}", quoted(text)));
                }
            }
        }
        (!roots.is_empty()).then(|| Self { roots: roots.into() })
    }

    pub(super) fn judge(&self, text: &str) -> Truth {
        match clean(text) {
            Ok(path) => self.roots.iter().any(|root| path.below(root).is_some()).into(),
            Err(_) => Truth::Unknown,
        }
    }
}

/// A path with one reading only: besides what [`VfsPath`] refuses, no backslash, which is a separator elsewhere, and no
/// percent escape, which a tool might decode after the check.
fn clean(text: &str) -> Result<VfsPath, String> {
    let escaped = text.as_bytes().windows(3).any(
        |window| matches!(window, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()),
    );
    if escaped {
        return Err("the path holds a percent escape".into());
    }
    if text.contains('\\') {
        return Err("the path holds a backslash".into());
    }
    VfsPath::parse(text).map_err(|error| error.to_string())
}
