//! Typed access to the tree: each miss is one error, and reading goes on.

use super::error::{Code, Mark, Report, quoted};
use super::source::{Entry, Node, Tree};

/// The entries of a map whose keys are all known.
pub(super) struct Fields<'n> {
    pub(super) at: Mark,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Takes `node` as a map; keys outside of `known` are reported.
    pub(super) fn of(node: &'n Node, what: &str, known: &[&str], report: &mut Report) -> Option<Self> {
        let entries = map(node, what, report)?;
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                report.unknown(Code::UnknownField, entry.at, &format!("field of {what}"), &entry.key, known);
            }
        }
        Some(Self { at: node.at, entries })
    }

    pub(super) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn require(&self, key: &str, what: &str, report: &mut Report) -> Option<&'n Entry> {
        let found = self.get(key);
        if found.is_none() {
            report.add(Code::Missing, self.at, format!("{what} has no `{key}`"));
        }
        found
    }
}

pub(super) fn map<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n [Entry]> {
    match &node.tree {
        Tree::Map(entries) => Some(entries),
        other => wrong(other, node.at, what, "a map", report),
    }
}

pub(super) fn list<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n [Node]> {
    match &node.tree {
        Tree::List(items) => Some(items),
        other => wrong(other, node.at, what, "a list", report),
    }
}

/// A list with at least one item. An empty one would match nothing, or, misread, everything.
pub(super) fn some_list<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n [Node]> {
    let items = list(node, what, report)?;
    if items.is_empty() {
        report.add_help(
            Code::Empty,
            node.at,
            format!("{what} is an empty list, which matches nothing"),
            "name at least one, or leave the rule out",
        );
        return None;
    }
    Some(items)
}

pub(super) fn text<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    match &node.tree {
        Tree::Text(text) => Some(text),
        Tree::Number(_) | Tree::Bool(_) => {
            let found = node.to_json();
            report.add_help(
                Code::WrongType,
                node.at,
                format!("{what} must be text, not `{found}`"),
                format!("put it in quotes: \"{found}\""),
            );
            None
        }
        other => wrong(other, node.at, what, "text", report),
    }
}

/// A list, not empty, of texts. Items that are not text are reported and left out.
pub(super) fn texts<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<Vec<(&'n str, Mark)>> {
    let items = some_list(node, what, report)?;
    let entry = format!("an entry of {what}");
    Some(items.iter().filter_map(|item| Some((text(item, &entry, report)?, item.at))).collect())
}

/// One word of a closed list.
pub(super) fn word<T: Copy>(
    node: &Node,
    what: &str,
    known: &[(&'static str, T)],
    report: &mut Report,
) -> Option<T> {
    let found = text(node, what, report)?;
    let value = known.iter().find(|(name, _)| *name == found).map(|(_, value)| *value);
    if value.is_none() {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        report.unknown(Code::UnknownWord, node.at, what, found, &names);
    }
    value
}

/// An identifier as rules and policies carry it: 1 to 128 of `[A-Za-z0-9._-]`.
pub(super) fn name<'n>(node: &'n Node, what: &str, report: &mut Report) -> Option<&'n str> {
    let found = text(node, what, report)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if found.is_empty() || 128 < found.len() || !found.bytes().all(fits) {
        report.add_help(
            Code::BadName,
            node.at,
            format!("{what} {} is not a name", quoted(found)),
            "a name is 1 to 128 of `[A-Za-z0-9._-]`",
        );
        return None;
    }
    Some(found)
}

fn wrong<T>(found: &Tree, at: Mark, what: &str, wanted: &str, report: &mut Report) -> Option<T> {
    let found = match found {
        Tree::Null => "nothing",
        Tree::Bool(_) => "a boolean",
        Tree::Number(_) => "a number",
        Tree::Text(_) => "text",
        Tree::List(_) => "a list",
        Tree::Map(_) => "a map",
        Tree::Reported => return None,
    };
    report.add(Code::WrongType, at, format!("{what} must be {wanted}, not {found}"));
    None
}
