//! Layers of policies: that they only ever tighten.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::sync::Arc;

use agent_control_plane::Policy;
use agent_control_plane::policy::{Decision, OnViolation, Opinion, PolicyEngine, PolicySet};
use agent_control_plane::primitives::{AgentId, Digest, TenantId, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn policy(text: &str) -> Policy {
    Policy::from_yaml("layer.yaml", text).unwrap()
}

/// One allow or deny or ask rule about tools for each pair.
fn rules(head: &str, rules: &[(&str, &str)]) -> Policy {
    let rule = |(number, (effect, tools)): (usize, &(&str, &str))| json!({ "id": format!("{effect}-{number}"), "effect": effect, "calls": ["exec"], "tools": [tools] });
    let rules: Vec<Value> = rules.iter().enumerate().map(rule).collect();
    policy(&format!("{{version: 1, {head}, rules: {}}}", Value::from(rules)))
}

fn decide(set: &PolicySet, agent: &str, tenant: Option<&str>, tool: &str) -> Decision {
    asked(agent, tenant, tool, |caller, question| set.decide(caller, question))
}

fn asked<T>(
    agent: &str,
    tenant: Option<&str>,
    tool: &str,
    ask: impl Fn(&Caller<'_>, &Question<'_>) -> T,
) -> T {
    let (agent, tool): (AgentId, ToolId) = (agent.parse().unwrap(), tool.parse().unwrap());
    let tenant: Option<TenantId> = tenant.map(|tenant| tenant.parse().unwrap());
    let (facts, arguments) = (Map::new(), json!({}));
    let caller = Caller::new(&agent, &facts).of_tenant(tenant.as_ref());
    ask(&caller, &Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments: &arguments }))
}

#[test]
fn the_strictest_layer_that_applies_decides() {
    let set = PolicySet::builder(rules("name: org", &[("allow", "*"), ("ask", "bank.*")]))
        .tenants("acme", rules("name: acme, unmatched: abstain", &[("deny", "mail.send")]))
        .tenants("lab-*", rules("name: lab", &[("allow", "mail.*"), ("allow", "bank.*")]))
        .agents(
            "clerk",
            rules("name: clerk, unmatched: abstain, on_violation: deny", &[("deny", "mail.send")]),
        )
        .build()
        .unwrap();
    let cases = [
        ("w", None, "mail.send", Verdict::Allow, "org"),
        ("w", Some("acme"), "mail.send", Verdict::Deny, "acme"),
        ("w", Some("acme"), "mail.read", Verdict::Allow, "org"),
        ("w", Some("acme2"), "mail.send", Verdict::Allow, "org"),
        // A layer of a pattern, which does not abstain: what it does not allow is denied.
        ("w", Some("lab-7"), "mail.send", Verdict::Allow, "org"),
        ("w", Some("lab-7"), "db.query", Verdict::Deny, "lab"),
        // What the organisation wants asked, a tenant's allow does not lift.
        ("w", Some("lab-7"), "bank.transfer", Verdict::Ask, "org"),
        ("clerk", None, "mail.send", Verdict::Deny, "clerk"),
        ("clerk-2", None, "mail.send", Verdict::Allow, "org"),
        // Two layers deny: the graver consequence stands.
        ("clerk", Some("acme"), "mail.send", Verdict::Deny, "acme"),
    ];
    for (agent, tenant, tool, verdict, by) in cases {
        let decision = decide(&set, agent, tenant, tool);
        assert_eq!((decision.verdict(), decision.policy_name()), (verdict, by), "{agent} {tenant:?} {tool}");
        assert_eq!(decision.policy_digest(), set.digest());
    }
    let both = decide(&set, "clerk", Some("acme"), "mail.send");
    assert_eq!((both.on_violation(), both.with().len()), (OnViolation::Kill, 1));
}

#[test]
fn what_the_layers_of_an_allowed_call_demand_is_all_kept() {
    let org = rules("name: org", &[("allow", "*")]);
    let set = PolicySet::all([org.clone(), rules("name: ask", &[("ask", "*")]), org]).unwrap();
    let decision = decide(&set, "w", None, "mail.send");
    assert_eq!((decision.verdict(), decision.policy_name()), (Verdict::Ask, "ask"));
    assert_eq!(decision.with().iter().map(Decision::policy_name).collect::<Vec<_>>(), ["org", "org"]);
}

#[test]
fn one_policy_is_a_set_of_its_own_digest_and_document() {
    let one = rules("name: one", &[("allow", "*")]);
    let set = PolicySet::from(one.clone());
    assert_eq!((set.digest(), set.to_json()), (one.digest(), one.to_json()));
    let two = PolicySet::all([one.clone(), one.clone()]).unwrap();
    assert_ne!(two.digest(), one.digest());
    assert_eq!(decide(&set, "w", None, "t").policy_digest(), one.digest());
}

#[test]
fn disjoint_layers_allow_nothing_and_no_layers_allow_nothing() {
    let set =
        PolicySet::all([rules("name: a", &[("allow", "echo")]), rules("name: b", &[("allow", "read")])]);
    for set in [set.unwrap(), PolicySet::all([]).unwrap()] {
        for tool in ["echo", "read", "refund"] {
            assert_eq!(decide(&set, "w", None, tool).verdict(), Verdict::Deny, "{tool}");
        }
    }
}

#[test]
fn the_organisation_cannot_abstain() {
    let abstains = "{version: 1, unmatched: abstain, rules: []}";
    let set = PolicySet::from(policy(abstains));
    let error = set.check([]).unwrap_err();
    assert_eq!((error.code(), error.errors()[0].line()), ("AK0136", 1));
    // And if nobody checks, nothing matched is a deny all the same.
    assert_eq!(decide(&set, "w", None, "t").verdict(), Verdict::Deny);
    // `all` takes one that does not abstain as the organisation's, whichever place it has.
    let set = PolicySet::all([policy(abstains), rules("name: org", &[("allow", "t")])]).unwrap();
    assert!(set.check([&"t".parse().unwrap()]).is_ok());
    assert_eq!(decide(&set, "w", None, "t").verdict(), Verdict::Allow);
}

#[test]
fn a_layer_for_nobody_is_refused() {
    let org = || PolicySet::builder(Policy::deny_all());
    for set in [org().tenants("no tenant", Policy::deny_all()), org().agents("", Policy::deny_all())] {
        assert_eq!(set.build().unwrap_err().code(), "AK0127");
    }
    let many = (0..257).fold(org(), |set, number| set.agents(&format!("a{number}-*"), Policy::deny_all()));
    assert_eq!(many.build().unwrap_err().code(), "AK0116");
}

#[derive(Debug)]
struct Fixed(Opinion);

impl PolicyEngine for Fixed {
    fn name(&self) -> &str {
        "fixed"
    }

    fn digest(&self) -> Digest {
        Digest::of("test engine", format!("{:?}", self.0).as_bytes())
    }

    fn text(&self) -> &str {
        ""
    }

    #[expect(clippy::panic, reason = "to be contained")]
    fn judge(&self, _caller: &Caller<'_>, _question: &Question<'_>) -> Opinion {
        if self.0 == Opinion::Error("panic".to_owned()) {
            panic!("as told");
        }
        self.0.clone()
    }
}

#[test]
fn an_engine_is_a_layer_and_its_failures_deny() {
    let answer = |verdict| Opinion::Answer { verdict, rules: vec!["p0".to_owned()] };
    let cases = [
        (answer(Verdict::Allow), Verdict::Allow, "allow-0"),
        (answer(Verdict::Ask), Verdict::Ask, "p0"),
        (answer(Verdict::Deny), Verdict::Deny, "p0"),
        (Opinion::Error("no".to_owned()), Verdict::Deny, "fixed.error"),
        (Opinion::Error("panic".to_owned()), Verdict::Deny, "fixed.error"),
    ];
    for (opinion, verdict, rule) in cases {
        let org = rules("name: org", &[("allow", "echo")]);
        let set = PolicySet::builder(org).engine(Arc::new(Fixed(opinion.clone()))).build().unwrap();
        let decision = decide(&set, "w", None, "echo");
        assert_eq!((decision.verdict(), decision.deciding_rule()), (verdict, Some(rule)), "{opinion:?}");
        // What the rules do not allow, no engine does.
        assert_eq!(decide(&set, "w", None, "other").verdict(), Verdict::Deny);
    }
}

#[test]
fn a_folder_is_a_set() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("organisation.yaml", "{version: 1, rules: [{id: a, effect: allow, calls: [exec], tools: ['*']}]}");
    write(
        "tenants/acme.json",
        r#"{"version": 1, "unmatched": "abstain", "rules": [{"id": "d", "effect": "deny", "calls": ["exec"], "tools": ["t"]}]}"#,
    );
    write(
        "agents/clerk-*.toml",
        "version = 1\nrules = [{ id = 'c', effect = 'allow', calls = ['exec'], tools = ['u'] }]",
    );
    let set = PolicySet::load(folder.path()).unwrap();
    let verdict = |agent, tenant, tool| decide(&set, agent, tenant, tool).verdict();
    assert_eq!(verdict("w", Some("acme"), "t"), Verdict::Deny);
    assert_eq!(verdict("w", Some("acme"), "u"), Verdict::Allow);
    assert_eq!(verdict("clerk-1", None, "t"), Verdict::Deny);
    assert_eq!(verdict("clerk-1", None, "u"), Verdict::Allow);

    // Every error of every file is told, and nothing that lies there is passed over.
    write("tenants/broken.yaml", "{version: 1, rulez: []}");
    write("agent/clerk.yaml", "{version: 1, rules: []}");
    write("tenants/acme.yml", "{version: 1, rules: []}");
    write("tenants/acme.txt", "{version: 1, rules: []}");
    write("organisation.toml", "version = 1\npacks = ['default_deny']");
    let told = PolicySet::load(folder.path()).unwrap_err().to_string();
    for expected in [
        "rulez",
        "`agent` is no layer",
        "`acme.yml` is no layer",
        "`acme.txt` is no layer",
        "`organisation.yaml` is no layer",
    ] {
        assert!(told.contains(expected), "`{expected}` is missing in\n{told}");
    }
    let missing = PolicySet::load(folder.path().join("tenants")).unwrap_err();
    assert!(missing.to_string().contains("organisation.yaml"), "{missing}");
}

const TOOLS: [&str; 4] = ["db.query", "mail.send", "mail.read", "bank"];
const PATTERNS: [&str; 6] = ["*", "mail.*", "*.send", "db.query", "bank", "mail.read"];
const AGENTS: [&str; 3] = ["w", "w2", "boss"];
const TENANTS: [&str; 2] = ["acme", "lab-1"];

#[derive(Clone, Debug)]
struct Model {
    scope: usize,
    abstains: bool,
    rules: Vec<(&'static str, &'static str)>,
}

/// What a layer may apply to: everybody, some tenants, some agents.
const SCOPES: [(char, &str); 7] =
    [('e', ""), ('t', "acme"), ('t', "lab-*"), ('t', "other"), ('a', "w"), ('a', "w*"), ('a', "*")];

impl Model {
    fn policy(&self) -> Policy {
        rules(if self.abstains { "unmatched: abstain" } else { "unmatched: deny" }, &self.rules)
    }

    fn applies(&self, agent: &str, tenant: Option<&str>) -> bool {
        let matches = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        };
        match SCOPES[self.scope] {
            ('t', pattern) => tenant.is_some_and(|tenant| matches(tenant, pattern)),
            ('a', pattern) => matches(agent, pattern),
            _ => true,
        }
    }

    /// The layer's own answer; `None` when it abstains or applies to others.
    fn opinion(&self, agent: &str, tenant: Option<&str>, tool: &str) -> Option<Verdict> {
        let decision = decide(&self.policy().into(), agent, tenant, tool);
        let abstains = self.abstains && decision.rule_count() == 0;
        (self.applies(agent, tenant) && !abstains).then_some(decision.verdict())
    }
}

fn set(organisation: &Model, layers: &[Model]) -> PolicySet {
    let add = |set: agent_control_plane::policy::PolicySetBuilder, layer: &Model| match SCOPES[layer.scope] {
        ('t', pattern) => set.tenants(pattern, layer.policy()),
        ('a', pattern) => set.agents(pattern, layer.policy()),
        _ => set.everybody(layer.policy()),
    };
    layers.iter().fold(PolicySet::builder(organisation.policy()), add).build().unwrap()
}

fn model() -> impl Strategy<Value = Model> {
    let effect = prop::sample::select(&["allow", "allow", "ask", "deny"][..]);
    let rule = (effect, prop::sample::select(&PATTERNS[..]));
    (0..SCOPES.len(), any::<bool>(), prop::collection::vec(rule, 0..4))
        .prop_map(|(scope, abstains, rules)| Model { scope, abstains, rules })
}

proptest! {
    /// The law of layers: the set's verdict is the strictest of those of its layers, so it allows no more than each; one
    /// layer more widens nothing; order means nothing.
    #[test]
    fn meet_narrows(
        organisation in model(),
        layers in prop::collection::vec(model(), 0..6),
        one_more in model(),
        agent in prop::sample::select(&AGENTS[..]),
        tenant in prop::option::of(prop::sample::select(&TENANTS[..])),
        tool in prop::sample::select(&TOOLS[..]),
        shift in 0usize..6,
    ) {
        let organisation = Model { abstains: false, scope: 0, ..organisation };
        let verdict = |layers: &[Model]| decide(&set(&organisation, layers), agent, tenant, tool).verdict();
        let found = verdict(&layers);

        let opinions = layers.iter().chain([&organisation]).filter_map(|layer| layer.opinion(agent, tenant, tool));
        prop_assert_eq!(Some(found), opinions.max());

        let mut turned = layers.clone();
        if !turned.is_empty() {
            let by = shift % turned.len();
            turned.rotate_left(by);
        }
        turned.reverse();
        prop_assert_eq!(found, verdict(&turned));

        let mut more = layers.clone();
        more.insert(shift.min(layers.len()), one_more);
        prop_assert!(found <= verdict(&more));
    }
}
