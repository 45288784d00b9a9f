//! Cedar and Rego as layers: the mapping, and how they fail.
#![cfg(any(feature = "cedar", feature = "rego"))]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_control_plane::Policy;
use agent_control_plane::policy::{PolicyEngine, PolicySet};
use agent_control_plane::primitives::{AgentId, LabelSet, Signal, TenantId, Timestamp, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::vfs::VfsPath;
use serde_json::{Map, Value, json};

/// What an agent asks for.
#[derive(Clone, Debug)]
enum What {
    Tool(&'static str, Value),
    File(CallKind, &'static str),
    Signal(&'static str, Signal),
}

fn decide(
    set: &PolicySet,
    agent: &str,
    tenant: Option<&str>,
    labels: &[&str],
    what: &What,
) -> (Verdict, Vec<String>) {
    let agent: AgentId = agent.parse().unwrap();
    let tenant: Option<TenantId> = tenant.map(|tenant| tenant.parse().unwrap());
    let labels = LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap();
    let facts: Map<String, Value> = [("team".to_owned(), json!("red"))].into_iter().collect();
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let caller = Caller::new(&agent, &facts).of_tenant(tenant.as_ref()).having_read(&labels).at(now);
    let ask = |question: &Question<'_>| {
        let decision = set.decide(&caller, question);
        (decision.verdict(), decision.rules().map(str::to_owned).collect())
    };
    match what {
        What::Tool(id, arguments) => {
            let id: ToolId = id.parse().unwrap();
            ask(&Question::new(CallKind::Exec, Object::Tool { id: &id, arguments }))
        }
        What::File(call, path) => ask(&Question::new(*call, Object::File(&VfsPath::parse(path).unwrap()))),
        What::Signal(id, signal) => {
            let id = id.parse().unwrap();
            ask(&Question::new(CallKind::Signal, Object::Agent { id: &id, signal: *signal }))
        }
    }
}

/// A policy that leaves everything to the engine beside it.
fn beside(engine: Arc<dyn PolicyEngine>) -> PolicySet {
    let everything = r#"
version: 1
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["*"] }
  - { id: files, effect: allow, calls: [read, write, open], paths: ["/**"] }
  - { id: signals, effect: allow, calls: [signal], targets: ["*"] }
"#;
    PolicySet::builder(Policy::from_yaml("all", everything).unwrap()).engine(engine).build().unwrap()
}

/// One policy in three languages; `CASES` hold for each.
const NATIVE: &str = r#"
version: 1
rules:
  - { id: mail, effect: allow, calls: [exec], tools: ["mail.send"], when: { args.to: { eq: "ann@example.com" } } }
  - { id: no-leak, effect: deny, calls: [exec], tools: ["mail.send"], when: { labels: { any_of: [secret] } } }
  - { id: notes, effect: allow, calls: [read, write], paths: ["/mem", "/mem/**"] }
  - { id: acme, effect: allow, calls: [exec], tools: ["bank"], tenants: ["acme"], when: { args.amount: { lte: 100 }, context.team: { eq: red } } }
  - { id: stop, effect: allow, calls: [signal], targets: ["b"], signals: [SIGTERM] }
"#;

#[cfg(feature = "cedar")]
const CEDAR: &str = r#"
@id("mail") permit(principal, action == Action::"exec", resource == Tool::"mail.send")
  when { context.args has to && context.args.to == "ann@example.com" };
@id("no-leak") forbid(principal, action == Action::"exec", resource == Tool::"mail.send")
  when { context.labels.contains("secret") };
@id("notes") permit(principal, action in [Action::"read", Action::"write"], resource in Path::"/mem");
@id("acme") permit(principal in Tenant::"acme", action == Action::"exec", resource == Tool::"bank")
  when { context.args has amount && context.args.amount <= 100 && context.facts.team == "red" };
@id("stop") permit(principal, action == Action::"signal", resource == Agent::"b") when { context.signal == "SIGTERM" };
"#;

#[cfg(feature = "rego")]
const REGO: &str = r#"
package agentos

default allow := false

allow if count(reasons) > 0

reasons contains "mail" if { input.call == "exec"; input.tool == "mail.send"; input.args.to == "ann@example.com" }
reasons contains "notes" if { input.call in {"read", "write"}; input.path == "/mem" }
reasons contains "notes" if { input.call in {"read", "write"}; startswith(input.path, "/mem/") }
reasons contains "acme" if {
  input.call == "exec"; input.tool == "bank"; input.tenant == "acme"
  is_number(input.args.amount); input.args.amount <= 100; input.facts.team == "red"
}
reasons contains "stop" if { input.call == "signal"; input.target == "b"; input.signal == "SIGTERM" }

deny contains "no-leak" if { input.call == "exec"; input.tool == "mail.send"; "secret" in input.labels }
"#;

type Case = (Option<&'static str>, &'static [&'static str], What, Verdict, Option<&'static str>);

/// Tenant, labels, what is asked, the verdict and the rule that makes it.
fn cases() -> Vec<Case> {
    let mail = |to: &str| What::Tool("mail.send", json!({ "to": to }));
    vec![
        (None, &[], mail("ann@example.com"), Verdict::Allow, Some("mail")),
        (None, &[], mail("eve@evil.example"), Verdict::Deny, None),
        (None, &[], What::Tool("mail.send", json!({ "to": ["ann@example.com"] })), Verdict::Deny, None),
        (None, &[], What::Tool("mail.send", json!({})), Verdict::Deny, None),
        (None, &["secret"], mail("ann@example.com"), Verdict::Deny, Some("no-leak")),
        (None, &["pii"], mail("ann@example.com"), Verdict::Allow, Some("mail")),
        (None, &[], What::File(CallKind::Read, "/mem/a/b"), Verdict::Allow, Some("notes")),
        (None, &[], What::File(CallKind::Write, "/mem"), Verdict::Allow, Some("notes")),
        (None, &[], What::File(CallKind::Open, "/mem/a"), Verdict::Deny, None),
        (None, &[], What::File(CallKind::Read, "/memory"), Verdict::Deny, None),
        (None, &[], What::File(CallKind::Read, "/"), Verdict::Deny, None),
        (Some("acme"), &[], What::Tool("bank", json!({ "amount": 100 })), Verdict::Allow, Some("acme")),
        (Some("acme"), &[], What::Tool("bank", json!({ "amount": 101 })), Verdict::Deny, None),
        (Some("lab"), &[], What::Tool("bank", json!({ "amount": 1 })), Verdict::Deny, None),
        (None, &[], What::Tool("bank", json!({ "amount": 1 })), Verdict::Deny, None),
        (None, &[], What::Signal("b", Signal::Term), Verdict::Allow, Some("stop")),
        (None, &[], What::Signal("b", Signal::Kill), Verdict::Deny, None),
        (None, &[], What::Signal("c", Signal::Term), Verdict::Deny, None),
    ]
}

/// `by_engine` tells that an allow is reported by the organisation's broad rule, and a deny by the engine.
fn agrees(set: &PolicySet, by_engine: bool) {
    for (tenant, labels, what, verdict, rule) in cases() {
        let (found, rules) = decide(set, "w", tenant, labels, &what);
        assert_eq!(found, verdict, "{tenant:?} {labels:?} {what:?}: {rules:?}");
        if !by_engine || verdict == Verdict::Deny {
            assert_eq!(rules.first().map(String::as_str), rule, "{tenant:?} {labels:?} {what:?}");
        }
    }
}

#[test]
fn the_languages_agree_on_the_same_requests() {
    agrees(&Policy::from_yaml("native", NATIVE).unwrap().into(), false);
    #[cfg(feature = "cedar")]
    agrees(&beside(cedar(CEDAR)), true);
    #[cfg(feature = "rego")]
    agrees(&beside(rego(REGO)), true);
}

#[cfg(feature = "cedar")]
fn cedar(text: &str) -> Arc<dyn PolicyEngine> {
    agent_control_plane::policy::engine::CedarEngine::from_text("p.cedar", text).unwrap().into()
}

#[cfg(feature = "rego")]
fn rego(text: &str) -> Arc<dyn PolicyEngine> {
    agent_control_plane::policy::engine::RegoEngine::from_text("p.rego", text).unwrap().into()
}

#[cfg(feature = "cedar")]
#[test]
fn cedar_fails_closed() {
    // A forbid that cannot be evaluated: Cedar itself would skip it and allow.
    let set = beside(cedar(
        r#"permit(principal, action, resource);
           forbid(principal, action, resource) when { context.args.amount > 10 };"#,
    ));
    let amount = |amount: Value| What::Tool("bank", json!({ "amount": amount }));
    let cases = [
        (amount(json!(5)), Verdict::Allow, "tools"),
        (amount(json!(11)), Verdict::Deny, "policy1"),
        (amount(json!("11")), Verdict::Deny, "cedar.error"),
        (amount(Value::Null), Verdict::Deny, "cedar.error"),
        (amount(json!(1e300)), Verdict::Deny, "cedar.error"),
        (amount(json!(u64::MAX)), Verdict::Deny, "cedar.error"),
        // What looks like an entity or an extension in JSON is text and records here.
        (amount(json!({ "__extn": { "fn": "decimal", "arg": "1.0" } })), Verdict::Deny, "cedar.error"),
    ];
    for (what, verdict, rule) in cases {
        assert_eq!(decide(&set, "w", None, &[], &what), (verdict, vec![rule.to_owned()]), "{what:?}");
    }
}

#[cfg(feature = "cedar")]
#[test]
fn cedar_text_that_is_wrong_is_refused_at_its_line() {
    let cases = [
        ("permit(principal, action, resource);\npermit(principal action);", 2, "cedar:"),
        ("permit(principal, action == Action::\"exce\", resource);", 1, "unknown entity"),
        (
            "permit(principal, action, resource);\npermit(principal, action, resource == Toll::\"x\");",
            2,
            "Toll",
        ),
        ("permit(principal == ?principal, action, resource);", 0, "templates"),
    ];
    for (text, line, told) in cases {
        let errors =
            agent_control_plane::policy::engine::CedarEngine::from_text("p.cedar", text).unwrap_err();
        assert!(errors.errors()[0].line() == line && errors.to_string().contains(told), "{errors}");
        assert_eq!(errors.code(), "AK0137");
    }
}

#[cfg(feature = "rego")]
#[test]
fn rego_fails_closed() {
    let head = "package agentos\n";
    let cases = [
        ("allow := true", Verdict::Allow, "tools"),
        ("allow := true\ndeny := true", Verdict::Deny, "deny"),
        ("allow := true\ndeny contains \"why\"", Verdict::Deny, "why"),
        ("allow := true\ndeny contains 1", Verdict::Deny, "rego.error"),
        ("allow := 1", Verdict::Deny, "rego.error"),
        ("allow := \"true\"", Verdict::Deny, "rego.error"),
        ("allow := true\ndeny := \"x\"", Verdict::Deny, "rego.error"),
        ("allow := true\nother := to_number(input.args.x)", Verdict::Deny, "rego.error"),
        ("allow := true\nallow := false if input.tool == \"t\"", Verdict::Deny, "rego.error"),
        (
            "allow := true\nslow := count([1 | some i in numbers.range(1, 30000); some j in numbers.range(1, 30000)])",
            Verdict::Deny,
            "rego.error",
        ),
    ];
    for (rules, verdict, rule) in cases {
        let set = beside(rego(&format!("{head}{rules}")));
        let what = What::Tool("t", json!({ "x": "y" }));
        assert_eq!(decide(&set, "w", None, &[], &what), (verdict, vec![rule.to_owned()]), "{rules}");
    }
    // Not defined for this call is no allow.
    let set = beside(rego("package agentos\nallow if input.tool == \"u\""));
    assert_eq!(decide(&set, "w", None, &[], &What::Tool("t", json!({}))).0, Verdict::Deny);
}

#[cfg(feature = "rego")]
#[test]
fn rego_text_that_is_wrong_is_refused_at_its_line() {
    let cases = [
        ("package agentos\n\nallow if {", 3, "rego:"),
        ("package other\nallow := true", 1, "only `data.agentos` is asked"),
        ("package agentos\nallow := nosuch(1)", 2, "rego:"),
        ("package agentos\ndeny := false", 1, "no rule `allow`"),
    ];
    for (text, line, told) in cases {
        let errors = agent_control_plane::policy::engine::RegoEngine::from_text("p.rego", text).unwrap_err();
        assert!(errors.errors()[0].line() == line && errors.to_string().contains(told), "{errors}");
        assert_eq!(errors.code(), "AK0137");
    }
}
