//! TOML 1.1 without dates.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::error::{Code, Mark, Report};
use super::{Entry, Lines, MAX_DEPTH, Node, Tree, bad_number, number, one_line, too_deep};

pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let lines = Lines::new(text);
    match DeTable::parse(text) {
        Ok(root) => {
            let mut reader = Reader { lines, report };
            let entries = reader.entries(root.get_ref(), 1)?;
            Some(Node::new(Mark { line: 1, column: 1 }, Tree::Map(entries)))
        }
        Err(error) => {
            let at = error.span().map_or(Mark::NOWHERE, |span| lines.mark(span.start));
            let message = error.message();
            let code = if message == "duplicate key" { Code::DuplicateKey } else { Code::Syntax };
            report.add(code, at, format!("not TOML: {}", one_line(message)));
            None
        }
    }
}

struct Reader<'t, 'r> {
    lines: Lines<'t>,
    report: &'r mut Report,
}

impl Reader<'_, '_> {
    /// `None` when it is nested too deep, which ends the reading. The depth is bounded here and by the parser.
    fn entries(&mut self, table: &DeTable<'_>, depth: usize) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        for (key, value) in table {
            let at = self.lines.mark(key.span().start);
            entries.push(Entry { key: key.get_ref().to_string(), at, value: self.node(value, depth)? });
        }
        Some(entries)
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Option<Node> {
        let at = self.lines.mark(value.span().start);
        let nests = matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_));
        if nests && MAX_DEPTH <= depth {
            too_deep(at, self.report);
            return None;
        }
        let tree = match value.get_ref() {
            DeValue::String(text) => Tree::Text(text.to_string()),
            DeValue::Boolean(value) => Tree::Bool(*value),
            DeValue::Integer(integer) if integer.radix() == 10 => self.number(integer.as_str(), at),
            DeValue::Integer(integer) => {
                bad_number(&integer.to_string(), "numbers are written in decimal", at, self.report);
                Tree::Reported
            }
            DeValue::Float(float) => self.number(float.as_str(), at),
            DeValue::Datetime(_) => {
                let help = "put it in quotes if text is meant";
                self.report.add_help(Code::NotData, at, "dates are not part of the policy language", help);
                Tree::Reported
            }
            DeValue::Array(items) => {
                Tree::List(items.iter().map(|item| self.node(item, depth + 1)).collect::<Option<_>>()?)
            }
            DeValue::Table(table) => Tree::Map(self.entries(table, depth + 1)?),
        };
        Some(Node::new(at, tree))
    }

    fn number(&mut self, text: &str, at: Mark) -> Tree {
        match number(text) {
            Ok(tree @ Tree::Number(_)) => tree,
            Ok(_) => {
                bad_number(text, "infinite and undefined numbers are not values", at, self.report);
                Tree::Reported
            }
            Err(reason) => {
                bad_number(text, reason, at, self.report);
                Tree::Reported
            }
        }
    }
}
