//! The form of a policy document as a JSON Schema, for editors and for hosts that check before they send.

use agent_primitives::Signal;
use serde_json::{Map, Value, json};

use super::decision::OnViolation;
use super::document::EFFECTS;
use super::guard::words;
use super::pack::PACKS;
use super::subject::ROOTS;
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
            "rules": {"type": "array", "items": reference("rule"), "description": "In no order that means anything."},
        },
        "$defs": definitions(),
    })
}

fn definitions() -> Value {
    json!({
        "name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        "on_violation": one_of(OnViolation::NAMES.map(|(name, _)| name)),
        "texts": list_of(&json!({"type": "string"})),
        "rule": rule(),
        "guard": guard(),
        "length": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": words::comparisons()
                .map(|name| (name.to_owned(), json!({"type": "integer", "minimum": 0})))
                .collect::<Map<_, _>>(),
        },
    })
}

fn rule() -> Value {
    let calls = CallKind::ALL
        .into_iter()
        .filter(|call| !matches!(call, CallKind::Close | CallKind::CheckPolicy | CallKind::Exit))
        .map(CallKind::name);
    let needs = |calls: &[&str], selector: &str| {
        json!({
            "if": {"properties": {"calls": {"type": "array", "contains": {"enum": calls}}}, "required": ["calls"]},
            "then": {"required": [selector]},
        })
    };
    let roots: Vec<&str> = ROOTS.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id", "effect", "calls"],
        "properties": {
            "id": described("Unique in the policy.", reference("name")),
            "effect": described("What the rule says when it matches.", one_of(EFFECTS.map(|(name, _)| name))),
            "calls": described("The system calls the rule is about.", list_of(&one_of(calls))),
            "tools": described("Tool ids or patterns; goes with `exec`.", reference("texts")),
            "paths": described("Paths or patterns; goes with `read`, `write` and `open`.", reference("texts")),
            "targets": described("Ids of receiving agents or patterns; goes with `signal`.", reference("texts")),
            "signals": described(
                "Which signals; all, if left out.",
                list_of(&one_of(Signal::ALL.map(Signal::name))),
            ),
            "agents": described("Ids of calling agents or patterns; everybody, if left out.", reference("texts")),
            "when": {
                "description": "Values and the guards they must pass, all of them.",
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": format!("^({})(\\.|$)", roots.join("|"))},
                "additionalProperties": reference("guard"),
            },
            "on_violation": described("What this rule's refusal does to the agent.", reference("on_violation")),
        },
        "allOf": [
            needs(&["exec"], "tools"),
            needs(&["read", "write", "open"], "paths"),
            needs(&["signal"], "targets"),
            {
                "if": {"properties": {"effect": {"const": "allow"}}, "required": ["effect"]},
                "then": {"properties": {"on_violation": false}},
            },
        ],
    })
}

fn guard() -> Value {
    let number = json!({"type": "number"});
    let inner = reference("guard");
    let hazards = list_of(&one_of(words::hazards()));
    json!({
        "description": "Guards that must all hold.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": {
            "eq": {"description": "Is equal to this value."},
            "ne": {"description": "Is another value of the same type."},
            "in": described("Is equal to one of these.", list_of(&json!({}))),
            "not_in": described("Is equal to none of these.", list_of(&json!({}))),
            "lt": described("Is a number below this one.", number.clone()),
            "lte": described("Is a number not above this one.", number.clone()),
            "gt": described("Is a number above this one.", number.clone()),
            "gte": described("Is a number not below this one.", number),
            "len": described("Is a text, array or object of such a length.", reference("length")),
            "matches": {"type": "string", "description": "Is a text in which this regex is found."},
            "path": object("Is an absolute path at or below one of these folders.", &["under"], [("under", reference("texts"))]),
            "url": object(
                "Is a URL with one reading.",
                &["schemes", "hosts"],
                [
                    ("schemes", list_of(&one_of(words::URL_SCHEMES))),
                    ("hosts", reference("texts")),
                    ("ports", json!({"anyOf": [
                        {"const": "default"},
                        list_of(&json!({"type": "integer", "minimum": 1, "maximum": 65535})),
                    ]})),
                    ("addresses", list_of(&one_of(words::address_classes()))),
                    ("networks", reference("texts")),
                ],
            ),
            "email": object("Is one plain mail address in one of these domains.", &["domains"], [("domains", reference("texts"))]),
            "ip": object("Is an address in one of these networks.", &["in"], [("in", reference("texts"))]),
            "sql": object(
                "Is one SQL statement that does nothing but this.",
                &["statements", "tables"],
                [
                    ("dialect", one_of(words::sql_dialects())),
                    ("statements", list_of(&one_of(words::sql_statements()))),
                    ("tables", reference("texts")),
                    ("functions", json!({"type": "array", "items": {"type": "string"}})),
                ],
            ),
            "command": object(
                "Is one simple shell command of one of these programs.",
                &["programs"],
                [("programs", reference("texts")), ("arguments", inner.clone())],
            ),
            "schema": {"type": ["object", "boolean"], "description": "Fits this JSON Schema (2020-12)."},
            "contains_any": described("Holds one of these words, in some text and some reading of it.", reference("texts")),
            "sensitive": {
                "description": "Holds, in some text and some reading of it, data of one of these kinds.",
                "anyOf": [{"const": "any"}, list_of(&one_of(words::sensitive()))],
            },
            "hazard": {
                "description": "Holds, in some text, what one of these detectors looks for.",
                "anyOf": [{"const": "any"}, hazards],
            },
            "not": described("Does not pass this guard.", inner.clone()),
            "any_of": described("Passes one of these guards.", list_of(&inner)),
            "each": described("Is an array whose every item passes.", inner.clone()),
            "some": described("Is an array of which an item passes.", inner.clone()),
            "first": described("Is an array whose first item passes.", inner.clone()),
            "rest": described("Is an array whose remainder passes.", inner.clone()),
            "any_leaf": described("Holds a text, key or value, that passes.", inner.clone()),
            "every_leaf": described("Holds only texts, keys and values, that pass.", inner),
        },
    })
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
    use super::super::document::{FIELDS, RULE_FIELDS};
    use super::super::guard::{NAMES, field_lists};
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
        same(&schema, "/$defs/guard/properties", &NAMES);
        for (guard, fields) in field_lists() {
            same(&schema, &format!("/$defs/guard/properties/{guard}/properties"), fields);
        }
    }
}
