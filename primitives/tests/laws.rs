//! The laws that are fuzzed, on generated input: what a run without a fuzzer can see of them.

use proptest::prelude::*;

#[path = "../fuzz/laws.rs"]
mod laws;

/// Texts made of the pieces that the code looks for, so that it is not noise that is looked at.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "AKIA",
        "IOSFODNN7EXAMPLE",
        "sk-",
        "ghp_",
        "Bearer ",
        "eyJhbGciOiJIUzI1NiJ9",
        ".e30.",
        "-----BEGIN ",
        "PRIVATE KEY",
        "-----",
        "-----END ",
        "abcdefghij0123456789",
        "4111",
        "1111",
        " ",
        "-",
        "\n",
        "DE89",
        "3704",
        "@",
        "example.org",
        "+44",
        "password=",
        "://a:",
        "%25",
        "%41",
        "&#x41;",
        "\\u0041",
        "\\",
        "QUJDREVGR0g=",
        "41424344",
        "\u{200b}",
        "\u{e0041}",
        "\u{fe01}",
        "а",
        "Ａ",
        "\u{301}",
        "ﷺ",
        "ß",
        "İ",
        "1gn0re ",
        "previous ",
        "i n s t r u c t",
        "{\"token\":\"",
        "\"}",
        "[",
        "]",
        ",",
        "1e400",
        "0.1",
    ]);
    prop_oneof![
        4 => prop::collection::vec(pieces, 0..16).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn redacting(text in text()) {
        laws::redacting(&text);
    }

    #[test]
    fn reading(text in text()) {
        laws::reading(&text);
    }

    #[test]
    fn detecting(text in text()) {
        laws::detecting(&text);
    }

    #[test]
    fn canonical_json(text in "[\\[\\]{}:, \"a\\\\u0d8-9.eE+-]{0,24}", noise in prop::collection::vec(any::<u8>(), 0..24)) {
        laws::canonical_json(text.as_bytes());
        laws::canonical_json(&noise);
    }
}
