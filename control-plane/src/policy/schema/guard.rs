//! The form of guards.

use serde_json::{Map, Value, json};

use super::super::guard::words;
use super::{described, list_of, object, one_of, reference};

pub(super) fn definitions() -> [(&'static str, Value); 2] {
    [("guard", guard()), ("length", length())]
}

fn length() -> Value {
    json!({
        "type": "object",
        "minProperties": 1,
        "additionalProperties": false,
        "properties": words::comparisons()
            .map(|name| (name.to_owned(), json!({"type": "integer", "minimum": 0})))
            .collect::<Map<_, _>>(),
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
