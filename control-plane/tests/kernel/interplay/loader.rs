//! Documents meant to hurt: nothing panics, and nothing takes long.

use std::fmt::Write as _;
use std::time::Duration;

use agent_control_plane::Policy;
use agent_control_plane::policy::MAX_POLICY_BYTES;
use agent_control_plane::primitives::{Clock as _, SystemClock};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Many times what it takes: for documents whose cost grows out of proportion.
const MOST: Duration = Duration::from_secs(60);
/// As large as one may be would take a debug build minutes.
const LARGE: usize = MAX_POLICY_BYTES / 16;

/// `head`, then `item` with a running number in place of `#` until the document is [`LARGE`], then `tail`.
fn large(head: &str, item: &str, tail: &str, most: usize) -> String {
    let mut text = head.to_owned();
    let mut number = 0;
    while text.len() + item.len() + tail.len() + 16 < LARGE && number < most {
        if number != 0 {
            text.push_str(", ");
        }
        let _ = write!(text, "{}", item.replace('#', &number.to_string()));
        number += 1;
    }
    text + tail
}

#[test]
fn a_large_document_of_any_condition_is_read_in_bounded_time() {
    let rule = |when: &str| {
        format!("{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{{when}")
    };
    let rules = |rest: &str| format!("{{id: 'r#', effect: allow, calls: [exec], tools: ['t#'], {rest}}}");
    let lists = [
        ("contains_any", "args.x: {contains_any: [", "'w#'", "]}}}]}"),
        ("any_of", "args.x: {any_of: [", "{eq: 'w#'}", "]}}}]}"),
        ("matches", "args.x: {any_of: [", "{matches: '\\w{99}#'}", "]}}}]}"),
        (
            "schema patterns",
            "args.x: {schema: {properties: {",
            "'p#': {pattern: '^\\w{99}\\d{99}$'}",
            "}}}}}]}",
        ),
        ("schema anyOf", "args.x: {schema: {anyOf: [", "{enum: ['#']}", "]}}}}]}"),
        ("schema refs", "args.x: {schema: {anyOf: [", "{'$ref': '#/anyOf/0'}", "]}}}}]}"),
        ("count", "count: [", "{tools: ['a#*'], lt: 1}", "]}}]}"),
        ("count of globs", "count: [", "{tools: ['*a#*b*'], lt: 1}", "]}}]}"),
        ("count of all", "count: [", "{tools: ['*'], lt: 1}", "]}}]}"),
        ("after", "after: [", "{paths: ['/a#/**'], within: 1h}", "]}}]}"),
        ("sum", "sum: [", "{of: args.x, tools: ['t#'], lt: 1}", "]}}]}"),
        ("budget", "budget: [", "{resource: calls, used: {lt: '1%'}}", "]}}]}"),
        ("zones", "time: [", "{zone: 'Europe/Berlim#', from: '00:00', to: '01:00'}", "]}}]}"),
        ("windows", "time: [", "{zone: Europe/Berlin, from: '00:00', to: '01:00'}", "]}}]}"),
        ("labels", "labels: {any_of: [", "'l#'", "]}}}]}"),
        ("words", "effects: {only: [", "reed#", "]}}}]}"),
        ("modes", "mode: {in: [", "m#", "]}}}]}"),
        ("keys", "", "args.k#: {eq: 1}", "}}]}"),
        ("unknown keys", "", "argz.k#: {eq: 1}", "}}]}"),
        ("email", "args.x: {email: {domains: [", "d#.example", "]}}}}]}"),
        ("hosts", "args.x: {url: {schemes: [https], hosts: [", "'*.h#.example'", "]}}}}]}"),
    ];
    let mut documents: Vec<(String, String)> = lists
        .iter()
        .map(|(name, head, item, tail)| ((*name).to_owned(), large(&rule(head), item, tail, usize::MAX)))
        .collect();
    for (name, rest) in [
        ("rules that count", "when: {count: [{tools: ['*'], lt: 1}]}"),
        ("rules with words", "when: {args.x: {contains_any: [a#, b#]}}"),
        ("rules with schemas", "when: {args.x: {schema: {type: string, pattern: '^\\w{99}$'}}}"),
        ("rules with limits", "limits: {rate: 1/min}"),
        ("rules that read shell", "when: {args.x: {hazard: [shell]}}"),
        ("rules of agents", "agents: ['*a#', 'b#*']"),
        ("rules with ranges", "when: {args.x: {ip: {in: ['10.0.0.0/8']}}}"),
    ] {
        documents.push((name.to_owned(), large("{version: 1, rules: [", &rules(rest), "]}", 10_000)));
    }
    let clock = SystemClock::new();
    for (name, text) in documents {
        let began = clock.monotonic();
        // Whether it loads is not what is asked.
        let _ = Policy::from_yaml("hostile", &text);
        let took = clock.monotonic().since(began);
        assert!(took < MOST, "{name} took {took:?}");
    }
}

/// Values of every shape, for fields of every kind.
fn odd() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(0.5),
        json!(""),
        json!("*"),
        json!("x"),
        json!("1/min"),
        json!("24:00"),
        json!("99999999999999999999h"),
        json!("100%"),
        json!("args.x"),
        json!("untrusted"),
        json!("Mars/Olympus"),
        json!([]),
        json!({}),
    ]);
    let keys = prop::sample::select(&KEYS[..]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

const KEYS: [&str; 48] = [
    "labels",
    "labels.args",
    "labels.args.x",
    "labels.authority",
    "labels.",
    "effects",
    "time",
    "mode",
    "budget",
    "count",
    "sum",
    "after",
    "unless_after",
    "args.x",
    "context.x",
    "any_of",
    "all_of",
    "none_of",
    "only",
    "in",
    "not_in",
    "zone",
    "days",
    "from",
    "to",
    "account",
    "resource",
    "remaining",
    "used",
    "lt",
    "gte",
    "eq",
    "tools",
    "paths",
    "targets",
    "calls",
    "within",
    "of",
    "contains_any",
    "sensitive",
    "hazard",
    "command",
    "email",
    "ip",
    "schema",
    "kinds",
    "rate",
    "burst",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_shape_of_a_field_makes_the_loader_panic(
        when in prop::collection::btree_map(prop::sample::select(&KEYS[..]), odd(), 0..3),
        limits in odd(), ask in odd(), on_ask in any::<bool>(),
    ) {
        let mut rule = json!({"id": "r", "effect": if on_ask { "ask" } else { "allow" }, "calls": ["exec"], "tools": ["t"]});
        rule["when"] = when.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into();
        for (field, value) in [("limits", limits), ("ask", ask)] {
            if !value.is_null() {
                rule[field] = value;
            }
        }
        let document = json!({"version": 1, "rules": [rule]});
        let text = document.to_string();
        let json = Policy::from_json("odd", &text);
        let yaml = Policy::from_yaml("odd", &text);
        prop_assert_eq!(json.is_ok(), yaml.is_ok(), "{}", text);
        if let Ok(policy) = json {
            let again = Policy::from_json("again", &policy.to_json().to_string()).unwrap();
            prop_assert_eq!(policy.digest(), again.digest());
            prop_assert_eq!(policy.digest(), yaml.unwrap().digest());
        }
    }

    #[test]
    fn no_toml_makes_the_loader_panic(text in "(version = 1\n)?(\\[\\[rules\\]\\]\n)?[\\[\\]{}=,.\"'a-z0-9 \n-]{0,120}") {
        let _ = Policy::from_toml("test", &text);
    }
}
