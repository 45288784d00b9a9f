use agent_primitives::{Digest, LabelSet, Verdict};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::recorder::{Decided, EVENT_VERSION};
use crate::vfs::{OpenFlags, VfsPath};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn read(history: &mut History, path: &str, micros: i64) {
    let path = VfsPath::parse(path).unwrap();
    history.note(&Question::new(CallKind::Read, Object::File(&path)), at(micros));
}

fn exec(history: &mut History, tool: &str, arguments: &Value, micros: i64) {
    let tool = tool.parse().unwrap();
    history.note(&Question::new(CallKind::Exec, Object::Tool { id: &tool, arguments }), at(micros));
}

fn is(call: CallKind, object: &str) -> impl Fn(CallKind, &str) -> bool {
    move |found, name| found == call && name == object
}

#[test]
fn an_empty_history_is_small_and_knows_that_nothing_was_done() {
    assert!(size_of::<History>() <= 32);
    let nothing = History::EMPTY;
    for after in [None, Some(at(5))] {
        assert_eq!(nothing.has_done(after, |_, _| true), Some(false));
        assert_eq!(nothing.count(after, |_, _| true), Some(0));
        assert_eq!(nothing.sum(after, "x", |_, _| true), Some(Amount::default()));
    }
}

#[test]
fn what_was_passed_over_is_unknown_only_where_it_lies() {
    let mut history = History::EMPTY;
    history.pass_over(at(10));
    read(&mut history, "/a", 20);
    let a = is(CallKind::Read, "/a");
    assert_eq!(history.count(Some(at(10)), &a), Some(1));
    assert_eq!(history.count(Some(at(9)), &a), None);
    assert_eq!(history.count(None, &a), None);
    assert_eq!(history.has_done(None, &a), Some(true), "what is known to be done stays so");
    assert_eq!(history.has_done(None, is(CallKind::Read, "/b")), None);
    assert_eq!(history.has_done(Some(at(10)), is(CallKind::Read, "/b")), Some(false));
}

#[test]
fn beyond_its_bounds_a_count_is_unknown_and_what_happened_stays_known() {
    let mut history = History::EMPTY;
    let many = i64::try_from(MAX_DEEDS).unwrap() + 10;
    for micros in 0..many {
        read(&mut history, "/a", micros);
    }
    let a = is(CallKind::Read, "/a");
    assert_eq!(history.count(Some(at(8)), &a), None);
    assert_eq!(history.count(Some(at(9)), &a), Some(MAX_DEEDS as u64));
    assert_eq!(history.count(None, &a), Some(many.unsigned_abs()), "the total needs no single deeds");
    assert_eq!(history.sum(None, "x", is(CallKind::Exec, "t")), None);

    for number in 0..MAX_OBJECTS {
        read(&mut history, &format!("/b/{number}"), many);
    }
    assert_eq!(history.has_done(None, &a), Some(true));
    assert_eq!(history.has_done(None, is(CallKind::Read, "/c")), None);
    assert_eq!(history.has_done(Some(at(many)), is(CallKind::Read, "/c")), Some(false));
    assert_eq!(history.count(None, &a), None);
}

#[test]
fn names_and_numbers_are_bounded_in_bytes() {
    let mut history = History::EMPTY;
    let numbers: serde_json::Map<String, Value> =
        (0..20).map(|number| (format!("{number:02}{}", "n".repeat(60)), 1.into())).collect();
    for number in 0..2000_i64 {
        exec(&mut history, &format!("t{number:04}{}", "t".repeat(120)), &numbers.clone().into(), number);
    }
    let kept = history.kept.as_ref().unwrap();
    assert!(kept.deed_bytes <= MAX_DEED_BYTES && kept.object_bytes <= MAX_OBJECT_BYTES);
    assert_eq!(kept.deed_bytes, kept.deeds.iter().map(|deed| deed.bytes).sum::<usize>());
    assert!(kept.deeds.iter().all(|deed| deed.numbers.len() == MAX_NUMBERS));
    assert!(kept.objects.len() <= MAX_OBJECTS && kept.strangers.is_some() && kept.forgotten.is_some());
}

#[test]
fn a_call_whose_number_is_missing_makes_the_sum_unknown() {
    let refund = is(CallKind::Exec, "refund");
    for odd in [json!({}), json!({"amount": "5"}), json!({"amount": 1e300}), json!({"sum": {"amount": 5}})] {
        let mut history = History::EMPTY;
        exec(&mut history, "refund", &json!({"amount": 5}), 1);
        assert!(history.sum(None, "amount", &refund).is_some());
        exec(&mut history, "refund", &odd, 2);
        assert_eq!(history.sum(None, "amount", &refund), None, "{odd}");
        assert!(history.sum(Some(at(2)), "amount", &refund).is_some(), "it lies outside");
    }
}

fn event(agent: &'static str, time: i64, body: Body<'static>) -> Event<'static> {
    Event { version: EVENT_VERSION, time: at(time), agent, generation: 1, call: 1, prev: Digest::ZERO, body }
}

fn intent(request: Request<'static>) -> Body<'static> {
    let decision = Decided {
        verdict: Verdict::Allow,
        rules: Vec::new(),
        policy: Digest::ZERO,
        generation: 1,
        labels: LabelSet::EMPTY,
        arguments: Vec::new(),
        reason: None,
        mode: "",
        budgets: Vec::new(),
    };
    Body::Intent { request, decision, ticket: None }
}

#[test]
fn a_recording_makes_the_same_history() {
    let flags = OpenFlags { write: true, ..OpenFlags::default() };
    let exec = Request::Exec {
        effects: agent_tool_registry::EffectSet::default(),
        tool: "refund",
        contract: Digest::ZERO,
        arguments: br#"{"amount":7,"id":"x"}"#,
        deadline: None,
    };
    let spawn = || Body::Spawn {
        facts: b"{}",
        tenant: "",
        labels: LabelSet::EMPTY,
        under: 1,
        task: b"",
        dry_run: false,
    };
    let mut history = History::EMPTY;
    for event in [
        event("a", 1, spawn()),
        event("a", 2, intent(Request::Open { path: "/earlier", flags })),
        event("a", 3, spawn()),
        event("a", 4, intent(Request::Open { path: "/a", flags })),
        event("a", 5, intent(exec)),
        event("a", 6, intent(Request::Close { descriptor: 1 })),
        event("a", 7, intent(Request::Signal { to: "b", signal: 5, reason: "" })),
    ] {
        history.observe(&event);
    }
    for (call, object, times) in [
        (CallKind::Open, "/a", 1),
        (CallKind::Write, "/a", 1),
        (CallKind::Signal, "b", 1),
        (CallKind::Open, "/earlier", 0),
    ] {
        assert_eq!(history.count(None, is(call, object)), Some(times), "{call} {object}");
    }
    let sum = history.sum(None, "amount", is(CallKind::Exec, "refund"));
    assert_eq!(sum, Amount::of(&7.into()));
    assert_eq!(history.count(None, |_, _| true), Some(4));
}

proptest! {
    /// Against a plain list of everything, under a clock that also runs backwards.
    #[test]
    fn answers_are_those_of_a_list_of_everything(
        deeds in prop::collection::vec((0_i64..100, 0_usize..4, -50_i64..50), 0..60),
        after in prop::option::of(0_i64..100),
        wanted in 0_usize..4,
    ) {
        let tools = ["a", "b", "mail.send", "mail.read"];
        let mut history = History::EMPTY;
        for (time, tool, amount) in &deeds {
            exec(&mut history, tools[*tool], &json!({"amount": amount, "x": 1}), *time);
        }
        let which = is(CallKind::Exec, tools[wanted]);
        let meant: Vec<i64> = deeds
            .iter()
            .filter(|(time, tool, _)| *tool == wanted && after.is_none_or(|after| after < *time))
            .map(|(.., amount)| *amount)
            .collect();
        let after = after.map(at);
        prop_assert_eq!(history.has_done(after, &which), Some(!meant.is_empty()));
        prop_assert_eq!(history.count(after, &which), Some(meant.len() as u64));
        let sum = meant.iter().sum::<i64>();
        prop_assert_eq!(history.sum(after, "amount", &which), Amount::of(&sum.into()));
    }
}
