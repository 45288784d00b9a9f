//! A text argument that is SQL.
//!
//! The guard is a grant: it holds when the text is exactly one statement that does nothing but what is listed. It parses
//! with a real grammar and walks the whole tree, so a statement inside a statement counts like one on its own. Text that
//! does not parse, or holds a construct whose effect is not known here, is an error of the guard.

pub(super) mod lexical;
mod names;
mod types;
pub(super) mod walk;

use sqlparser::dialect::{Dialect, GenericDialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

use self::names::NamePattern;
use self::walk::Kind;
use super::super::error::{Code, Mark, Report, quoted};
use super::super::fields::{self, Fields};
use super::super::source::Node;
use super::Truth;

/// The fields of the guard.
pub(in crate::policy) const FIELDS: [&str; 4] = ["dialect", "statements", "tables", "functions"];

/// Functions that are allowed when a guard does not list its own: they compute on their arguments and nothing else.
pub const DEFAULT_SQL_FUNCTIONS: [&str; 11] =
    ["abs", "avg", "coalesce", "count", "length", "lower", "max", "min", "round", "sum", "upper"];

/// How many levels of nesting the parser follows: about four subqueries, or ten brackets. Its frames are large, and in a
/// build without optimisation this much fits a stack of 2 MiB with room to spare.
pub(super) const MAX_SQL_DEPTH: usize = 12;

/// The grammars on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    /// What every database reads alike; the rest is refused.
    Generic,
    Postgres,
    MySql,
    Sqlite,
}

impl Grammar {
    pub(super) const NAMES: [(&'static str, Self); 4] = [
        ("generic", Self::Generic),
        ("postgres", Self::Postgres),
        ("mysql", Self::MySql),
        ("sqlite", Self::Sqlite),
    ];

    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Self::Generic => &GenericDialect {},
            Self::Postgres => &PostgreSqlDialect {},
            Self::MySql => &MySqlDialect {},
            Self::Sqlite => &SQLiteDialect {},
        }
    }
}

/// What a statement may do.
#[derive(Debug)]
pub(in crate::policy) struct SqlGuard {
    grammar: Grammar,
    statements: Box<[Kind]>,
    tables: Box<[NamePattern]>,
    functions: Box<[NamePattern]>,
}

impl SqlGuard {
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`sql`", &FIELDS, report)?;
        let grammar = match guard.get("dialect") {
            Some(entry) => fields::word(&entry.value, "dialect", &Grammar::NAMES, report),
            None => Some(Grammar::Generic),
        };
        let statements = guard.require("statements", "`sql`", report).and_then(|entry| {
            let nodes = fields::some_list(&entry.value, "`statements`", report)?;
            let word = |node| fields::word(node, "statement", &Kind::NAMES, report);
            Some(nodes.iter().filter_map(word).collect())
        });
        let tables = guard.require("tables", "`sql`", report).and_then(|entry| {
            fields::some_list(&entry.value, "`tables`", report)?;
            patterns(&entry.value, "`tables`", report)
        });
        let functions = match guard.get("functions") {
            Some(entry) => patterns(&entry.value, "`functions`", report),
            None => DEFAULT_SQL_FUNCTIONS.into_iter().map(|name| NamePattern::parse(name).ok()).collect(),
        };
        let fold_case = grammar != Some(Grammar::MySql);
        let folded =
            |names: Vec<NamePattern>| names.into_iter().map(|name| name.folding(fold_case)).collect();
        Some(Self {
            grammar: grammar?,
            statements: statements?,
            // MySQL keeps tables in files, so the case of a table's name counts there; functions fold everywhere.
            tables: folded(tables?),
            functions: functions?.into(),
        })
    }

    pub(super) fn judge(&self, text: &str) -> Truth {
        let Some(tokens) = lexical::tokens(text, self.grammar) else { return Truth::Unknown };
        let parser = Parser::new(self.grammar.dialect()).with_recursion_limit(MAX_SQL_DEPTH);
        let parsed = parser.with_tokens_with_locations(tokens).parse_statements();
        match parsed.as_deref() {
            Ok([statement]) => walk::judge(statement, self),
            _ => Truth::Unknown,
        }
    }
}

fn patterns(node: &Node, what: &str, report: &mut Report) -> Option<Vec<NamePattern>> {
    let nodes = fields::list(node, what, report)?;
    let entry = format!("an entry of {what}");
    let texts: Vec<(&str, Mark)> =
        nodes.iter().filter_map(|node| Some((fields::text(node, &entry, report)?, node.at))).collect();
    let mut patterns = Vec::new();
    for (text, at) in texts {
        match NamePattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(reason) => report.add(Code::BadOperand, at, format!("the name {}: {reason}", quoted(text))),
        }
    }
    Some(patterns)
}
