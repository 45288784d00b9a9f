//! The golden cases: computed by an independent implementation, read as data.
//!
//! `GOLDEN_CASES=FILE` runs another file of the same form; cases of other crates are counted and left alone.

#![expect(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic, reason = "a test may fail loudly")]

use std::fmt::Debug;
use std::time::Duration;

use agent_primitives::failure::{self, Classification, FailureError, Fingerprint, classify, import};
use agent_primitives::json::{self, Limits};
use agent_primitives::redact::redact;
use agent_primitives::truncate::truncate_utf8;
use agent_primitives::{
    AgentId, Backoff, BadId, Digest, FailureType, Jitter, ManualClock, SeededIds, Severity, Timestamp,
};
use serde_json::{Value, json};

const CRATE: &str = "agent-primitives";
const LIMITS: Limits = Limits { bytes: 1 << 24, depth: Limits::MAX_DEPTH, nodes: 1 << 20 };

#[test]
fn golden_cases_hold() {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden.json").into();
    let path = std::env::var_os("GOLDEN_CASES").unwrap_or(shipped);
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let cases = file["cases"].as_array().expect("an object with `cases`");
    let (ours, foreign): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case["crate"] == CRATE);
    let failed: Vec<String> = ours.iter().filter_map(|case| complaint(case)).collect();
    println!(
        "golden: {} of {} cases of {CRATE} hold; {} of other crates left alone",
        ours.len() - failed.len(),
        ours.len(),
        foreign.len()
    );
    assert!(!ours.is_empty(), "{} holds no case of {CRATE}", path.display());
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn complaint(case: &Value) -> Option<String> {
    let op = case["op"].as_str().unwrap_or_default();
    let found = run(op, &case["input"]);
    let expected = &case["expect"];
    let holds = match &found {
        Some(found) if expected.get("err").is_some() => expected
            .as_object()
            .is_some_and(|expected| expected.iter().all(|(key, value)| found.get(key) == Some(value))),
        // Canonical, so that 800 and 800.0 are one number.
        Some(found) => json::canonical(found) == json::canonical(expected),
        None => false,
    };
    let found = found.map_or_else(|| format!("unknown op `{op}`"), |found| found.to_string());
    (!holds).then(|| format!("{}: {op}({}) is {found}, not {expected}", case["id"], case["input"]))
}

/// What the crate says; `None` for an operation it does not have.
fn run(op: &str, input: &Value) -> Option<Value> {
    let text = |field: &str| input[field].as_str().unwrap_or_else(|| panic!("{op}: no text `{field}`"));
    let integer = |field: &str| input[field].as_i64().unwrap_or_else(|| panic!("{op}: no integer `{field}`"));
    let severity = |field: &str| text(field).parse::<Severity>();
    let parsed = || json::parse(text("text").as_bytes(), &LIMITS);
    let canonical = || parsed().and_then(|value| json::canonical(&value));
    Some(match op {
        "canonical_json" => match canonical() {
            Ok(bytes) => json!({"ok": String::from_utf8(bytes).unwrap()}),
            Err(error) => err(&error),
        },
        "content_hash" => match canonical() {
            Ok(bytes) => json!({"hex": Digest::of(text("domain"), &bytes).to_string()}),
            Err(error) => err(&error),
        },
        "severity_cmp" => match (severity("a"), severity("b")) {
            (Ok(a), Ok(b)) => json!({"ordering": a.cmp(&b) as i8, "max": a.max(b)}),
            (Err(error), _) | (_, Err(error)) => err(&error),
        },
        "severity_parse" => match severity("text") {
            Ok(severity) => json!({"ok": severity}),
            Err(error) => err(&error),
        },
        "severity_escalate" => match severity("from") {
            Ok(from) => json!({"ok": from.escalate(u32::try_from(integer("steps")).unwrap())}),
            Err(error) => err(&error),
        },
        "backoff_delay_ms" => backoff(input),
        "agent_id_parse" => match text("text").parse::<AgentId>() {
            Ok(id) => json!({"ok": id}),
            Err(error) => bad_id(&error),
        },
        "timestamp_parse" => match text("text").parse::<Timestamp>() {
            Ok(time) => json!({"ok": time.to_string(), "micros": time.as_micros()}),
            Err(error) => err(&error),
        },
        "classify_http" => match u16::try_from(integer("code")).map(|code| classify::http(code, None)) {
            Ok(found) => classified(found),
            Err(_) => json!({"err": "UnknownCode"}),
        },
        "classify_grpc" => match i32::try_from(integer("code")).map(classify::grpc) {
            Ok(found) => classified(found),
            Err(_) => json!({"err": "UnknownCode"}),
        },
        "failure_fingerprint" => match text("type").parse::<FailureType>() {
            Ok(kind) => {
                let message = text("message");
                let fingerprint = Fingerprint::of(&kind, message).to_string();
                json!({"normalised": failure::normalise(message), "fingerprint": fingerprint})
            }
            Err(error) => err(&error),
        },
        "truncate_utf8" => {
            let whole = text("text");
            let limit = usize::try_from(integer("limit")).unwrap();
            let cut = truncate_utf8(whole, limit);
            let removed = if cut == whole { 0 } else { whole.len() - cut.rfind('…').unwrap() };
            json!({"text": cut, "removed": removed})
        }
        "redact" => json!({"value": redact(input["value"].clone())}),
        "default_severity" => match text("type").parse::<FailureType>() {
            Ok(kind) => json!({"severity": kind.default_severity()}),
            Err(error) => err(&error),
        },
        "failure_decode" => decode(text("text")),
        _ => return None,
    })
}

fn backoff(input: &Value) -> Value {
    let number = |field: &str| match &input[field] {
        Value::String(text) => text.parse::<f64>().unwrap(),
        value => value.as_f64().unwrap(),
    };
    let jitter = match input["jitter"].as_str() {
        Some("none") => Jitter::None,
        Some("full") => Jitter::Full,
        Some("equal") => Jitter::Equal,
        other => panic!("unknown jitter {other:?}"),
    };
    let duration = |field: &str| input[field].as_u64().map(Duration::from_millis);
    let (Some(base), Some(cap)) = (duration("base_ms"), duration("cap_ms")) else {
        // The type has no duration below zero.
        return json!({"err": "InvalidPolicy"});
    };
    let attempt = u32::try_from(input["attempt"].as_u64().unwrap()).unwrap_or(u32::MAX);
    match Backoff::new(base, number("factor"), cap, jitter)
        .and_then(|backoff| backoff.delay(attempt, number("u")))
    {
        Ok(delay) => json!({"ms": u64::try_from(delay.as_millis()).unwrap()}),
        Err(error) => err(&error),
    }
}

fn classified(found: Result<Option<Classification>, classify::UnknownCode>) -> Value {
    match found {
        Ok(Some(found)) => json!({"type": found.failure_type, "retryable": found.retryable}),
        Ok(None) => json!({"none": true}),
        Err(error) => err(&error),
    }
}

fn decode(text: &str) -> Value {
    match import::strict().read(text.as_bytes(), &ManualClock::default(), &SeededIds::new(0)) {
        Ok(failure) => json!({
            "type": failure.failure_type(),
            "known": failure.failure_type().is_known(),
            "severity": failure.severity(),
        }),
        Err(FailureError::Json(error)) => err(&error),
        Err(FailureError::BadAgentId { source }) => bad_id(&source),
        Err(FailureError::BadFailureType { source }) => err(&source),
        Err(FailureError::BadSeverity { source }) => err(&source),
        Err(FailureError::BadTime { source, .. }) => err(&source),
        Err(FailureError::MissingField { field }) => json!({"err": "MissingField", "field": field}),
        Err(FailureError::WrongType { field, .. }) => json!({"err": "WrongType", "field": field}),
        Err(other) => err(&other),
    }
}

fn bad_id(error: &BadId) -> Value {
    match error {
        BadId::BadChar { index } => json!({"err": "BadChar", "index": index}),
        other => err(other),
    }
}

/// The name of the variant, which is where its `Debug` form begins.
fn err(error: &impl Debug) -> Value {
    let debug = format!("{error:?}");
    json!({"err": debug.split(|next: char| !next.is_alphanumeric()).next()})
}

#[test]
fn a_wrong_expectation_and_an_unknown_op_are_complaints() {
    let case = json!({"id": 1, "op": "severity_parse", "input": {"text": "low"}, "expect": {"ok": "high"}});
    assert!(complaint(&case).is_some());
    let case = json!({"id": 2, "op": "severity_parse", "input": {"text": "x"}, "expect": {"err": "Other"}});
    assert!(complaint(&case).is_some());
    let case = json!({"id": 3, "op": "made_up", "input": {}, "expect": {"err": "x"}});
    assert!(complaint(&case).is_some());
}
