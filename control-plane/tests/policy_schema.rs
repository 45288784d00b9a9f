//! The schema of a document says what the loader says about its form.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::path::Path;

use agent_control_plane::policy::{Policy, PolicyError, schema};
use serde_json::{Value, json};

/// What is about the form of a document: unknown fields and words, wrong versions, missing fields, wrong types and
/// empty lists.
const STRUCTURE: [&str; 6] = ["AK0112", "AK0113", "AK0119", "AK0120", "AK0121", "AK0122"];

const EVERYTHING: &str = include_str!("../testdata/policies/everything.yaml");

/// The documentation of the language.
const DOCUMENTATION: [&str; 4] = [
    include_str!("../src/docs/policy.md"),
    include_str!("../src/docs/policy_conditions.md"),
    include_str!("../src/docs/policy_grants.md"),
    include_str!("../src/docs/policy_guards.md"),
];

/// Everything that ships, the document with everything in it first.
fn documents() -> Vec<Value> {
    let mut documents = vec![Policy::from_yaml("everything.yaml", EVERYTHING).unwrap().to_json()];
    for folder in ["testdata", "testdata/policies", "../examples/policies"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let before = documents.len();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                documents.push(Policy::load(&path).unwrap().to_json());
            }
        }
        assert!(before < documents.len(), "a folder without policies");
    }
    documents.push(Policy::from_yaml("first.yaml", first_policy()).unwrap().to_json());
    documents.extend(
        ["strict", "no_pii", "audit", "read_only", "default_deny"]
            .map(|name| Policy::pack(name).unwrap().to_json()),
    );
    documents
}

/// The policy that the documentation begins with.
fn first_policy() -> &'static str {
    let (_, after) = DOCUMENTATION[0].split_once("```yaml\n").unwrap();
    after.split_once("```").unwrap().0
}

/// All keys of maps inside of `value`, and all names of properties inside of a schema.
fn names<'v>(value: &'v Value, properties_only: bool, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if !properties_only {
                    found.insert(key);
                } else if key == "properties"
                    && let Value::Object(properties) = value
                {
                    found.extend(properties.keys().map(String::as_str));
                }
                names(value, properties_only, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, properties_only, found)),
        _ => {}
    }
}

#[test]
fn the_document_that_is_mutated_has_every_name_of_the_schema() {
    let (document, schema) = (&documents()[0], schema());
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    names(document, false, &mut written);
    names(&schema, true, &mut known);
    assert!(60 < known.len());
    assert_eq!(known.difference(&written).collect::<Vec<_>>(), Vec::<&&str>::new());
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

/// All words of closed lists inside of a schema; zones and signals are not the language's own.
fn words<'v>(schema: &'v Value, found: &mut BTreeSet<&'v str>) {
    match schema {
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value) {
                    ("zone" | "signals", _) => {}
                    ("enum", Value::Array(listed)) => found.extend(listed.iter().filter_map(Value::as_str)),
                    _ => words(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| words(item, found)),
        _ => {}
    }
}

#[test]
fn the_documentation_speaks_of_every_name_of_the_schema() {
    let schema = schema();
    let mut known = BTreeSet::new();
    names(&schema, true, &mut known);
    words(&schema, &mut known);
    let text = DOCUMENTATION.concat();
    let code: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split(|char: char| !char.is_ascii_alphanumeric() && char != '_'))
        .collect();
    assert_eq!(known.difference(&code).collect::<Vec<_>>(), Vec::<&&str>::new());
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
    // Rule by rule, since each change is read anew.
    let everything = &documents()[0];
    for rule in everything["rules"].as_array().unwrap() {
        let mut document = everything.clone();
        document["rules"] = json!([rule]);
        for (what, changed) in mutations(&document) {
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
