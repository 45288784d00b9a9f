//! Secrets that are told by what is written before them.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use super::Kind;
use super::key;

/// Shortest and longest value that is taken for a secret, in bytes.
const VALUE: Range<usize> = 8..512;
/// Longest user name and password in a URL, in bytes.
const MAX_USER_INFO: usize = 256;
/// Least entropy of a value in bits a character (Shannon, over the value's own characters): words repeat letters.
const MIN_ENTROPY: f64 = 2.5;
/// Most blanks between a name, its sign and its value.
const MAX_BLANKS: usize = 4;

/// Names of secrets, and the sign before a URL's user. Longer names come first.
const NAMES: [&str; 24] = [
    "passphrase",
    "password",
    "passwort",
    "passwd",
    "pwd",
    "client_secret",
    "clientsecret",
    "secret_key",
    "secretkey",
    "secret",
    "access_token",
    "accesstoken",
    "token",
    "api_key",
    "api-key",
    "apikey",
    "access_key",
    "access-key",
    "accesskey",
    "private_key",
    "privatekey",
    "auth_key",
    "credential",
    "://",
];

/// `None` only if the fixed table above could not be compiled, which the tests rule out.
static PATTERNS: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).match_kind(MatchKind::LeftmostFirst).build(NAMES).ok()
});

/// Values that follow the name of a secret, bearer tokens, and passwords in URLs.
pub(super) fn credentials(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bearer = key::marked(text, |mark| mark.is(Kind::Credential)).filter(move |range| {
        text.get(range.clone()).is_some_and(|token| is_random(token.trim_start_matches("Bearer ")))
    });
    let mut free_from = 0;
    let named = PATTERNS.iter().flat_map(move |patterns| patterns.find_iter(text)).filter_map(move |name| {
        if name.start() < free_from {
            return None;
        }
        let rest = text.get(name.end()..)?;
        let value = if text.get(name.range()) == Some("://") { user_info(rest) } else { assigned(rest) }?;
        free_from = name.end() + value.end;
        Some(name.end() + value.start..free_from)
    });
    merged(bearer, named)
}

/// Two ordered sequences as one, less what overlaps.
fn merged(
    left: impl Iterator<Item = Range<usize>>,
    right: impl Iterator<Item = Range<usize>>,
) -> impl Iterator<Item = Range<usize>> {
    let (mut left, mut right, mut free_from) = (left.peekable(), right.peekable(), 0);
    std::iter::from_fn(move || {
        loop {
            let from_left = match (left.peek(), right.peek()) {
                (Some(left), Some(right)) => left.start <= right.start,
                (left, _) => left.is_some(),
            };
            let next = if from_left { left.next() } else { right.next() }?;
            if free_from <= next.start {
                free_from = next.end;
                return Some(next);
            }
        }
    })
}

/// The value after `=`, `:`, `:=` or `=>`, quoted or not.
fn assigned(rest: &str) -> Option<Range<usize>> {
    let bytes = rest.as_bytes();
    let blanks = |from: usize| {
        bytes
            .get(from..)
            .unwrap_or_default()
            .iter()
            .take(MAX_BLANKS)
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count()
    };
    let quote = |at: usize| bytes.get(at).copied().filter(|byte| b"\"'`".contains(byte));
    let mut at = usize::from(quote(0).is_some());
    at += blanks(at);
    let sign = bytes.get(at..)?.iter().take(2).take_while(|byte| matches!(byte, b':' | b'=' | b'>')).count();
    if sign == 0 {
        return None;
    }
    at += sign;
    at += blanks(at);
    let quoted = quote(at);
    at += usize::from(quoted.is_some());
    let window = bytes.get(at..bytes.len().min(at + VALUE.end))?;
    let ends = |byte: &u8| match quoted {
        Some(quote) => *byte == quote || *byte == b'\n',
        None => byte.is_ascii_whitespace() || b",;&\"'`()[]{}<>|\\".contains(byte),
    };
    let length = window.iter().position(ends).unwrap_or(window.len());
    let called = quoted.is_none() && matches!(window.get(length), Some(b'(' | b'[' | b'<'));
    let value = rest.get(at..at + length)?;
    (!called && VALUE.contains(&length) && is_random(value) && !is_placeholder(value))
        .then_some(at..at + length)
}

/// The password of `scheme://user:password@host`.
fn user_info(rest: &str) -> Option<Range<usize>> {
    let window = rest.as_bytes().get(..rest.len().min(MAX_USER_INFO)).unwrap_or_default();
    let stop = window.iter().position(|byte| byte.is_ascii_whitespace() || b"/?#\"'<>@".contains(byte))?;
    if window.get(stop) != Some(&b'@') {
        return None;
    }
    let colon = window.get(..stop)?.iter().position(|byte| *byte == b':')?;
    let password = rest.get(colon + 1..stop)?;
    (!password.is_empty() && !is_placeholder(password)).then_some(colon + 1..stop)
}

/// Whether a value stands for one that is filled in later, or was taken out already.
fn is_placeholder(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let first = lower.bytes().next();
    let one_character = lower.bytes().all(|byte| Some(byte) == first);
    one_character
        || ["$", "{", "<", "%", "[redacted", "your", "example", "process.env", "os.environ"]
            .iter()
            .any(|start| lower.starts_with(start))
        || lower.contains("****")
}

/// Whether a value looks made up by a machine or against one: letters and digits or signs, not too regular.
fn is_random(value: &str) -> bool {
    let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    let others = value.bytes().any(|byte| byte.is_ascii_digit() || b"!@#$%^&*+/=~?".contains(&byte));
    letters && others && MIN_ENTROPY <= entropy(value.as_bytes())
}

/// Shannon entropy over the bytes of a value, in bits a byte.
fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in value {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let length = f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX));
    let share = |count: &u32| f64::from(*count) / length;
    counts.iter().filter(|count| **count != 0).map(share).map(|share| -share * share.log2()).sum()
}
