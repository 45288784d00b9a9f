//! What contracts say of outputs and arguments: labels of fields, and roles.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_primitives::LabelSet;
use agent_tool_registry::{
    ArgumentRole, MAX_FIELD_PATTERN, MAX_LABELLED_FIELDS, Registry, RegistryError, ToolBuilder, ToolContract,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn set(labels: &[&str]) -> LabelSet {
    LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
}

fn contract_over(
    schema: Value,
    describe: impl FnOnce(ToolBuilder<'_>) -> ToolBuilder<'_>,
) -> Result<ToolContract, RegistryError> {
    let mut builder = Registry::builder();
    describe(builder.tool("t").description("Test.")).run_raw(schema, |_cx, _args| async { Ok(()) })?;
    Ok(ToolContract::clone(builder.build().snapshot().callable().next().unwrap().contract()))
}

fn contract(
    describe: impl FnOnce(ToolBuilder<'_>) -> ToolBuilder<'_>,
) -> Result<ToolContract, RegistryError> {
    contract_over(json!({"type": "object", "properties": {"to": {}, "text": {}, "a/b": {}}}), describe)
}

fn inbox() -> ToolContract {
    contract(|tool| {
        tool.output_labels(["untrusted"])
            .unlabelled_fields(["/*/id", "/*/received"])
            .field_labels("/*/from", ["untrusted", "pii"])
            .field_labels("/*/from/domain", ["untrusted"])
    })
    .unwrap()
}

#[test]
fn the_longest_pattern_at_or_above_a_value_decides() {
    let contract = inbox();
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &["untrusted"]),
        (&["0"], &["untrusted"]),
        (&["0", "text"], &["untrusted"]),
        (&["0", "id"], &[]),
        (&["anything", "id", "below", "it"], &[]),
        (&["0", "from"], &["pii", "untrusted"]),
        (&["0", "from", "name"], &["pii", "untrusted"]),
        (&["0", "from", "domain"], &["untrusted"]),
        (&["id"], &["untrusted"]),
    ];
    for (path, labels) in cases {
        assert_eq!(contract.output_labels().at(path), set(labels), "{path:?}");
    }
}

#[test]
fn patterns_of_equal_length_all_count() {
    let contract = contract(|tool| {
        tool.unlabelled_fields(["/*/id"]).field_labels("/meta/*", ["secret"]).field_labels("/*/*", ["pii"])
    });
    assert_eq!(contract.unwrap().output_labels().at(&["meta", "id"]), set(&["pii", "secret"]));
}

#[test]
fn an_output_carries_what_its_leaves_and_its_unknown_keys_carry() {
    let cases = [
        (json!([{"id": 1, "received": "today"}, {"id": 2}]), set(&[])),
        (json!([{"id": 1}, {"id": 2, "text": "x"}]), set(&["untrusted"])),
        (json!([{"id": 1, "from": {"domain": "x"}}]), set(&["untrusted"])),
        (json!([{"id": 1, "from": {"name": "x"}}]), set(&["pii", "untrusted"])),
        (json!([{"id": {"whatever": ["is", "below"]}}]), set(&[])),
        (json!({"a key of the sender's": {"id": 1}}), set(&["untrusted"])),
        (json!([{"id": 1}, {}]), set(&["untrusted"])),
        (json!([]), set(&["untrusted"])),
        (json!(null), set(&["untrusted"])),
    ];
    for (output, labels) in cases {
        assert_eq!(inbox().output_labels().labels_of(&output), labels, "{output}");
    }
}

#[test]
fn a_key_that_a_pattern_spells_is_known() {
    let contract =
        contract(|tool| tool.output_labels(["untrusted"]).unlabelled_fields(["/meta/count", "/~1a~0"]));
    let labels = contract.unwrap().output_labels().clone();
    assert_eq!(labels.labels_of(&json!({"meta": {"count": 3}, "/a~": 1})), set(&[]));
    assert_eq!(labels.labels_of(&json!({"meta": {"count": 3, "other": 1}})), set(&["untrusted"]));
    assert_eq!(labels.labels_of(&json!({"count": 3})), set(&["untrusted"]));
}

#[test]
fn leaves_come_in_document_order_with_their_labels() {
    let output = json!([{"from": {"domain": "x.org", "name": "X"}, "id": 7, "no/te": []}, true]);
    let contract = inbox();
    let leaves = contract.output_labels().leaves(&output);
    let shown: Vec<String> = leaves.map(|leaf| format!("{leaf} = {}", leaf.value)).collect();
    assert_eq!(
        shown,
        [
            "/0/from/domain [untrusted] = \"x.org\"",
            "/0/from/name [pii, untrusted] = \"X\"",
            "/0/id [] = 7",
            "/0/no~1te [untrusted] = []",
            "/1 [untrusted] = true",
        ]
    );
}

#[test]
fn labels_that_break_a_rule_are_refused() {
    let long = format!("/{}", "x".repeat(MAX_FIELD_PATTERN));
    let many: Vec<String> = (0..=MAX_LABELLED_FIELDS).map(|number| format!("/{number}")).collect();
    let cases: [(Result<ToolContract, RegistryError>, &str); 9] = [
        (contract(|tool| tool.output_labels(["Secret"])), "`Secret` is not a label"),
        (contract(|tool| tool.field_labels("/a", ["no label"])), "`no label` is not a label"),
        (contract(|tool| tool.unlabelled_fields([""])), "no pattern"),
        (contract(|tool| tool.unlabelled_fields(["id"])), "no pattern"),
        (contract(|tool| tool.unlabelled_fields(["/a~2"])), "neither `~0` nor `~1`"),
        (contract(|tool| tool.unlabelled_fields([long.as_str()])), "no pattern"),
        (contract(|tool| tool.unlabelled_fields(many.iter().map(String::as_str))), "more than 64 fields"),
        (contract(|tool| tool.unlabelled_fields(["/a"]).field_labels("/a", ["pii"])), "`/a` twice"),
        (
            contract(|tool| {
                let numbered = |from| (from..from + 600).map(|number| format!("own:{number}"));
                tool.output_labels(numbered(0)).field_labels("/a", numbered(600))
            }),
            "more than 1024 labels",
        ),
    ];
    for (refused, expected) in cases {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), "AK0503");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn arguments_have_the_role_that_was_declared() {
    let contract = contract(|tool| tool.authority(["/to"]).content(["/a~1b"])).unwrap();
    assert_eq!((contract.authority(), contract.content()), (&["to".to_owned()][..], &["a/b".to_owned()][..]));
    for (name, role) in [
        ("to", ArgumentRole::Authority),
        ("a/b", ArgumentRole::Content),
        ("text", ArgumentRole::Undeclared),
        ("/to", ArgumentRole::Undeclared),
    ] {
        assert_eq!(contract.role(name), role, "{name}");
        assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
    }
}

#[test]
fn roles_that_break_a_rule_are_refused() {
    let cases: [(Result<ToolContract, RegistryError>, &str); 5] = [
        (contract(|tool| tool.authority(["recipient"])), "`recipient` has a role but is no argument"),
        (contract(|tool| tool.content(["/to/name"])), "`/to/name` has a role but is no argument"),
        (contract(|tool| tool.authority([""])), "`` has a role but is no argument"),
        (contract(|tool| tool.authority(["to"]).content(["/to"])), "`to` cannot be both"),
        (
            contract_over(json!({"type": "object", "additionalProperties": true}), |tool| {
                tool.authority(["to"])
            }),
            "`to` has a role but is no argument",
        ),
    ];
    for (refused, expected) in cases {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), "AK0503");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn an_argument_may_be_named_by_a_subschema_of_the_same_object() {
    let schema = json!({
        "type": "object",
        "$defs": {"more": {"properties": {"far": {}}, "anyOf": [{"$ref": "#/$defs/more"}]}},
        "allOf": [{"$ref": "#/$defs/more"}],
        "dependentSchemas": {"far": {"properties": {"near": {"properties": {"inner": {}}}}}},
    });
    assert!(contract_over(schema.clone(), |tool| tool.authority(["far", "near"])).is_ok());
    assert!(contract_over(schema, |tool| tool.authority(["inner"])).is_err());
}

#[test]
fn every_declaration_is_in_the_contract_and_its_digest() {
    let variants = [
        contract(|tool| tool),
        contract(|tool| tool.output_labels(["pii"])),
        contract(|tool| tool.field_labels("/a", ["pii"])),
        contract(|tool| tool.unlabelled_fields(["/a"])),
        contract(|tool| tool.authority(["to"])),
        contract(|tool| tool.content(["to"])),
    ];
    let digests: std::collections::BTreeSet<_> =
        variants.iter().map(|contract| contract.as_ref().unwrap().digest()).collect();
    assert_eq!(digests.len(), variants.len());

    let all = contract(|tool| {
        tool.output_labels(["untrusted"]).field_labels("/*/n", ["pii"]).authority(["to"]).content(["text"])
    });
    let value = serde_json::to_value(all.unwrap()).unwrap();
    assert_eq!(value["output_labels"], json!({"whole": ["untrusted"], "fields": {"/*/n": ["pii"]}}));
    assert_eq!(value["arguments"], json!({"authority": ["to"], "content": ["text"]}));
}

/// The labels at a path by the words of the rule, with no state.
fn by_the_rule(fields: &[(String, Vec<&str>)], whole: &LabelSet, path: &[String]) -> LabelSet {
    let matching = fields.iter().filter_map(|(pattern, labels)| {
        let segments: Vec<&str> = pattern.split('/').skip(1).collect();
        let leads = segments.len() <= path.len()
            && segments.iter().zip(path).all(|(segment, key)| *segment == "*" || segment == key);
        leads.then(|| (segments.len(), set(labels)))
    });
    let matching: Vec<_> = matching.collect();
    let Some(longest) = matching.iter().map(|(length, _)| *length).max() else { return whole.clone() };
    let longest = matching.iter().filter(|(length, _)| *length == longest);
    longest.fold(LabelSet::EMPTY, |all, (_, labels)| all.join(labels).unwrap())
}

fn output() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(null)), Just(json!(1)), Just(json!("x"))];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab0]", inner, 0..3)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn patterns() -> impl Strategy<Value = Vec<(String, Vec<&'static str>)>> {
    let segment = prop::sample::select(vec!["*", "a", "b", "0", "1"]);
    let pattern =
        prop::collection::vec(segment, 1..4).prop_map(|segments| format!("/{}", segments.join("/")));
    let labels = prop::collection::vec(prop::sample::select(vec!["pii", "secret", "own"]), 0..3);
    prop::collection::btree_map(pattern, labels, 0..6).prop_map(|fields| fields.into_iter().collect())
}

proptest! {
    #[test]
    fn labels_follow_the_rule(fields in patterns(), output in output()) {
        let contract = contract(|tool| {
            let tool = tool.output_labels(["untrusted"]);
            fields.iter().fold(tool, |tool, (pattern, labels)| tool.field_labels(pattern, labels))
        }).unwrap();
        let labels = contract.output_labels();
        let (mut gathered, mut pending) = (LabelSet::EMPTY, vec![(Vec::<String>::new(), &output)]);
        let mut leaves = Vec::new();
        while let Some((path, value)) = pending.pop() {
            let expected = by_the_rule(&fields, labels.whole(), &path);
            prop_assert_eq!(labels.at(&path), expected.clone());
            let below = |key: String| [&path[..], &[key]].concat();
            match value {
                Value::Array(items) if !items.is_empty() => {
                    pending.extend(items.iter().enumerate().map(|(n, item)| (below(n.to_string()), item)));
                }
                Value::Object(entries) if !entries.is_empty() => {
                    for (key, entry) in entries {
                        let inner = below(key.clone());
                        let spelled = fields.iter().any(|(pattern, _)| {
                            let segments: Vec<&str> = pattern.split('/').skip(1).collect();
                            segments.get(path.len()).is_some_and(|segment| segment == key)
                                && segments.iter().zip(&inner).all(|(segment, key)| *segment == "*" || segment == key)
                        });
                        if !spelled {
                            gathered = gathered.join(&by_the_rule(&fields, labels.whole(), &inner)).unwrap();
                        }
                        pending.push((inner, entry));
                    }
                }
                _ => {
                    gathered = gathered.join(&expected).unwrap();
                    leaves.push((format!("/{}", path.join("/")), expected));
                }
            }
        }
        prop_assert_eq!(labels.labels_of(&output), gathered);
        let mut told: Vec<_> = labels.leaves(&output).map(|leaf| (leaf.pointer, leaf.labels)).collect();
        if told.len() == 1 && told[0].0.is_empty() {
            told[0].0 = "/".to_owned();
        }
        told.sort_by(|one, next| one.0.cmp(&next.0));
        leaves.sort_by(|one, next| one.0.cmp(&next.0));
        prop_assert_eq!(told, leaves);
    }
}
