//! RFC 8785 (JSON Canonicalization Scheme): one value, one byte string.

use serde_json::{Number, Value};

use super::{JsonError, Limits};

/// Largest integer a double holds exactly.
const MAX_EXACT: u64 = (1 << 53) - 1;

/// The canonical bytes of `value`.
///
/// Parsing them gives the value back, with one exception that the RFC forces: a double between 2^53 and 1e21 is printed
/// as an integer, and [`parse`](super::parse) refuses integers of that size because text of that form is not exact.
///
/// # Errors
/// `IntegerOutOfRange` for an integer beyond ±(2^53-1), `TooDeep` beyond 128 levels.
pub fn canonical(value: &Value) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(128);
    canonical_into(value, &mut out)?;
    Ok(out)
}

/// Appends the canonical bytes of `value` to `out`. On an error `out` holds a part of them.
///
/// # Errors
/// As [`canonical`].
pub fn canonical_into(value: &Value, out: &mut Vec<u8>) -> Result<(), JsonError> {
    write(value, out, Limits::MAX_DEPTH)
}

/// Whether a number has an exact canonical form.
pub(super) fn exact(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(positive), _) => positive <= MAX_EXACT,
        (None, Some(negative)) => negative.unsigned_abs() <= MAX_EXACT,
        (None, None) => true,
    }
}

fn write(value: &Value, out: &mut Vec<u8>, levels_left: usize) -> Result<(), JsonError> {
    let deeper = || levels_left.checked_sub(1).ok_or(JsonError::TooDeep { limit: Limits::MAX_DEPTH });
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(number, out)?,
        Value::String(text) => canonical_text(text, out),
        Value::Array(items) => {
            let levels_left = deeper()?;
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index != 0 {
                    out.push(b',');
                }
                write(item, out, levels_left)?;
            }
            out.push(b']');
        }
        Value::Object(entries) => {
            let levels_left = deeper()?;
            let mut sorted: Vec<(&String, &Value)> = entries.iter().collect();
            // Keys are ordered by UTF-16 units, which differs from byte order only beyond the basic plane.
            sorted.sort_by(|(a, _), (b, _)| {
                if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
            });
            out.push(b'{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index != 0 {
                    out.push(b',');
                }
                canonical_text(key, out);
                out.push(b':');
                write(item, out, levels_left)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_number(number: &Number, out: &mut Vec<u8>) -> Result<(), JsonError> {
    if !exact(number) {
        return Err(JsonError::IntegerOutOfRange);
    }
    if let Some(integer) = number.as_i64() {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
        return Ok(());
    }
    match number.as_f64() {
        Some(double) if double.is_finite() => {
            out.extend_from_slice(ryu_js::Buffer::new().format(double).as_bytes());
            Ok(())
        }
        _ => Err(JsonError::NumberOutOfRange),
    }
}

/// Appends the canonical bytes of a text to `out`, as [`canonical_into`] does for a value of it.
pub fn canonical_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)) {
        let (before, behind) = rest.split_at(plain);
        out.extend_from_slice(before);
        let Some((escaped, behind)) = behind.split_first() else { break };
        write_escape(*escaped, out);
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        0x08 => b'b',
        0x09 => b't',
        0x0A => b'n',
        0x0C => b'f',
        0x0D => b'r',
        0x00..=0x1F => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].iter().filter_map(|nibble| HEX.get(usize::from(*nibble))));
            return;
        }
        quote_or_backslash => quote_or_backslash,
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn forms_are_those_of_the_rfc() {
        let cases = [
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
            (r#"{"n":333333333.33333329}"#, r#"{"n":333333333.3333333}"#),
            (r#"{"n":4.50}"#, r#"{"n":4.5}"#),
            (r#"{"n":0.000000000000000000000000001}"#, r#"{"n":1e-27}"#),
            (r#"{"n":1e21}"#, r#"{"n":1e+21}"#),
            (r#"{"n":9007199254740991}"#, r#"{"n":9007199254740991}"#),
            ("[-0.0,1E30,4.0]", "[0,1e+30,4]"),
            (
                r#""\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/""#,
                "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"",
            ),
            // Sample object of RFC 8785, section 3.2.3: order by UTF-16 units.
            (
                r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
                "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}",
            ),
        ];
        for (text, expected) in cases {
            let value = parse(text.as_bytes(), &Limits::DEFAULT).unwrap();
            assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
        }
    }
}
