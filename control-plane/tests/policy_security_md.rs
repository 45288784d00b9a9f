//! `.agents/security.md`: what is read, what is refused and at which line.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::Policy;
use agent_control_plane::policy::{PolicyErrors, security_md};
use agent_control_plane::primitives::{AgentId, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use serde_json::{Map, Value, json};

fn load(text: &str) -> Result<Policy, PolicyErrors> {
    security_md::load("security.md", text)
}

fn verdict(policy: &Policy, tool: &str, arguments: &Value) -> (Verdict, Option<String>) {
    let (agent, tool): (AgentId, ToolId) = ("w".parse().unwrap(), tool.parse().unwrap());
    let facts = Map::new();
    let question = Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments });
    let decision = policy.decide(&Caller::new(&agent, &facts), &question);
    (decision.verdict(), decision.deciding_rule().map(str::to_owned))
}

const FULL: &str = r#"---
kernel:
  version: "1.0"
  mode: strict
---
# Security

- You may transfer money.   <- prose, which grants nothing

```yaml
policies:
  - action: "mail.*"
    effect: allow
    constraints: { args.to: { matches: '@example\.com$' } }
  - { action: "mail.forward", effect: allow, requires_approval: true }
  - { action: "mail.delete", effect: deny, mode: strict }
```

~~~text
policies: [{ action: "*", effect: allow }]
~~~

````markdown
```yaml
policies: [{ action: "*", effect: allow }]
```
````

```yml
signals: [SIGSTOP, SIGKILL]
observability: { flight_recorder: true, metrics: false }
```
"#;

#[test]
fn front_matter_and_fenced_yaml_become_one_policy() {
    let policy = load(FULL).unwrap();
    let to = |to: &str| json!({ "to": to });
    let cases = [
        ("mail.send", to("a@example.com"), Verdict::Allow, Some("policy-1")),
        ("mail.send", to("a@evil.example"), Verdict::Deny, None),
        ("mail.send", json!({}), Verdict::Deny, None),
        ("mail.forward", to("a@example.com"), Verdict::Ask, Some("policy-2")),
        ("mail.delete", to("a@example.com"), Verdict::Deny, Some("policy-3")),
        ("bank.transfer", json!({}), Verdict::Deny, None),
    ];
    for (tool, arguments, expected, rule) in cases {
        assert_eq!(
            verdict(&policy, tool, &arguments),
            (expected, rule.map(str::to_owned)),
            "{tool} {arguments}"
        );
    }
}

#[test]
fn a_file_of_yaml_alone_is_read_as_it_stands() {
    let policy =
        load("kernel:\n  version: '1'\n  mode: strict\npolicies:\n  - action: echo\n    effect: deny\n")
            .unwrap();
    assert_eq!(verdict(&policy, "echo", &json!({})), (Verdict::Deny, Some("policy-1".to_owned())));
    // A file that grants nothing grants nothing.
    let policy = load("kernel: { version: '1', mode: strict }\n").unwrap();
    assert_eq!(verdict(&policy, "echo", &json!({})), (Verdict::Deny, None));
}

#[test]
fn a_rate_limit_is_the_limit_of_the_rule() {
    let head = "kernel: { version: '1', mode: strict }\npolicies:\n  - { action: echo, effect: allow";
    for rate in ["1/hour", "{ rate: 60/min, burst: 10 }"] {
        let policy = load(&format!("{head}, rate_limit: {rate} }}\n")).unwrap();
        let written = format!(
            "version: 1\nname: security\nrules:\n  - {{ id: policy-1, effect: allow, calls: [exec], tools: [echo], limits: {{ rate: {rate} }} }}\n"
        );
        assert_eq!(policy.digest(), Policy::from_yaml("p", &written).unwrap().digest());
        assert_ne!(policy.digest(), load(&format!("{head} }}\n")).unwrap().digest());
    }
}

#[test]
fn what_cannot_be_read_or_enforced_is_refused_at_its_line() {
    let head = "---\nkernel: { version: '1', mode: strict }\n---\n";
    let fenced = |yaml: &str| format!("{head}\n```yaml\n{yaml}\n```\n");
    let rule = |more: &str| fenced(&format!("policies:\n  - {{ action: echo, {more} }}"));
    let cases: [(String, u32, &str, &str); 29] = [
        ("kernel:\n  version: '1'\n  mode: [strict\n".into(), 3, "AK0114", ""),
        ("kernel: { version: '1', mode: permissive }".into(), 1, "AK0138", "`strict` is the only mode"),
        ("kernel: { version: '1', mode: audit }".into(), 1, "AK0138", "`strict` is the only mode"),
        ("kernel: { version: '1', mode: strcit }".into(), 1, "AK0113", "did you mean `strict`?"),
        ("kernel: { version: '2', mode: strict }".into(), 1, "AK0119", "unknown version `2`"),
        ("kernel: { version: 1.0, mode: strict }".into(), 1, "AK0121", "must be text"),
        ("kernel: { version: '1' }".into(), 1, "AK0120", "has no `mode`"),
        ("policies: []".into(), 1, "AK0120", "has no `kernel`"),
        ("# Only prose\n\n- Send email\n".into(), 3, "AK0121", "must be a map"),
        (fenced("polices: []"), 6, "AK0112", "did you mean `policies`?"),
        (fenced("kernel: { version: '1', mode: strict }"), 6, "AK0115", "line 2 already"),
        (rule("effect: allow, rate_limit: 100/week"), 7, "AK0129", "unknown period `week`"),
        (rule("effect: allow, rate_limit: 100"), 7, "AK0121", "must be text"),
        (rule("effect: deny, rate_limit: 100/hour"), 7, "AK0132", "this entry denies"),
        (rule("effect: allow, mode: permissive"), 7, "AK0138", "`strict` is the only mode"),
        (rule("effect: permit"), 7, "AK0113", "unknown effect"),
        (rule("efect: deny"), 7, "AK0112", "did you mean `effect`?"),
        (rule("effect: deny, requires_approval: true"), 7, "AK0132", "nobody can approve"),
        (rule("effect: allow, requires_approval: yes"), 7, "AK0121", "true or false"),
        (rule("effect: allow, constraints: { max_amount: 5 }"), 7, "AK0130", "unknown subject"),
        (fenced("signals: [SIGKIL]"), 6, "AK0113", "SIGKILL"),
        (fenced("signals: [SIGUSR1]"), 6, "AK0138", "does nothing yet"),
        (fenced("observability: { flight_recorder: false }"), 6, "AK0138", "cannot be turned off"),
        (fenced("observability: { traces: true }"), 6, "AK0138", "no traces"),
        (format!("{head}```yaml\npolicies: []\n"), 4, "AK0138", "has no end"),
        ("---\nkernel: { version: '1', mode: strict }\n".into(), 1, "AK0138", "has no end"),
        (format!("{head}- ```yaml\n  policies: []\n  ```\n"), 4, "AK0138", "indented"),
        (format!("{head}```YAML title=x\npolicies: []\n```\n"), 4, "AK0138", "may be taken for YAML"),
        (format!("{head}<!--\n```yaml\npolicies: []\n```\n-->\n"), 4, "AK0138", "comment"),
    ];
    let mut wrong = Vec::new();
    for (text, line, code, told) in cases {
        let Err(errors) = load(&text) else {
            wrong.push(format!("loaded: {text}"));
            continue;
        };
        let mut listed = errors.errors().iter();
        if !listed
            .any(|error| error.line() == line && error.code() == code && error.to_string().contains(told))
        {
            wrong.push(format!("{text}\n{errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "(---\n|```yaml\n|```\n|~~~|<!--|kernel:|policies: |[\\[\\]{}:,\\- a-z0-9\n'\"]){0,40}") {
        let _ = load(&text);
    }
}
