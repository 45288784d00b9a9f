//! A value, its canonical bytes and their digest, which always say the same.

use agent_primitives::Digest;
use agent_primitives::json::{self, JsonError, Limits, Value};
use bytes::Bytes;
use serde_json::Number;

/// Largest integer a double holds exactly.
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;
/// From here on the canonical form writes an exponent; below, it writes all digits.
const FIRST_EXPONENT: f64 = 1e21;

#[derive(Clone)]
pub(crate) struct Canonical {
    pub(crate) value: Value,
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

impl Canonical {
    /// Parses `text`; both the text and its canonical form must fit `limits`.
    pub(crate) fn parse(text: &[u8], limits: &Limits, domain: &str) -> Result<Self, JsonError> {
        Self::of_checked(json::parse(text, limits)?, limits, domain)
    }

    /// Takes a value built in memory within the same limits.
    pub(crate) fn of(value: Value, limits: &Limits, domain: &str) -> Result<Self, JsonError> {
        json::check(&value, limits)?;
        Self::of_checked(value, limits, domain)
    }

    fn of_checked(mut value: Value, limits: &Limits, domain: &str) -> Result<Self, JsonError> {
        settle(&mut value)?;
        let bytes = json::canonical(&value)?;
        if limits.bytes < bytes.len() {
            return Err(JsonError::TooLarge { limit: limits.bytes });
        }
        let digest = Digest::of(domain, &bytes);
        Ok(Self { value, bytes: bytes.into(), digest })
    }
}

/// Gives each number the type its canonical text has: `1.0` is written `1`, so it must be read as the integer 1.
///
/// Recursion is bounded by the depth the caller has checked.
fn settle(value: &mut Value) -> Result<(), JsonError> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(settle),
        Value::Object(entries) => entries.values_mut().try_for_each(settle),
        Value::Number(number) => {
            if let Some(integer) = written_as_integer(number)? {
                *number = integer;
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn written_as_integer(number: &Number) -> Result<Option<Number>, JsonError> {
    match number.as_f64() {
        Some(double) if number.is_f64() && double.fract() == 0.0 && double.abs() < FIRST_EXPONENT => {
            if MAX_EXACT < double.abs() {
                return Err(JsonError::IntegerOutOfRange);
            }
            Ok(Some(Number::from(double as i64)))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Result<Canonical, JsonError> {
        Canonical::parse(text, &Limits::DEFAULT, "agent-os atr test v1")
    }

    #[test]
    fn a_number_has_the_type_its_canonical_text_has() {
        for (text, canonical) in
            [("1.0", "1"), ("-0.0", "0"), ("1e3", "1000"), ("1e21", "1e+21"), ("0.5", "0.5")]
        {
            let parsed = parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.bytes, canonical.as_bytes());
            assert_eq!(parsed.value, parse(canonical.as_bytes()).unwrap().value, "{text}");
        }
        for text in ["1e20", "9007199254740993.0", "-1e16"] {
            assert!(matches!(parse(text.as_bytes()), Err(JsonError::IntegerOutOfRange)), "{text}");
        }
    }

    #[test]
    fn a_text_whose_canonical_form_is_too_large_is_refused() {
        let limits = Limits { bytes: 8, ..Limits::DEFAULT };
        let refused = Canonical::parse(b"[1e15]", &limits, "agent-os atr test v1");
        assert!(matches!(refused, Err(JsonError::TooLarge { limit: 8 })));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<i32>().prop_map(|whole| Value::from(f64::from(whole))),
            any::<f64>().prop_filter("finite", |double| double.is_finite()).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|entries| entries.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_accepted_reads_back_as_itself(value in any_value()) {
            if let Ok(first) = Canonical::of(value, &Limits::DEFAULT, "agent-os atr test v1") {
                let again = parse(&first.bytes).unwrap();
                prop_assert_eq!(&again.value, &first.value);
                prop_assert_eq!(&again.bytes, &first.bytes);
                prop_assert_eq!(again.digest, first.digest);
            }
        }
    }
}
