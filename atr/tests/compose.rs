//! Several calls as one.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::future::pending;
use std::sync::{Arc, Mutex};

use agent_primitives::{AgentId, ManualClock};
use agent_tool_registry::compose::{Branch, Fallback, MAX_STEPS, Parallel, Sequence, Source, Step};
use agent_tool_registry::{
    AccessRule, AccessRules, CallContext, Invoker, MemoryAudit, OnBehalf, Registry, ToolError,
};
use serde_json::{Value, json};

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

type Seen = Arc<Mutex<Vec<String>>>;

/// Says so when it is dropped.
struct Told(Seen, &'static str);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(format!("{} dropped", self.1));
    }
}

/// Tools that say that they were called: they answer, fail, panic, wait a moment, or hang.
fn tools(seen: &Seen) -> Registry {
    let mut tools = Registry::builder();
    let names = [
        ("echo", false),
        ("other", false),
        ("fails", false),
        ("fails.again", true),
        ("panics", false),
        ("panics.again", true),
        ("slow", false),
        ("hangs", false),
    ];
    for (name, idempotent) in names {
        let seen = Arc::clone(seen);
        let run = move |_: CallContext, arguments: Value| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(name.to_owned());
                if name == "hangs" {
                    let _told = Told(Arc::clone(&seen), name);
                    pending::<()>().await;
                }
                for _ in 0..if name == "slow" { 3 } else { 0 } {
                    tokio::task::yield_now().await;
                }
                assert!(!name.starts_with("panics"), "as it is called");
                if name.starts_with("fails") { Err(ToolError::failed("no")) } else { Ok(arguments) }
            }
        };
        let schema = json!({"type": "object", "additionalProperties": true});
        tools.tool(name).description("Test.").idempotent(idempotent).run_raw(schema, run).unwrap();
    }
    tools.build()
}

fn caller(seen: &Seen, rules: AccessRules, audit: &MemoryAudit) -> OnBehalf {
    let clock = Arc::new(ManualClock::default());
    let invoker = Invoker::builder(tools(seen), clock, audit.clone()).authorizer(rules).build();
    invoker.on_behalf_of("a".parse::<AgentId>().unwrap())
}

fn allowed() -> (OnBehalf, Seen) {
    let seen = Seen::default();
    (caller(&seen, AccessRules::new().with(AccessRule::allow("*")), &MemoryAudit::new(8)), seen)
}

fn called(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().clone()
}

#[test]
fn t32_a_sequence_stops_at_what_is_forbidden_and_says_what_was_done() {
    let (seen, audit) = (Seen::default(), MemoryAudit::new(8));
    let rules = AccessRules::new().with(AccessRule::allow("*")).with(AccessRule::forbid("other"));
    let caller = caller(&seen, rules, &audit);
    let steps = ["echo", "other", "slow"].map(Step::new);
    let stopped = block_on(Sequence::of(steps).run(&caller, &json!({"x": 1}))).unwrap_err();
    assert_eq!((stopped.at, stopped.answers.len()), (1, 1));
    assert!(matches!(stopped.error, ToolError::AccessDenied { .. }) && stopped.error.is_violation());
    assert_eq!(called(&seen), ["echo"]);
    let records: Vec<_> = audit.records().iter().map(|record| (record.tool.clone(), record.error)).collect();
    assert_eq!(records, [("echo".to_owned(), None), ("other".to_owned(), Some("AK0556"))]);
}

#[test]
fn steps_take_their_arguments_from_where_they_say() {
    let (caller, _) = allowed();
    let steps = [
        Step::new("echo")
            .argument("a", Source::Input("/in".to_owned()))
            .argument("b", Source::Value(json!(2))),
        Step::new("echo").argument("c", Source::Previous("/a".to_owned())),
        Step::new("echo"),
    ];
    let answers = block_on(Sequence::of(steps).run(&caller, &json!({"in": [1]}))).unwrap();
    let values: Vec<_> = answers.iter().map(|answer| answer.output.value().clone()).collect();
    assert_eq!(values, [json!({"a": [1], "b": 2}), json!({"c": [1]}), json!({"c": [1]})]);
    let missing = [Step::new("echo").argument("a", Source::Previous("/a".to_owned()))];
    let stopped = block_on(Sequence::of(missing).run(&caller, &json!({}))).unwrap_err();
    assert!(stopped.error.is_argument_error());
}

#[test]
fn side_by_side_answers_come_in_the_order_of_the_steps() {
    let (caller, seen) = allowed();
    let steps = ["slow", "fails", "echo"].map(Step::new);
    let answers = block_on(Parallel::of(steps).all(&caller, &json!({"x": 1})));
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(called(&seen), ["slow", "fails", "echo"]);
}

#[test]
fn the_first_that_succeeds_cancels_the_others_and_early_failures_are_passed_over() {
    let (caller, seen) = allowed();
    let steps = ["fails", "hangs", "slow"].map(Step::new);
    let (at, _) = block_on(Parallel::of(steps).first(&caller, &json!({}))).unwrap();
    assert_eq!(at, 2);
    assert_eq!(called(&seen), ["fails", "hangs", "slow", "hangs dropped"]);
    let errors = block_on(Parallel::of(["fails", "panics"].map(Step::new)).first(&caller, &json!({})));
    let codes: Vec<_> = errors.unwrap_err().iter().map(ToolError::code).collect();
    assert_eq!(codes, ["AK0523", "AK0522"]);
}

#[test]
fn a_branch_goes_by_a_value_of_the_input() {
    let branch = Branch::on("/kind").when(json!("a"), Step::new("echo")).when(json!(1), Step::new("slow"));
    let cases = [
        (json!({"kind": "a"}), Some("echo")),
        (json!({"kind": 1}), Some("slow")),
        (json!({"kind": "1"}), None),
        (json!({}), None),
    ];
    for (input, expected) in cases {
        let (caller, seen) = allowed();
        let answer = block_on(branch.run(&caller, &input));
        assert_eq!(answer.is_ok(), expected.is_some(), "{input}");
        assert_eq!(called(&seen), expected.into_iter().collect::<Vec<_>>());
        let (caller, seen) = allowed();
        let otherwise = branch.clone().otherwise(Step::new("other"));
        block_on(otherwise.run(&caller, &input)).unwrap();
        assert_eq!(called(&seen), [expected.unwrap_or("other")]);
    }
}

#[test]
fn a_fallback_does_not_go_on_after_what_may_have_had_its_effect() {
    let cases = [
        (&["fails.again", "panics.again", "echo"][..], Ok(2), 3),
        (&["unknown", "echo"], Ok(1), 1),
        (&["fails", "echo"], Err("AK0565"), 1),
        (&["panics", "echo"], Err("AK0565"), 1),
        (&["fails.again"], Err("AK0523"), 1),
        (&[], Err("AK0515"), 0),
    ];
    for (steps, expected, calls) in cases {
        let (caller, seen) = allowed();
        let fallback = Fallback::of(steps.iter().map(|tool| Step::new(*tool)));
        let answer = block_on(fallback.run(&caller, &json!({})));
        let answer = answer.map(|(at, _)| at).map_err(|error| error.code());
        assert_eq!(answer, expected, "{steps:?}");
        assert_eq!(called(&seen).len(), calls, "{steps:?}");
    }
}

#[test]
fn what_has_too_many_steps_runs_none() {
    let (caller, seen) = allowed();
    let steps = || (0..=MAX_STEPS).map(|_| Step::new("echo"));
    let sequence = block_on(Sequence::of(steps()).run(&caller, &json!({}))).unwrap_err().error;
    let all = block_on(Parallel::of(steps()).all(&caller, &json!({}))).remove(0).unwrap_err();
    let first = block_on(Parallel::of(steps()).first(&caller, &json!({}))).unwrap_err().remove(0);
    let fallback = block_on(Fallback::of(steps()).run(&caller, &json!({}))).unwrap_err();
    for error in [sequence, all, first, fallback] {
        assert_eq!(error.code(), "AK0515");
        assert!(!error.retryable(), "there will be as many of them next time");
        assert!(error.to_string().contains("more than 64 steps"), "{error}");
    }
    assert!(called(&seen).is_empty());
}
