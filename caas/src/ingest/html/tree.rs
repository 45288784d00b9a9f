//! The tree of a page: flat, so that nothing recurses over it and dropping it is one step.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::TokenizerOpts;
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeBuilderOpts, TreeSink};
use html5ever::{Attribute, ExpandedName, ParseOpts, QualName};

use super::super::{IngestError, Limits};
use super::feed;

/// Most nodes of a page. At some hundred bytes each it is what keeps reading one within memory; 20 MB of dense markup have
/// them.
const MAX_NODES: usize = 2_000_000;
/// The attributes that something is read from.
const KEPT: [&str; 12] = [
    "style",
    "hidden",
    "aria-hidden",
    "role",
    "open",
    "alt",
    "name",
    "content",
    "property",
    "lang",
    "class",
    "type",
];

/// A node's place in [`Nodes`].
pub(super) type Id = u32;

/// All nodes of a page, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    pub(super) fn get(&self, id: Id) -> Option<&Node> {
        self.0.get(usize::try_from(id).ok()?)
    }

    fn get_mut(&mut self, id: Id) -> Option<&mut Node> {
        self.0.get_mut(usize::try_from(id).ok()?)
    }

    /// More than [`MAX_NODES`] are found out long before there are more than an id can tell.
    fn push(&mut self, node: Node) -> Id {
        let id = Id::try_from(self.0.len()).unwrap_or(Id::MAX);
        self.0.push(node);
        id
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Node)> {
        (0..).zip(&self.0)
    }
}

pub(super) const DOCUMENT: Id = 0;

#[derive(Debug)]
pub(super) enum Data {
    Document,
    Element {
        name: Rc<QualName>,
        attributes: Vec<(&'static str, StrTendril)>,
    },
    Text(StrTendril),
    Comment(StrTendril),
    /// A processing instruction.
    Other,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: Option<Id>,
    pub(super) first: Option<Id>,
    last: Option<Id>,
    previous: Option<Id>,
    pub(super) next: Option<Id>,
    /// What its depth was when it was put in its place.
    depth: u32,
    pub(super) data: Data,
}

impl Node {
    /// The local name of an element of HTML.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.data {
            Data::Element { name, .. } if name.ns == html5ever::ns!(html) => Some(&name.local),
            _ => None,
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        match &self.data {
            Data::Element { attributes, .. } => {
                attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| &**value)
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) nodes: Nodes,
}

impl Tree {
    /// Parses a page, and gives up as soon as it is too deep or has too many nodes.
    pub(super) fn of(page: &str, limits: &Limits) -> Result<Self, IngestError> {
        let options = ParseOpts {
            tokenizer: TokenizerOpts::default(),
            tree_builder: TreeBuilderOpts {
                drop_doctype: true,
                scripting_enabled: false,
                ..TreeBuilderOpts::default()
            },
        };
        let sink = feed::parse(page, Sink::new(), options, |sink| sink.check(limits))?;
        Ok(Self { nodes: sink.nodes.into_inner() })
    }

    pub(super) fn node(&self, id: Id) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// A node and all beneath it, in the order of the page.
    pub(super) fn beneath(&self, top: Id) -> impl Iterator<Item = &Node> {
        let mut next = Some(top);
        std::iter::from_fn(move || {
            let id = next?;
            let node = self.node(id)?;
            next = node.first.or_else(|| self.after(id, top));
            Some(node)
        })
    }

    /// What comes after a node and all beneath it, within `top`.
    fn after(&self, mut id: Id, top: Id) -> Option<Id> {
        while id != top {
            let node = self.node(id)?;
            if node.next.is_some() {
                return node.next;
            }
            id = node.parent?;
        }
        None
    }
}

/// A node as the parser holds it; its name is with it because the parser asks for it all the time.
#[derive(Clone)]
struct Handle {
    id: Id,
    name: Option<Rc<QualName>>,
}

struct Sink {
    nodes: RefCell<Nodes>,
    deepest: Cell<u32>,
    /// What the parser is told the name of a node is that has none.
    nameless: QualName,
}

impl Sink {
    fn new() -> Self {
        let sink = Self {
            nodes: RefCell::default(),
            deepest: Cell::new(0),
            nameless: QualName::new(None, html5ever::ns!(), html5ever::local_name!("")),
        };
        sink.add(Data::Document);
        sink
    }

    fn check(&self, limits: &Limits) -> Result<(), IngestError> {
        limits.nesting(usize::try_from(self.deepest.get()).unwrap_or(usize::MAX))?;
        if MAX_NODES < self.nodes.borrow().0.len() {
            return Err(IngestError::TooLarge { what: "nodes", limit: MAX_NODES });
        }
        Ok(())
    }

    fn add(&self, data: Data) -> Id {
        let node = Node { parent: None, first: None, last: None, previous: None, next: None, depth: 0, data };
        self.nodes.borrow_mut().push(node)
    }

    fn detach(&self, id: Id) {
        let mut nodes = self.nodes.borrow_mut();
        let Some(node) = nodes.get_mut(id) else { return };
        let (parent, previous, next) = (node.parent.take(), node.previous.take(), node.next.take());
        match previous.and_then(|previous| nodes.get_mut(previous)) {
            Some(previous) => previous.next = next,
            None => {
                if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
                    parent.first = next;
                }
            }
        }
        match next.and_then(|next| nodes.get_mut(next)) {
            Some(next) => next.previous = previous,
            None => {
                if let Some(parent) = parent.and_then(|parent| nodes.get_mut(parent)) {
                    parent.last = previous;
                }
            }
        }
    }

    /// Puts a node beneath `parent`, before `next` or last. It has no place yet.
    fn place(&self, parent: Id, next: Option<Id>, id: Id) {
        let mut nodes = self.nodes.borrow_mut();
        let previous = match next {
            Some(next) => nodes.get(next).and_then(|next| next.previous),
            None => nodes.get(parent).and_then(|parent| parent.last),
        };
        let depth = nodes.get(parent).map_or(0, |parent| parent.depth) + 1;
        self.deepest.set(self.deepest.get().max(depth));
        if let Some(node) = nodes.get_mut(id) {
            (node.parent, node.previous, node.next, node.depth) = (Some(parent), previous, next, depth);
        }
        match previous.and_then(|previous| nodes.get_mut(previous)) {
            Some(previous) => previous.next = Some(id),
            None => {
                if let Some(parent) = nodes.get_mut(parent) {
                    parent.first = Some(id);
                }
            }
        }
        match next.and_then(|next| nodes.get_mut(next)) {
            Some(next) => next.previous = Some(id),
            None => {
                if let Some(parent) = nodes.get_mut(parent) {
                    parent.last = Some(id);
                }
            }
        }
    }

    fn insert(&self, parent: Id, next: Option<Id>, child: NodeOrText<Handle>) {
        match child {
            NodeOrText::AppendNode(node) => {
                self.detach(node.id);
                self.place(parent, next, node.id);
            }
            NodeOrText::AppendText(text) => {
                let before = {
                    let nodes = self.nodes.borrow();
                    match next {
                        Some(next) => nodes.get(next).and_then(|next| next.previous),
                        None => nodes.get(parent).and_then(|parent| parent.last),
                    }
                };
                if let Some(before) = before
                    && let Some(Node { data: Data::Text(before), .. }) =
                        self.nodes.borrow_mut().get_mut(before)
                {
                    before.push_tendril(&text);
                    return;
                }
                let id = self.add(Data::Text(text));
                self.place(parent, next, id);
            }
        }
    }

    fn parent(&self, id: Id) -> Option<Id> {
        self.nodes.borrow().get(id).and_then(|node| node.parent)
    }
}

impl TreeSink for Sink {
    type Handle = Handle;
    type Output = Self;
    type ElemName<'a> = ExpandedName<'a>;

    fn finish(self) -> Self {
        self
    }

    fn parse_error(&self, _: Cow<'static, str>) {}

    fn get_document(&self) -> Handle {
        Handle { id: DOCUMENT, name: None }
    }

    fn elem_name<'a>(&'a self, target: &'a Handle) -> ExpandedName<'a> {
        target.name.as_deref().unwrap_or(&self.nameless).expanded()
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _: ElementFlags) -> Handle {
        let attributes = kept(attributes);
        let name = Rc::new(name);
        let id = self.add(Data::Element { name: Rc::clone(&name), attributes });
        Handle { id, name: Some(name) }
    }

    fn create_comment(&self, text: StrTendril) -> Handle {
        Handle { id: self.add(Data::Comment(text)), name: None }
    }

    fn create_pi(&self, _: StrTendril, _: StrTendril) -> Handle {
        Handle { id: self.add(Data::Other), name: None }
    }

    fn append(&self, parent: &Handle, child: NodeOrText<Handle>) {
        self.insert(parent.id, None, child);
    }

    fn append_based_on_parent_node(&self, element: &Handle, previous: &Handle, child: NodeOrText<Handle>) {
        match self.parent(element.id) {
            Some(parent) => self.insert(parent, Some(element.id), child),
            None => self.insert(previous.id, None, child),
        }
    }

    fn append_doctype_to_document(&self, _: StrTendril, _: StrTendril, _: StrTendril) {}

    /// A template's content is kept as its children: it is listed as hidden, not shown.
    fn get_template_contents(&self, target: &Handle) -> Handle {
        target.clone()
    }

    fn same_node(&self, one: &Handle, other: &Handle) -> bool {
        one.id == other.id
    }

    fn set_quirks_mode(&self, _: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &Handle, child: NodeOrText<Handle>) {
        if let Some(parent) = self.parent(sibling.id) {
            self.insert(parent, Some(sibling.id), child);
        }
    }

    fn add_attrs_if_missing(&self, target: &Handle, more: Vec<Attribute>) {
        if let Some(Node { data: Data::Element { attributes, .. }, .. }) =
            self.nodes.borrow_mut().get_mut(target.id)
        {
            for (name, value) in kept(more) {
                if attributes.iter().all(|(there, _)| *there != name) {
                    attributes.push((name, value));
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &Handle) {
        self.detach(target.id);
    }

    fn reparent_children(&self, node: &Handle, parent: &Handle) {
        let first = || self.nodes.borrow().get(node.id).and_then(|node| node.first);
        while let Some(child) = first() {
            self.detach(child);
            self.place(parent.id, None, child);
        }
    }

    fn allow_declarative_shadow_roots(&self, _: &Handle) -> bool {
        false
    }
}

fn kept(attributes: Vec<Attribute>) -> Vec<(&'static str, StrTendril)> {
    let kept = attributes.into_iter().filter_map(|attribute| {
        let name = KEPT.into_iter().find(|name| **name == *attribute.name.local)?;
        Some((name, attribute.value))
    });
    kept.collect()
}
