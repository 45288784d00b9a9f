//! What rules say about the situation of a call: limits, time, mode and budgets.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::Policy;
use agent_control_plane::budget::{BudgetState, Level};
use agent_control_plane::primitives::resource::Currency;
use agent_control_plane::primitives::{AgentId, Resource, Signal, Timestamp, ToolId, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use chrono::DateTime;
use serde_json::{Map, Value};

fn policy(condition: &str) -> Policy {
    let text = format!(
        "{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: [t], when: {{{condition}}}}}]}}"
    );
    Policy::from_yaml("p", &text).unwrap()
}

fn decide(situation: impl FnOnce(Caller<'_>) -> Verdict) -> Verdict {
    let (agent, facts): (AgentId, _) = ("a".parse().unwrap(), Map::new());
    situation(Caller::new(&agent, &facts))
}

fn ask(policy: &Policy, caller: &Caller<'_>) -> Verdict {
    let tool: ToolId = "t".parse().unwrap();
    let object = Object::Tool { id: &tool, arguments: &Value::Null };
    policy.decide(caller, &Question::new(CallKind::Exec, object)).verdict()
}

#[test]
fn windows_hold_the_time_of_the_call_in_their_zone() {
    let office =
        r#"time: {zone: Europe/Berlin, days: [mon, tue, wed, thu, fri], from: "08:00", to: "18:00"}"#;
    let night = r#"time: {days: [fri], from: "22:00", to: "06:00"}"#;
    let either = r#"time: [{days: [sun]}, {from: "12:00", to: "12:01"}]"#;
    let late = r#"time: {from: "23:00", to: "24:00"}"#;
    let cases = [
        // Berlin is an hour ahead in winter and two in summer.
        (office, "2026-01-05T07:00:00Z", true),
        (office, "2026-01-05T06:59:59Z", false),
        (office, "2026-07-06T06:00:00Z", true),
        (office, "2026-07-06T16:00:00Z", false),
        (office, "2026-07-06T15:59:59Z", true),
        (office, "2026-01-04T09:00:00Z", false),
        // Late on Sunday in UTC it is Monday in Berlin, but not yet office time.
        (office, "2026-01-04T23:30:00Z", false),
        // The hour that the clocks skip, and the one they repeat.
        (r#"time: {zone: Europe/Berlin, from: "02:00", to: "03:00"}"#, "2026-03-29T01:30:00Z", false),
        (r#"time: {zone: Europe/Berlin, from: "02:00", to: "03:00"}"#, "2026-10-25T00:30:00Z", true),
        (r#"time: {zone: Europe/Berlin, from: "02:00", to: "03:00"}"#, "2026-10-25T01:30:00Z", true),
        // A night belongs to the day it begins on.
        (night, "2026-01-02T22:00:00Z", true),
        (night, "2026-01-03T05:59:59Z", true),
        (night, "2026-01-03T06:00:00Z", false),
        (night, "2026-01-02T05:00:00Z", false),
        (night, "2026-01-03T23:00:00Z", false),
        (either, "2026-01-04T03:00:00Z", true),
        (either, "2026-01-05T12:00:59Z", true),
        (either, "2026-01-05T12:01:00Z", false),
        (late, "2026-01-05T23:59:59Z", true),
        (late, "2026-01-06T00:00:00Z", false),
    ];
    for (condition, at, expected) in cases {
        let policy = policy(condition);
        let now = Timestamp::from_micros(DateTime::parse_from_rfc3339(at).unwrap().timestamp_micros());
        let verdict = decide(|caller| ask(&policy, &caller.at(now)));
        assert_eq!(verdict == Verdict::Allow, expected, "{condition} at {at}");
    }
}

#[test]
fn a_time_that_is_no_date_allows_nothing() {
    let policy = policy(r#"time: {from: "00:00", to: "24:00"}"#);
    let verdict = decide(|caller| ask(&policy, &caller.at(Timestamp::from_micros(i64::MAX))));
    assert_eq!(verdict, Verdict::Deny);
}

#[test]
fn modes_are_matched_by_name() {
    let cases = [
        ("mode: {in: [maintenance]}", "maintenance", true),
        ("mode: {in: [maintenance]}", "normal", false),
        ("mode: {not_in: [maintenance, frozen]}", "normal", true),
        ("mode: {not_in: [maintenance, frozen]}", "frozen", false),
        ("mode: {in: [normal, frozen], not_in: [frozen]}", "frozen", false),
    ];
    for (condition, mode, expected) in cases {
        let policy = policy(condition);
        let verdict = decide(|caller| ask(&policy, &caller.in_mode(mode)));
        assert_eq!(verdict == Verdict::Allow, expected, "{condition} in {mode}");
    }
}

#[test]
fn budgets_are_compared_exactly_and_missing_ones_allow_nothing() {
    let usd = Resource::Money(Currency::USD);
    let states = [
        BudgetState { level: Level::Agent, resource: Resource::Tokens, limit: 10, used: 8 },
        BudgetState { level: Level::Tenant, resource: usd, limit: 5_000_000, used: 6_000_000 },
    ];
    let cases = [
        ("{resource: tokens, used: {gte: '80%'}}", true),
        ("{resource: tokens, used: {gt: '80%'}}", false),
        ("{resource: tokens, remaining: {lt: 3}}", true),
        ("{resource: tokens, remaining: {lt: 2}}", false),
        ("{resource: tokens, remaining: {lte: 2, gte: 2}}", true),
        ("{resource: USD, account: tenant, used: {gt: 5.999999 USD}}", true),
        ("{resource: USD, account: tenant, used: {lte: '100%'}}", false),
        ("{resource: USD, account: tenant, remaining: {lte: 0 USD}}", true),
        ("[{resource: tokens, used: {gte: 8}}, {resource: USD, account: tenant, used: {lt: 6 USD}}]", false),
        // Nobody limits these.
        ("{resource: tokens, account: tenant, used: {gte: 0}}", false),
        ("{resource: EUR, account: tenant, used: {gte: 0 EUR}}", false),
    ];
    for (guard, expected) in cases {
        let policy = policy(&format!("budget: {guard}"));
        let verdict = decide(|caller| ask(&policy, &caller.with_budgets(&states)));
        assert_eq!(verdict == Verdict::Allow, expected, "{guard}");
    }
}

#[test]
fn what_cannot_be_meant_does_not_load() {
    let cases = [
        (
            "when: {time: {zone: Europe/Berlim, days: [mon]}}",
            "unknown time zone `Europe/Berlim` [AK0113]; did you mean `Europe/Berlin`?",
        ),
        (
            "when: {time: {zone: UTC}}",
            "`time` without days and hours is always [AK0122]; name `days`, or `from` and `to`",
        ),
        ("when: {time: {from: '08:00'}}", "`from` and `to` go together [AK0120]"),
        (
            "when: {time: {from: '08:00', to: '08:00'}}",
            "`to` is `from`: that is no time or all of it [AK0129]",
        ),
        (
            "when: {time: {from: '8:00', to: '09:00'}}",
            "`8:00` is not a time of day [AK0129]; write it like `\"08:00\"`, up to `\"24:00\"`",
        ),
        (
            "when: {time: {from: '08:00', to: '24:01'}}",
            "`24:01` is not a time of day [AK0129]; write it like `\"08:00\"`, up to `\"24:00\"`",
        ),
        (
            "when: {time: {days: [monday]}}",
            "unknown day `monday` [AK0113]; known: mon, tue, wed, thu, fri, sat, sun",
        ),
        (
            "when: {time: []}",
            "`time` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out",
        ),
        (
            "when: {mode: {}}",
            "`mode` is an empty map, which says nothing [AK0122]; name modes under `in` or `not_in`",
        ),
        (
            "when: {mode: {in: ['a b']}}",
            "the mode `a b` is not a name [AK0123]; a name is 1 to 128 of `[A-Za-z0-9._-]`",
        ),
        ("when: {budget: {resource: tokens}}", "`budget` compares neither `remaining` nor `used` [AK0120]"),
        (
            "when: {budget: {resource: USD, used: {gt: 5}}}",
            "`5` is not an amount of USD [AK0129]; write `5 USD` or a share like `\"80%\"`",
        ),
        (
            "when: {budget: {resource: USD, used: {gt: 5 EUR}}}",
            "`\"5 EUR\"` is not an amount of USD [AK0129]; write `5 USD` or a share like `\"80%\"`",
        ),
        (
            "when: {budget: {resource: tokens, used: {gt: '1001%'}}}",
            "`\"1001%\"` is not an amount of tokens [AK0129]; write a whole number or a share like `\"80%\"`",
        ),
        (
            "when: {budget: {resource: usd, used: {gt: '1%'}}}",
            "`usd` is neither `tokens`, `calls`, `bytes`, `wall_time` nor the code of a currency like `USD` [AK0113]",
        ),
        ("limits: {}", "`limits` sets no bound [AK0122]; name a `rate`, a `concurrency` or a `cost`"),
        (
            "limits: {per: tenant}",
            "`limits` sets no bound [AK0122]; name a `rate`, a `concurrency` or a `cost`",
        ),
        (
            "limits: []",
            "`limits` is an empty list, which matches nothing [AK0122]; name at least one, or leave the rule out",
        ),
        ("limits: {rate: 60/m}", "unknown period `m`; periods are `s`, `min`, `hour` and `day` [AK0129]"),
        ("limits: {rate: 0/min}", "`0` is not a number from 1 to 1000000 [AK0129]"),
        (
            "limits: {rate: 60/min burst 5}",
            "a burst stands in a field of its own [AK0129]; write `{ rate: 60/min, burst: 5 }`",
        ),
        ("limits: {rate: {rate: 60/min}}", "`rate` has no `burst` [AK0120]"),
        (
            "limits: {rate: {rate: 60/min, burst: 0}}",
            "`burst` is a number from 1 to 1000000, not `0` [AK0129]",
        ),
        ("limits: {concurrency: 0}", "`concurrency` is a number from 1 to 1000000, not `0` [AK0129]"),
        ("limits: {concurrency: 1.5}", "`concurrency` is a number from 1 to 1000000, not `1.5` [AK0129]"),
        ("limits: {cost: 5 USD}", "`5 USD` is not a cost in a period; write one like `5 USD/day` [AK0129]"),
        (
            "limits: {cost: 5 USD/month}",
            "`5 USD/month` is not a cost in a period; write one like `5 USD/day` [AK0129]",
        ),
        (
            "limits: {cost: 5/day}",
            "`5` is not an amount of money; write one like `5 USD` or `0.25 EUR` [AK0129]",
        ),
        (
            "limits: {concurrency: 1, per: everyone}",
            "unknown `per` `everyone` [AK0113]; known: agent, tenant, policy",
        ),
        (
            "limits: {rate: 1/s, concurency: 1}",
            "unknown field of `limits` `concurency` [AK0112]; did you mean `concurrency`?",
        ),
    ];
    let mut found = Vec::new();
    for (field, expected) in cases {
        let text =
            format!("{{version: 1, rules: [{{id: r, effect: allow, calls: [exec], tools: [t], {field}}}]}}");
        let errors = Policy::from_yaml("p", &text).unwrap_err();
        let shown = errors.errors()[0].to_string();
        let message = shown.splitn(4, ':').nth(3).unwrap_or_default().trim().to_owned();
        if message != expected {
            found.push((field, message, expected));
        }
    }
    assert!(found.is_empty(), "field, found and expected: {found:#?}");
}

#[test]
fn limits_stand_where_there_is_something_to_bound() {
    let cases = [
        ("effect: deny, calls: [exec], tools: [t], limits: {rate: 1/s}", "AK0132"),
        ("effect: allow, calls: [read], paths: ['/**'], limits: {cost: 1 USD/day}", "AK0132"),
    ];
    for (rule, code) in cases {
        let text = format!("{{version: 1, rules: [{{id: r, {rule}}}]}}");
        assert_eq!(Policy::from_yaml("p", &text).unwrap_err().code(), code, "{rule}");
    }
}

#[test]
fn targets_can_be_meant_by_what_they_are_to_the_sender() {
    let rules = |targets: &str| {
        let text = format!(
            "version: 1\nname: t\nrules:\n  - {{ id: r, effect: allow, calls: [signal], targets: {targets} }}\n"
        );
        Policy::from_yaml("t.yaml", &text)
    };
    let both = rules(r#"["@descendants", "@self", "friend*"]"#).unwrap();
    let may = |policy: &Policy, from: &str, to: &str| {
        let (from, to, facts) = (from.parse().unwrap(), to.parse().unwrap(), Map::new());
        let object = Object::Agent { id: &to, signal: Signal::Int };
        let caller = Caller::new(&from, &facts);
        policy.decide(&caller, &Question::new(CallKind::Signal, object)).verdict() == Verdict::Allow
    };
    let allowed = [("a", "a"), ("a", "a::b"), ("a", "a::b::c"), ("a::b", "a::b::c"), ("a", "friend-1")];
    assert!(allowed.iter().all(|(from, to)| may(&both, from, to)));
    let denied = [("a::b", "a"), ("a", "ab"), ("a", "ab::c"), ("a", "a:b"), ("a::b", "a::c"), ("b", "a")];
    assert!(denied.iter().all(|(from, to)| !may(&both, from, to)));
    let own = rules(r#"["@self"]"#).unwrap();
    assert!(may(&own, "a", "a") && !may(&own, "a", "a::b"));
    for bad in [r#"["@everybody"]"#, r#"["@self*"]"#, r#"["@"]"#] {
        assert!(rules(bad).is_err(), "{bad}");
    }
    let elsewhere = r#"{version: 1, name: t, rules: [{id: r, effect: allow, calls: [read], paths: ["/**"], agents: ["@self"]}]}"#;
    assert!(Policy::from_yaml("t.yaml", elsewhere).is_err());
}
