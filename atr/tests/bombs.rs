//! Schemas that are made to take for ever, and the arguments that would make them.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_tool_registry::{Arguments, Registry};
use serde_json::{Value, json};

/// Whether the arguments fit.
fn prepare(schema: Value, arguments: Value) -> bool {
    let mut tools = Registry::builder();
    tools.tool("t").description("Test.").run_raw(schema, |_, _: Value| async { Ok(Value::Null) }).unwrap();
    let arguments = Arguments::from_value(arguments).unwrap();
    tools.build().prepare(&"t".parse().unwrap(), arguments).is_ok()
}

/// A schema with an argument `x` that is described by `node`, which refers to itself as `#/$defs/t`.
fn recursive(node: &Value) -> Value {
    json!({"type": "object", "$defs": {"t": node}, "properties": {"x": {"$ref": "#/$defs/t"}}})
}

#[test]
fn a_schema_that_refers_to_itself_in_place_is_judged() {
    assert!(prepare(json!({"type": "object", "$ref": "#"}), json!({})));
    let circle = json!({"type": "object", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"});
    assert!(prepare(circle, json!({})));
}

/// Each of these applies itself at least twice to each value below, so that following it blindly would take 2^60 steps. That
/// the test ends is the assertion.
#[test]
fn what_applies_twice_on_each_level_is_judged_once() {
    let again = || json!({"$ref": "#/$defs/t"});
    let in_lists = [
        json!({"allOf": [{"items": again()}, {"items": again(), "title": "b"}]}),
        json!({"anyOf": [{"items": again(), "minItems": 2}, {"items": again(), "title": "b"}]}),
        json!({"oneOf": [{"items": again(), "minItems": 2}, {"items": again(), "maxItems": 1}]}),
        json!({"items": again(), "contains": again(), "minContains": 0}),
        json!({"not": {"not": {"items": again()}}, "items": again()}),
        json!({"if": {"items": again()}, "then": {"items": again()}, "else": {"items": again()}}),
        json!({"anyOf": [{"items": again()}, {"prefixItems": [again()]}], "unevaluatedItems": false}),
    ];
    let named = || json!({"properties": {"a": again()}});
    let in_objects = [
        json!({"properties": {"a": again()}, "patternProperties": {"a": again(), "^a": again()}}),
        json!({"anyOf": [named(), named()], "unevaluatedProperties": false}),
        json!({"properties": {"a": again()}, "dependentSchemas": {"a": named()}}),
    ];
    for leaf in [json!([]), json!({}), json!(1), json!({"b": 1})] {
        let (list, object) =
            (0..60).fold((leaf.clone(), leaf), |(list, object), _| (json!([list]), json!({ "a": object })));
        for node in &in_lists {
            prepare(recursive(node), json!({ "x": list }));
        }
        for node in &in_objects {
            prepare(recursive(node), json!({ "x": object }));
        }
    }
}

#[test]
fn a_long_list_of_different_values_is_judged_soon() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "array", "uniqueItems": true}}});
    let long: Vec<Value> = (0..99_000).map(Value::from).collect();
    assert!(prepare(schema.clone(), json!({ "x": long })));
    let objects: Vec<Value> = (0..20_000).map(|number| json!({"a": [number]})).collect();
    assert!(prepare(schema, json!({ "x": objects })));
}
