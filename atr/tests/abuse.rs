//! Names and schemas that are meant to do harm: none becomes a tool.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::net::TcpListener;

use agent_tool_registry::{Arguments, Registry, RegistryBuilder, RegistryError};
use serde_json::{Value, json};

fn register(tools: &mut RegistryBuilder, name: &str, schema: Value) -> Result<(), RegistryError> {
    tools.tool(name).description("Test.").run_raw(schema, |_, _| async { Ok(()) })
}

fn code(name: &str, schema: Value) -> &'static str {
    let mut tools = Registry::builder();
    let refused = register(&mut tools, name, schema).unwrap_err();
    assert!(tools.build().is_empty());
    refused.code()
}

#[test]
fn t07_t08_t29_names_that_are_none() {
    let long = "a".repeat(129);
    let deep = format!("{}/x", "n".repeat(129));
    let names = [
        "",
        " ",
        "a b",
        "../x",
        &long,
        &deep,
        "1abc",
        "a\0",
        "a\n",
        "\u{441}alc",
        "ca\u{2010}lc",
        "caf\u{e9}",
        "a/b/c",
        "a\",tool=\"b",
        "a}b",
        "ns\"/x",
        "NS/x",
        "/x",
        "x/",
        "a\u{200b}",
        "{a}",
        "a=b",
        "a,b",
        "a\\b",
    ];
    for name in names {
        assert_eq!(code(name, json!({"type": "object"})), "AK0501", "{name:?}");
    }
}

#[test]
fn t33_t34_schemas_beyond_their_bounds() {
    let properties = |count: usize| {
        let fields = (0..count).map(|number| (format!("p{number}"), json!({})));
        json!({"type": "object", "properties": fields.collect::<serde_json::Map<_, _>>()})
    };
    let mut deep = json!({"type": "string"});
    for _ in 0..17 {
        deep = json!({"items": deep});
    }
    let cases = [
        json!({"type": "string"}),
        json!({"type": ["object"]}),
        json!({}),
        json!([]),
        properties(600),
        json!({"type": "object", "properties": {"a": deep}}),
        json!({"type": "object", "title": "x".repeat(65 << 10)}),
        json!({"type": "object", "properties": {"a": {"pattern": "(?=x)"}}}),
        json!({"type": "object", "properties": {"a": {"pattern": "(a)\\1"}}}),
    ];
    for schema in cases {
        let shown: String = schema.to_string().chars().take(80).collect();
        assert_eq!(code("t", schema), "AK0504", "{shown}");
    }
    assert!(register(&mut Registry::builder(), "t", properties(512)).is_ok());
}

#[test]
fn t21_a_reference_to_elsewhere_is_refused_and_never_followed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = format!("http://{}/x", listener.local_addr().unwrap());
    for schema in [
        json!({"type": "object", "$ref": elsewhere}),
        json!({"type": "object", "properties": {"a": {"$ref": elsewhere}}}),
        json!({"type": "object", "properties": {"a": {"$id": elsewhere}}}),
        json!({"type": "object", "$schema": elsewhere}),
        json!({"type": "object", "properties": {"a": {"$dynamicRef": elsewhere}}}),
    ] {
        assert_eq!(code("t", schema.clone()), "AK0504", "{schema}");
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn t22_a_pattern_that_would_backtrack_is_matched_in_one_pass() {
    let mut tools = Registry::builder();
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}});
    register(&mut tools, "t", schema).unwrap();
    let tools = tools.build();
    // A backtracking engine would take two to the power of 50 000 steps.
    let text = format!("{}!", "a".repeat(50 << 10));
    let refused = tools.prepare(&"t".parse().unwrap(), Arguments::from_value(json!({"a": text})).unwrap());
    assert_eq!(refused.unwrap_err().code(), "AK0515");
}
