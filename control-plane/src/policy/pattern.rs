//! Patterns on ids and paths.
//!
//! The language is small on purpose: `*`, `?` and `{a,b}`, and `**` as a whole segment of a path. Character classes and
//! escapes are refused, because a class can match the `/` that a `*` stops at.

use std::collections::HashSet;

use agent_primitives::{AgentId, ToolId};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::budget::Budget;
use super::error::{Code, Mark, Report, quoted};
use crate::kernel::descends;
use crate::vfs::VfsPath;

/// What a pattern is matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tool,
    Agent,
    /// An agent that receives a signal: as [`Kind::Agent`], or one of [`Kin::NAMES`].
    Target,
    Tenant,
    Path,
}

/// One pattern, in the cheapest form that says the same.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// Equal to this text.
    Exact(Box<str>),
    /// Starts with this text.
    Prefix(Box<str>),
    /// Anything else.
    Glob(globset::Glob),
    /// Not by name: by what it is to the caller.
    Kin(Kin),
}

/// What the receiver of a signal is to who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kin {
    Descendants,
    Own,
}

impl Kin {
    /// No agent has such a name.
    pub(super) const NAMES: [(&'static str, Self); 2] =
        [("@descendants", Self::Descendants), ("@self", Self::Own)];

    fn holds(self, sender: &AgentId, receiver: &AgentId) -> bool {
        match self {
            Self::Descendants => descends(receiver, sender),
            Self::Own => sender == receiver,
        }
    }
}

/// Receivers of signals, some of them by what they are to the sender.
#[derive(Debug)]
pub(super) struct Targets {
    named: Patterns,
    kin: Box<[Kin]>,
}

impl Targets {
    /// `None` when all of them are meant by name.
    pub(super) fn new(patterns: &[Pattern]) -> Result<Option<Self>, globset::Error> {
        let kin = |pattern: &Pattern| if let Pattern::Kin(kin) = pattern { Some(*kin) } else { None };
        let kin: Box<[Kin]> = patterns.iter().filter_map(kin).collect();
        if kin.is_empty() { Ok(None) } else { Ok(Some(Self { named: Patterns::new(patterns)?, kin })) }
    }

    pub(super) fn matches(&self, sender: &AgentId, receiver: &AgentId) -> bool {
        self.named.matches(receiver.as_str()) || self.kin.iter().any(|kin| kin.holds(sender, receiver))
    }
}

impl Pattern {
    /// Parses `text`. Whatever could never match is an error.
    pub(super) fn parse(
        kind: Kind,
        text: &str,
        at: Mark,
        budget: &mut Budget,
        report: &mut Report,
    ) -> Option<Self> {
        let compiled = match Self::simple(kind, text) {
            Ok(Some(pattern)) => return Some(pattern),
            Ok(None) => {
                if let Err(message) = budget.glob(text) {
                    report.add(Code::Limit, at, message);
                    return None;
                }
                Self::glob(kind, text)
            }
            Err(reason) => Err(reason),
        };
        match compiled {
            Ok(pattern) => Some(pattern),
            Err(reason) => {
                let what = match kind {
                    Kind::Tool => "tool",
                    Kind::Agent | Kind::Target => "agent",
                    Kind::Tenant => "tenant",
                    Kind::Path => "path",
                };
                report.add(Code::BadPattern, at, format!("the {what} pattern {}: {reason}", quoted(text)));
                None
            }
        }
    }

    /// The forms that cost nothing to compile.
    fn simple(kind: Kind, text: &str) -> Result<Option<Self>, String> {
        if kind == Kind::Target && text.starts_with('@') {
            let known = Kin::NAMES.into_iter().find(|(name, _)| *name == text);
            let unknown = "what begins with `@` is `@descendants` or `@self`";
            return known.map(|(_, kin)| Some(Self::Kin(kin))).ok_or_else(|| unknown.to_owned());
        }
        check(kind, text)?;
        if !text.contains(['*', '?', '{', '}']) {
            return Ok(Some(Self::Exact(text.into())));
        }
        let tail = if kind == Kind::Path { "**" } else { "*" };
        let prefix = text.strip_suffix(tail).filter(|prefix| !prefix.contains(['*', '?', '{', '}']));
        Ok(prefix.map(|prefix| Self::Prefix(prefix.into())))
    }

    fn glob(kind: Kind, text: &str) -> Result<Self, String> {
        GlobBuilder::new(text)
            .literal_separator(kind == Kind::Path)
            .build()
            .map(Self::Glob)
            .map_err(|error| error.kind().to_string())
    }
}

fn check(kind: Kind, text: &str) -> Result<(), String> {
    if text.contains(['[', ']', '\\']) {
        return Err("character classes and escapes are not part of the pattern language".into());
    }
    if ["{,", ",,", ",}", "{}"].iter().any(|empty| text.contains(empty)) {
        return Err("a choice between braces is empty".into());
    }
    match kind {
        Kind::Path => check_path(text),
        Kind::Tool => check_id(text, "_./-", 257, |text| text.parse::<ToolId>().map(drop)),
        Kind::Agent | Kind::Target | Kind::Tenant => {
            check_id(text, "._:@-", 128, |text| text.parse::<AgentId>().map(drop))
        }
    }
}

fn check_path(text: &str) -> Result<(), String> {
    // A name may match `?` at its beginning, and may not be one.
    VfsPath::parse(&text.replace('?', "x")).map_err(|error| error.to_string())?;
    let mut segments = text.split('/').skip(1);
    if segments.clone().next() == Some("agent") {
        return Err("paths are as the agent sees them; leave `/agent/<id>` out and use `agents`".into());
    }
    if segments.any(|segment| segment.contains("**") && segment != "**") {
        return Err("`**` must be a whole segment".into());
    }
    Ok(())
}

fn check_id(
    text: &str,
    punctuation: &str,
    longest: usize,
    parse: impl Fn(&str) -> Result<(), agent_primitives::BadId>,
) -> Result<(), String> {
    if text.is_empty() || longest < text.len() {
        return Err(format!("an id has 1 to {longest} characters"));
    }
    let choices = text.contains('{');
    let pattern = |char| matches!(char, '*' | '?' | '{' | '}') || (choices && char == ',');
    if !text.contains(pattern) {
        return parse(text).map_err(|error| error.to_string());
    }
    let stranger = text
        .chars()
        .find(|char| !char.is_ascii_alphanumeric() && !punctuation.contains(*char) && !pattern(*char));
    match stranger {
        Some(char) => Err(format!("no id holds {}", quoted(&char.to_string()))),
        None if text.contains("**") => Err("`*` crosses everything in an id; `**` means nothing more".into()),
        None => Ok(()),
    }
}

/// Several patterns, any of which may match.
#[derive(Debug)]
pub(super) struct Patterns {
    exact: HashSet<Box<str>>,
    prefixes: Vec<Box<str>>,
    globs: GlobSet,
}

impl Patterns {
    pub(super) fn new(patterns: &[Pattern]) -> Result<Self, globset::Error> {
        let mut globs = GlobSetBuilder::new();
        let (mut exact, mut prefixes) = (HashSet::new(), Vec::new());
        for pattern in patterns {
            match pattern {
                Pattern::Exact(text) => {
                    exact.insert(text.clone());
                }
                Pattern::Prefix(text) => prefixes.push(text.clone()),
                Pattern::Glob(glob) => {
                    globs.add(glob.clone());
                }
                // Looked at by [`Targets`], which knows who asks.
                Pattern::Kin(_) => {}
            }
        }
        Ok(Self { exact, prefixes, globs: globs.build()? })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.exact.contains(text)
            || self.prefixes.iter().any(|prefix| text.starts_with(&**prefix))
            || (!self.globs.is_empty() && self.globs.is_match(text))
    }
}
