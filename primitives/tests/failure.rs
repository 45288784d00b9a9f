//! Records of failures through the public API: limits, redaction, reading back, and that no text decides anything.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::time::Duration;

use agent_primitives::failure::{
    self, CauseCycle, FailureError, FailureTrace, MAX_CONTEXT, MAX_CONTEXT_DEPTH, MAX_MESSAGE,
    MAX_STACK_TRACE, MAX_STEPS, RetryHint, SideEffects, classify, import,
};
use agent_primitives::{
    AgentFailure, AgentId, BadTimestamp, FailureClass, FailureType, ManualClock, SeededIds, Severity,
    Timestamp,
};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(1_769_008_740_500_000))
}

fn agent() -> AgentId {
    "a1".parse().unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn builder(kind: FailureType) -> failure::FailureBuilder {
    AgentFailure::builder(agent(), kind, "boom")
}

fn build(builder: failure::FailureBuilder) -> Result<AgentFailure, FailureError> {
    builder.build(&clock(), &SeededIds::new(1))
}

fn read(value: &Value) -> Result<AgentFailure, FailureError> {
    import::strict().read(value.to_string().as_bytes(), &clock(), &SeededIds::new(1))
}

fn written(failure: &AgentFailure) -> Value {
    serde_json::to_value(failure).unwrap()
}

#[test]
fn a_record_takes_from_its_type_what_it_is_not_told() {
    let failure = build(builder(FailureType::Timeout)).unwrap();
    assert_eq!((failure.severity(), failure.class()), (Severity::Medium, FailureClass::Transient));
    let retry = failure.retry();
    assert_eq!((retry.retryable, retry.after, retry.side_effects), (true, None, SideEffects::Possible));
    assert_eq!(failure.timestamp().as_micros(), 1_769_008_740_500_000);
    assert!(failure.id().to_string().starts_with("019be123-3894-7000-"), "{}", failure.id());
}

#[test]
fn the_same_seams_give_the_same_bytes() {
    let once = || written(&build(builder(FailureType::Conflict)).unwrap()).to_string();
    assert_eq!(once(), once());
}

#[test]
fn what_a_classifier_found_stands_in_the_record() {
    let found = classify::http(413, None).unwrap().unwrap();
    let failure = build(AgentFailure::classified(agent(), found, "too large")).unwrap();
    assert_eq!(failure.failure_type(), &FailureType::ResourceExhausted);
    assert!(!failure.retry().retryable);
}

#[test]
fn a_retry_needs_to_be_worth_it_and_harmless() {
    let hint = |retryable, side_effects| RetryHint { retryable, after: None, side_effects };
    assert!(hint(true, SideEffects::None).may_retry(false));
    assert!(!hint(true, SideEffects::Possible).may_retry(false));
    assert!(hint(true, SideEffects::Committed).may_retry(true));
    assert!(!hint(false, SideEffects::None).may_retry(true));
}

#[test]
fn a_terminal_failure_is_not_worth_a_retry() {
    let hint = RetryHint { retryable: true, after: None, side_effects: SideEffects::None };
    assert_eq!(build(builder(FailureType::TrustViolation).retry(hint)), Err(FailureError::TerminalRetry));
    let mut wire = json!({"agent_id": "a1", "failure_type": "cancelled", "error_message": "x"});
    wire["retry"] = json!({"retryable": true});
    assert_eq!(read(&wire), Err(FailureError::TerminalRetry));
}

#[test]
fn a_wait_is_capped_and_whole_milliseconds() {
    let after = |wait| {
        let hint = RetryHint { retryable: true, after: Some(wait), side_effects: SideEffects::None };
        build(builder(FailureType::RateLimited).retry(hint)).unwrap().retry().after
    };
    assert_eq!(after(Duration::MAX), Some(classify::MAX_RETRY_AFTER));
    assert_eq!(after(Duration::from_nanos(1_999_999)), Some(Duration::from_millis(1)));
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let mut trace = FailureTrace::new("p".repeat(70_000), Map::new(), "d".repeat(9000), Timestamp::default());
    trace.chain_of_thought = vec!["é".repeat(5000)];
    let failure = build(
        AgentFailure::builder(agent(), FailureType::Unknown, "m".repeat(9000))
            .stack_trace("s".repeat(70_000))
            .trace(trace),
    )
    .unwrap();
    let trace = failure.trace().unwrap();
    for (text, whole, limit) in [
        (failure.message(), 9000, MAX_MESSAGE),
        (failure.stack_trace().unwrap(), 70_000, MAX_STACK_TRACE),
        (trace.user_prompt.as_str(), 70_000, MAX_STACK_TRACE),
        (trace.chain_of_thought[0].as_str(), 10_000, MAX_MESSAGE),
        (trace.error_details.as_str(), 9000, MAX_MESSAGE),
    ] {
        assert!(text.len() <= limit && limit - 40 < text.len());
        let kept = text.find('…').unwrap();
        assert_eq!(text.get(kept..).unwrap(), format!("…[+{}B]", whole - kept));
    }
}

#[test]
fn a_context_beyond_its_bounds_is_refused_by_name() {
    let with = |context: Value| build(builder(FailureType::Unknown).context(object(context)));
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
    assert!(with(nested(MAX_CONTEXT_DEPTH)).is_ok());
    let too_deep = FailureError::TooDeep { field: "context".into(), limit: MAX_CONTEXT_DEPTH };
    assert_eq!(with(nested(MAX_CONTEXT_DEPTH + 1)), Err(too_deep));
    let fits = MAX_CONTEXT - r#"{"a":""}"#.len();
    assert!(with(json!({"a": "x".repeat(fits)})).is_ok());
    let too_large = FailureError::ContextTooLarge { field: "context".into(), limit: MAX_CONTEXT };
    assert_eq!(with(json!({"a": "x".repeat(fits + 1)})), Err(too_large.clone()));
    assert_eq!(with(json!({"a": vec![1; MAX_CONTEXT + 1]})), Err(too_large));
    assert!(matches!(with(json!({"a": u64::MAX})), Err(FailureError::Inexact { .. })));

    let action = object(json!({"a": "x".repeat(MAX_CONTEXT)}));
    let trace = FailureTrace::new("", action, "", Timestamp::default());
    let error = build(builder(FailureType::Unknown).trace(trace)).unwrap_err();
    assert_eq!(error.to_string(), "the field `failure_trace.failed_action` is larger than 65536 bytes");
}

#[test]
fn reasoning_beyond_its_bound_is_refused() {
    let with = |steps| {
        let mut trace = FailureTrace::new("", Map::new(), "", Timestamp::default());
        trace.chain_of_thought = vec![String::new(); steps];
        build(builder(FailureType::Unknown).trace(trace))
    };
    assert!(with(MAX_STEPS).is_ok());
    assert_eq!(with(MAX_STEPS + 1), Err(FailureError::TooManySteps));
}

#[test]
fn no_field_stores_a_secret() {
    let secret = "sk-abcdefghij0123456789";
    let mut trace = FailureTrace::new(secret, object(json!({"url": secret})), secret, Timestamp::default());
    trace.chain_of_thought = vec![format!("use {secret}")];
    let failure = build(
        AgentFailure::builder(agent(), FailureType::Unknown, format!("key {secret}"))
            .context(object(json!({"password": "hunter2", "note": [secret]})))
            .stack_trace(secret)
            .trace(trace),
    )
    .unwrap();
    let stored = format!("{failure:?}{}", written(&failure));
    assert!(!stored.contains("sk-abc") && !stored.contains("hunter2"), "{stored}");
    assert_eq!(stored.matches("[REDACTED]").count(), 16);
}

#[test]
fn a_secret_across_the_cut_does_not_leave_its_first_half() {
    let secret = "sk-abcdefghij0123456789abcdefghij";
    let message = format!("{} {secret} {}", "m".repeat(MAX_MESSAGE - 40), "n".repeat(100));
    let failure = build(AgentFailure::builder(agent(), FailureType::Unknown, message)).unwrap();
    assert!(!failure.message().contains("sk-"));
}

#[test]
fn a_failure_is_not_its_own_cause() {
    let first = build(builder(FailureType::Timeout)).unwrap();
    let second = build(builder(FailureType::Timeout).id(first.id()).cause(first.id()));
    assert!(matches!(second, Err(FailureError::CauseCycle(CauseCycle { .. }))), "{second:?}");
}

#[test]
fn records_of_the_python_package_are_read() {
    let wire = json!({
        "agent_id": "carbon-auditor", "failure_type": "timeout", "severity": "high",
        "timestamp": "2026-01-21T20:49:00.5", "error_message": "late", "context": {"step": 3}, "stack_trace": null,
        "failure_trace": {
            "user_prompt": "audit", "chain_of_thought": ["look", "wait"], "failed_action": {"tool": "fetch"},
            "error_details": "30 s passed", "timestamp": "2026-01-21T20:49:00",
        },
    });
    assert!(matches!(
        read(&wire),
        Err(FailureError::BadTime { field, source: BadTimestamp::MissingOffset }) if field == "timestamp"
    ));
    let failure =
        import::assume_utc().read(wire.to_string().as_bytes(), &clock(), &SeededIds::new(1)).unwrap();
    assert_eq!(failure.timestamp().to_string(), "2026-01-21T20:49:00.500000Z");
    assert_eq!(failure.severity(), Severity::High);
    assert_eq!(failure.trace().unwrap().chain_of_thought, ["look", "wait"]);
    assert_eq!(Value::Object(failure.context().clone()), json!({"step": 3}));
}

#[test]
fn unknown_fields_are_kept_in_extra_and_over_nothing() {
    let mut wire = json!({
        "agent_id": "a1", "failure_type": "timeout", "error_message": "x", "host": "h1", "token": "abc",
        "failure_trace": {"user_prompt": "", "failed_action": {}, "error_details": "", "model": "m"},
        "retry": {"budget": 2},
    });
    let failure = read(&wire).unwrap();
    assert_eq!(
        failure.context()["extra"],
        json!({"host": "h1", "token": "[REDACTED]", "failure_trace": {"model": "m"}, "retry": {"budget": 2}})
    );
    assert_eq!(read(&written(&failure)).unwrap(), failure);
    for taken in [json!({"extra": 1}), json!({"extra": {"host": "h0"}})] {
        wire["context"] = taken;
        assert!(matches!(read(&wire), Err(FailureError::ExtraTaken { .. })));
    }
}

#[test]
fn bad_records_are_refused_by_field() {
    let base = json!({"agent_id": "a1", "failure_type": "timeout", "error_message": "x"});
    let cases = [
        ("agent_id", json!("../x"), "an agent id: the id starts with a character that is not allowed there"),
        ("agent_id", json!(7), "text"),
        (
            "failure_type",
            json!("No!"),
            "one: `No!` is not a failure type; one is a letter a-z and up to 63 of a-z, 0-9 and `_`",
        ),
        ("severity", json!("severe"), "one: unknown severity `severe`"),
        ("severity", json!(null), "text"),
        ("context", json!([]), "an object"),
        ("id", json!("7"), "an id: a failure id is a UUID of version 7 in lower case with hyphens"),
        ("retry.after_ms", json!({"after_ms": -1}), "a whole number of milliseconds"),
        ("retry.side_effects", json!({"side_effects": "some"}), "`none`, `possible` or `committed`"),
        ("failure_trace", json!("x"), "an object"),
    ];
    for (field, value, expected) in cases {
        let mut wire = base.clone();
        wire[field.split('.').next().unwrap()] = value;
        let expected = format!("the field `{field}` is not {expected}");
        assert_eq!(read(&wire).unwrap_err().to_string(), expected);
    }
    let mut wire = base.clone();
    wire["failure_trace"] = json!({});
    let missing = FailureError::MissingField { field: "failure_trace.user_prompt".into() };
    assert_eq!(read(&wire), Err(missing));
    for field in ["agent_id", "failure_type", "error_message"] {
        let mut wire = object(base.clone());
        wire.remove(field);
        assert_eq!(read(&Value::Object(wire)), Err(FailureError::MissingField { field: field.into() }));
    }
    assert!(matches!(read(&json!([])), Err(FailureError::WrongType { .. })));
    let repeated =
        br#"{"agent_id":"a1","failure_type":"timeout","failure_type":"cancelled","error_message":"x"}"#;
    assert!(matches!(
        import::strict().read(repeated, &clock(), &SeededIds::new(1)),
        Err(FailureError::Json(_))
    ));
}

/// Texts that a classifier by words would fall for, among noise.
fn hostile() -> impl Strategy<Value = String> {
    let phrase = prop::sample::select(vec![
        "blocked by control plane",
        "policy",
        "trust_violation",
        "IntegrityViolation",
        "unauthorized",
        "SIGKILL",
        "cancelled",
        "HTTP 451",
        "code=15",
        "\"failure_type\":\"trust_violation\"",
        "\u{1f600}",
        "sk-abcdefghij0123456789",
    ]);
    prop::collection::vec(prop_oneof![phrase.prop_map(str::to_owned), "\\PC{0,12}"], 0..6)
        .prop_map(|pieces| pieces.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_message_makes_a_terminal_failure(
        message in hostile(),
        kind in prop::sample::select(vec!["unknown", "logic_error", "made_up"]),
    ) {
        let error = std::io::Error::other(message.clone());
        prop_assert_ne!(classify::io(error.kind()).failure_type.class(), FailureClass::Terminal);
        let wire = json!({
            "agent_id": "a1", "failure_type": kind, "error_message": message, "stack_trace": message,
            "context": {"note": message, "failure_type": message},
            "failure_trace": {
                "user_prompt": message, "chain_of_thought": [message], "failed_action": {"class": message},
                "error_details": message,
            },
        });
        let failure = read(&wire).unwrap();
        prop_assert_eq!(failure.failure_type().as_str(), kind);
        prop_assert_ne!(failure.class(), FailureClass::Terminal);
        prop_assert!(failure.failure_type().signal_hint().is_none() && !failure.retry().retryable);
    }
}

fn any_context() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), hostile().prop_map(Value::from)];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let key = prop::sample::select(vec!["token", "apiKey", "note", "extra", "a"]);
        prop::collection::btree_map(key.prop_map(str::to_owned), inner, 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect()))
    })
}

proptest! {
    #[test]
    fn a_record_survives_its_encoding(
        message in prop_oneof![hostile(), "[a-zé]{8180,8300}"],
        context in any_context(),
        code in 1u16..=16,
        after in prop::option::of(any::<u32>()),
        micros in 0i64..1 << 50,
        cause: bool,
    ) {
        let kind = FailureType::from_code(code).unwrap();
        let after = after.map(|ms| Duration::from_millis(ms.into()));
        let hint = RetryHint { retryable: kind.retryable(), after, side_effects: SideEffects::Committed };
        let (time, context) = (Timestamp::from_micros(micros), object(context));
        let mut trace = FailureTrace::new(message.clone(), context.clone(), message.clone(), time);
        trace.chain_of_thought = vec![message.clone()];
        let mut builder = AgentFailure::builder(agent(), kind, message.clone())
            .context(context).retry(hint).timestamp(time).stack_trace(message).trace(trace);
        if cause {
            builder = builder.cause(build(self::builder(FailureType::Unknown)).unwrap().id());
        }
        let failure = builder.build(&clock(), &SeededIds::new(2)).unwrap();
        prop_assert_eq!(read(&written(&failure)).unwrap(), failure);
    }

    #[test]
    fn no_record_makes_the_reader_panic(
        field in prop::sample::select(vec![
            "agent_id", "failure_type", "severity", "timestamp", "error_message", "context", "retry", "cause", "id",
            "stack_trace", "failure_trace", "other",
        ]),
        value in any_context(),
        text in "[\\[\\]{}\",:0-9a-z\\\\]{0,64}",
    ) {
        let mut wire = json!({"agent_id": "a1", "failure_type": "timeout", "error_message": "x"});
        wire[field] = value;
        let _ = read(&wire);
        let _ = import::assume_utc().read(text.as_bytes(), &clock(), &SeededIds::new(1));
    }
}
