//! The form of a policy document as a JSON Schema, for editors and for hosts that check before they send.

mod condition;
mod guard;
mod rule;

use serde_json::{Map, Value, json};

use super::decision::OnViolation;
use super::document::UNMATCHED;
use super::pack::PACKS;
use crate::question::CallKind;

/// A JSON Schema (2020-12) of a policy document, whatever the format it is written in.
///
/// Every document that loads fits it. One that does not load for its form (an unknown field or word, a value of another
/// type, an empty list, a missing field) does not fit; what is wrong with a pattern, a regex, a name or a limit is for
/// [`Policy`](super::Policy) to say.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Agent OS policy",
        "description": "What agents may do. Nothing is allowed that no rule allows; deny stands over ask, ask over allow.",
        "type": "object",
        "additionalProperties": false,
        "required": ["version"],
        "anyOf": [{"required": ["rules"]}, {"required": ["packs"]}],
        "properties": {
            "version": {"const": 1, "description": "The version of the language."},
            "name": described("What the policy is called; `unnamed` if left out.", reference("name")),
            "packs": described("Built-in rules, by name.", list_of(&one_of(PACKS.map(|pack| pack.name)))),
            "on_violation": described("What a refusal does to the agent; `kill` if left out.", reference("on_violation")),
            "unmatched": described(
                "What the policy says as a layer when nothing in it matches; `deny` if left out.",
                one_of(UNMATCHED.map(|(name, _)| name)),
            ),
            "rules": {"type": "array", "items": reference("rule"), "description": "In no order that means anything."},
        },
        "$defs": definitions(),
    })
}

fn definitions() -> Value {
    let mut definitions = Map::from_iter([
        ("name".to_owned(), json!({"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"})),
        ("on_violation".to_owned(), one_of(OnViolation::NAMES.map(|(name, _)| name))),
        ("texts".to_owned(), list_of(&json!({"type": "string"}))),
    ]);
    let parts = rule::definitions().into_iter().chain(condition::definitions()).chain(guard::definitions());
    definitions.extend(parts.map(|(name, schema)| (name.to_owned(), schema)));
    definitions.into()
}

/// The calls that a rule can be about.
fn calls() -> Value {
    let calls = CallKind::ALL.into_iter();
    list_of(&one_of(
        calls
            .filter(|call| !matches!(call, CallKind::Close | CallKind::CheckPolicy | CallKind::Exit))
            .map(CallKind::name),
    ))
}

/// That calls of a kind need the selector that says what they are about.
fn selectors() -> [Value; 3] {
    let needs = |calls: &[&str], selector: &str| {
        json!({
            "if": {"properties": {"calls": {"type": "array", "contains": {"enum": calls}}}, "required": ["calls"]},
            "then": {"required": [selector]},
        })
    };
    [needs(&["exec"], "tools"), needs(&["read", "write", "open"], "paths"), needs(&["signal"], "targets")]
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn described(text: &str, schema: Value) -> Value {
    let mut schema = schema;
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("description".to_owned(), text.into());
    }
    schema
}

fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> Value {
    json!({"enum": names.into_iter().collect::<Vec<_>>()})
}

/// One of these, or a list of them.
fn one_or_more(item: &Value) -> Value {
    json!({"anyOf": [item, list_of(item)]})
}

/// With at least one item: an empty list matches nothing.
fn list_of(item: &Value) -> Value {
    json!({"type": "array", "minItems": 1, "items": item})
}

fn object<const N: usize>(text: &str, required: &[&str], fields: [(&str, Value); N]) -> Value {
    let properties: Map<_, _> = fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    json!({
        "description": text,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

#[cfg(test)]
mod tests {
    use super::super::condition::{self, KINDS, labels};
    use super::super::document::{FIELDS, RULE_FIELDS};
    use super::super::guard::{NAMES, field_lists};
    use super::super::{ask, limits};
    use super::*;

    #[track_caller]
    fn same(schema: &Value, pointer: &str, known: &[&str]) {
        let found = schema.pointer(pointer).and_then(Value::as_object).unwrap();
        let mut found: Vec<&str> = found.keys().map(String::as_str).collect();
        let mut known = known.to_vec();
        found.sort_unstable();
        known.sort_unstable();
        assert_eq!(found, known, "{pointer}");
    }

    #[test]
    fn every_name_of_the_language_is_in_the_schema() {
        let schema = schema();
        same(&schema, "/properties", &FIELDS);
        same(&schema, "/$defs/rule/properties", &RULE_FIELDS);
        same(&schema, "/$defs/ask/properties", &ask::FIELDS);
        same(&schema, "/$defs/limit/properties", &limits::FIELDS);
        same(&schema, "/$defs/rate/anyOf/1/properties", &limits::RATE_FIELDS);
        same(&schema, "/$defs/when/properties", &KINDS.map(|(name, _)| name));
        for (condition, fields) in condition::field_lists() {
            same(&schema, &format!("/$defs/{condition}/properties"), fields);
        }
        same(&schema, "/$defs/guard/properties", &NAMES);
        for (guard, fields) in field_lists() {
            same(&schema, &format!("/$defs/guard/properties/{guard}/properties"), fields);
        }
    }

    #[test]
    fn labels_of_every_bearer_take_the_form_of_labels() {
        let validator = jsonschema::draft202012::new(&schema()).unwrap();
        let fits = |subject: &str, operand: Value| {
            let rule = json!({"id": "a", "effect": "deny", "calls": ["exec"], "tools": ["*"], "when": {subject: operand}});
            validator.is_valid(&json!({"version": 1, "rules": [rule]}))
        };
        for bearer in labels::BEARERS {
            assert!(fits(bearer, json!({"any_of": ["secret"]})), "{bearer}");
            assert!(!fits(bearer, json!({"eq": 1})), "{bearer} takes a guard");
        }
        for stranger in ["label", "labelsx", "labels.", "labels.arg", "labels.args.", "labels.content.x"] {
            assert!(!fits(stranger, json!({"any_of": ["secret"]})), "{stranger}");
        }
    }
}
