//! Length and shape of a value.

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::super::budget::Budget;
use super::super::error::{Code, Report, quoted};
use super::super::fields;
use super::super::source::{Node, Tree};
use super::compare::Comparison;
use super::{Operand, Truth};

/// Largest compiled form of one pattern in bytes, so that a whole policy stays within a quarter of a gigabyte.
const MAX_REGEX_BYTES: usize = 256 << 10;

pub(super) fn parse_len(node: &Node, report: &mut Report) -> Option<Box<[(Comparison, u64)]>> {
    let entries = fields::map(node, "`len`", report)?;
    if entries.is_empty() {
        report.add(Code::Empty, node.at, "`len` is an empty map, which says nothing");
        return None;
    }
    let mut bounds = Vec::new();
    for entry in entries {
        let known = Comparison::NAMES.into_iter().find(|(name, _)| *name == entry.key);
        let bound = match &entry.value.tree {
            Tree::Number(number) => number.as_u64(),
            _ => None,
        };
        match (known, bound) {
            (Some((_, comparison)), Some(bound)) => bounds.push((comparison, bound)),
            (None, _) => {
                let names = Comparison::NAMES.map(|(name, _)| name);
                report.unknown(Code::UnknownWord, entry.at, "comparison", &entry.key, &names);
            }
            (Some(_), None) => report.add(Code::WrongType, entry.value.at, "a length is a whole number"),
        }
    }
    (bounds.len() == entries.len()).then(|| bounds.into())
}

/// Characters of a text, items of an array, entries of an object; nothing else has a length.
pub(super) fn judge_len(bounds: &[(Comparison, u64)], operand: Operand<'_>) -> Truth {
    let length = match (operand.text(), operand.items(), operand) {
        (Some(text), ..) => text.chars().count(),
        (None, Some(items), _) => items.len(),
        (None, None, Operand::Json(Value::Object(entries))) => entries.len(),
        _ => return Truth::Unknown,
    };
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    Truth::all(bounds.iter().map(|(comparison, bound)| comparison.holds(length.cmp(bound)).into()))
}

pub(super) fn parse_regex(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Regex> {
    let pattern = fields::text(node, "`matches`", report)?;
    if let Err(message) = budget.regex(pattern) {
        report.add(Code::Limit, node.at, message);
        return None;
    }
    let built =
        RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).dfa_size_limit(MAX_REGEX_BYTES).build();
    match built {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The reason stands in the last line; those before it draw the pattern.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            report.add(
                Code::BadRegex,
                node.at,
                format!("the regex {}: {}", quoted(pattern), reason.to_lowercase()),
            );
            None
        }
    }
}
