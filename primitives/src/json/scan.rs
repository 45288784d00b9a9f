//! One linear pass that finds what the tree parser would hide or could not survive.

use super::{JsonError, Limits};

/// Largest integer a double holds exactly, as digits.
const MAX_EXACT: &[u8] = b"9007199254740991";

/// Checks depth, number of values, integer literals and surrogate escapes. Syntax is left to the tree parser; on broken
/// text this pass only promises to end.
pub(super) fn check(text: &[u8], limits: &Limits) -> Result<(), JsonError> {
    let max_depth = limits.depth.min(Limits::MAX_DEPTH);
    let (mut at, mut depth, mut nodes) = (0usize, 0usize, 1usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = string(text, at)?,
            b'[' | b'{' => {
                depth += 1;
                if max_depth < depth {
                    return Err(JsonError::TooDeep { limit: max_depth });
                }
                nodes += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => nodes += 1,
            b'-' | b'0'..=b'9' => at = number(text, at)?,
            _ => {}
        }
        if limits.nodes < nodes {
            return Err(JsonError::TooManyNodes { limit: limits.nodes });
        }
        at += 1;
    }
    Ok(())
}

/// Returns the offset of the last byte of the string that opens at `at`.
fn string(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut at = at + 1;
    while let Some(next) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += next;
        if text.get(at) == Some(&b'"') {
            return Ok(at);
        }
        match escaped_unit(text, at) {
            Some(0xD800..=0xDBFF) => match escaped_unit(text, at + 6) {
                Some(0xDC00..=0xDFFF) => at += 12,
                _ => return Err(JsonError::InvalidUnicode { offset: at }),
            },
            Some(0xDC00..=0xDFFF) => return Err(JsonError::InvalidUnicode { offset: at }),
            _ => at += 2,
        }
    }
    Ok(text.len())
}

/// The UTF-16 unit of a `\uXXXX` escape at `at`, if there is one.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Returns the offset of the last byte of the number at `at`.
fn number(text: &[u8], at: usize) -> Result<usize, JsonError> {
    let token = text.get(at..).unwrap_or_default();
    let length = token
        .iter()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .unwrap_or(token.len());
    let token = token.get(..length).unwrap_or_default();
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    let integer = digits.iter().all(u8::is_ascii_digit);
    let exact = digits.len() < MAX_EXACT.len() || (digits.len() == MAX_EXACT.len() && digits <= MAX_EXACT);
    if integer && !exact {
        return Err(JsonError::IntegerOutOfRange);
    }
    Ok(at + length.saturating_sub(1))
}
