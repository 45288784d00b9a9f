//! The HTML inside of Markdown: which of it, and which text between it, a reader does not see.

use std::ops::Range;

use super::html::hides;
use crate::model::RemovedKind;

/// Goes through the pieces of HTML in a text and gives the ranges that are out of sight, in ascending order. A piece is a
/// range and whether it is a block of its own. A hidden element that is not closed reaches to the end of the text, or of its
/// paragraph if it began inside of one, as a browser would have it.
pub(super) fn unseen(
    text: &str,
    pieces: impl Iterator<Item = (Range<usize>, bool)>,
) -> Vec<(RemovedKind, Range<usize>)> {
    let mut found: Vec<(RemovedKind, Range<usize>)> = Vec::new();
    let mut open: Option<Open> = None;
    for (piece, block) in pieces {
        if let Some(unclosed) = open.take_if(|open| open.limit <= piece.start) {
            found.push((unclosed.kind, unclosed.start..unclosed.limit));
        }
        let mut at = piece.start;
        while at < piece.end {
            let Some(rest) = text.get(at..piece.end) else { break };
            let Some(next) = rest.find('<') else { break };
            at += next;
            let rest = rest.get(next..).unwrap_or_default();
            if let Some(comment) = rest.strip_prefix("<!--") {
                let length = comment.find("-->").map_or(rest.len(), |end| end + 7);
                if open.is_none() {
                    found.push((RemovedKind::Comment, at..at + length));
                }
                at += length;
                continue;
            }
            let Some(tag) = Tag::of(rest) else {
                at += 1;
                continue;
            };
            let end = at + tag.length;
            match &mut open {
                Some(hidden) if hidden.name == tag.name => {
                    hidden.depth = if tag.closes { hidden.depth - 1 } else { hidden.depth + 1 };
                    if hidden.depth == 0 {
                        found.push((hidden.kind, hidden.start..end));
                        open = None;
                    }
                }
                None if !tag.closes && !tag.is_void() => {
                    if let Some(kind) = tag.unseen() {
                        let limit = if block { text.len() } else { paragraph_end(text, at) };
                        open = Some(Open { kind, name: tag.name, start: at, depth: 1, limit });
                    }
                }
                _ => {}
            }
            at = end;
        }
    }
    if let Some(unclosed) = open {
        found.push((unclosed.kind, unclosed.start..unclosed.limit));
    }
    found
}

/// What a cut says, without the tags around it.
pub(super) fn said(cut: &str, kind: RemovedKind) -> &str {
    if kind == RemovedKind::Comment {
        let inner = cut.strip_prefix("<!--").unwrap_or(cut);
        return inner.strip_suffix("-->").unwrap_or(inner);
    }
    let start = Tag::of(cut).map_or(0, |tag| tag.length);
    let inner = cut.get(start..).unwrap_or_default();
    match inner.rfind("</") {
        Some(end) if inner.ends_with('>') => inner.get(..end).unwrap_or_default(),
        _ => inner,
    }
}

struct Open {
    kind: RemovedKind,
    name: String,
    start: usize,
    depth: usize,
    limit: usize,
}

fn paragraph_end(text: &str, from: usize) -> usize {
    text.get(from..).and_then(|rest| rest.find("\n\n")).map_or(text.len(), |end| from + end)
}

struct Tag {
    name: String,
    closes: bool,
    attributes: Vec<(String, String)>,
    length: usize,
}

impl Tag {
    /// The tag that a text begins with.
    fn of(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('<')?;
        let closes = inner.starts_with('/');
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        if !inner.starts_with(|char: char| char.is_ascii_alphabetic()) {
            return None;
        }
        let end_of = |text: &str| text.find(|char: char| char.is_whitespace() || matches!(char, '/' | '>'));
        let name_end = end_of(inner)?;
        let name = inner.get(..name_end)?.to_ascii_lowercase();
        let mut rest = inner.get(name_end..)?;
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start_matches(|char: char| char.is_whitespace() || char == '/');
            if let Some(after) = rest.strip_prefix('>') {
                return Some(Self { name, closes, attributes, length: text.len() - after.len() });
            }
            let end = rest.find(|char: char| char.is_whitespace() || matches!(char, '=' | '>' | '/'))?;
            // A lone `=` is a name of its own.
            let end = end.max(rest.chars().next()?.len_utf8());
            let key = rest.get(..end)?.to_ascii_lowercase();
            rest = rest.get(end..)?.trim_start();
            let mut value = "";
            if let Some(after) = rest.strip_prefix('=') {
                (value, rest) = quoted(after.trim_start())?;
            }
            attributes.push((key, value.to_owned()));
        }
    }

    fn unseen(&self) -> Option<RemovedKind> {
        if matches!(self.name.as_str(), "script" | "style") {
            return Some(RemovedKind::Script);
        }
        let attribute = |asked: &str| {
            self.attributes.iter().find(|(name, _)| name == asked).map(|(_, value)| value.as_str())
        };
        (matches!(self.name.as_str(), "template" | "noscript") || hides(&self.name, attribute))
            .then_some(RemovedKind::Hidden)
    }

    fn is_void(&self) -> bool {
        matches!(
            self.name.as_str(),
            "area"
                | "base"
                | "br"
                | "col"
                | "embed"
                | "hr"
                | "img"
                | "input"
                | "link"
                | "meta"
                | "source"
                | "track"
                | "wbr"
        )
    }
}

/// The value at the start of a text, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote);
        }
    }
    let end = text.find(|char: char| char.is_whitespace() || char == '>')?;
    text.split_at_checked(end)
}
