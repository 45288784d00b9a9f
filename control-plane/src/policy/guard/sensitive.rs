//! Sensitive data in any text of a value.

use agent_primitives::detect::{Kind, KindSet, find};
use agent_primitives::redact::is_sensitive_key;
use agent_primitives::text::Limits;
use serde_json::Value;

use super::super::error::Report;
use super::super::fields;
use super::super::source::{Node, Tree};
use super::leaves::Leaves;
use super::{Operand, Truth};

/// `any`, or a list of kinds.
pub(super) fn parse(node: &Node, report: &mut Report) -> Option<KindSet> {
    if matches!(&node.tree, Tree::Text(word) if word == "any") {
        return Some(KindSet::ALL);
    }
    let known = Kind::ALL.map(|kind| (kind.name(), kind));
    let nodes = fields::some_list(node, "`sensitive`", report)?;
    let kinds: Vec<Option<Kind>> =
        nodes.iter().map(|node| fields::word(node, "kind of sensitive data", &known, report)).collect();
    kinds.into_iter().collect()
}

/// Unknown if nothing was found and not everything could be looked at.
pub(super) fn judge(kinds: KindSet, operand: Operand<'_>) -> Truth {
    let Some(leaves) = Leaves::of(operand) else { return Truth::Unknown };
    if kinds.contains(Kind::Credential) && holds_a_secret(operand) {
        return Truth::True;
    }
    // Two words side by side make no address and no telephone number that anybody wrote.
    let split: KindSet =
        kinds.iter().filter(|kind| !matches!(kind, Kind::Email | Kind::Phone | Kind::Credential)).collect();
    let look = |text: &str, kinds: KindSet| match find(text, kinds, &Limits::DEFAULT) {
        Ok(found) => found.is_some().into(),
        Err(_) => Truth::Unknown,
    };
    let each = leaves.each.iter().map(|text| look(text, kinds));
    Truth::any(each.chain(leaves.joined.iter().map(|text| look(text, split))))
}

/// Whether a text, not empty, stands under a key that names a secret.
fn holds_a_secret(operand: Operand<'_>) -> bool {
    let mut pending: Vec<&Value> = match operand {
        Operand::Text(_) => Vec::new(),
        Operand::Json(value) => vec![value],
        Operand::Items(items) => items.iter().collect(),
    };
    while let Some(value) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(entries) => {
                for (key, value) in entries {
                    if matches!(value, Value::String(text) if !text.is_empty()) && is_sensitive_key(key) {
                        return true;
                    }
                    pending.push(value);
                }
            }
            _ => {}
        }
    }
    false
}
