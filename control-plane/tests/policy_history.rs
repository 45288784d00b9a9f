//! Conditions on what an agent has done so far.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use agent_control_plane::history::History;
use agent_control_plane::policy::Policy;
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::vfs::VfsPath;
use agent_primitives::{AgentId, Signal, Timestamp, ToolId, Verdict};
use serde_json::{Map, Value};

const MINUTE: i64 = 60_000_000;

/// Puts one call in one line, as in `exec tool {"x":1}`, `read /a`, `signal b`.
fn with_question<T>(line: &str, then: impl FnOnce(&Question<'_>) -> T) -> T {
    let mut words = line.splitn(3, ' ');
    let (kind, object, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or("{}"));
    let call = CallKind::ALL.into_iter().find(|call| call.name() == kind).unwrap();
    match call {
        CallKind::Exec => {
            let (id, arguments): (ToolId, Value) =
                (object.parse().unwrap(), serde_json::from_str(rest).unwrap());
            then(&Question::new(call, Object::Tool { id: &id, arguments: &arguments }))
        }
        CallKind::Signal => {
            let id: AgentId = object.parse().unwrap();
            then(&Question::new(call, Object::Agent { id: &id, signal: Signal::Term }))
        }
        _ => then(&Question::new(call, Object::File(&VfsPath::parse(object).unwrap()))),
    }
}

/// What was done, by the minute, and the verdict on one more call at a minute.
fn verdict(policy: &str, done: &[(i64, &str)], now: i64, call: &str) -> Verdict {
    let mut history = History::EMPTY;
    for (minute, line) in done {
        with_question(line, |deed| history.note(deed, Timestamp::from_micros(minute * MINUTE)));
    }
    judge(policy, &history, now, call)
}

fn judge(policy: &str, history: &History, now: i64, call: &str) -> Verdict {
    let policy = Policy::from_yaml("p.yaml", policy).unwrap();
    let (agent, facts) = ("w".parse().unwrap(), Map::new());
    let caller = Caller::new(&agent, &facts).having_done(history).at(Timestamp::from_micros(now * MINUTE));
    with_question(call, |question| policy.decide(&caller, question).verdict())
}

/// A policy that allows every tool and denies `t` when the condition holds.
fn deny_when(condition: &str) -> String {
    format!(
        "{{version: 1, rules: [{{id: all, effect: allow, calls: [exec], tools: ['*']}}, \
         {{id: d, effect: deny, calls: [exec], tools: [t], when: {{{condition}}}}}]}}"
    )
}

fn allow_when(condition: &str) -> String {
    format!(
        "{{version: 1, rules: [{{id: a, effect: allow, calls: [exec], tools: [t], when: {{{condition}}}}}]}}"
    )
}

/// The condition, what was done before, when the call is made, the call, whether the condition holds.
type Case<'a> = (&'a str, &'a [(i64, &'a str)], i64, &'a str, bool);

#[test]
fn conditions_on_the_past_hold_when_they_should() {
    let mails = [(0, "exec mail.send"), (10, "exec mail.read"), (20, "exec other"), (30, "exec mail.send")];
    let tour = [(0, "read /mem/semantic/a"), (5, "write /mem/semantic/a"), (9, "signal b"), (9, "exec x")];
    let refunds = [(0, r#"exec refund {"amount": 6000}"#), (30, r#"exec refund {"amount": 0.1}"#)];
    let cases: &[Case<'_>] = &[
        ("count: {tools: ['mail.*'], within: 1h, gte: 3}", &mails, 40, "exec t", true),
        ("count: {calls: [exec], tools: ['mail.*'], within: 1h, gte: 4}", &mails, 40, "exec t", false),
        ("count: {tools: ['mail.*'], within: 30m, eq: 1}", &mails, 40, "exec t", true),
        ("count: {tools: ['mail.*'], within: 31m, eq: 2}", &mails, 40, "exec t", true),
        ("count: {tools: ['mail.*'], gte: 3, lt: 4}", &mails, 100_000, "exec t", true),
        ("count: {tools: [t], eq: 0}", &mails, 40, "exec t", true),
        ("count: [{tools: [other], eq: 1}, {tools: [mail.read], eq: 2}]", &mails, 40, "exec t", false),
        ("count: {paths: ['/**'], eq: 2}", &tour, 40, "exec t", true),
        ("count: {calls: [read, exec], paths: ['/**'], tools: [x], eq: 2}", &tour, 40, "exec t", true),
        ("count: {targets: [b], eq: 1}", &tour, 40, "exec t", true),
        ("after: {calls: [read], paths: ['/mem/semantic/**']}", &tour, 40, "exec t", true),
        ("after: {calls: [open], paths: ['/mem/semantic/**']}", &tour, 40, "exec t", false),
        ("after: {calls: [read], paths: ['/mem/semantic/**'], within: 40m}", &tour, 40, "exec t", false),
        ("after: {calls: [write], paths: ['/mem/semantic/**'], within: 40m}", &tour, 40, "exec t", true),
        ("after: [{targets: [b]}, {tools: [y]}]", &tour, 40, "exec t", false),
        ("unless_after: {calls: [read], paths: ['/mem/semantic/**']}", &tour, 40, "exec t", false),
        ("unless_after: [{targets: [c]}, {tools: [y]}]", &tour, 40, "exec t", true),
        ("unless_after: [{targets: [b]}, {tools: [y]}]", &tour, 40, "exec t", false),
        (
            "sum: {of: args.amount, tools: [refund], within: 1h, gt: 10000}",
            &refunds,
            59,
            r#"exec t {"amount": 4000}"#,
            true,
        ),
        (
            "sum: {of: args.amount, tools: [refund], within: 1h, gt: 10000}",
            &refunds,
            60,
            r#"exec t {"amount": 4000}"#,
            false,
        ),
        (
            "sum: {of: args.amount, tools: [refund], eq: 6000.3}",
            &refunds,
            60,
            r#"exec t {"amount": 0.2}"#,
            true,
        ),
        ("sum: {of: args.amount, tools: [none], gte: 5}", &refunds, 60, r#"exec t {"amount": 5}"#, true),
        (
            "sum: {of: args.amount, tools: [refund], within: 1h, lt: 0}",
            &refunds,
            60,
            r#"exec t {"amount": -5}"#,
            true,
        ),
    ];
    for (condition, done, now, call, holds) in cases {
        let allowed = verdict(&allow_when(condition), done, *now, call) == Verdict::Allow;
        let denied = verdict(&deny_when(condition), done, *now, call) == Verdict::Deny;
        assert_eq!((allowed, denied), (*holds, *holds), "{condition} at {now}: {call}");
    }
}

#[test]
fn what_is_not_known_counts_against_the_caller_whichever_way_a_rule_goes() {
    let mut unseen = History::EMPTY;
    unseen.pass_over(Timestamp::from_micros(MINUTE));
    let conditions = [
        "after: {tools: [x]}",
        "unless_after: {tools: [x]}",
        "count: {tools: [x], lt: 5}",
        "count: {tools: [x], gte: 5}",
        "sum: {of: args.n, tools: [x], lt: 5}",
        "sum: {of: args.n, tools: [x], gte: 5}",
        "count: {tools: [x], within: 1h, eq: 0}",
    ];
    for condition in conditions {
        let call = r#"exec t {"n": 1}"#;
        assert_eq!(judge(&allow_when(condition), &unseen, 2, call), Verdict::Deny, "{condition}");
        assert_eq!(judge(&deny_when(condition), &unseen, 2, call), Verdict::Deny, "{condition}");
    }
    // Once the window has left it behind, it matters no more.
    let condition = "count: {tools: [x], within: 1h, eq: 0}";
    assert_eq!(judge(&allow_when(condition), &unseen, 61, "exec t"), Verdict::Allow);
}

#[test]
fn a_sum_of_what_is_no_number_is_an_error() {
    let condition = "sum: {of: args.amount, tools: [refund], gt: 10}";
    let refunds: &[(i64, &str)] = &[(0, r#"exec refund {"amount": 1}"#)];
    for call in
        ["exec t", r#"exec t {"amount": "1"}"#, r#"exec t {"amount": 1e300}"#, r#"exec t {"amount": [1]}"#]
    {
        assert_eq!(verdict(&deny_when(condition), refunds, 1, call), Verdict::Deny, "{call}");
        assert_eq!(
            verdict(&allow_when("sum: {of: args.amount, tools: [refund], lt: 10}"), refunds, 1, call),
            Verdict::Deny
        );
    }
    let odd: &[(i64, &str)] = &[(0, "exec refund")];
    assert_eq!(verdict(&deny_when(condition), odd, 1, r#"exec t {"amount": 1}"#), Verdict::Deny);
}

#[test]
fn mistakes_in_conditions_on_the_past_are_load_errors_at_their_place() {
    let rule = |calls: &str, selector: &str, condition: &str| {
        format!(
            "version: 1\nrules:\n  - id: a\n    effect: allow\n    calls: {calls}\n    {selector}\n    when: {{{condition}}}\n"
        )
    };
    let exec = |condition: &str| rule("[exec]", "tools: [t]", condition);
    let cases = [
        (exec("count: {tools: [x]}"), "AK0120", 19, "`count` compares with nothing"),
        (exec("count: {gte: 1}"), "AK0120", 19, "`count` selects nothing"),
        (exec("count: {calls: [read], gte: 1}"), "AK0120", 19, "`count` names `read` and has no `paths`"),
        (
            exec("count: {calls: [read], paths: ['/**'], tools: [x], gte: 1}"),
            "AK0125",
            19,
            "`tools` goes only with exec",
        ),
        (
            exec("count: {calls: [exit], tools: [x], gte: 1}"),
            "AK0126",
            28,
            "`exit` is always allowed and cannot be named in a rule",
        ),
        (exec("count: {tools: [x], gte: 1.5}"), "AK0121", 37, "a count is compared with a whole number"),
        (exec("count: {tools: [x], gte: 1, atleast: 1}"), "AK0112", 40, "unknown field of `count` `atleast`"),
        (exec("count: {tools: [], gte: 1}"), "AK0122", 27, "`tools` is an empty list, which matches nothing"),
        (
            exec("count: []"),
            "AK0122",
            19,
            "a list of conditions on the past is an empty list, which matches nothing",
        ),
        (exec("count: 5"), "AK0121", 19, "`count` must be a map, not a number"),
        (
            exec("after: {tools: ['a[b]']}"),
            "AK0127",
            28,
            "the tool pattern `a[b]`: character classes and escapes are not part of the pattern language",
        ),
        (exec("after: {tools: [x], within: 60}"), "AK0121", 40, "`within` must be text, not `60`"),
        (
            exec("after: {tools: [x], within: 0s}"),
            "AK0129",
            40,
            "`within` is zero, and nothing happens in no time",
        ),
        (
            exec("after: {tools: [x], within: 1hour}"),
            "AK0129",
            40,
            "`within`: unknown unit `hour`; units are `ms`, `s`, `m`, `h` and `d`; did you mean `h`?",
        ),
        (
            exec("unless_after: {tools: [x], gte: 1}"),
            "AK0112",
            39,
            "unknown field of a condition on the past `gte`",
        ),
        (exec("sum: {tools: [x], gt: 1}"), "AK0120", 17, "`sum` has no `of`"),
        (
            exec("sum: {of: args.a.b, tools: [x], gt: 1}"),
            "AK0130",
            22,
            "`of` names one argument, as in `args.amount`, not `args.a.b`",
        ),
        (
            exec("sum: {of: args.a, tools: [x], gt: 1e21}"),
            "AK0121",
            46,
            "a sum is compared with a number below 1.7e20 and of at most 18 decimal places",
        ),
        (
            exec("sum: {of: args.a, calls: [exec], tools: [x], gt: 1}"),
            "AK0112",
            30,
            "unknown field of `sum` `calls`",
        ),
        (
            rule("[read]", "paths: ['/**']", "sum: {of: args.a, tools: [x], gt: 1}"),
            "AK0130",
            12,
            "a call of `read` has no arguments that `sum` could add up",
        ),
    ];
    for (text, code, column, message) in cases {
        let errors = Policy::from_yaml("p.yaml", &text).unwrap_err();
        let found = errors.errors().first().unwrap();
        let place = (found.line(), found.column());
        assert_eq!((found.code(), place, found.message()), (code, (7, column), message), "{text}");
    }
}

#[test]
fn a_tool_that_is_not_registered_is_found_in_a_condition_too() {
    let policy =
        Policy::from_yaml("p.yaml", &allow_when("count: {tools: [refnd, 'mail.*'], lt: 5}")).unwrap();
    let known: Vec<ToolId> = ["t", "refund"].into_iter().map(|name| name.parse().unwrap()).collect();
    let errors = policy.check_tools(&known).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "p.yaml:1:95: no tool is registered as `refnd` [AK0131]; did you mean `refund`?"
    );
}
