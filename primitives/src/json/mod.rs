//! JSON at the border: bounded, unambiguous, canonical.
//!
//! What is judged must be byte for byte what is executed, so a text with two readings (a repeated key, an integer a
//! double cannot hold, half a surrogate pair) is refused here and nothing behind this module sees it.

mod canonical;
mod scan;
mod tree;

pub use canonical::{canonical, canonical_into, canonical_text};
pub use serde_json::Value;

/// How large a text may be before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest text in bytes, checked before anything is read.
    pub bytes: usize,
    /// Deepest nesting of arrays and objects.
    pub depth: usize,
    /// Most values, keys not counted.
    pub nodes: usize,
}

impl Limits {
    /// 1 MiB, 64 levels, 100 000 values: what the kernel takes as arguments of one call.
    pub const DEFAULT: Self = Self { bytes: 1 << 20, depth: 64, nodes: 100_000 };
    /// 128 levels is where any canonical form ends, whatever the caller allows.
    pub const MAX_DEPTH: usize = 128;
}

/// Why a text or value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON.
    #[error("not JSON: {message}")]
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// An object that names one key twice.
    #[error("the key `{key}` appears twice in one object")]
    DuplicateKey {
        /// The repeated key.
        key: String,
    },
    /// An integer literal that a double cannot hold exactly.
    #[error("an integer beyond 2^53-1 has no exact form; send it as text")]
    IntegerOutOfRange,
    /// A number too large for a double.
    #[error("a number is too large")]
    NumberOutOfRange,
    /// Half of a surrogate pair, or bytes that are not UTF-8.
    #[error("invalid Unicode at byte {offset}")]
    InvalidUnicode {
        /// Byte offset in the text.
        offset: usize,
    },
    /// Nested too deep.
    #[error("nested deeper than {limit} levels")]
    TooDeep {
        /// The limit in force.
        limit: usize,
    },
    /// Too many bytes.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit in force.
        limit: usize,
    },
    /// Too many values.
    #[error("more than {limit} values")]
    TooManyNodes {
        /// The limit in force.
        limit: usize,
    },
}

/// Parses `text` within `limits`.
///
/// # Errors
/// See [`JsonError`]; size is checked first, then depth, count, surrogates and integers in one linear pass, then syntax
/// and repeated keys.
pub fn parse(text: &[u8], limits: &Limits) -> Result<Value, JsonError> {
    tree::build(bounded(text, limits)?)
}

/// The first part of [`parse`]: everything but syntax and repeated keys. For who reads the text into a type of its own and
/// compares its [`canonical`] form with it, which no text with a second reading passes.
///
/// # Errors
/// `TooLarge`, `InvalidUnicode`, `TooDeep`, `TooManyNodes`, `IntegerOutOfRange`.
pub fn bounded<'t>(text: &'t [u8], limits: &Limits) -> Result<&'t str, JsonError> {
    if limits.bytes < text.len() {
        return Err(JsonError::TooLarge { limit: limits.bytes });
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| JsonError::InvalidUnicode { offset: error.valid_up_to() })?;
    scan::check(text.as_bytes(), limits)?;
    Ok(text)
}

/// Checks a value that was built in memory against the same limits as [`parse`], without rendering it.
///
/// # Errors
/// `TooDeep`, `TooManyNodes` or `IntegerOutOfRange`.
pub fn check(value: &Value, limits: &Limits) -> Result<(), JsonError> {
    let mut pending = vec![(value, 0usize)];
    let mut nodes = 0usize;
    while let Some((value, depth)) = pending.pop() {
        nodes += 1;
        if limits.nodes < nodes {
            return Err(JsonError::TooManyNodes { limit: limits.nodes });
        }
        let depth = if value.is_array() || value.is_object() { depth + 1 } else { depth };
        if limits.depth.min(Limits::MAX_DEPTH) < depth {
            return Err(JsonError::TooDeep { limit: limits.depth.min(Limits::MAX_DEPTH) });
        }
        match value {
            Value::Array(items) => pending.extend(items.iter().map(|item| (item, depth))),
            Value::Object(entries) => pending.extend(entries.values().map(|item| (item, depth))),
            Value::Number(number) if !canonical::exact(number) => return Err(JsonError::IntegerOutOfRange),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_default(text: &str) -> Result<Value, JsonError> {
        parse(text.as_bytes(), &Limits::DEFAULT)
    }

    #[test]
    fn ambiguous_and_oversized_texts_are_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let wide = format!("[{}1]", "1,".repeat(100_000));
        let cases: &[(&str, JsonError)] = &[
            (r#"{"a":1,"a":2}"#, JsonError::DuplicateKey { key: "a".into() }),
            (r#"{"x":{"k":1,"\u006b":2}}"#, JsonError::DuplicateKey { key: "k".into() }),
            ("9007199254740992", JsonError::IntegerOutOfRange),
            ("[-123456789012345678901234567890]", JsonError::IntegerOutOfRange),
            ("1e400", JsonError::NumberOutOfRange),
            (r#""\ud800""#, JsonError::InvalidUnicode { offset: 1 }),
            (r#""\udc00\ud800""#, JsonError::InvalidUnicode { offset: 1 }),
            (&deep, JsonError::TooDeep { limit: 64 }),
            (&wide, JsonError::TooManyNodes { limit: 100_000 }),
        ];
        for (text, expected) in cases {
            assert_eq!(
                parse_default(text).as_ref(),
                Err(expected),
                "{}",
                text.chars().take(40).collect::<String>()
            );
        }
        for text in ["", "{", "[1,]", "{\"a\":}", "nul", "1 2", "\"\t\"", "01", "[", "}", "\"\\x\"", "\"abc"]
        {
            assert!(matches!(parse_default(text), Err(JsonError::Syntax { .. })), "{text}");
        }
        let limits = Limits { bytes: 4, ..Limits::DEFAULT };
        assert_eq!(parse(b"[1,2]", &limits), Err(JsonError::TooLarge { limit: 4 }));
        assert_eq!(parse(b"\"\xff\"", &Limits::DEFAULT), Err(JsonError::InvalidUnicode { offset: 1 }));
    }

    #[test]
    fn values_built_in_memory_meet_the_same_limits() {
        let mut deep = Value::Null;
        for _ in 0..65 {
            deep = Value::Array(vec![deep]);
        }
        assert_eq!(check(&deep, &Limits::DEFAULT), Err(JsonError::TooDeep { limit: 64 }));
        assert_eq!(check(&Value::from(u64::MAX), &Limits::DEFAULT), Err(JsonError::IntegerOutOfRange));
        assert_eq!(check(&serde_json::json!({"a": [1, 2.5, "x"]}), &Limits::DEFAULT), Ok(()));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite, printed as a double", |number| {
                    // Between 2^53 and 1e21 the RFC prints a double as an integer, which `parse` refuses as inexact.
                    let integer_form = 9_007_199_254_740_991.0 < number.abs() && number.abs() < 1e21;
                    number.is_finite() && !integer_form
                })
                .prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..5).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(value in any_value()) {
            let once = canonical(&value).unwrap();
            let again = canonical(&parse(&once, &Limits::DEFAULT).unwrap()).unwrap();
            prop_assert_eq!(once, again);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\]{}\",:0-9eE.+\\-\\\\ud8c a-f]{0,64}") {
            let _ = parse(text.as_bytes(), &Limits::DEFAULT);
        }
    }
}
