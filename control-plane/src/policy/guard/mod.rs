//! Guards: typed conditions on one value.
//!
//! Judging has three outcomes. A guard that cannot be applied (no value, another type, text that does not parse) is
//! neither true nor false but [`Truth::Unknown`], and stays so through `not`: what could not be understood must never
//! come out as a grant.

mod command;
mod compare;
mod contains;
mod email;
mod hazard;
mod host;
mod leaves;
mod list;
mod network;
mod path;
mod schema;
mod sensitive;
mod sql;
mod text;
mod url;
pub(super) mod words;

use agent_primitives::detect::KindSet;
use agent_primitives::text::Needles;
use agent_tool_registry::ValueSchema;
use serde_json::Value;

pub(super) use self::compare::Comparison;
use self::compare::Literals;
use self::list::Quantifier;
pub use self::sql::DEFAULT_SQL_FUNCTIONS;
use super::budget::Budget;
use super::error::{Code, Report};
use super::fields;
use super::source::{Entry, Node};

/// What a condition says about a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// False if any is false, else unknown if any is unknown.
    pub(super) fn all(truths: impl IntoIterator<Item = Self>) -> Self {
        let mut result = Self::True;
        for truth in truths {
            match truth {
                Self::False => return Self::False,
                Self::Unknown => result = Self::Unknown,
                Self::True => {}
            }
        }
        result
    }

    /// True if any is true, else unknown if any is unknown.
    fn any(truths: impl IntoIterator<Item = Self>) -> Self {
        Self::all(truths.into_iter().map(Self::not)).not()
    }

    fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// The value under judgement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand<'v> {
    /// Part of the arguments or of the host's facts.
    Json(&'v Value),
    /// A path or an id.
    Text(&'v str),
    /// The end of an array.
    Items(&'v [Value]),
}

impl<'v> Operand<'v> {
    fn text(self) -> Option<&'v str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(Value::String(text)) => Some(text),
            Self::Json(_) | Self::Items(_) => None,
        }
    }

    fn items(self) -> Option<&'v [Value]> {
        match self {
            Self::Items(items) => Some(items),
            Self::Json(Value::Array(items)) => Some(items),
            Self::Json(_) | Self::Text(_) => None,
        }
    }
}

/// One guard, with everything it needs compiled.
#[derive(Debug)]
pub(super) enum Guard {
    All(Box<[Self]>),
    AnyOf(Box<[Self]>),
    Not(Box<Self>),
    In { literals: Literals, wanted: bool },
    Number(compare::NumberGuard),
    Len(Box<[(Comparison, u64)]>),
    Matches(regex::Regex),
    Path(path::PathGuard),
    Url(url::UrlGuard),
    Sql(Box<sql::SqlGuard>),
    Email(email::EmailGuard),
    Ip(network::IpGuard),
    Schema(Box<ValueSchema>),
    Command(Box<command::CommandGuard>),
    ContainsAny(Box<Needles>),
    Sensitive(KindSet),
    Hazard(hazard::HazardGuard),
    Each(Quantifier, Box<Self>),
}

/// Every guard there is, for suggestions.
pub(super) const NAMES: [&str; 28] = [
    "eq",
    "ne",
    "in",
    "not_in",
    "lt",
    "lte",
    "gt",
    "gte",
    "len",
    "matches",
    "path",
    "url",
    "email",
    "ip",
    "sql",
    "command",
    "schema",
    "contains_any",
    "sensitive",
    "hazard",
    "not",
    "any_of",
    "each",
    "some",
    "first",
    "rest",
    "any_leaf",
    "every_leaf",
];

/// The fields of the guards that have some, by guard.
#[cfg(test)]
pub(super) fn field_lists() -> [(&'static str, &'static [&'static str]); 6] {
    [
        ("path", &path::FIELDS),
        ("url", &url::FIELDS),
        ("email", &email::FIELDS),
        ("ip", &network::FIELDS),
        ("sql", &sql::FIELDS),
        ("command", &command::FIELDS),
    ]
}

impl Guard {
    /// Reads a map of guards, all of which must hold.
    pub(super) fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        if report.is_full() {
            return None;
        }
        let entries = fields::map(node, "a guard", report)?;
        if entries.is_empty() {
            let help = "name at least one guard, or leave the condition out";
            report.add_help(Code::Empty, node.at, "a guard is an empty map, which says nothing", help);
            return None;
        }
        let guards: Vec<Option<Self>> =
            entries.iter().map(|entry| Self::parse_one(entry, budget, report)).collect();
        let mut guards: Vec<Self> = guards.into_iter().collect::<Option<_>>()?;
        if guards.len() == 1 { guards.pop() } else { Some(Self::All(guards.into())) }
    }

    fn parse_one(entry: &Entry, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let operand = &entry.value;
        let mut inner = |report: &mut Report| Self::parse(operand, budget, report).map(Box::new);
        Some(match entry.key.as_str() {
            "eq" => Self::In { literals: Literals::one(operand), wanted: true },
            "ne" => Self::In { literals: Literals::one(operand), wanted: false },
            "in" => Self::In { literals: Literals::parse(operand, "`in`", report)?, wanted: true },
            "not_in" => Self::In { literals: Literals::parse(operand, "`not_in`", report)?, wanted: false },
            "lt" | "lte" | "gt" | "gte" => {
                Self::Number(compare::NumberGuard::parse(&entry.key, operand, report)?)
            }
            "len" => Self::Len(text::parse_len(operand, report)?),
            "matches" => Self::Matches(text::parse_regex(operand, budget, report)?),
            "path" => Self::Path(path::PathGuard::parse(operand, report)?),
            "url" => Self::Url(url::UrlGuard::parse(operand, report)?),
            "sql" => Self::Sql(Box::new(sql::SqlGuard::parse(operand, report)?)),
            "email" => Self::Email(email::EmailGuard::parse(operand, report)?),
            "ip" => Self::Ip(network::IpGuard::parse(operand, report)?),
            "schema" => Self::Schema(schema::parse(operand, budget, report)?),
            "command" => Self::Command(Box::new(command::CommandGuard::parse(operand, budget, report)?)),
            "contains_any" => Self::ContainsAny(Box::new(contains::parse(operand, budget, report)?)),
            "sensitive" => Self::Sensitive(sensitive::parse(operand, report)?),
            "hazard" => Self::Hazard(hazard::HazardGuard::parse(operand, report)?),
            "any_leaf" => Self::Each(Quantifier::AnyLeaf, inner(report)?),
            "every_leaf" => Self::Each(Quantifier::EveryLeaf, inner(report)?),
            "not" => Self::Not(inner(report)?),
            "each" => Self::Each(Quantifier::Each, inner(report)?),
            "some" => Self::Each(Quantifier::Some, inner(report)?),
            "first" => Self::Each(Quantifier::First, inner(report)?),
            "rest" => Self::Each(Quantifier::Rest, inner(report)?),
            "any_of" => {
                let items = fields::some_list(operand, "`any_of`", report)?;
                let guards: Vec<Option<Self>> =
                    items.iter().map(|item| Self::parse(item, budget, report)).collect();
                Self::AnyOf(guards.into_iter().collect::<Option<Vec<_>>>()?.into())
            }
            unknown => {
                report.unknown(Code::UnknownWord, entry.at, "guard", unknown, &NAMES);
                return None;
            }
        })
    }

    /// Whether the guard holds for `operand`. Pure and total.
    pub(super) fn judge(&self, operand: Operand<'_>) -> Truth {
        match self {
            Self::All(guards) => Truth::all(guards.iter().map(|guard| guard.judge(operand))),
            Self::AnyOf(guards) => Truth::any(guards.iter().map(|guard| guard.judge(operand))),
            Self::Not(guard) => guard.judge(operand).not(),
            Self::In { literals, wanted } => literals.judge(operand, *wanted),
            Self::Number(guard) => guard.judge(operand),
            Self::Len(bounds) => text::judge_len(bounds, operand),
            Self::Matches(regex) => on_text(operand, |text| regex.is_match(text).into()),
            Self::Path(guard) => on_text(operand, |text| guard.judge(text)),
            Self::Url(guard) => on_text(operand, |text| guard.judge(text)),
            Self::Sql(guard) => on_text(operand, |text| guard.judge(text)),
            Self::Email(guard) => on_text(operand, |text| guard.judge(text)),
            Self::Ip(guard) => on_text(operand, |text| guard.judge(text)),
            Self::Command(guard) => on_text(operand, |text| guard.judge(text)),
            Self::ContainsAny(needles) => contains::judge(needles, operand),
            Self::Sensitive(kinds) => sensitive::judge(*kinds, operand),
            Self::Hazard(guard) => guard.judge(operand),
            Self::Schema(schema) => schema::judge(schema, operand),
            Self::Each(quantifier, guard) => list::judge(*quantifier, guard, operand),
        }
    }
}

fn on_text(operand: Operand<'_>, judge: impl FnOnce(&str) -> Truth) -> Truth {
    operand.text().map_or(Truth::Unknown, judge)
}
