//! One document in three formats: the same policy, and the same errors at the right places.

use agent_control_plane::policy::Policy;

const YAML: &str = r#"
version: 1
name: x
on_violation: stop
rules:
  - { id: a, effect: allow, calls: [exec], tools: [t], when: { args.n: { lt: 1.5, gte: -2 }, 'args."a b"': { eq: [true, null] } } }
  - { id: b, effect: deny, calls: [read], paths: ["/é/**"], on_violation: deny }
"#;

const JSON: &str = r#"
{ "version": 1, "name": "x", "on_violation": "stop", "rules": [
  { "id": "a", "effect": "allow", "calls": ["exec"], "tools": ["t"],
    "when": { "args.n": { "lt": 1.5, "gte": -2 }, "args.\"a b\"": { "eq": [true, null] } } },
  { "id": "\u0062", "effect": "deny", "calls": ["read"], "paths": ["\/\u00e9/**"], "on_violation": "deny" }
] }
"#;

const TOML: &str = r#"
version = 1
name = "x"
on_violation = "stop"

[[rules]]
id = "b"
effect = "deny"
calls = ["read"]
paths = ["/é/**"]
on_violation = "deny"
"#;

#[test]
fn the_formats_say_the_same() {
    let yaml = Policy::from_yaml("p", YAML).unwrap();
    assert_eq!(yaml.digest(), Policy::from_json("p", JSON).unwrap().digest());
    assert_eq!(yaml.digest(), Policy::from_json("p", &yaml.to_json().to_string()).unwrap().digest());
    // TOML has no null, so the first rule stays out.
    let lines: Vec<&str> = YAML.lines().filter(|line| !line.contains("id: a")).collect();
    let shorter = Policy::from_yaml("p", &lines.join("\n")).unwrap();
    assert_eq!(shorter.digest(), Policy::from_toml("p", TOML).unwrap().digest());
    let guarded = "version = 1\nrules = [{ id = \"a\", effect = \"allow\", calls = [\"exec\"], tools = [\"t\"], \
                   when = { \"args.n\" = { lt = 1.5 } } }]";
    let same =
        "{version: 1, rules: [{id: a, effect: allow, calls: [exec], tools: [t], when: {args.n: {lt: 1.5}}}]}";
    assert_eq!(
        Policy::from_toml("p", guarded).unwrap().digest(),
        Policy::from_yaml("p", same).unwrap().digest()
    );
}

#[test]
#[rustfmt::skip]
fn json_errors_say_where() {
    let deep = format!("{{\"version\": 1, \"rules\": {}{}}}", "[".repeat(40), "]".repeat(40));
    let deeper = "[".repeat(400);
    let cases = [
        ("{\"version\": 1,\n \"ruls\": []}",
         "p:1:1: the policy has neither `rules` nor `packs` [AK0120]; a policy that grants nothing is `packs: [default_deny]`\n\
          p:2:2: unknown field of the policy `ruls` [AK0112]; did you mean `rules`?"),
        ("{\"version\": 1, \"rules\": [], \"version\": 1}", "p:1:29: the key `version` appears twice in one map [AK0115]"),
        ("{\"version\": 1, \"name\": \"é\", \"rules\": [5]}",
         "p:1:24: the policy's name `é` is not a name [AK0123]; a name is 1 to 128 of `[A-Za-z0-9._-]`\n\
          p:1:39: a rule must be a map, not a number [AK0121]"),
        ("version: 1\nrules: []", "p:1:1: not JSON: expected value [AK0114]"),
        ("{version: 1, rules: []}", "p:1:2: not JSON: key must be a string [AK0114]"),
        ("{\"version\": 1, \"rules\": [],}", "p:1:28: not JSON: key must be a string [AK0114]"),
        ("{\"version\": 1, \"rules\": []} x", "p:1:29: not JSON: trailing characters [AK0114]"),
        ("{\"version\": 1, // one\n\"rules\": []}", "p:1:16: not JSON: key must be a string [AK0114]"),
        ("{\"version\": 1, \"rules\": [],\n\"name\": 'x'}", "p:2:9: not JSON: expected value [AK0114]"),
        ("{\"version\": 01, \"rules\": []}", "p:1:14: not JSON: invalid number [AK0114]"),
        ("{\"version\": 9007199254740993, \"rules\": []}",
         "p:1:13: `9007199254740993`: an integer beyond 2^53-1 has no exact form [AK0121]; put it in quotes if text is meant"),
        ("{\"version\": 1, \"name\": \"\\ud800\", \"rules\": []}", "p:1:24: not JSON: the text is not Unicode [AK0114]"),
        ("", "p:1:1: not JSON: EOF while parsing a value [AK0114]"),
        (&deep, "p:1:56: nested deeper than 32 levels [AK0116]"),
        (&deeper, "p:1:400: not JSON: EOF while parsing a list [AK0114]"),
    ];
    let wrong: Vec<_> = cases.map(|(text, expected)| (Policy::from_json("p", text).unwrap_err().to_string(), expected))
        .into_iter().filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "found and expected: {wrong:#?}");
}

#[test]
#[rustfmt::skip]
fn toml_errors_say_where() {
    let deep = format!("version = 1\nrules = {}{}", "[".repeat(40), "]".repeat(40));
    let deeper = format!("version = 1\nrules = {}{}", "[".repeat(4000), "]".repeat(4000));
    let cases = [
        ("version = 1\nruls = []",
         "p:1:1: the policy has neither `rules` nor `packs` [AK0120]; a policy that grants nothing is `packs: [default_deny]`\n\
          p:2:1: unknown field of the policy `ruls` [AK0112]; did you mean `rules`?"),
        ("version = 1\nname = 2001-12-14\nrules = []",
         "p:2:8: dates are not part of the policy language [AK0117]; put it in quotes if text is meant"),
        ("version = 0x1\nrules = []", "p:1:11: `0x1`: numbers are written in decimal [AK0121]; put it in quotes if text is meant"),
        ("version = 1\nname = inf\nrules = []",
         "p:2:8: `inf`: infinite and undefined numbers are not values [AK0121]; put it in quotes if text is meant"),
        ("version = 1\n[[rules]]\nid = \"r\"\nefect = \"deny\"\ncalls = [\"exec\"]\ntools = [\"t\"]",
         "p:2:1: the rule has no `effect` [AK0120]\np:4:1: unknown field of a rule `efect` [AK0112]; did you mean `effect`?"),
        ("version = 1\nversion = 1\nrules = []", "p:2:1: not TOML: duplicate key [AK0115]"),
        ("version = 1\nrules = [", "p:2:10: not TOML: unclosed array, expected `]` [AK0114]"),
        ("version: 1", "p:1:10: not TOML: key with no value, expected `=` [AK0114]"),
        (&deep, "p:2:40: nested deeper than 32 levels [AK0116]"),
        (&deeper, "p:2:89: not TOML: cannot recurse further; max recursion depth met [AK0114]"),
    ];
    let wrong: Vec<_> = cases.map(|(text, expected)| (Policy::from_toml("p", text).unwrap_err().to_string(), expected))
        .into_iter().filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "found and expected: {wrong:#?}");
}

#[test]
fn the_name_of_a_file_says_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        Policy::load(path).map(|policy| policy.name().to_owned()).map_err(|errors| errors.code())
    };
    let json = r#"{"version": 1, "name": "j", "rules": []}"#;
    assert_eq!(load("p.yaml", "version: 1\nname: y\nrules: []"), Ok("y".into()));
    assert_eq!(load("p.yml", json), Ok("j".into()));
    assert_eq!(load("p.json", json), Ok("j".into()));
    assert_eq!(load("p.toml", "version = 1\nname = \"t\"\nrules = []"), Ok("t".into()));
    assert_eq!(load("p.toml", json), Err("AK0114"));
    assert_eq!(load("p.json", "version: 1"), Err("AK0114"));
    for name in ["p.txt", "p", "p.YAML", ".yaml"] {
        assert_eq!(load(name, json), Err("AK0110"), "{name}");
    }
}
