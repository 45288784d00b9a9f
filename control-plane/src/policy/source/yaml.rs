//! YAML 1.2 without tags, anchors, aliases, merge keys and directives.

use std::collections::HashSet;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, Span};

use super::super::error::{Code, Mark, Report, quoted};
use super::{Entry, MAX_DEPTH, Node, Tree, bad_number, mark, number, one_line, too_deep, twice};

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
                    ErrorKind::RecursionLimitExceeded => too_deep(at, builder.report),
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
            too_deep(at, self.report);
            return None;
        }
        self.open.push(open);
        Some(())
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
                bad_number(text, message, at, self.report);
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
                        twice(&key, at, self.report);
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
