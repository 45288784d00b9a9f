//! Conditions on the situation: labels, effects, tenants.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::atr::{ArgumentRole, Effect, EffectSet};
use agent_control_plane::flow::Argument;
use agent_control_plane::policy::Policy;
use agent_control_plane::primitives::{LabelSet, TenantId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use serde_json::{Map, json};

fn set(labels: &[&str]) -> LabelSet {
    LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap()
}

/// What a rule with this effect and these further fields says, for an agent that has read `labels`.
fn verdict(
    effect: &str,
    rest: &str,
    labels: &LabelSet,
    arguments: Option<&[Argument]>,
    effects: EffectSet,
    tenant: Option<&TenantId>,
) -> Verdict {
    let other = if effect == "deny" { ", {id: all, effect: allow, calls: [exec], tools: ['*']}" } else { "" };
    let text = format!(
        "{{version: 1, rules: [{{id: r, effect: {effect}, calls: [exec], tools: [t], {rest}}}{other}]}}"
    );
    let policy = Policy::from_yaml("test", &text).unwrap();
    let (agent, tool) = ("a".parse().unwrap(), "t".parse().unwrap());
    let facts = Map::new();
    let caller = Caller::new(&agent, &facts).having_read(labels).of_tenant(tenant);
    let arguments_value = json!({});
    let object = Object::Tool { id: &tool, arguments: &arguments_value };
    let question = Question::new(CallKind::Exec, object).carrying(arguments).declaring(effects);
    policy.decide(&caller, &question).verdict()
}

#[test]
fn labels_are_looked_for_where_the_condition_says() {
    let agent = set(&["untrusted", "secret"]);
    let arguments = [
        Argument::new("to", ArgumentRole::Authority, LabelSet::EMPTY),
        Argument::new("how", ArgumentRole::Undeclared, set(&["service"])),
        Argument::new("body", ArgumentRole::Content, set(&["untrusted"])),
    ];
    let cases = [
        ("labels: {any_of: [secret, pii]}", true),
        ("labels: {all_of: [secret, untrusted]}", true),
        ("labels: {all_of: [secret, pii]}", false),
        ("labels: {none_of: [pii]}", true),
        ("labels: {any_of: [secret], none_of: [untrusted]}", false),
        ("labels.args: {any_of: [secret]}", false),
        ("labels.args: {all_of: [untrusted, service]}", true),
        ("labels.authority: {any_of: [untrusted]}", false),
        ("labels.authority: {any_of: [service]}", true),
        ("labels.content: {any_of: [untrusted]}", true),
        ("labels.content: {any_of: [service]}", false),
        ("labels.args.body: {any_of: [untrusted]}", true),
        ("labels.args.to: {any_of: [untrusted, secret, service]}", false),
        ("labels.args.missing: {none_of: [untrusted]}", true),
    ];
    for (condition, holds) in cases {
        let rest = format!("when: {{{condition}}}");
        let found = verdict("allow", &rest, &agent, Some(&arguments), EffectSet::default(), None);
        assert_eq!(found == Verdict::Allow, holds, "{condition}");
    }
}

#[test]
fn arguments_of_unknown_origin_carry_all_that_the_agent_does() {
    let agent = set(&["untrusted"]);
    for part in ["labels", "labels.args", "labels.authority", "labels.content", "labels.args.x"] {
        let rest = format!("when: {{{part}: {{none_of: [untrusted]}}}}");
        assert_eq!(
            verdict("allow", &rest, &agent, None, EffectSet::default(), None),
            Verdict::Deny,
            "{part}"
        );
    }
}

#[test]
fn a_tool_that_declares_nothing_is_judged_against_it() {
    let (read, both) = ([Effect::Read], [Effect::Read, Effect::Network]);
    let cases = [
        ("allow", "only: [read]", &read[..], Verdict::Allow),
        ("allow", "only: [read]", &both, Verdict::Deny),
        ("allow", "only: [read]", &[], Verdict::Deny),
        ("allow", "none_of: [money]", &[], Verdict::Deny),
        ("allow", "any_of: [network], none_of: [money]", &both, Verdict::Allow),
        ("deny", "any_of: [network]", &both, Verdict::Deny),
        ("deny", "any_of: [network]", &read, Verdict::Allow),
        ("deny", "any_of: [network]", &[], Verdict::Deny),
    ];
    for (effect, map, declared, expected) in cases {
        let rest = format!("when: {{effects: {{{map}}}}}");
        let declared = declared.iter().copied().collect();
        let found = verdict(effect, &rest, &LabelSet::EMPTY, None, declared, None);
        assert_eq!(found, expected, "{effect} {map} {declared:?}");
    }
}

#[test]
fn a_rule_for_tenants_speaks_of_their_agents_only() {
    let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
    let found = |tenant| {
        verdict("allow", "tenants: [acme, 'ac-*']", &LabelSet::EMPTY, None, EffectSet::default(), tenant)
    };
    assert_eq!(found(Some(&acme)), Verdict::Allow);
    assert_eq!(found(Some(&other)), Verdict::Deny);
    assert_eq!(found(None), Verdict::Deny);
}
