//! The policy language: what loads, what it means, and what is said about the rest.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::atr::Effect;
use agent_control_plane::policy::{
    MAX_ERRORS, MAX_GLOB_BYTES, MAX_POLICY_BYTES, MAX_REGEX_COST, MAX_RULES, OnViolation, Policy, PolicyError,
};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::vfs::VfsPath;
use agent_primitives::{AgentId, Signal, ToolId, Verdict};
use serde_json::{Map, Value, json};

/// One call in one line: `read /a`, `exec tool {"x":1}`, `signal child SIGTERM`; `agent!` in front names the caller.
fn decide(policy: &Policy, call: &str) -> (Verdict, Vec<String>, OnViolation) {
    let (agent, call) = call.split_once('!').unwrap_or(("w", call));
    let mut words = call.splitn(3, ' ');
    let (kind, object, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("{}"));
    let agent: AgentId = agent.parse().unwrap();
    let facts: Map<String, Value> = serde_json::from_str(r#"{"team": "sales", "level": 3}"#).unwrap();
    let caller = Caller::new(&agent, &facts);
    let call = CallKind::ALL.into_iter().find(|call| call.name() == kind).unwrap();
    let ask = |object: Object<'_>| policy.decide(&caller, &Question::new(call, object));
    let decision = match call {
        CallKind::Exec => {
            let arguments: Value = serde_json::from_str(rest).unwrap();
            ask(Object::Tool { id: &object.parse().unwrap(), arguments: &arguments })
        }
        CallKind::Signal => {
            ask(Object::Agent { id: &object.parse().unwrap(), signal: rest.parse::<Signal>().unwrap() })
        }
        _ => ask(Object::File(&VfsPath::parse(object).unwrap())),
    };
    assert_eq!(decision.deciding_rule().map(str::to_owned), decision.rules().next().map(str::to_owned));
    assert_eq!(decision.policy_digest(), policy.digest());
    (decision.verdict(), decision.rules().map(str::to_owned).collect(), decision.on_violation())
}

/// `expected` is the verdict and the rules that made it: `allow a`, `deny`.
#[track_caller]
fn check(policy: &Policy, call: &str, expected: &str) {
    let (verdict, rules, _) = decide(policy, call);
    assert_eq!(format!("{verdict} {}", rules.join(" ")).trim(), expected, "{call}");
}

fn load(text: &str) -> Policy {
    Policy::from_yaml("p.yaml", text).unwrap()
}

#[test]
fn rules_match_by_call_object_and_agent() {
    let policy = load(
        r#"
version: 1
rules:
  - { id: mem, effect: allow, calls: [read, write], paths: ["/mem/**"] }
  - { id: listing, effect: allow, calls: [read], paths: [/mem, "/notes/*.md", "/{a,b}/x?", "/**/deep/*"] }
  - { id: db, effect: allow, calls: [exec], tools: ["db.*"] }
  - { id: query, effect: allow, calls: [exec], tools: [db.query, "mcp.*/get_*"] }
  - { id: drop, effect: deny, calls: [exec], tools: ["*.drop"] }
  - { id: children, effect: allow, calls: [signal], targets: ["child-*"], signals: [SIGTERM, SIGSTOP] }
  - { id: support, effect: ask, calls: [exec], tools: ["*"], agents: ["support-*", lead] }
  - { id: lead, effect: allow, calls: [read], paths: ["/**"], agents: [lead] }
"#,
    );
    let cases = [
        ("read /mem/a", "allow mem"),
        ("write /mem/a/b/c", "allow mem"),
        ("open /mem/a", "deny"),
        ("read /mem", "allow listing"),
        ("write /mem", "deny"),
        ("read /memory/a", "deny"),
        ("read /notes/a.md", "allow listing"),
        ("read /notes/x/a.md", "deny"),
        ("read /a/x1", "allow listing"),
        ("read /b/x1", "allow listing"),
        ("read /a/x", "deny"),
        ("read /q/r/deep/s", "allow listing"),
        ("read /deep/s", "allow listing"),
        ("read /q/deep/s/t", "deny"),
        ("exec db.query", "allow db query"),
        ("exec db.insert", "allow db"),
        ("exec db.drop", "deny drop"),
        ("exec dbx", "deny"),
        ("exec mcp.github/get_issue", "allow query"),
        ("exec DB.query", "deny"),
        ("signal child-1 SIGTERM", "allow children"),
        ("signal child-1 SIGKILL", "deny"),
        ("signal other SIGTERM", "deny"),
        ("support-7!exec anything", "ask support"),
        ("support-7!exec db.query", "ask support"),
        ("lead!exec x.drop", "deny drop"),
        ("lead!read /anything", "allow lead"),
        ("lead!read /", "allow lead"),
        ("lead!read /mem/a", "allow mem lead"),
        ("xsupport-7!exec anything", "deny"),
    ];
    for (call, expected) in cases {
        check(&policy, call, expected);
    }
}

#[test]
fn a_question_mark_is_one_byte_and_a_folder_is_not_below_itself() {
    let policy = load(
        "{version: 1, rules: [{id: one, effect: allow, calls: [read], paths: ['/q/?']}, \
         {id: two, effect: allow, calls: [read], paths: ['/q/??']}, \
         {id: below, effect: allow, calls: [read], paths: ['/a/**', '/{b,c}/**']}, \
         {id: all, effect: allow, calls: [write], paths: ['/**']}]}",
    );
    let cases = [
        ("read /q/e", "allow one"),
        ("read /q/\u{e9}", "allow two"),
        ("read /q/\u{20ac}", "deny"),
        ("read /q", "deny"),
        ("read /a", "deny"),
        ("read /a/b", "allow below"),
        ("read /a/b/c", "allow below"),
        ("read /b", "deny"),
        ("read /b/c", "allow below"),
        ("write /", "allow all"),
        ("write /a", "allow all"),
    ];
    for (call, expected) in cases {
        check(&policy, call, expected);
    }
}

#[test]
fn conditions_see_arguments_ids_and_facts() {
    let policy = load(
        r#"
version: 1
rules:
  - id: all
    effect: allow
    calls: [exec]
    tools: [t]
    when:
      args.items.0.name: { eq: x }
      args."a.b"."say \"hi\"": { eq: 1 }
      args: { len: { lte: 3 } }
      tool: { eq: t }
      agent: { matches: "^w$" }
      context.team: { in: [sales, support] }
      context.level: { gte: 2 }
  - { id: keys, effect: allow, calls: [exec], tools: [k], when: { 'args.m.0': { eq: zero }, args.m."1": { eq: one } } }
  - { id: fact, effect: deny, calls: [exec], tools: [f], when: { context.ticket: { ne: T-1 } } }
  - { id: base, effect: allow, calls: [exec], tools: [f] }
  - { id: own, effect: allow, calls: [read], paths: ["/**"], when: { path: { path: { under: [/a, /b] } } } }
  - { id: sig, effect: allow, calls: [signal], targets: ["*"], when: { signal: { in: [SIGTERM] }, target: { ne: boss } } }
"#,
    );
    let good = r#"{"items": [{"name": "x"}], "a.b": {"say \"hi\"": 1}}"#;
    check(&policy, &format!("exec t {good}"), "allow all");
    check(&policy, &format!("v!exec t {good}"), "deny");
    for bad in [
        r#"{"items": [{"name": "y"}], "a.b": {"say \"hi\"": 1}}"#,
        r#"{"items": {"0": {"name": "x"}}, "a": {"b": {"say \"hi\"": 1}}}"#,
        r#"{"items": [], "a.b": {"say \"hi\"": 1}}"#,
        r#"{"items": [{"name": "x"}], "a.b": {"say \"hi\"": 1}, "c": 1, "d": 1}"#,
        "{}",
    ] {
        check(&policy, &format!("exec t {bad}"), "deny");
    }
    check(&policy, r#"exec k {"m": {"0": "zero", "1": "one"}}"#, "allow keys");
    check(&policy, r#"exec k {"m": ["zero", "one"]}"#, "deny");
    check(&policy, "exec f", "deny fact");
    check(&policy, "read /b/x", "allow own");
    check(&policy, "read /c", "deny");
    check(&policy, "signal boss SIGTERM", "deny");
    check(&policy, "signal x SIGTERM", "allow sig");
}

#[test]
fn deny_stands_over_ask_over_allow_whatever_the_order() {
    let rules = ["a: allow", "b: ask", "c: deny", "d: allow", "e: ask", "f: deny"];
    let rule = |rule: &&str| {
        let (id, effect) = rule.split_once(": ").unwrap();
        format!("{{id: {id}, effect: {effect}, calls: [exec], tools: [t]}}")
    };
    for (keep, expected) in [(6, "deny c f"), (5, "deny c"), (2, "ask b"), (1, "allow a")] {
        let listed: Vec<String> = rules.iter().take(keep).map(rule).collect();
        check(&load(&format!("{{version: 1, rules: [{}]}}", listed.join(","))), "exec t", expected);
    }
}

#[test]
fn a_refusal_does_what_the_strictest_of_its_rules_says() {
    let policy = load(
        r#"
version: 1
on_violation: stop
rules:
  - { id: soft, effect: deny, calls: [exec], tools: [a, b], on_violation: deny }
  - { id: hard, effect: deny, calls: [exec], tools: [b], on_violation: kill }
  - { id: plain, effect: deny, calls: [exec], tools: [c] }
  - { id: human, effect: ask, calls: [exec], tools: [d], on_violation: deny }
"#,
    );
    let cases = [
        ("exec a", OnViolation::Deny),
        ("exec b", OnViolation::Kill),
        ("exec c", OnViolation::Stop),
        ("exec d", OnViolation::Deny),
        ("exec e", OnViolation::Stop),
    ];
    for (call, expected) in cases {
        assert_eq!(decide(&policy, call).2, expected, "{call}");
    }
    let default = load("{version: 1, rules: []}");
    assert_eq!(decide(&default, "exec a"), (Verdict::Deny, vec![], OnViolation::Kill));
}

#[test]
fn calls_that_touch_only_the_caller_are_allowed_and_mismatched_questions_are_not() {
    let policy = Policy::deny_all();
    for call in ["close /x", "check_policy /x", "exit /x"] {
        check(&policy, call, "allow");
    }
    let everything = load(
        "{version: 1, rules: [{id: a, effect: allow, calls: [exec, read], tools: ['*'], paths: ['/**']}]}",
    );
    let (agent, path) = ("w".parse().unwrap(), VfsPath::root());
    let facts = Map::new();
    let caller = Caller::new(&agent, &facts);
    for call in [CallKind::Exec, CallKind::Signal] {
        let decision = everything.decide(&caller, &Question::new(call, Object::File(&path)));
        assert_eq!(decision.verdict(), Verdict::Deny);
    }
}

#[test]
fn a_decision_keeps_the_first_rules_and_counts_the_rest() {
    let rules: Vec<String> = (0..12)
        .map(|n| format!("{{id: r{n}, effect: deny, calls: [exec], tools: [t, 't*', '*']}}"))
        .collect();
    let policy = load(&format!("{{version: 1, rules: [{}]}}", rules.join(",")));
    let (agent, tool) = ("w".parse().unwrap(), "t".parse().unwrap());
    let object = Object::Tool { id: &tool, arguments: &json!({}) };
    let facts = Map::new();
    let caller = Caller::new(&agent, &facts);
    let decision = policy.decide(&caller, &Question::new(CallKind::Exec, object));
    assert_eq!(decision.rules().collect::<Vec<_>>(), ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"]);
    assert_eq!(decision.rule_count(), 12);
}

#[test]
fn packs_bring_their_rules_and_nothing_else() {
    let read_only = Policy::pack("read_only").unwrap();
    check(&read_only, "read /", "allow read_only.own-tree");
    check(&read_only, "open /mem/a", "allow read_only.own-tree");
    check(&read_only, "write /mem/a", "deny");
    check(&read_only, "exec t", "deny");
    for (effects, expected) in [
        (&[Effect::Read][..], "allow read_only.tools"),
        (&[Effect::Read, Effect::Network], "deny"),
        (&[Effect::Write], "deny"),
        (&[], "deny"),
    ] {
        let (agent, facts, tool) = ("a".parse().unwrap(), Map::new(), "t".parse().unwrap());
        let object = Object::Tool { id: &tool, arguments: &json!({}) };
        let question = Question::new(CallKind::Exec, object).declaring(effects.iter().copied().collect());
        let decision = read_only.decide(&Caller::new(&agent, &facts), &question);
        let said =
            decision.rules().fold(decision.verdict().to_string(), |said, rule| format!("{said} {rule}"));
        assert_eq!(said, expected, "{effects:?}");
    }
    check(&read_only, "signal w SIGTERM", "deny");
    check(&Policy::pack("default_deny").unwrap(), "read /", "deny");
    let narrowed = load(
        "{version: 1, packs: [read_only], rules: [{id: no, effect: deny, calls: [read], paths: ['/secret/**']}]}",
    );
    check(&narrowed, "read /secret/a", "deny no");
    check(&narrowed, "read /a", "allow read_only.own-tree");
    let listed: Vec<_> = narrowed.rules().map(|rule| (rule.id, rule.effect, rule.pack)).collect();
    assert_eq!(
        listed,
        [
            ("read_only.own-tree", Verdict::Allow, Some("read_only")),
            ("read_only.tools", Verdict::Allow, Some("read_only")),
            ("read_only.descendants", Verdict::Allow, Some("read_only")),
            ("no", Verdict::Deny, None)
        ]
    );
    let audit = Policy::pack("audit").unwrap();
    check(&audit, "exec anything", "allow audit.tools");
    check(&audit, "write /mem/a", "allow audit.own-tree");
    check(&audit, "signal w SIGTERM", "deny");
    assert_eq!(
        Policy::pack("readonly").unwrap_err().to_string(),
        "policy: unknown pack `readonly` [AK0113]; did you mean `read_only`?"
    );
}

#[test]
fn the_digest_follows_the_meaning_and_not_the_layout() {
    let block = "# a comment\nversion: 1\nname: x\nrules:\n  - id: a\n    effect: allow\n    calls: [exec]\n    tools: ['t']\n    when:\n      args.n: {lt: 1.0}\n";
    let flow = r#"{"rules":[{"when":{"args.n":{"lt":1}},"tools":["t"],"calls":["exec"],"effect":"allow","id":"a"}],"name":"x","version":1}"#;
    let (block, flow) = (load(block), load(flow));
    assert_eq!(block.digest(), flow.digest());
    assert_eq!(load(&flow.to_json().to_string()).digest(), flow.digest());
    let texts = [
        "{version: 1, name: x, rules: []}",
        "{version: 1, name: y, rules: []}",
        "{version: 1, name: x, packs: [default_deny]}",
        "{version: 1, name: x, packs: [read_only]}",
        "{version: 1, name: x, rules: [{id: a, effect: deny, calls: [exec], tools: [t]}]}",
        "{version: 1, name: x, rules: [{id: a, effect: deny, calls: [exec], tools: [u]}]}",
    ];
    let mut digests: Vec<_> = texts.iter().map(|text| load(text).digest()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), texts.len());
    assert_eq!((block.name(), load("{version: 1, rules: []}").name()), ("x", "unnamed"));
}

#[test]
fn tools_named_one_by_one_must_be_registered() {
    let policy = load(
        "version: 1\nrules:\n  - {id: a, effect: allow, calls: [exec], tools: [db.query, db.qeury, 'x.*', zzz]}\n",
    );
    let known: Vec<ToolId> = ["db.query", "mail.send"].map(|id| id.parse().unwrap()).into();
    assert_eq!(
        policy.check_tools(&known).unwrap_err().to_string(),
        "p.yaml:3:61: no tool is registered as `db.qeury` [AK0131]; did you mean `db.query`?\n\
         p.yaml:3:78: no tool is registered as `zzz` [AK0131]"
    );
    assert!(Policy::pack("read_only").unwrap().check_tools(&known).is_ok());
}

/// `rule` stands in line 3, behind `- {id: r, `.
fn rule_errors(rule: &str) -> String {
    let text = format!("version: 1\nrules:\n- {{id: r, {rule}}}\n");
    Policy::from_yaml("p", &text).unwrap_err().to_string()
}

#[test]
#[rustfmt::skip]
fn rule_errors_say_where_and_what_to_do() {
    let cases = [
        ("efect: deny, calls: [exec], tools: [t]",
         "p:3:3: the rule has no `effect` [AK0120]\np:3:11: unknown field of a rule `efect` [AK0112]; did you mean `effect`?"),
        ("effect: allow, calls: [exec], tools: [t], quota: {rate: 5}",
         "p:3:53: unknown field of a rule `quota` [AK0112]; known: id, effect, calls, tools, paths, targets, signals, agents, tenants, when, limits, ask, on_violation"),
        ("effect: allow, calls: [exec], tools: [t], when: {labels: {}}",
         "p:3:68: `labels` is an empty map, which says nothing [AK0122]; name labels under `any_of`, `all_of` or `none_of`"),
        ("effect: allow, calls: [exec], tools: [t], when: {labels: {any_of: [Secret]}}",
         "p:3:78: `Secret` is not a label; one is a word like `secret`, or `tool:` or `mcp:` and a name [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {labels.autority: {any_of: [pii]}}",
         "p:3:60: unknown bearer of labels `labels.autority` [AK0130]; did you mean `labels.authority`?"),
        ("effect: allow, calls: [read], paths: [/a], when: {labels.args: {any_of: [pii]}}",
         "p:3:61: a call of `read` has no `labels.args` [AK0130]; write one rule for each kind of call"),
        ("effect: allow, calls: [exec], tools: [t], when: {effects: {only: [raed]}}",
         "p:3:77: unknown effect `raed` [AK0113]; did you mean `read`?"),
        ("effect: allow, calls: [write], paths: [/a], when: {effects: {only: [read]}}",
         "p:3:62: a call of `write` has no `effects` [AK0130]; write one rule for each kind of call"),
        ("effect: alow, calls: [exec], tools: [t]", "p:3:19: unknown effect `alow` [AK0113]; did you mean `allow`?"),
        ("effect: allow, calls: [exce], tools: [t]", "p:3:34: unknown call `exce` [AK0113]; did you mean `exec`?"),
        ("effect: allow, calls: [exit]", "p:3:34: `exit` is always allowed and cannot be named in a rule [AK0126]"),
        ("effect: allow, calls: []",
         "p:3:33: `calls` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out"),
        ("effect: allow, tools: [t]", "p:3:3: the rule has no `calls` [AK0120]"),
        ("effect: allow, calls: [exec]",
         "p:3:3: a rule about `exec` has no `tools` [AK0120]; to mean everything, write `tools: [\"*\"]`"),
        ("effect: allow, calls: [read]",
         "p:3:3: a rule about `read` has no `paths` [AK0120]; to mean everything, write `paths: [\"/**\"]`"),
        ("effect: allow, calls: [exec], tools: []",
         "p:3:48: `tools` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out"),
        ("effect: allow, calls: [exec], tools: [t], paths: [/a]", "p:3:53: `paths` goes only with read, write, open [AK0125]"),
        ("effect: allow, calls: [exec], tools: [t], signals: [SIGTERM]", "p:3:53: `signals` goes only with signal [AK0125]"),
        ("effect: allow, calls: [signal], targets: [x], signals: [SIGTREM]",
         "p:3:67: unknown signal `SIGTREM` [AK0113]; did you mean `SIGTERM`?"),
        ("effect: allow, calls: [exec], tools: [7]",
         "p:3:49: an entry of `tools` must be text, not `7` [AK0121]; put it in quotes: \"7\""),
        ("effect: allow, calls: [exec], tools: t", "p:3:48: `tools` must be a list, not text [AK0121]"),
        ("effect: allow, calls: [exec], tools: ['delete ']",
         "p:3:49: the tool pattern `delete `: the id holds a character that is not allowed, at byte 6 [AK0127]"),
        ("effect: allow, calls: [exec], tools: ['d*\u{435}']", "p:3:49: the tool pattern `d*\u{435}`: no id holds `\u{435}` [AK0127]"),
        ("effect: allow, calls: [exec], tools: ['a[bc]']",
         "p:3:49: the tool pattern `a[bc]`: character classes and escapes are not part of the pattern language [AK0127]"),
        ("effect: allow, calls: [exec], tools: ['{a']", "p:3:49: the tool pattern `{a`: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?) [AK0127]"),
        ("effect: allow, calls: [exec], tools: ['{a,}']", "p:3:49: the tool pattern `{a,}`: a choice between braces is empty [AK0127]"),
        ("effect: allow, calls: [read], paths: ['/a/../b']",
         "p:3:49: the path pattern `/a/../b`: the path is not normalised: empty, `.` and `..` segments are refused [AK0127]"),
        ("effect: allow, calls: [read], paths: [a]", "p:3:49: the path pattern `a`: the path is not absolute [AK0127]"),
        ("effect: allow, calls: [read], paths: ['/a**']", "p:3:49: the path pattern `/a**`: `**` must be a whole segment [AK0127]"),
        ("effect: allow, calls: [read], paths: ['/agent/w/mem/**']",
         "p:3:49: the path pattern `/agent/w/mem/**`: paths are as the agent sees them; leave `/agent/<id>` out and use `agents` [AK0127]"),
        ("effect: allow, calls: [exec], tools: [t], agents: ['']", "p:3:62: the agent pattern ``: an id has 1 to 128 characters [AK0127]"),
        ("effect: allow, calls: [exec], tools: [t], on_violation: deny",
         "p:3:53: `on_violation` says what a refusal does, and this rule allows [AK0132]"),
        ("effect: deny, calls: [exec], tools: [t], on_violation: panic",
         "p:3:66: unknown on_violation `panic` [AK0113]; known: kill, deny, stop"),
        ("effect: allow, calls: [exec], tools: [t], when: {}",
         "p:3:59: `when` is an empty map, which says nothing [AK0122]; name a condition, or leave `when` out"),
        ("effect: allow, calls: [exec], tools: [t], when: {arg.x: {eq: 1}}",
         "p:3:60: unknown subject `arg.x` [AK0130]; did you mean `args`?"),
        ("effect: allow, calls: [exec], tools: [t], when: {args..x: {eq: 1}}",
         "p:3:60: the subject `args..x`: a key that is empty or holds spaces or quotes needs quotes [AK0130]"),
        ("effect: allow, calls: [exec], tools: [t], when: {'args.\"a': {eq: 1}}",
         "p:3:60: the subject `args.\"a`: a quote is not closed [AK0130]"),
        ("effect: allow, calls: [exec], tools: [t], when: {context: {eq: 1}}",
         "p:3:60: the subject `context`: `context` needs a key, as in `context.team` [AK0130]"),
        ("effect: allow, calls: [exec], tools: [t], when: {tool.x: {eq: 1}}",
         "p:3:60: the subject `tool.x`: it is plain text and has no keys [AK0130]"),
        ("effect: allow, calls: [exec], tools: [t], when: {path: {eq: /a}}",
         "p:3:60: a call of `exec` has no `path` [AK0130]; write one rule for each kind of call"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {mathces: a}}",
         "p:3:69: unknown guard `mathces` [AK0113]; did you mean `matches`?"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: 5}", "p:3:68: a guard must be a map, not a number [AK0121]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {}}",
         "p:3:68: a guard is an empty map, which says nothing [AK0122]; name at least one guard, or leave the condition out"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {gt: '5'}}",
         "p:3:73: `gt` compares with a number [AK0121]; text, dates and booleans have no order here"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {in: []}}",
         "p:3:73: `in` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {in: 5}}", "p:3:73: `in` must be a list, not a number [AK0121]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {matches: '('}}",
         "p:3:78: the regex `(`: unclosed group [AK0128]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {matches: '(\\w{500}){50}'}}",
         "p:3:78: the regex `(\\w{500}){50}`: compiled regex exceeds size limit of 262144 bytes. [AK0128]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {len: {lte: -1}}}", "p:3:80: a length is a whole number [AK0121]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {len: 5}}", "p:3:74: `len` must be a map, not a number [AK0121]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {path: {under: [data]}}}",
         "p:3:84: the folder `data`: the path is not absolute [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {path: {}}}", "p:3:75: `path` has no `under` [AK0120]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {schemes: [gopher], hosts: [a.com]}}}",
         "p:3:85: unknown scheme `gopher` [AK0113]; known: http, https, ws, wss, ftp"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {schemes: [https], hosts: ['a.*.com']}}}",
         "p:3:101: the host `a.*.com`: `*` stands only in front, as `*.example.com`, or alone [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {schemes: [https], hosts: ['https://a.com']}}}",
         "p:3:101: the host `https://a.com`: a host is a name or an address, without scheme, port or path [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {hosts: [a], schemes: [https], ports: [0]}}}",
         "p:3:113: a port is a number from 1 to 65535 [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {hosts: [a], schemes: [https], addresses: [reserved]}}}",
         "p:3:117: unknown class of addresses `reserved` [AK0113]; known: public, private, loopback, link_local"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {url: {schemes: [https], addresses: [public]}}}",
         "p:3:74: `url` has no `hosts` [AK0120]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {sql: {statements: [select]}}}", "p:3:74: `sql` has no `tables` [AK0120]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {sql: {statements: [drop], tables: [a]}}}",
         "p:3:88: unknown statement `drop` [AK0113]; known: select, select_for_update, insert, update, delete, merge, explain"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {sql: {statements: [select], tables: ['\"a\"']}}}",
         "p:3:106: the name `\"a\"`: write the name plainly, without quotes; the only wildcard is `*` [AK0129]"),
        ("effect: allow, calls: [exec], tools: [t], when: {args.x: {sql: {dialect: mysq, statements: [select], tables: [a]}}}",
         "p:3:84: unknown dialect `mysq` [AK0113]; did you mean `mysql`?"),
    ];
    let wrong: Vec<_> = cases.map(|(rule, expected)| (rule_errors(rule), expected)).into_iter()
        .filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "found and expected: {wrong:#?}");
}

#[test]
fn values_of_guards_are_quoted_where_readers_of_yaml_differ() {
    let load = |guard: &str| {
        let rule = "id: r, effect: allow, calls: [exec], tools: [t]";
        Policy::from_yaml("p", &format!("{{version: 1, rules: [{{{rule}, when: {{args.x: {guard}}}}}]}}"))
    };
    let ambiguous = [
        "yes",
        "No",
        "ON",
        "off",
        "y",
        "N",
        "tRUE",
        "nULL",
        "1_000",
        "-1_0.5",
        "0b101",
        "-0b1",
        "0B1",
        "0o17",
        "0x_f",
        "0X1F",
        "012",
        "019",
        "0_7",
        "1:30",
        "-1:30:00",
        "190:20:30.15",
        "2001-12-14",
        "2001-1-1T00:00:00Z",
        "2001-12-14 21:59:43",
    ];
    for text in ambiguous {
        for place in ["{eq: @}", "{in: [a, @]}", "{not: {ne: {k: [@]}}}", "{any_of: [{eq: a}, {matches: @}]}"]
        {
            let errors = load(&place.replace('@', text)).unwrap_err();
            assert_eq!((errors.errors().len(), errors.code()), (1, "AK0121"), "{place} {text}: {errors}");
            assert!(errors.to_string().contains("quotes"), "{errors}");
            assert!(load(&place.replace('@', &format!("'{text}'"))).is_ok(), "{place} '{text}'");
        }
    }
    for text in
        ["127.0.0.1", "1.2.3", "a:1", "12-30", "x_1", "_1", "_", "1x_0", "yess", "0bx", "2001-12", "1e3"]
    {
        assert!(load(&format!("{{in: [{text}, x]}}")).is_ok(), "{text}");
    }
    assert_eq!(
        load("{eq: yes}").unwrap_err().to_string(),
        "p:1:92: `yes`: some readers of YAML take this for a boolean or null [AK0121]; put it in quotes: \"yes\""
    );
}

#[test]
#[rustfmt::skip]
fn document_errors_say_where_and_what_to_do() {
    let deep = format!("version: {}1{}", "[".repeat(40), "]".repeat(40));
    let cases = [
        ("", "p:1:1: the document is empty [AK0118]; a policy that grants nothing is `version: 1` and `packs: [default_deny]`"),
        ("# nothing\n", "p:1:1: the document is empty [AK0118]; a policy that grants nothing is `version: 1` and `packs: [default_deny]`"),
        ("[]", "p:1:1: the policy must be a map, not a list [AK0121]"),
        ("hello", "p:1:1: the policy must be a map, not text [AK0121]"),
        ("version: 1", "p:1:1: the policy has neither `rules` nor `packs` [AK0120]; a policy that grants nothing is `packs: [default_deny]`"),
        ("rules: []", "p:1:1: the policy has no `version` [AK0120]"),
        ("version: 2\nrules: []", "p:1:10: unknown version `2`; this is version 1 [AK0119]"),
        ("version: '1'\nrules: []", "p:1:10: unknown version `\"1\"`; this is version 1 [AK0119]"),
        ("version: 1\nruls: []\npacks: [default_deny]", "p:2:1: unknown field of the policy `ruls` [AK0112]; did you mean `rules`?"),
        ("version: 1\nname: a b\nrules: []", "p:2:7: the policy's name `a b` is not a name [AK0123]; a name is 1 to 128 of `[A-Za-z0-9._-]`"),
        ("version: 1\nname: 2026\nrules: []", "p:2:7: the policy's name must be text, not `2026` [AK0121]; put it in quotes: \"2026\""),
        ("version: 1\npacks: [readonly]", "p:2:9: unknown pack `readonly` [AK0113]; did you mean `read_only`?"),
        ("version: 1\npacks: []", "p:2:8: `packs` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out"),
        ("version: 1\npacks: [read_only, read_only]", "p:2:20: the pack `read_only` is named twice [AK0124]"),
        ("version: 1\nrules: []\nversion: 1", "p:3:1: the key `version` appears twice in one map [AK0115]"),
        ("version: 1\nrules: &a []", "p:2:11: anchors are not part of the policy language [AK0117]; write the value out"),
        ("version: 1\nname: &a x\nrules: [*a]",
         "p:2:10: anchors are not part of the policy language [AK0117]; write the value out\np:3:9: aliases are not part of the policy language [AK0117]; write the value out"),
        ("version: 1\nrules: !!seq []", "p:2:14: tags are not part of the policy language [AK0117]"),
        ("version: 1\nrules: []\n---\nversion: 1", "p:3:1: a policy is one document [AK0118]"),
        ("version: 1\nrules: [\n", "p:2:8: not YAML: unclosed bracket '[' [AK0114]"),
        ("version: 1\nname: 0123\nrules: []",
         "p:2:7: `0123`: a number with a leading zero is read as octal by some and as decimal by others [AK0121]; put it in quotes if text is meant"),
        ("version: 1\nname: 9007199254740993\nrules: []",
         "p:2:7: `9007199254740993`: an integer beyond 2^53-1 has no exact form [AK0121]; put it in quotes if text is meant"),
        ("version: 1\nname: .inf\nrules: []",
         "p:2:7: `.inf`: infinite and undefined numbers are not values [AK0121]; put it in quotes if text is meant"),
        ("version: 1\ntrue: 1\nrules: []", "p:2:1: the key `true` is not text [AK0121]; put it in quotes: \"true\""),
        ("version: 1\n? [a]\n: 1\nrules: []", "p:2:3: a list or map cannot be a key [AK0121]"),
        ("version: 1\nrules:\n- {id: a, effect: deny, calls: [exec], tools: [t]}\n- {id: a, effect: deny, calls: [exec], tools: [t]}",
         "p:4:8: the rule id `a` is taken already, in line 3 [AK0124]"),
        ("version: 1\npacks: [read_only]\nrules:\n- {id: read_only.own-tree, effect: deny, calls: [exec], tools: [t]}",
         "p:4:8: the rule id `read_only.own-tree` is taken already, by the pack `read_only` [AK0124]"),
        ("version: 1\nrules: [5]", "p:2:9: a rule must be a map, not a number [AK0121]"),
        ("version: 1\nrules:\n\t- x", "p:3:2: not YAML: tabs disallowed within this context (block indentation) [AK0114]"),
        (&deep, "p:1:42: nested deeper than 32 levels [AK0116]"),
    ];
    let wrong: Vec<_> = cases.map(|(text, expected)| (Policy::from_yaml("p", text).unwrap_err().to_string(), expected))
        .into_iter().filter(|(found, expected)| found != expected).collect();
    assert!(wrong.is_empty(), "found and expected: {wrong:#?}");
}

#[test]
fn one_reading_finds_many_errors_and_keeps_a_bounded_number() {
    let errors = Policy::from_yaml(
        "p",
        "version: 3\non_violation: x\nrules:\n- {id: a b, efect: 1, calls: [exec], tools: ['[']}\n",
    )
    .unwrap_err();
    let codes: Vec<&str> = errors.errors().iter().map(PolicyError::code).collect();
    assert_eq!(codes, ["AK0119", "AK0113", "AK0120", "AK0123", "AK0112", "AK0127"]);
    assert_eq!((errors.code(), errors.left_out()), ("AK0119", 0));
    let many = format!("version: 1\nrules: [{}]", "5,".repeat(MAX_ERRORS + 7));
    let errors = Policy::from_yaml("p", &many).unwrap_err();
    assert_eq!((errors.errors().len(), errors.left_out()), (MAX_ERRORS, 1));
    assert!(errors.to_string().ends_with("\nand at least 1 more"));
}

#[test]
fn compiling_ends_with_the_errors() {
    let in_one_guard = vec!["{matches: '('}"; MAX_ERRORS + 50].join(",");
    let text = format!(
        "version: 1\nrules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{args.x: {{any_of: [{in_one_guard}]}}}}}}]"
    );
    let errors = Policy::from_yaml("p", &text).unwrap_err();
    assert_eq!((errors.errors().len(), errors.left_out()), (MAX_ERRORS, 1));
}

#[test]
fn the_cost_of_patterns_is_bounded_over_the_whole_policy() {
    let any_of = |guards: &[String]| {
        format!(
            "version: 1\nrules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{args.x: {{any_of: [{}]}}}}}}]",
            guards.join(",")
        )
    };
    let regexes = |pattern: &str, count: usize| {
        Policy::from_yaml("p", &any_of(&vec![format!("{{matches: '{pattern}'}}"); count]))
            .map_err(|errors| errors.code())
    };
    // A thousand bytes each, so that the number of regexes is not what is refused.
    let long = "a".repeat(1024);
    assert!(regexes(&long, MAX_REGEX_COST / 1024).is_ok());
    assert_eq!(regexes(&long, MAX_REGEX_COST / 1024 + 1).unwrap_err(), "AK0116");
    let folded = ["(?i)[^a]", "(?si:[^a])", "(?x)( ?i)[^a]", "(?i)\\p{Greek}", "(?i)[a--b]"];
    for pattern in folded {
        assert!(regexes(pattern, 100).is_ok(), "{pattern}");
        assert_eq!(regexes(pattern, 260).unwrap_err(), "AK0116", "{pattern}");
        assert!(regexes(&pattern.replacen('i', "U", 1), 260).is_ok(), "{pattern}");
    }
    let tools = |length: usize, count: usize| {
        let tools: Vec<String> =
            (0..count).map(|n| format!("'*{n:0>width$}.x'", width = length - 3)).collect();
        let text = format!(
            "{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: [{}]}}]}}",
            tools.join(",")
        );
        Policy::from_yaml("p", &text).map_err(|errors| errors.code())
    };
    assert!(tools(128, MAX_GLOB_BYTES / 128).is_ok());
    assert_eq!(tools(128, MAX_GLOB_BYTES / 128 + 1).unwrap_err(), "AK0116");
}

#[test]
fn limits_are_enforced() {
    let code = |text: &str| Policy::from_yaml("p", text).unwrap_err().code();
    let filler = |length: usize| format!("version: 1\nrules: []\n#{}", "x".repeat(length - 22));
    assert!(Policy::from_yaml("p", &filler(MAX_POLICY_BYTES)).is_ok());
    assert_eq!(code(&filler(MAX_POLICY_BYTES + 1)), "AK0111");
    let rules = |count: usize| {
        let rules: Vec<String> =
            (0..count).map(|n| format!("{{id: r{n:x},effect: ask,calls: [exec],tools: [t]}}")).collect();
        format!("version: 1\nrules: [{}]", rules.join(","))
    };
    assert_eq!(load(&rules(MAX_RULES)).rules().len(), MAX_RULES);
    assert_eq!(code(&rules(MAX_RULES + 1)), "AK0116");
    let nested = |depth: usize| {
        format!(
            "version: 1\nrules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{args.x: {}{{eq: 1}}{}}}}}]",
            "{not: ".repeat(depth),
            "}".repeat(depth)
        )
    };
    assert!(Policy::from_yaml("p", &nested(26)).is_ok());
    assert_eq!(code(&nested(29)), "AK0116");
    let regexes = vec!["{matches: a}"; 1025].join(",");
    let text = format!(
        "version: 1\nrules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{args.x: {{any_of: [{regexes}]}}}}}}]"
    );
    assert_eq!(code(&text), "AK0116");
}

#[test]
fn files_are_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.yaml");
    let code = |path: &std::path::Path| Policy::load(path).unwrap_err().code();
    assert_eq!(code(&path), "AK0110");
    assert_eq!(code(folder.path()), "AK0110");
    std::fs::write(&path, "version: 1\nname: disk\nrules: []\n").unwrap();
    assert_eq!(Policy::load(&path).unwrap().name(), "disk");
    std::fs::write(&path, b"version: 1\nname: \xff\nrules: []\n").unwrap();
    assert_eq!(code(&path), "AK0110");
    std::fs::write(&path, "\u{e9}".repeat(MAX_POLICY_BYTES)).unwrap();
    assert_eq!(code(&path), "AK0111");
}

#[test]
#[rustfmt::skip]
fn what_an_ask_rule_cannot_want_is_an_error() {
    let rule = |ask: &str| format!("effect: ask, calls: [exec], tools: [t], ask: {ask}");
    let cases = [
        ("{quorum: 0}", "p:3:65: `quorum` is a number from 1 to 16, not `0` [AK0129]"),
        ("{quorum: 17}", "p:3:65: `quorum` is a number from 1 to 16, not `17` [AK0129]"),
        ("{quorum: 1.5}", "p:3:65: `quorum` is a number from 1 to 16, not `1.5` [AK0129]"),
        ("{quorum: two}", "p:3:65: `quorum` is a number from 1 to 16, not `\"two\"` [AK0129]"),
        ("{timeout: 8d}", "p:3:66: `timeout` is longer than 7 days [AK0129]"),
        ("{timeout: 0s}", "p:3:66: `timeout` is no time at all [AK0129]"),
        ("{timeout: '5'}",
         "p:3:66: `timeout`: `5` has no unit; write `5s` for seconds, or use `ms`, `m`, `h` or `d` [AK0129]"),
        ("{timeout: 300}", "p:3:66: `timeout` must be text, not `300` [AK0121]; put it in quotes: \"300\""),
        ("{scope: ever}", "p:3:64: unknown `scope` `ever` [AK0113]; known: once, task, session"),
        ("{approvers: []}",
         "p:3:68: `approvers` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out"),
        ("{approvers: [ann, 'b ob']}",
         "p:3:74: `b ob` names no approver: the id holds a character that is not allowed, at byte 1 [AK0123]"),
        ("{aprovers: [ann]}", "p:3:57: unknown field of `ask` `aprovers` [AK0112]; did you mean `approvers`?"),
        ("true", "p:3:56: `ask` must be a map, not a boolean [AK0121]"),
    ];
    for (ask, expected) in cases {
        assert_eq!(rule_errors(&rule(ask)), expected, "{ask}");
    }
    for effect in ["allow", "deny"] {
        let found = rule_errors(&format!("effect: {effect}, calls: [exec], tools: [t], ask: {{quorum: 1}}"));
        assert!(found.ends_with("`ask` says whose consent it takes, and this rule asks for none [AK0132]"), "{found}");
    }
    let names = vec!["n"; 65].join(", ");
    assert!(rule_errors(&rule(&format!("{{approvers: [{names}]}}"))).contains("names more than 64 [AK0116]"));
    let whole = rule("{approvers: [ann, treasury], quorum: 2, timeout: 7d, scope: session}");
    assert!(Policy::from_yaml("p", &format!("version: 1\nrules:\n- {{id: r, {whole}}}\n")).is_ok());
}
