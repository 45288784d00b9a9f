//! The tree of a program, level by level, down to its items and no further.

use std::sync::Arc;

use tree_sitter::{Node, Tree, TreeCursor};

use super::super::{IngestError, Limits, plain};
use super::kinds::{Kinds, Role};
use crate::model::{BlockKind, Path};

/// Longest step of a path, in characters.
const MAX_STEP: usize = 100;

/// Most lines of an item without a body that are its signature. A longer one is named by its first.
const MAX_SIGNATURE: usize = 12;

/// Where a block begins; it goes on to the next one.
pub(super) struct Mark {
    pub(super) kind: BlockKind,
    pub(super) start: usize,
    pub(super) path: Path,
}

/// Items side by side, while they are looked at.
struct Level<'t> {
    cursor: TreeCursor<'t>,
    begun: bool,
    path: Path,
    /// Comments and attributes before an item that is still to come.
    leads: Option<Leads>,
}

#[derive(Clone, Copy)]
struct Leads {
    start: usize,
    end: usize,
    /// An attribute belongs to what comes next, however far away.
    attribute: bool,
}

impl<'t> Level<'t> {
    fn of(node: Node<'t>, path: Path) -> Self {
        Self { cursor: node.walk(), begun: false, path, leads: None }
    }

    fn next(&mut self) -> Option<Node<'t>> {
        let moved = if self.begun { self.cursor.goto_next_sibling() } else { self.cursor.goto_first_child() };
        self.begun = true;
        moved.then(|| self.cursor.node())
    }
}

/// Where the blocks of a program begin, in order.
///
/// # Errors
/// `TooLarge` for more blocks, or more levels of items, than there may be.
pub(super) fn marks(
    text: &str,
    tree: &Tree,
    kinds: &Kinds,
    limits: &Limits,
) -> Result<Vec<Mark>, IngestError> {
    let mut walk = Walk { text, kinds, limits, marks: Vec::new(), row: None };
    // Not by recursion: the text says how deep it is.
    let mut levels = vec![Level::of(tree.root_node(), [].into())];
    while let Some(level) = levels.last_mut() {
        let Some(node) = level.next() else {
            walk.flush(level)?;
            levels.pop();
            continue;
        };
        let inner = walk.visit(level, node)?;
        walk.row = Some(node.end_position().row);
        if let Some(inner) = inner {
            // Conditions of a preprocessor nest with each branch; those too deep are left whole.
            let is_list = inner.path.len() == level.path.len();
            let depth = levels.len() + 1;
            if !is_list {
                limits.nesting(depth)?;
            }
            if depth <= limits.nesting {
                levels.push(inner);
            }
        }
    }
    Ok(walk.marks)
}

struct Walk<'a> {
    text: &'a str,
    kinds: &'a Kinds,
    limits: &'a Limits,
    marks: Vec<Mark>,
    /// The line on which the node before ends.
    row: Option<usize>,
}

impl<'a> Walk<'a> {
    /// Marks what a node is, and returns the level inside of it, where there is one to be looked at.
    fn visit<'t>(&mut self, level: &mut Level<'t>, node: Node<'t>) -> Result<Option<Level<'t>>, IngestError> {
        if node.is_error() {
            return self.error(level, node);
        }
        // Brackets and the like go with what is before them.
        if !node.is_named() {
            return Ok(None);
        }
        let (role, item) = self.kinds.role(node);
        match role {
            Role::Comment => self.comment(level, node).map(|()| None),
            Role::Attribute => self.lead(level, node, true).map(|()| None),
            Role::Import => {
                self.flush(level)?;
                self.join(BlockKind::Imports, node.start_byte(), &level.path).map(|()| None)
            }
            Role::Function | Role::Value | Role::Container => self.item(level, node, item, role),
            Role::List => {
                let start = self.start(level, node)?;
                self.join(BlockKind::Body, start, &level.path)?;
                Ok(Some(Level::of(node, Arc::clone(&level.path))))
            }
            Role::Other => {
                let preamble =
                    self.marks.is_empty() || self.marks.iter().all(|mark| mark.kind == BlockKind::Licence);
                let start = self.start(level, node)?;
                let kind = if preamble && is_string(node) { BlockKind::Comment } else { BlockKind::Body };
                self.join(kind, start, &level.path).map(|()| None)
            }
        }
    }

    fn item<'t>(
        &mut self,
        level: &mut Level<'t>,
        node: Node<'t>,
        item: Node<'t>,
        role: Role,
    ) -> Result<Option<Level<'t>>, IngestError> {
        let start = self.start(level, node)?;
        self.mark(BlockKind::Signature, start, &level.path)?;
        let named = named(node);
        let Some(body) = self.body(node, item, role, named) else { return Ok(None) };
        let step = self.step(named, body.start, item);
        let path: Path = level.path.iter().cloned().chain([step]).collect();
        match body.node {
            Some(inner) if role == Role::Container => Ok(Some(Level::of(inner, path))),
            _ => self.mark(BlockKind::Body, body.start, &path).map(|()| None),
        }
    }

    /// Where the body of an item begins; nothing, where all of it is its signature.
    fn body<'t>(&self, node: Node<'t>, item: Node<'t>, role: Role, named: usize) -> Option<Body<'t>> {
        let own = item.child_by_field_name("body").or_else(|| function_of(item));
        if let Some(body) = own.filter(|body| named < body.start_byte()) {
            let one_line = role == Role::Value && item.start_position().row == item.end_position().row;
            let of_value = item.child_by_field_name("body").is_none();
            return (!one_line || of_value).then_some(Body { start: body.start_byte(), node: Some(body) });
        }
        let text = self.text.get(named..node.end_byte())?.trim_end();
        let most = if role == Role::Value { 1 } else { MAX_SIGNATURE };
        if text.lines().count() <= most {
            return None;
        }
        text.find('\n').map(|line| Body { start: named + line + 1, node: None })
    }

    /// What an item is called in a path: its signature on one line, not too long.
    fn step(&self, from: usize, until: usize, item: Node<'_>) -> Arc<str> {
        let mut words =
            self.text.get(from..until).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        // `typedef struct { … } name` has its name at its end.
        let after = item.child_by_field_name("type").and_then(|of| of.child_by_field_name("body"));
        if let Some(body) =
            after.filter(|body| item.kind() == "type_definition" && body.start_byte() == until)
            && let Some(name) = self.text.get(body.end_byte()..item.end_byte())
        {
            words.push(' ');
            words.push_str(name.trim_matches(|char: char| char == ';' || char.is_whitespace()));
        }
        let words = words.replace("( ", "(").replace(", )", ")");
        let words = words.trim_end_matches(|char: char| " {:=(".contains(char));
        let words = words.strip_suffix(" =>").unwrap_or(words);
        match words.char_indices().nth(MAX_STEP - 1) {
            Some((end, _)) if words.get(end..).is_some_and(|rest| 1 < rest.chars().count()) => {
                format!("{}…", words.get(..end).unwrap_or_default()).into()
            }
            _ => words.into(),
        }
    }

    fn comment(&mut self, level: &mut Level<'_>, node: Node<'_>) -> Result<(), IngestError> {
        let text = self.slice(node);
        // What a module says of itself, not of the item after it.
        if ["//!", "/*!"].iter().any(|mark| text.starts_with(mark)) && node.kind() != "comment" {
            self.flush(level)?;
            return self.join(BlockKind::Comment, node.start_byte(), &level.path);
        }
        let is_behind = self.row == Some(node.start_position().row) && level.leads.is_none();
        if is_behind { Ok(()) } else { self.lead(level, node, false) }
    }

    /// Puts a comment or an attribute to those before it.
    fn lead(&mut self, level: &mut Level<'_>, node: Node<'_>, attribute: bool) -> Result<(), IngestError> {
        let end = node.start_byte() + self.slice(node).trim_end().len();
        match &mut level.leads {
            Some(leads) if leads.attribute || touches(self.text, leads.end, node.start_byte()) => {
                leads.end = end;
                leads.attribute |= attribute;
                Ok(())
            }
            _ => {
                self.flush(level)?;
                level.leads = Some(Leads { start: node.start_byte(), end, attribute });
                Ok(())
            }
        }
    }

    /// Where a node begins with the comments and attributes that belong to it. Others become blocks of their own.
    fn start(&mut self, level: &mut Level<'_>, node: Node<'_>) -> Result<usize, IngestError> {
        if let Some(leads) = level.leads
            && (leads.attribute || touches(self.text, leads.end, node.start_byte()))
            && !self.is_licence(leads)
        {
            level.leads = None;
            return Ok(leads.start);
        }
        self.flush(level)?;
        Ok(node.start_byte())
    }

    /// Comments that belong to nothing are blocks of their own.
    fn flush(&mut self, level: &mut Level<'_>) -> Result<(), IngestError> {
        let Some(leads) = level.leads.take() else { return Ok(()) };
        let kind = if self.is_licence(leads) { BlockKind::Licence } else { BlockKind::Comment };
        self.mark(kind, leads.start, &level.path)
    }

    /// Whether comments are the licence: the first of the file, with the marks that tools for licences look for.
    fn is_licence(&self, leads: Leads) -> bool {
        if !self.marks.is_empty() {
            return false;
        }
        let text = self.text.get(leads.start..leads.end).unwrap_or_default().to_lowercase();
        ["spdx-license-identifier", "copyright", "licensed under"].iter().any(|mark| text.contains(mark))
    }

    /// What is against the grammar: the items in it are seen, everything else is parted by blank lines.
    fn error<'t>(&mut self, level: &mut Level<'t>, node: Node<'t>) -> Result<Option<Level<'t>>, IngestError> {
        self.flush(level)?;
        let mut cursor = node.walk();
        if node.named_children(&mut cursor).any(|child| self.kinds.is_known(child)) {
            self.join(BlockKind::Body, node.start_byte(), &level.path)?;
            return Ok(Some(Level::of(node, Arc::clone(&level.path))));
        }
        for part in plain::paragraphs(self.slice(node)) {
            self.mark(BlockKind::Body, node.start_byte() + part.start, &level.path)?;
        }
        Ok(None)
    }

    /// Begins a block, unless the one before is of its kind in its place.
    fn join(&mut self, kind: BlockKind, start: usize, path: &Path) -> Result<(), IngestError> {
        match self.marks.last() {
            Some(last) if last.kind == kind && last.path == *path => Ok(()),
            _ => self.mark(kind, start, path),
        }
    }

    fn mark(&mut self, kind: BlockKind, start: usize, path: &Path) -> Result<(), IngestError> {
        if self.limits.blocks <= self.marks.len() {
            return Err(IngestError::TooLarge { what: "blocks", limit: self.limits.blocks });
        }
        // With the indentation of its first line.
        let before = self.text.get(..start).unwrap_or_default();
        let blank = before.trim_end_matches([' ', '\t']);
        let start = if blank.is_empty() || blank.ends_with('\n') { blank.len() } else { start };
        self.marks.push(Mark { kind, start, path: Arc::clone(path) });
        Ok(())
    }

    fn slice(&self, node: Node<'_>) -> &'a str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }
}

struct Body<'t> {
    start: usize,
    node: Option<Node<'t>>,
}

/// Whether no blank line is between two offsets.
fn touches(text: &str, end: usize, start: usize) -> bool {
    let between = text.get(end..start).unwrap_or_default();
    between.bytes().filter(|byte| *byte == b'\n').count() < 2
}

/// A text that stands where statements stand: the documentation of a module in Python.
fn is_string(node: Node<'_>) -> bool {
    node.kind() == "expression_statement"
        && node.named_child_count() == 1
        && node.named_child(0).is_some_and(|child| child.kind() == "string")
}

/// Where an item begins behind its annotations, decorators and comments.
fn named(node: Node<'_>) -> usize {
    let mut at = node;
    // Annotations of Java are among its modifiers.
    for _ in 0..2 {
        let mut cursor = at.walk();
        let first = at.children(&mut cursor).find(|child| !is_before(*child));
        match first {
            Some(first) if first.kind() == "modifiers" => at = first,
            Some(first) => return first.start_byte(),
            None => return at.end_byte(),
        }
    }
    at.start_byte()
}

fn is_before(node: Node<'_>) -> bool {
    let only_annotations = || {
        let mut cursor = node.walk();
        node.children(&mut cursor).all(is_before)
    };
    match node.kind() {
        "decorator" | "annotation" | "marker_annotation" | "attribute_declaration" => true,
        "modifiers" => only_annotations(),
        kind => kind.ends_with("comment"),
    }
}

/// The body of a function, or of a type, that an item gives a name to.
fn function_of(item: Node<'_>) -> Option<Node<'_>> {
    match item.kind() {
        "type_definition" => item.child_by_field_name("type")?.child_by_field_name("body"),
        "lexical_declaration" | "variable_declaration" => {
            let mut cursor = item.walk();
            let declarator =
                item.named_children(&mut cursor).find(|child| child.kind() == "variable_declarator")?;
            let value = declarator.child_by_field_name("value")?;
            let is_function =
                matches!(value.kind(), "arrow_function" | "function_expression" | "generator_function");
            is_function.then(|| value.child_by_field_name("body"))?
        }
        _ => None,
    }
}
