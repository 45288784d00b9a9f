//! Reads YAML into a tree that remembers where each part stood.
//!
//! Only what JSON can say is taken: no tags, anchors, aliases, merge keys or directives, text as keys, one document.
//! What a reviewer sees is then what is in force.

mod ambiguous;

use std::collections::HashSet;

use serde_json::{Number, Value};
use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, Span};

use super::error::{Code, Mark, Report, quoted};

/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 32;
/// Largest integer a double holds exactly; beyond it two texts would mean one number.
const MAX_EXACT: u64 = (1 << 53) - 1;

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
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder { report, open: Vec::new(), root: None, documents: 0 };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, span)?,
            Err(error) => {
                let at = mark(error.marker().line(), error.marker().col());
                match error.kind() {
                    ErrorKind::RecursionLimitExceeded => builder.too_deep(at),
                    _ => {
                        let message = format!("not YAML: {}", one_line(&error.info()));
                        builder.report.add(Code::Syntax, at, message);
                    }
                }
                return None;
            }
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        report.add_help(
            Code::NotOneDocument,
            Mark { line: 1, column: 1 },
            "the document is empty",
            "a policy that grants nothing is `version: 1` and `packs: [default_deny]`",
        );
    }
    root
}

/// The tree under construction.
struct Builder<'r> {
    report: &'r mut Report,
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
}

/// A key that waits for its value; `None` as text if it was reported and the entry is to be dropped.
type Key = (Option<String>, Mark);

/// A list or map whose end was not seen yet.
enum Open {
    List { at: Mark, items: Vec<Node> },
    Map { at: Mark, entries: Vec<Entry>, seen: HashSet<String>, key: Option<Key> },
}

impl Builder<'_> {
    /// Takes the next event; `None` ends the reading after an error that leaves nothing to go on with.
    fn take(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        let at = mark(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if 1 < self.documents {
                    self.report.add(Code::NotOneDocument, at, "a policy is one document");
                    return None;
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.no_extras(at, anchor, tag.is_some());
                self.scalar(at, &text, style);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.no_extras(at, anchor, tag.is_some());
                self.open(at, Open::List { at, items: Vec::new() })?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.no_extras(at, anchor, tag.is_some());
                self.open(at, Open::Map { at, entries: Vec::new(), seen: HashSet::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.report.add_help(
                    Code::NotData,
                    at,
                    "aliases are not part of the policy language",
                    "write the value out",
                );
                self.place(Node::new(at, Tree::Reported));
            }
            _ => {}
        }
        Some(())
    }

    fn no_extras(&mut self, at: Mark, anchor: usize, tagged: bool) {
        if anchor != 0 {
            self.report.add_help(
                Code::NotData,
                at,
                "anchors are not part of the policy language",
                "write the value out",
            );
        }
        if tagged {
            self.report.add(Code::NotData, at, "tags are not part of the policy language");
        }
    }

    fn open(&mut self, at: Mark, open: Open) -> Option<()> {
        if MAX_DEPTH <= self.open.len() {
            self.too_deep(at);
            return None;
        }
        self.open.push(open);
        Some(())
    }

    fn too_deep(&mut self, at: Mark) {
        self.report.add(Code::Limit, at, format!("nested deeper than {MAX_DEPTH} levels"));
    }

    fn close(&mut self) {
        let node = match self.open.pop() {
            Some(Open::List { at, items }) => Node::new(at, Tree::List(items)),
            Some(Open::Map { at, entries, .. }) => Node::new(at, Tree::Map(entries)),
            None => return,
        };
        self.place(node);
    }

    fn scalar(&mut self, at: Mark, text: &str, style: ScalarStyle) {
        let is_key = matches!(self.open.last(), Some(Open::Map { key: None, .. }));
        let tree = if style == ScalarStyle::Plain { plain(text) } else { Ok(Tree::Text(text.to_owned())) };
        let tree = match tree {
            Ok(Tree::Text(text)) => Tree::Text(text),
            _ if is_key => {
                let help = format!("put it in quotes: \"{text}\"");
                self.report.add_help(
                    Code::WrongType,
                    at,
                    format!("the key {} is not text", quoted(text)),
                    help,
                );
                Tree::Reported
            }
            Ok(tree) => tree,
            Err(message) => {
                let help = "put it in quotes if text is meant";
                self.report.add_help(Code::WrongType, at, format!("{}: {message}", quoted(text)), help);
                Tree::Reported
            }
        };
        let unquoted = style == ScalarStyle::Plain && matches!(tree, Tree::Text(_));
        self.place(Node { at, tree, unquoted });
    }

    /// Puts a finished node where it belongs: into the open list, as key or value of the open map, or as the root.
    fn place(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key, .. }) => match key.take() {
                Some((None, _)) => {}
                Some((Some(key), at)) => {
                    if seen.insert(key.clone()) {
                        entries.push(Entry { key, at, value: node });
                    } else {
                        let message = format!("the key {} appears twice in one map", quoted(&key));
                        self.report.add(Code::DuplicateKey, at, message);
                    }
                }
                None => {
                    let text = match node.tree {
                        Tree::Text(text) => Some(text),
                        Tree::Reported => None,
                        _ => {
                            self.report.add(Code::WrongType, node.at, "a list or map cannot be a key");
                            None
                        }
                    };
                    *key = Some((text, node.at));
                }
            },
        }
    }
}

/// What a plain scalar means in the YAML 1.2 core schema, less the forms that older readers take differently.
fn plain(text: &str) -> Result<Tree, &'static str> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        _ => return number(text),
    })
}

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

/// The parser's own words, which may quote the document.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(200).collect()
}
