//! Redaction: what must not be stored is taken out before anything is stored.
//!
//! Two rules. A text, array or object under a key that names a secret goes whole, whatever it holds. In every other text
//! the well-known shapes of credentials go: AWS key ids, `sk-` keys, GitHub tokens, bearer tokens, PEM private keys.
//! Numbers, booleans and `null` stay, so `token_count: 120` survives.
//!
//! Redacting twice is redacting once, and a value grows by at most 10 bytes for each thing taken out. Both walks are
//! linear and neither recurses.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use crate::detect::key;

/// What stands where something was taken out.
pub const REDACTED: &str = "[REDACTED]";

/// Segments of a key that name a secret.
const SENSITIVE: [&str; 7] = ["password", "passwd", "secret", "token", "authorization", "cookie", "apikey"];
/// Neighbouring segments that name a secret together; each ends in `key`.
const SENSITIVE_BEFORE_KEY: [&str; 3] = ["api", "private", "access"];

/// Takes secrets out of a value: see the [module](self) for what counts as one.
///
/// Keys keep their names; a secret that is itself a key is not looked for.
#[must_use]
pub fn redact(mut value: Value) -> Value {
    let mut pending = vec![&mut value];
    while let Some(value) = pending.pop() {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = redact_text(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => pending.extend(items),
            Value::Object(entries) => {
                for (key, value) in entries {
                    let holds_text = value.is_string() || value.is_array() || value.is_object();
                    if holds_text && is_sensitive_key(key) {
                        *value = Value::String(REDACTED.to_owned());
                    } else {
                        pending.push(value);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    value
}

/// Takes the well-known shapes of credentials out of a text. Borrows when there is none.
#[must_use]
pub fn redact_text(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut kept_to = 0;
    for secret in secrets(text) {
        clean.push_str(text.get(kept_to..secret.start).unwrap_or_default());
        clean.push_str(REDACTED);
        kept_to = secret.end;
    }
    if kept_to == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(text.get(kept_to..).unwrap_or_default());
    Cow::Owned(clean)
}

/// Whether a key names a secret: split at punctuation and at camelCase, one segment is `password`, `passwd`, `secret`,
/// `token`, `authorization`, `cookie` or `apikey`, or two neighbours are `api key`, `private key` or `access key`. A
/// part between punctuation that is such a word in any case (`ToKeN`) counts too.
#[must_use]
pub fn is_sensitive_key(key: &str) -> bool {
    let is_word = |text: &str| SENSITIVE.iter().any(|word| word.eq_ignore_ascii_case(text));
    let mut before_key = false;
    for part in key.split(|char: char| !char.is_alphanumeric()) {
        if is_word(part) {
            return true;
        }
        for segment in camel_segments(part) {
            if is_word(segment) || (before_key && segment.eq_ignore_ascii_case("key")) {
                return true;
            }
            before_key = SENSITIVE_BEFORE_KEY.iter().any(|word| word.eq_ignore_ascii_case(segment));
        }
    }
    false
}

/// The segments of a camelCase word: `accessToken` is `access`, `Token`, and `APIKey` is `API`, `Key`.
fn camel_segments(mut part: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if part.is_empty() {
            return None;
        }
        let next = part.char_indices().skip(1).map(|(at, char)| (at, char.is_uppercase()));
        let after = part.chars().skip(2).map(Some).chain([None]);
        let mut before = part.chars().next().is_some_and(char::is_uppercase);
        let mut cut = part.len();
        for ((at, upper), after) in next.zip(after) {
            let starts_word = !before || after.is_some_and(char::is_lowercase);
            if upper && starts_word {
                cut = at;
                break;
            }
            before = upper;
        }
        let (segment, rest) = part.split_at_checked(cut)?;
        part = rest;
        Some(segment)
    })
}

/// The secrets of a text, in order, apart from each other.
fn secrets(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    key::marked(text, |mark| mark.redacted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_golden_cases_hold() {
        for (value, expected) in [
            (
                json!({"headers": {"Authorization": "Bearer abcdefgh12345"}}),
                json!({"headers": {"Authorization": "[REDACTED]"}}),
            ),
            (json!({"note": "Bearer short"}), json!({"note": "Bearer short"})),
            (
                json!({"token_count": 120, "max_tokens": "4096", "accessToken": "abc"}),
                json!({"token_count": 120, "max_tokens": "4096", "accessToken": "[REDACTED]"}),
            ),
            (json!({"token": null}), json!({"token": null})),
            (
                json!({"q": "the secretary said tokens are fine"}),
                json!({"q": "the secretary said tokens are fine"}),
            ),
        ] {
            assert_eq!(redact(value), expected);
        }
    }

    #[test]
    fn a_key_is_read_by_its_segments() {
        for key in [
            "password",
            "db_password",
            "userPasswd",
            "X-Secret",
            "accessToken",
            "ACCESS_TOKEN",
            "Set-Cookie",
            "apikey",
            "api_key",
            "apiKey",
            "APIKey",
            "x-api-key",
            "privateKey",
            "AWS_ACCESS_KEY_ID",
            "ToKeN",
        ] {
            assert!(is_sensitive_key(key), "{key}");
        }
        for key in ["max_tokens", "tokenise", "secretary", "key", "apis_key", "public_key", "keyApi", ""] {
            assert!(!is_sensitive_key(key), "{key}");
        }
    }

    #[test]
    fn the_shapes_of_credentials_go_and_their_neighbours_stay() {
        let github = format!("ghs_{}", "aB3".repeat(12));
        let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----";
        for (text, expected) in [
            ("id AKIAIOSFODNN7EXAMPLE, ok", "id [REDACTED], ok".to_owned()),
            ("AKIAIOSFODNN7EXAMPL", "AKIAIOSFODNN7EXAMPL".to_owned()),
            ("key=sk-abcdefghij0123456789", "key=[REDACTED]".to_owned()),
            ("sk-abcdefghij012345678", "sk-abcdefghij012345678".to_owned()),
            ("task-force-on-the-harbour-of-oslo", "task-force-on-the-harbour-of-oslo".to_owned()),
            (&github, REDACTED.to_owned()),
            (github.get(..39).unwrap(), github.get(..39).unwrap().to_owned()),
            ("Authorization: Bearer abc.def-1", "Authorization: [REDACTED]".to_owned()),
            ("the Bearer of it", "the Bearer of it".to_owned()),
            (&format!("a\n{pem}\nb"), "a\n[REDACTED]\nb".to_owned()),
            (&format!("sk-abcdefghij0123456789{pem}"), "[REDACTED][REDACTED]".to_owned()),
            ("-----BEGIN PRIVATE KEY-----\ncut off", REDACTED.to_owned()),
            ("-----BEGIN PUBLIC KEY-----\nx", "-----BEGIN PUBLIC KEY-----\nx".to_owned()),
        ] {
            assert_eq!(redact_text(text), expected, "{text}");
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            prop::sample::select(vec![
                "AKIA",
                "IOSFODNN7EXAMPLE",
                "sk-",
                "ghp_",
                "Bearer ",
                "-----BEGIN ",
                "PRIVATE KEY",
                "-----",
                "-----END ",
                "abcdefghij0123456789",
                "abcdefghijklmnopqrstuvwxyz0123456789",
                " ",
                "é",
                REDACTED,
            ])
            .prop_map(str::to_owned),
            "[ -~]{0,6}",
        ];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i32>().prop_map(Value::from), text().prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let key = prop::sample::select(vec!["token", "apiKey", "note", "max_tokens", "a"]);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|entries| {
                    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn redacting_twice_is_redacting_once(value in value()) {
            let once = redact(value);
            prop_assert_eq!(redact(once.clone()), once);
        }

        #[test]
        fn a_text_never_grows_and_a_value_by_ten_bytes_a_match(value in value(), text in text()) {
            prop_assert!(redact_text(&text).len() <= text.len());
            let before = value.to_string().len();
            let after = redact(value).to_string();
            prop_assert!(after.len() <= before + 10 * after.matches(REDACTED).count());
        }

        #[test]
        fn no_shape_is_left(text in text()) {
            prop_assert_eq!(secrets(&redact_text(&text)).count(), 0);
        }
    }
}
