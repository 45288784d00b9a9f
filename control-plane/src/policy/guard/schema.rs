//! A value that fits a JSON Schema.

use agent_tool_registry::ValueSchema;
use serde_json::Value;

use super::super::budget::Budget;
use super::super::error::{Code, Report};
use super::super::source::{Node, Tree};
use super::{Operand, Truth};

/// Reads the schema, which may refer to nothing outside of itself.
pub(super) fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Box<ValueSchema>> {
    if !matches!(node.tree, Tree::Map(_) | Tree::Bool(_)) {
        report.add(Code::WrongType, node.at, "`schema` is a JSON Schema: a map, `true` or `false`");
        return None;
    }
    if let Err(message) = budget.schema() {
        report.add(Code::Limit, node.at, message);
        return None;
    }
    let schema = node.to_json();
    if let Err(message) = patterns(&schema).into_iter().try_for_each(|pattern| budget.regex(pattern)) {
        report.add(Code::Limit, node.at, message);
        return None;
    }
    match ValueSchema::compile(&schema) {
        Ok(schema) => Some(Box::new(schema)),
        Err(reason) => {
            report.add(Code::BadOperand, node.at, format!("the schema cannot be used: {reason}"));
            None
        }
    }
}

/// Every regex in here, and some text that only looks like one.
fn patterns(schema: &Value) -> Vec<&str> {
    let (mut found, mut pending) = (Vec::new(), vec![schema]);
    while let Some(value) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(entries) => {
                found.extend(entries.get("pattern").and_then(Value::as_str));
                let named = entries.get("patternProperties").and_then(Value::as_object);
                found.extend(named.into_iter().flat_map(|named| named.keys()).map(String::as_str));
                pending.extend(entries.values());
            }
            _ => {}
        }
    }
    found
}

/// Total: every value fits or does not.
pub(super) fn judge(schema: &ValueSchema, operand: Operand<'_>) -> Truth {
    match operand {
        Operand::Json(value) => schema.fits(value),
        Operand::Text(text) => schema.fits(&Value::String(text.to_owned())),
        Operand::Items(items) => schema.fits(&Value::Array(items.to_vec())),
    }
    .into()
}
