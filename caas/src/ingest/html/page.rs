//! A walk over the tree of a page that writes down what is seen.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use serde_json::Value;

use super::super::draft::{Draft, Gaps, Outline};
use super::super::markdown::named_language;
use super::super::removals::Removals;
use super::super::{IngestError, Limits};
use super::hidden::hides;
use super::tree::{DOCUMENT, Data, Id, Node, Tree};
use crate::model::{Block, BlockKind, Language, Path, Removed, RemovedKind};

/// Most attributes that a page may give itself, and most bytes of one.
const MAX_ATTRIBUTES: usize = 64;
const MAX_VALUE: usize = 1024;

/// What is seen of a page.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
    pub(super) title: Option<String>,
    pub(super) removed: Vec<Removed>,
    pub(super) attributes: BTreeMap<String, Value>,
}

impl Page {
    pub(super) fn of(tree: &Tree, limits: &Limits) -> Result<Self, IngestError> {
        let mut walk = Walk::new(tree, limits);
        walk.run()?;
        let mut draft = Draft::new(&walk.text, Gaps::Block(BlockKind::Paragraph), limits);
        for span in walk.spans {
            if let Some(block) = draft.push(span.kind, span.range, &span.path)? {
                block.language = span.language;
            }
        }
        let blocks = draft.finish()?;
        Ok(Self {
            blocks,
            text: walk.text,
            title: walk.title.or(walk.first_heading),
            removed: walk.removals.into_list(),
            attributes: walk.attributes,
        })
    }
}

struct Span {
    kind: BlockKind,
    range: Range<usize>,
    path: Path,
    language: Option<Language>,
}

enum Step {
    Enter(Id, usize),
    Leave(Left),
}

/// What ends with an element.
enum Left {
    /// A block.
    Block,
    /// A block whose insides had a kind of their own.
    Kind,
    Pre,
    Row,
    Table,
}

struct Walk<'t> {
    tree: &'t Tree,
    limits: &'t Limits,
    text: String,
    spans: Vec<Span>,
    removals: Removals,
    attributes: BTreeMap<String, Value>,
    title: Option<String>,
    first_heading: Option<String>,
    outline: Outline,
    kinds: Vec<BlockKind>,
    language: Option<Language>,
    /// Where the block that is being written begins.
    start: usize,
    /// White space was seen, and is written before the next word.
    blank: bool,
    pre: usize,
    tables: usize,
    layouts: HashSet<Id>,
    /// Whether the only heading of the first level comes before all others.
    titled: bool,
    steps: Vec<Step>,
}

impl<'t> Walk<'t> {
    fn new(tree: &'t Tree, limits: &'t Limits) -> Self {
        let headings = || tree.nodes.iter().filter_map(|node| heading(node.name()?));
        let titled = headings().filter(|level| *level == 1).count() == 1 && headings().next() == Some(1);
        Self {
            tree,
            limits,
            text: String::new(),
            spans: Vec::new(),
            removals: Removals::default(),
            attributes: BTreeMap::new(),
            title: None,
            first_heading: None,
            outline: Outline::default(),
            kinds: Vec::new(),
            language: None,
            start: 0,
            blank: false,
            pre: 0,
            tables: 0,
            layouts: layouts(tree),
            titled,
            steps: vec![Step::Enter(DOCUMENT, 0)],
        }
    }

    fn run(&mut self) -> Result<(), IngestError> {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Enter(id, depth) => {
                    self.limits.nesting(depth)?;
                    if let Some(node) = self.tree.node(id) {
                        // Siblings wait beneath the children.
                        if let Some(next) = node.next
                            && id != DOCUMENT
                        {
                            self.steps.push(Step::Enter(next, depth));
                        }
                        self.enter(id, node, depth)?;
                    }
                }
                Step::Leave(left) => self.leave(&left)?,
            }
        }
        self.flush()
    }

    fn enter(&mut self, id: Id, node: &'t Node, depth: usize) -> Result<(), IngestError> {
        match &node.data {
            Data::Text(text) => self.write(text),
            Data::Comment(text) => self.removals.add(RemovedKind::Comment, text),
            Data::Document => self.children(node, depth),
            Data::Other => {}
            // Drawings and formulas: their text is seen.
            Data::Element { .. } if node.name().is_none() => {
                self.blank = true;
                self.children(node, depth);
            }
            Data::Element { .. } => self.element(id, node, depth)?,
        }
        Ok(())
    }

    fn element(&mut self, id: Id, node: &'t Node, depth: usize) -> Result<(), IngestError> {
        let name = node.name().unwrap_or_default();
        match name {
            "script" | "style" => return self.remove(RemovedKind::Script, id),
            "template" | "noscript" | "iframe" | "object" | "datalist" => {
                return self.remove(RemovedKind::Hidden, id);
            }
            "title" => {
                self.title = self.title.take().or_else(|| words_beneath(self.tree, id));
                return Ok(());
            }
            "meta" => return self.meta(node),
            "img" => {
                self.removals.add(RemovedKind::Hidden, node.attribute("alt").unwrap_or_default());
                return Ok(());
            }
            "html" => {
                if let Some(lang) = node.attribute("lang") {
                    self.attribute("lang", lang);
                }
            }
            _ => {}
        }
        if hides(name, |asked| node.attribute(asked)) {
            return self.remove(RemovedKind::Hidden, id);
        }
        if self.tables > 0 && !matches!(name, "table" | "tr" | "td" | "th") {
            // A row is one line whatever is in its cells.
            self.blank |= name == "br" || is_block(name);
            if is_block(name) {
                self.steps.push(Step::Leave(Left::Block));
            }
        } else {
            self.begin(id, name, node)?;
        }
        self.children(node, depth);
        Ok(())
    }

    /// What an element changes before what is in it.
    fn begin(&mut self, id: Id, name: &str, node: &Node) -> Result<(), IngestError> {
        let kind = match name {
            "nav" => Some(BlockKind::Navigation),
            "footer" => Some(BlockKind::Repeated),
            "li" | "dt" | "dd" => Some(BlockKind::ListItem),
            "blockquote" => Some(BlockKind::Quote),
            _ => heading(name).map(BlockKind::Heading),
        };
        match (name, kind) {
            (_, Some(kind)) => {
                self.flush()?;
                self.kinds.push(kind);
                self.steps.push(Step::Leave(Left::Kind));
            }
            ("pre" | "textarea" | "listing", _) => {
                self.flush()?;
                self.kinds.push(BlockKind::Code);
                self.pre += 1;
                self.language = language(node);
                self.steps.push(Step::Leave(Left::Pre));
            }
            ("code", _) if 0 < self.pre => self.language = language(node).or(self.language),
            ("table", _) if !self.layouts.contains(&id) => {
                if self.tables == 0 {
                    self.flush()?;
                    self.kinds.push(BlockKind::Table);
                }
                self.tables += 1;
                self.steps.push(Step::Leave(Left::Table));
            }
            ("tr", _) if 0 < self.tables => self.steps.push(Step::Leave(Left::Row)),
            ("td" | "th", _) if 0 < self.tables => self.cell(),
            ("br", _) => {
                self.blank = false;
                self.text.push('\n');
            }
            _ if is_block(name) => {
                self.flush()?;
                self.steps.push(Step::Leave(Left::Block));
            }
            _ => {}
        }
        Ok(())
    }

    fn leave(&mut self, left: &Left) -> Result<(), IngestError> {
        match left {
            Left::Block if 0 < self.tables => self.blank = true,
            Left::Block => self.flush()?,
            Left::Kind => {
                self.flush()?;
                self.kinds.pop();
            }
            Left::Pre => {
                self.flush()?;
                self.kinds.pop();
                self.pre = self.pre.saturating_sub(1);
                self.language = None;
            }
            Left::Row => {
                self.blank = false;
                if !self.text.ends_with('\n') && self.start < self.text.len() {
                    self.text.push('\n');
                }
            }
            Left::Table => {
                self.tables = self.tables.saturating_sub(1);
                if self.tables == 0 {
                    self.flush()?;
                    self.kinds.pop();
                }
            }
        }
        Ok(())
    }

    fn children(&mut self, node: &Node, depth: usize) {
        if let Some(first) = node.first {
            self.steps.push(Step::Enter(first, depth + 1));
        }
    }

    fn cell(&mut self) {
        self.blank = false;
        if self.start < self.text.len() && !self.text.ends_with('\n') {
            self.text.push_str(" | ");
        }
    }

    fn write(&mut self, text: &str) {
        if 0 < self.pre {
            self.text.push_str(text);
            return;
        }
        for char in text.chars() {
            // The white space of HTML; other blanks are characters like any other.
            if matches!(char, ' ' | '\t' | '\n' | '\r' | '\x0c') {
                self.blank = true;
                continue;
            }
            if std::mem::take(&mut self.blank)
                && self.start < self.text.len()
                && !self.text.ends_with(['\n', ' '])
            {
                self.text.push(' ');
            }
            self.text.push(char);
        }
    }

    /// Ends the block that is being written, if there is anything in it.
    fn flush(&mut self) -> Result<(), IngestError> {
        self.blank = false;
        let body = self.text.get(self.start..).unwrap_or_default();
        if body.trim().is_empty() {
            self.text.truncate(self.start);
            return Ok(());
        }
        let end = self.start + body.trim_end().len();
        let mut kind = self.kinds.last().copied().unwrap_or(BlockKind::Paragraph);
        let path = match kind {
            BlockKind::Heading(level) => {
                let said = body.trim().to_owned();
                if self.titled && level == 1 {
                    kind = BlockKind::Title;
                    self.first_heading = Some(said);
                    self.outline.path()
                } else {
                    let above = self.outline.above(level);
                    self.outline.enter(level, &said);
                    above
                }
            }
            _ => self.outline.path(),
        };
        self.spans.push(Span { kind, range: self.start..end, path, language: self.language });
        if self.limits.blocks < self.spans.len() {
            return Err(IngestError::TooLarge { what: "blocks", limit: self.limits.blocks });
        }
        self.text.truncate(end);
        self.text.push_str(if kind == BlockKind::ListItem { "\n" } else { "\n\n" });
        self.start = self.text.len();
        self.limits.text(self.start)
    }

    fn remove(&mut self, kind: RemovedKind, id: Id) -> Result<(), IngestError> {
        let said: Vec<&str> = self.tree.beneath(id).filter_map(text_of).map(str::trim).collect();
        self.removals.add(kind, said.join(" ").trim());
        Ok(())
    }

    fn meta(&mut self, node: &Node) -> Result<(), IngestError> {
        let name = node.attribute("name").or_else(|| node.attribute("property"));
        if let Some((name, content)) = name.zip(node.attribute("content")) {
            self.attribute(&name.trim().to_ascii_lowercase(), content);
        }
        Ok(())
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if !name.is_empty() && name.len() <= MAX_ATTRIBUTES && self.attributes.len() < MAX_ATTRIBUTES {
            let value: String = value.trim().chars().take(MAX_VALUE).collect();
            self.attributes.entry(name.to_owned()).or_insert(Value::String(value));
        }
    }
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.data {
        Data::Text(text) | Data::Comment(text) => Some(text),
        _ => node.attribute("alt"),
    }
}

fn words_beneath(tree: &Tree, id: Id) -> Option<String> {
    let text: String = tree.beneath(id).filter_map(text_of).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let title: String = words.join(" ").chars().take(MAX_VALUE).collect();
    (!title.is_empty()).then_some(title)
}

/// The language that a highlighter was told: `language-rust`, `lang-rust`.
fn language(node: &Node) -> Option<Language> {
    node.attribute("class")?
        .split_whitespace()
        .filter_map(|class| class.strip_prefix("language-").or_else(|| class.strip_prefix("lang-")))
        .find_map(named_language)
}

fn heading(name: &str) -> Option<u8> {
    match name.as_bytes() {
        [b'h', level @ b'1'..=b'6'] => Some(level - b'0'),
        _ => None,
    }
}

fn is_block(name: &str) -> bool {
    heading(name).is_some()
        || matches!(
            name,
            "address"
                | "article"
                | "aside"
                | "blockquote"
                | "body"
                | "caption"
                | "center"
                | "dd"
                | "details"
                | "dialog"
                | "dir"
                | "div"
                | "dl"
                | "dt"
                | "fieldset"
                | "figcaption"
                | "figure"
                | "footer"
                | "form"
                | "header"
                | "hgroup"
                | "hr"
                | "html"
                | "legend"
                | "li"
                | "listing"
                | "main"
                | "menu"
                | "nav"
                | "ol"
                | "optgroup"
                | "option"
                | "p"
                | "plaintext"
                | "pre"
                | "search"
                | "section"
                | "select"
                | "summary"
                | "table"
                | "tbody"
                | "td"
                | "textarea"
                | "tfoot"
                | "th"
                | "thead"
                | "tr"
                | "ul"
                | "xmp"
        )
}

/// Tables that lay a page out: those with headings or other tables in them, or that say so.
fn layouts(tree: &Tree) -> HashSet<Id> {
    let mut layouts = HashSet::new();
    for (id, node) in tree.nodes.iter().enumerate() {
        let Some(name) = node.name() else { continue };
        if name == "table" && matches!(node.attribute("role"), Some("presentation" | "none")) {
            layouts.insert(id);
        }
        if name != "table" && heading(name).is_none() {
            continue;
        }
        let mut above = node.parent;
        while let Some((parent, node)) = above.and_then(|id| Some((id, tree.node(id)?))) {
            if node.name() == Some("table") {
                layouts.insert(parent);
                break;
            }
            above = node.parent;
        }
    }
    layouts
}
