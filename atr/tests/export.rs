//! Tools in the forms of vendors: names that lead back, and nothing left out silently.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::sync::Arc;

use agent_tool_registry::export::{self, ExportError};
use agent_tool_registry::{Effect, Registry, ToolContract};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

fn contracts(tools: &[(&str, Value)]) -> Vec<Arc<ToolContract>> {
    let registry = Registry::builder().build();
    registry
        .register(|builder| {
            tools.iter().try_for_each(|(name, schema)| {
                let tool = builder.tool(name).description("Test.").effects([Effect::Read]);
                tool.run_raw(schema.clone(), |_, _| async { Ok(()) })
            })
        })
        .unwrap();
    registry.snapshot().callable().map(|tool| Arc::clone(tool.contract())).collect()
}

fn named(names: &[&str]) -> Vec<Arc<ToolContract>> {
    contracts(&names.iter().map(|name| (*name, json!({"type": "object"}))).collect::<Vec<_>>())
}

fn strict(schema: Value) -> Result<(), String> {
    match export::openai_strict(&contracts(&[("t", schema)])) {
        Ok(_) => Ok(()),
        Err(ExportError::NotStrictable { pointer, .. }) => Err(pointer),
        Err(other) => Err(other.to_string()),
    }
}

#[test]
fn each_vendor_gets_its_form() {
    let tools =
        contracts(&[("mcp.a/get", json!({"type": "object", "properties": {"x": {"type": "string"}}}))]);
    let schema = tools[0].input_schema();
    let openai = export::openai(&tools).unwrap();
    assert_eq!(
        openai.tools(),
        [
            json!({"type": "function", "function": {"name": "mcp_a_get", "description": "Test.", "parameters": schema}})
        ]
    );
    assert_eq!(openai.resolve("mcp_a_get"), Some(tools[0].id()));
    assert_eq!(openai.resolve("mcp.a/get"), None);
    let anthropic = export::anthropic(&tools).unwrap();
    assert_eq!(
        anthropic.tools(),
        [json!({"name": "mcp_a_get", "description": "Test.", "input_schema": schema})]
    );
    let mcp = export::mcp(&tools).unwrap();
    let annotations = json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": false,
        "openWorldHint": false});
    assert_eq!(
        mcp.tools(),
        [
            json!({"name": "mcp.a.get", "description": "Test.", "inputSchema": schema, "annotations": annotations})
        ]
    );
}

#[test]
fn tools_that_would_share_a_name_are_told_apart() {
    let long = format!("a/{}", "x".repeat(100));
    let tools = named(&["a.b", "a/b", "a_b", "alone", &long]);
    let export = export::openai(&tools).unwrap();
    let names: Vec<&str> =
        export.tools().iter().map(|tool| tool["function"]["name"].as_str().unwrap()).collect();
    assert_eq!(
        names.iter().filter(|name| name.starts_with("a_b_") && name.len() == 12).count(),
        3,
        "{names:?}"
    );
    assert!(names.contains(&"alone") && names.iter().all(|name| name.len() <= 64));
    let found: BTreeSet<_> = names.iter().map(|name| export.resolve(name).unwrap()).collect();
    assert_eq!(found.len(), 5);
}

#[test]
fn openai_takes_no_more_than_128() {
    let names: Vec<String> = (0..129).map(|number| format!("t{number}")).collect();
    let tools = named(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let error = export::openai(&tools).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("AK0581", "129 tools, and at most 128 are taken")
    );
    assert!(export::openai(&tools[..128]).is_ok() && export::anthropic(&tools).is_ok());
    let twice = [Arc::clone(&tools[0]), Arc::clone(&tools[0])];
    assert_eq!(export::anthropic(&twice).unwrap_err().code(), "AK0582");
}

#[test]
fn what_strict_mode_cannot_say_is_refused_where_it_stands() {
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let string = json!({"type": "string"});
    let open = json!({"type": "object", "properties": {}, "required": []});
    let cases = [
        (object(json!({"a": string}), json!(["a"])), Ok(())),
        (object(json!({"a": {"type": ["string", "null"], "description": "x"}}), json!(["a"])), Ok(())),
        (object(json!({"a": {"anyOf": [string, {"type": "null"}]}}), json!(["a"])), Ok(())),
        (object(json!({"a": string, "b": string}), json!(["a"])), Err("/properties/b")),
        (
            object(json!({"a": {"type": "string", "default": "x"}}), json!(["a"])),
            Err("/properties/a/default"),
        ),
        (
            object(json!({"a": {"type": "string", "minLength": 1}}), json!(["a"])),
            Err("/properties/a/minLength"),
        ),
        (object(json!({"a": {"oneOf": [string]}}), json!(["a"])), Err("/properties/a/oneOf")),
        (
            object(json!({"a": {"type": "integer", "format": "int64"}}), json!(["a"])),
            Err("/properties/a/format"),
        ),
        (object(json!({"a": open}), json!(["a"])), Err("/properties/a")),
        (object(json!({"a": {"type": "array", "items": open}}), json!(["a"])), Err("/properties/a/items")),
        (json!({"type": "object", "additionalProperties": true}), Err("/additionalProperties")),
    ];
    for (schema, expected) in cases {
        assert_eq!(strict(schema.clone()), expected.map_err(str::to_owned), "{schema}");
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..6 {
        deep = object(json!({"a": deep}), json!(["a"]));
    }
    assert_eq!(strict(deep), Ok(()));
}

/// Arguments as hosts have them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Transfer {
    to: String,
    cents: u32,
    #[schemars(required)]
    note: Option<String>,
    parts: Vec<i64>,
}

#[test]
fn a_type_of_rust_can_be_strict() {
    let mut tools = Registry::builder();
    tools.tool("pay").description("Test.").run(|_, _: Transfer| async { Ok(()) }).unwrap();
    let contract = tools.build().get(&"pay".parse().unwrap()).unwrap();
    let export = export::openai_strict(&[contract]).unwrap();
    let parameters = &export.tools()[0]["function"]["parameters"];
    assert_eq!(
        parameters["properties"]["cents"],
        json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
    );
}

proptest! {
    #[test]
    fn names_lead_back_to_the_tool_they_stand_for(
        names in prop::collection::btree_set("([a-c]/)?[ab][ab._-]{0,3}", 1..40)
    ) {
        let names: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| name.parse::<agent_primitives::ToolId>().is_ok()).collect();
        let tools = named(&names);
        for export in [export::openai(&tools).unwrap(), export::anthropic(&tools).unwrap(), export::mcp(&tools).unwrap()] {
            for (form, contract) in export.tools().iter().zip(&tools) {
                let name = form.get("name").or_else(|| form["function"].get("name")).unwrap().as_str().unwrap();
                prop_assert!(name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)));
                prop_assert_eq!(export.resolve(name), Some(contract.id()));
            }
        }
    }
}
