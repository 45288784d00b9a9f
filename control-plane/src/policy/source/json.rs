//! JSON after RFC 8259.
//!
//! A parser that keeps no places has the last word about the syntax; this reader then walks text that is known to be
//! JSON and adds the places.

use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::super::error::{Code, Report};
use super::{Entry, Lines, MAX_DEPTH, Node, Tree, bad_number, mark, number, one_line, too_deep, twice};

pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let at = mark(error.line(), error.column().saturating_sub(1));
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        report.add(Code::Syntax, at, format!("not JSON: {}", one_line(reason)));
        return None;
    }
    Reader { text, at: 0, lines: Lines::new(text), report }.value(0)
}

struct Reader<'t, 'r> {
    text: &'t str,
    /// Where the reading stands, in bytes.
    at: usize,
    lines: Lines<'t>,
    report: &'r mut Report,
}

impl<'t> Reader<'t, '_> {
    /// `None` when it is nested too deep or is no JSON after all, which ends the reading.
    fn value(&mut self, depth: usize) -> Option<Node> {
        self.blanks();
        let at = self.lines.mark(self.at);
        let first = self.peek()?;
        if matches!(first, b'[' | b'{') && MAX_DEPTH <= depth {
            too_deep(at, self.report);
            return None;
        }
        let tree = match first {
            b'"' => Tree::Text(self.string()?),
            b'[' => Tree::List(self.list(depth + 1)?),
            b'{' => Tree::Map(self.map(depth + 1)?),
            _ => match self.word() {
                "true" => Tree::Bool(true),
                "false" => Tree::Bool(false),
                "null" => Tree::Null,
                digits => match number(digits) {
                    Ok(tree) => tree,
                    Err(reason) => {
                        bad_number(digits, reason, at, self.report);
                        Tree::Reported
                    }
                },
            },
        };
        Some(Node::new(at, tree))
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        self.skip(b'[');
        while !self.skip(b']') {
            items.push(self.value(depth)?);
            self.skip(b',');
        }
        Some(items)
    }

    fn map(&mut self, depth: usize) -> Option<Vec<Entry>> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        self.skip(b'{');
        while !self.skip(b'}') {
            self.blanks();
            let at = self.lines.mark(self.at);
            let key = self.string()?;
            self.skip(b':');
            let value = self.value(depth)?;
            self.skip(b',');
            if seen.insert(key.clone()) {
                entries.push(Entry { key, at, value });
            } else {
                twice(&key, at, self.report);
            }
        }
        Some(entries)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over blanks, and over `byte` if it comes next.
    fn skip(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Up to the next character that cannot stand in a number or a name.
    fn word(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.');
        let end = rest.find(|char| !fits(char)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..)?;
        let mut escaped = false;
        let closes = |(_, byte): &(usize, u8)| {
            let quote = *byte == b'"' && !escaped;
            escaped = *byte == b'\\' && !escaped;
            quote
        };
        let end = rest.bytes().enumerate().skip(1).find(closes)?.0 + 1;
        let at = self.lines.mark(self.at);
        self.at += end;
        match serde_json::from_str(rest.get(..end)?) {
            Ok(text) => Some(text),
            // Half of a surrogate pair.
            Err(_) => {
                self.report.add(Code::Syntax, at, "not JSON: the text is not Unicode");
                None
            }
        }
    }
}
