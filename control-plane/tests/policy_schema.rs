//! The schema of a document says what the loader says about its form.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::policy::{Policy, PolicyError, schema};
use serde_json::{Value, json};

/// What is about the form of a document: unknown fields and words, wrong versions, missing fields, wrong types and
/// empty lists.
const STRUCTURE: [&str; 6] = ["AK0112", "AK0113", "AK0119", "AK0120", "AK0121", "AK0122"];

fn documents() -> Vec<Value> {
    let texts = [
        include_str!("../testdata/policies/everything.yaml"),
        include_str!("../testdata/policies/worker.yaml"),
        include_str!("../testdata/bypass-policy.yaml"),
        include_str!("../../examples/policies/reviewer.yaml"),
        include_str!("../../examples/policies/agentdojo-tools.yaml"),
    ];
    let mut documents: Vec<Value> =
        texts.iter().map(|text| Policy::from_yaml("p", text).unwrap().to_json()).collect();
    documents.extend(
        ["strict", "no_pii", "audit", "read_only", "default_deny"]
            .map(|name| Policy::pack(name).unwrap().to_json()),
    );
    documents
}

/// Every way to a value inside of `value`, as JSON pointers.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                pointers(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                pointers(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// The document with one value replaced, one key added, one key taken away.
fn mutations(document: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    pointers(document, "", &mut places);
    let others = [
        json!(null),
        json!(true),
        json!(12.5),
        json!("zz"),
        json!([]),
        json!({}),
        json!(["zz"]),
        json!([7]),
        json!({"zz": 1}),
    ];
    let mut found = Vec::new();
    for place in places {
        let mut change = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut changed = document.clone();
            change(changed.pointer_mut(&place).unwrap());
            found.push((format!("{place} {what}"), changed));
        };
        for other in &others {
            change(&format!("= {other}"), &|value| *value = other.clone());
        }
        if let Some(Value::Object(entries)) = document.pointer(&place) {
            change("+ zz", &|value| value["zz"] = json!(1));
            for key in entries.keys() {
                change(&format!("- {key}"), &|value| {
                    value.as_object_mut().unwrap().remove(key);
                });
            }
        }
    }
    found
}

#[test]
fn the_schema_and_the_loader_agree_about_the_form() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for document in documents() {
        let first =
            validator.iter_errors(&document).next().map(|error| format!("{} {error}", error.instance_path()));
        assert_eq!(first, None, "{document}");
    }
    for document in documents().iter().take(1) {
        for (what, changed) in mutations(document) {
            let loaded = Policy::from_json("p", &changed.to_string());
            let fits = validator.is_valid(&changed);
            match loaded {
                Ok(_) => {
                    assert!(fits, "the loader takes {what}, the schema does not");
                    accepted += 1;
                }
                Err(errors)
                    if errors
                        .errors()
                        .iter()
                        .map(PolicyError::code)
                        .any(|code| STRUCTURE.contains(&code)) =>
                {
                    assert!(!fits, "the schema takes {what}, the loader does not: {errors}");
                    refused += 1;
                }
                Err(_) => {}
            }
        }
    }
    assert!(100 < accepted && 1000 < refused, "{accepted} {refused}");
}
