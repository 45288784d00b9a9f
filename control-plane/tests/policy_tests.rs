//! Policy tests from TOML: what passes, what fails, what is no test, and which rules are covered.
#![expect(clippy::unwrap_used, clippy::unwrap_in_result, reason = "a test may fail loudly")]

use agent_control_plane::Policy;
use agent_control_plane::policy::test::{self, Report};
use agent_control_plane::policy::{PolicyErrors, PolicySet};

const POLICY: &str = r#"
version: 1
name: p
rules:
  - { id: mail, effect: allow, calls: [exec], tools: ["mail.send"], tenants: [acme], when: { context.team: { eq: red } } }
  - { id: no-leak, effect: deny, calls: [exec], tools: ["mail.send"], when: { labels: { any_of: [secret] } }, on_violation: stop }
  - { id: notes, effect: allow, calls: [write], paths: ["/mem/**"] }
  - { id: stop, effect: ask, calls: [signal], targets: ["b"] }
  - { id: never, effect: allow, calls: [read], paths: ["/never"] }
"#;

fn run(text: &str) -> Result<Report, PolicyErrors> {
    let set: PolicySet = Policy::from_yaml("p.yaml", POLICY).unwrap().into();
    test::run(&set, "p.test.toml", text)
}

#[test]
fn each_field_of_a_test_reaches_the_question() {
    let report = run(r#"
[[test]]
name = "mail"
call = "exec"
tool = "mail.send"
tenant = "acme"
context = { team = "red" }
expect = "allow"
rule = "mail"
[[test]]
name = "another tenant"
call = "exec"
tool = "mail.send"
tenant = "lab"
context = { team = "red" }
expect = "deny"
rule = ""
on_violation = "kill"
[[test]]
name = "a secret"
call = "exec"
tool = "mail.send"
tenant = "acme"
labels = ["secret"]
context = { team = "red" }
expect = "deny"
rule = "no-leak"
on_violation = "stop"
[[test]]
name = "notes"
call = "write"
path = "/mem/x"
expect = "allow"
[[test]]
name = "signals"
call = "signal"
target = "b"
signal = "SIGTERM"
time = "2026-03-01T12:00:00+01:00"
agent = "boss"
expect = "ask"
"#)
    .unwrap();
    assert_eq!((report.passed, report.failed.as_slice()), (5, &[][..]));
    let covered: Vec<(&str, usize)> =
        report.coverage.iter().map(|rule| (rule.rule.as_str(), rule.tests)).collect();
    assert_eq!(covered, [("mail", 1), ("no-leak", 1), ("notes", 1), ("stop", 1), ("never", 0)]);
    assert_eq!(report.uncovered().map(|rule| rule.rule.as_str()).collect::<Vec<_>>(), ["never"]);
    let twice = report.clone().join(report);
    assert_eq!((twice.passed, twice.coverage[0].tests, twice.coverage.len()), (10, 2, 5));
}

#[test]
fn a_test_that_finds_something_else_fails_and_says_what() {
    let report = run(r#"
[[test]]
name = "verdict"
call = "write"
path = "/mem/x"
expect = "deny"
[[test]]
name = "rule"
call = "write"
path = "/mem/x"
expect = "allow"
rule = "mail"
[[test]]
name = "no rule"
call = "write"
path = "/mem/x"
expect = "allow"
rule = ""
[[test]]
name = "consequence"
call = "read"
path = "/x"
expect = "deny"
on_violation = "deny"
"#)
    .unwrap();
    assert_eq!(report.passed, 0);
    let told: Vec<(u32, &str)> =
        report.failed.iter().map(|failure| (failure.line, failure.message.as_str())).collect();
    assert_eq!(
        told,
        [
            (2, "expected deny, got allow by notes"),
            (7, "expected allow by `mail`, got it by notes"),
            (13, "expected that no rule matches, got notes"),
            (19, "expected `on_violation: deny`, got kill"),
        ]
    );
}

#[test]
fn what_is_no_test_is_an_error_with_its_line() {
    let head = "[[test]]\nname = \"t\"\nexpect = \"deny\"\n";
    let cases = [
        ("call = \"exec\"\ntool = \"t\"\ntols = 1\n", 6, "tols"),
        ("call = \"exec\"\n", 1, "`exec` needs `tool`"),
        ("call = \"exce\"\ntool = \"t\"\n", 1, "unknown call `exce`"),
        ("call = \"read\"\npath = \"/x\"\ntool = \"t\"\n", 1, "`tool` does not go with `read`"),
        ("call = \"read\"\npath = \"x\"\n", 1, "the test `t`"),
        ("call = \"exit\"\n", 1, "always allowed"),
        ("call = \"signal\"\ntarget = \"b\"\nsignal = \"SIGX\"\n", 1, "unknown signal"),
        ("call = \"exec\"\ntool = \"t\"\ntime = \"today\"\n", 1, "is no time"),
        ("call = \"exec\"\ntool = \"t\"\nargs = { at = 2026-01-01 }\n", 1, "dates"),
        ("call = \"exec\"\ntool = \"t\"\non_violation = \"forgive\"\n", 1, "on_violation"),
        ("call = \"exec\"\ntool = \"t\"\nlabels = [\"no label\"]\n", 1, "label"),
        ("call = \"exec\"\ntool = \n", 5, ""),
    ];
    for (text, line, told) in cases {
        let errors = run(&format!("{head}{text}")).unwrap_err();
        assert_eq!((errors.code(), errors.errors()[0].line()), ("AK0139", line), "{errors}");
        assert!(errors.to_string().contains(told), "`{told}` is missing in {errors}");
    }
    assert_eq!(run("").unwrap_err().code(), "AK0139");
    let wrong =
        run("[[test]]\nname = \"t\"\ncall = \"read\"\npath = \"/x\"\nexpect = \"maybe\"\n").unwrap_err();
    assert!(wrong.to_string().contains(":5:"), "{wrong}");
}

#[test]
fn the_examples_hold_and_cover_their_policies() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies");
    for name in ["reviewer", "agentdojo-tools", "assistant"] {
        let set = PolicySet::load(format!("{folder}/{name}.yaml")).unwrap();
        let text = std::fs::read_to_string(format!("{folder}/{name}.test.toml")).unwrap();
        let report = test::run(&set, name, &text).unwrap();
        assert_eq!(report.failed, [], "{name}");
        assert_eq!(report.uncovered().count(), 0, "{name}: {:?}", report.coverage);
    }
}

#[test]
fn a_test_can_say_the_whole_situation() {
    let policy = r#"
version: 1
name: situations
rules:
  - { id: look, effect: allow, calls: [exec], tools: ["*"], when: { effects: { only: [read] } } }
  - { id: act, effect: allow, calls: [exec], tools: [pay], when: { labels.authority: { none_of: [untrusted] } } }
  - { id: fix, effect: allow, calls: [write], paths: ["/**"], when: { mode: { in: [maintenance] } } }
  - { id: much, effect: ask, calls: [exec], tools: [pay], when: { sum: { of: args.n, tools: [pay], within: 1h, gt: 10 } } }
  - { id: seen, effect: deny, calls: [exec], tools: [pay], when: { after: { calls: [read], paths: ["/mem/x"] } } }
"#;
    let set: PolicySet = Policy::from_yaml("p.yaml", policy).unwrap().into();
    let run = |fields: &str| {
        let text = format!("[[test]]\nname = \"t\"\n{fields}\n");
        test::run(&set, "t", &text).map(|report| report.failed).map_err(|errors| errors.to_string())
    };
    let pay = "call = \"exec\"\ntool = \"pay\"\nargs = { n = 6, why = \"x\" }\nlabels = [\"untrusted\"]\n";
    let own = "carries = { n = [] }\ncontent = [\"why\"]\n";
    for (fields, expected) in [
        ("effects = [\"read\"]\n".to_owned(), "allow"),
        ("effects = [\"read\", \"money\"]\n".to_owned(), "deny"),
        (own.to_owned(), "allow"),
        ("content = [\"why\"]\n".to_owned(), "deny"),
        ("carries = { n = [] }\n".to_owned(), "deny"),
        (
            format!(
                "{own}done = [{{ call = \"exec\", tool = \"pay\", args = {{ n = 5 }}, ago = \"30m\" }}]\n"
            ),
            "ask",
        ),
        (
            format!(
                "{own}done = [{{ call = \"exec\", tool = \"pay\", args = {{ n = 5 }}, ago = \"2h\" }}]\n"
            ),
            "allow",
        ),
        (format!("{own}done = [{{ call = \"read\", path = \"/mem/x\", ago = \"2h\" }}]\n"), "deny"),
    ] {
        assert_eq!(run(&format!("{pay}{fields}expect = \"{expected}\"")), Ok(Vec::new()), "{fields}");
    }
    let write = "call = \"write\"\npath = \"/a\"\n";
    assert_eq!(run(&format!("{write}mode = \"maintenance\"\nexpect = \"allow\"")), Ok(Vec::new()));
    assert_eq!(run(&format!("{write}expect = \"deny\"")), Ok(Vec::new()));
    for (fields, told) in [
        (format!("{write}effects = [\"read\"]\nexpect = \"deny\""), "`effects` does not go with `write`"),
        (format!("{pay}carries = {{ m = [] }}\nexpect = \"deny\""), "`m` is none of the arguments"),
        (format!("{pay}effects = [\"raed\"]\nexpect = \"deny\""), "raed"),
        (format!("{pay}done = [{{ call = \"read\", path = \"/a\", ago = \"5\" }}]\nexpect = \"deny\""), "5"),
        (
            format!(
                "{pay}done = [{{ call = \"read\", path = \"/a\", ago = \"5m\" }}, {{ call = \"read\", path = \"/a\", ago = \"6m\" }}]\nexpect = \"deny\""
            ),
            "oldest first",
        ),
    ] {
        let error = run(&fields).unwrap_err();
        assert!(error.contains(told) && error.contains("AK0139"), "{error}");
    }
}
