//! Arguments at the border: bounded, unambiguous, canonical.

use agent_primitives::Digest;
use agent_tool_registry::Arguments;
use proptest::prelude::*;
use serde_json::json;

#[test]
fn texts_that_are_not_one_bounded_object_are_refused_with_their_code() {
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 7));
    assert_eq!(large.len(), (1 << 20) + 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let wide = format!("{{\"a\":[{}1]}}", "1,".repeat(100_000));
    let key = format!("{{\"{0}\":1,\"{0}\":2}}", "k".repeat(10_000));
    let cases = [
        ("{", "AK0511"),
        ("", "AK0511"),
        ("{\"a\":9007199254740992}", "AK0511"),
        ("{\"a\":\"\\ud800\"}", "AK0511"),
        (&*large, "AK0512"),
        (&*wide, "AK0512"),
        (&*deep, "AK0513"),
        ("{\"a\":1,\"a\":2}", "AK0514"),
        (&*key, "AK0514"),
        ("[1]", "AK0515"),
        ("null", "AK0515"),
    ];
    for (text, code) in cases {
        let error = Arguments::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), code, "{}", text.chars().take(40).collect::<String>());
        assert!(error.is_argument_error());
        assert!(error.to_string().chars().count() < 400);
    }
    let fits = format!("{{\"a\":\"{}\"}}", "x".repeat((1 << 20) - 8));
    assert_eq!(Arguments::parse(fits.as_bytes()).unwrap().canonical().len(), 1 << 20);
}

#[test]
fn values_built_in_memory_meet_the_same_limits() {
    let deep = (0..64).fold(json!({}), |inner, _| json!([inner]));
    let cases = [
        (json!({ "a": deep }), "AK0513"),
        (json!({ "a": vec![0; 100_000] }), "AK0512"),
        (json!({ "a": "x".repeat(1 << 20) }), "AK0512"),
        (json!({ "a": u64::MAX }), "AK0511"),
        (json!([]), "AK0515"),
    ];
    for (value, code) in cases {
        assert_eq!(Arguments::from_value(value).unwrap_err().code(), code);
    }
}

#[test]
fn two_spellings_are_one_value_and_debug_shows_no_content() {
    let one = Arguments::parse(br#"{ "b": 1.0, "a": "secret" }"#).unwrap();
    let two = Arguments::from_value(json!({"a": "secret", "b": 1})).unwrap();
    assert_eq!(one, two);
    assert_eq!(one.value(), two.value());
    assert_eq!(one.digest(), two.digest());
    assert_eq!(one.digest(), Digest::of("agent-os atr arguments v1", br#"{"a":"secret","b":1}"#));
    assert!(!format!("{one:?}").contains("secret"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(arguments) = Arguments::parse(&text) {
            prop_assert_eq!(Arguments::parse(arguments.canonical()).unwrap(), arguments);
        }
    }
}
