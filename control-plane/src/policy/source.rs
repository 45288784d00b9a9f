//! Reads a document into a tree that remembers where each part stood.
//!
//! Only what JSON can say is taken, whatever the format. What a reviewer sees is then what is in force.

mod ambiguous;
mod json;
mod toml;
mod yaml;

use std::path::Path;

use serde_json::{Number, Value};

use super::error::{Code, Mark, Report, quoted};

/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 32;
/// Largest integer a double holds exactly; beyond it two texts would mean one number.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Yaml,
    Json,
    Toml,
}

impl Format {
    /// By the end of the file's name, in small letters.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }
}

/// A value and where it stood.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Mark,
    pub(super) tree: Tree,
    /// Whether this is text that stood without quotes.
    unquoted: bool,
}

/// What a document can hold.
#[derive(Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was reported already; whoever meets it stays silent.
    Reported,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Mark,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn new(at: Mark, tree: Tree) -> Self {
        Self { at, tree, unquoted: false }
    }

    /// The same once more, places included.
    pub(super) fn copied(&self) -> Self {
        let tree = match &self.tree {
            Tree::Null => Tree::Null,
            Tree::Bool(value) => Tree::Bool(*value),
            Tree::Number(value) => Tree::Number(value.clone()),
            Tree::Text(text) => Tree::Text(text.clone()),
            Tree::List(items) => Tree::List(items.iter().map(Self::copied).collect()),
            Tree::Map(entries) => Tree::Map(
                entries
                    .iter()
                    .map(|entry| Entry { key: entry.key.clone(), at: entry.at, value: entry.value.copied() })
                    .collect(),
            ),
            Tree::Reported => Tree::Reported,
        };
        Self { at: self.at, tree, unquoted: self.unquoted }
    }

    /// Reports each text in here, keys aside, that should have been quoted because other readers of YAML take it for a
    /// boolean, a number or a date.
    pub(super) fn refuse_ambiguous(&self, report: &mut Report) {
        match &self.tree {
            Tree::List(items) => items.iter().for_each(|item| item.refuse_ambiguous(report)),
            Tree::Map(entries) => entries.iter().for_each(|entry| entry.value.refuse_ambiguous(report)),
            Tree::Text(text) if self.unquoted => {
                if let Some(kind) = ambiguous::read_elsewhere_as(text) {
                    let message = format!("{}: some readers of YAML take this for {kind}", quoted(text));
                    let help = format!("put it in quotes: \"{text}\"");
                    report.add_help(Code::WrongType, self.at, message, help);
                }
            }
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) | Tree::Reported => {}
        }
    }

    /// The same value as JSON.
    pub(super) fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Null | Tree::Reported => Value::Null,
            Tree::Bool(value) => (*value).into(),
            Tree::Number(value) => Value::Number(value.clone()),
            Tree::Text(text) => text.as_str().into(),
            Tree::List(items) => items.iter().map(Self::to_json).collect(),
            Tree::Map(entries) => Value::Object(
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect(),
            ),
        }
    }
}

/// Parses one document. `None` means that no tree could be built; the report says why.
pub(super) fn parse(format: Format, text: &str, report: &mut Report) -> Option<Node> {
    match format {
        Format::Yaml => yaml::parse(text, report),
        Format::Json => json::parse(text, report),
        Format::Toml => toml::parse(text, report),
    }
}

/// What a number means, less the forms that other readers take differently; text, if it is none.
fn number(text: &str) -> Result<Tree, &'static str> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let looks_numeric = unsigned.starts_with(|first: char| first.is_ascii_digit())
        || unsigned
            .strip_prefix('.')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    if matches!(unsigned.to_ascii_lowercase().as_str(), ".inf" | ".nan") {
        return Err("infinite and undefined numbers are not values");
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if looks_numeric && digits(unsigned) {
        if 1 < unsigned.len() && unsigned.starts_with('0') {
            return Err("a number with a leading zero is read as octal by some and as decimal by others");
        }
        let magnitude = unsigned.parse::<u64>().ok().filter(|magnitude| *magnitude <= MAX_EXACT);
        let magnitude = magnitude.ok_or("an integer beyond 2^53-1 has no exact form")?;
        let number = match i64::try_from(magnitude) {
            Ok(magnitude) if text.starts_with('-') => Number::from(-magnitude),
            _ => Number::from(magnitude),
        };
        return Ok(Tree::Number(number));
    }
    for prefix in ["0x", "0o"] {
        if unsigned.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err("numbers are written in decimal");
        }
    }
    let float_shape = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if looks_numeric
        && float_shape
        && let Ok(value) = text.parse::<f64>()
    {
        return Number::from_f64(value).map(Tree::Number).ok_or("the number is too large");
    }
    Ok(Tree::Text(text.to_owned()))
}

fn mark(line: usize, column_from_zero: usize) -> Mark {
    let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Mark { line: clamp(line), column: clamp(column_from_zero.saturating_add(1)) }
}

/// Turns byte offsets into places. Offsets are asked for in ascending order or not; each costs one line.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn mark(&self, offset: usize) -> Mark {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        mark(line, column)
    }
}

fn too_deep(at: Mark, report: &mut Report) {
    report.add(Code::Limit, at, format!("nested deeper than {MAX_DEPTH} levels"));
}

fn twice(key: &str, at: Mark, report: &mut Report) {
    report.add(Code::DuplicateKey, at, format!("the key {} appears twice in one map", quoted(key)));
}

fn bad_number(text: &str, reason: &str, at: Mark, report: &mut Report) {
    let help = "put it in quotes if text is meant";
    report.add_help(Code::WrongType, at, format!("{}: {reason}", quoted(text)), help);
}

/// The parser's own words, which may quote the document.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(200).collect()
}
