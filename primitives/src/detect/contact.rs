//! Addresses and numbers by which people are reached.

use std::ops::Range;

use memchr::memchr_iter;

/// Longest local part and longest domain (RFC 5321, section 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;
const MAX_LABEL: usize = 63;
/// Digits of an international number, fewest taken for one and most (E.164).
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Most characters of a telephone number, separators counted.
const MAX_PHONE: usize = 32;
/// Ends of file names such as `icon@2x.png`, which have the shape of an address.
const NOT_DOMAINS: [&str; 7] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "pdf"];

/// E-mail addresses, without quoted local parts and address literals.
pub(super) fn emails(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut free_from = 0;
    memchr_iter(b'@', bytes).filter_map(move |at| {
        let before = bytes.get(at.saturating_sub(MAX_LOCAL + 1)..at)?;
        let local = before.iter().rev().take_while(|byte| is_local(**byte)).count();
        let starts_with_dot = bytes.get(at - local) == Some(&b'.');
        let ends_with_dot = at.checked_sub(1).and_then(|last| bytes.get(last)) == Some(&b'.');
        if !(1..=MAX_LOCAL).contains(&local) || ends_with_dot {
            return None;
        }
        let start = at - local + usize::from(starts_with_dot);
        let end = at + 1 + domain_length(text.get(at + 1..)?)?;
        let free = free_from <= start;
        free_from = free_from.max(end);
        free.then_some(start..end)
    })
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// The length of the domain at the start of a text: labels of letters, digits and dashes, the last one letters.
fn domain_length(text: &str) -> Option<usize> {
    let window = text.as_bytes().get(..text.len().min(MAX_DOMAIN)).unwrap_or_default();
    let length = window
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b".-".contains(byte))
        .unwrap_or(window.len());
    let domain = text.get(..length)?.trim_end_matches(['.', '-']);
    let (_, top) = domain.rsplit_once('.')?;
    let label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    let top_fits =
        2 <= top.len() && (top.bytes().all(|byte| byte.is_ascii_alphabetic()) || top.starts_with("xn--"));
    let file = NOT_DOMAINS.iter().any(|end| end.eq_ignore_ascii_case(top));
    (top_fits && !file && domain.split('.').all(label)).then_some(domain.len())
}

/// Telephone numbers.
pub(super) fn phones(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let bytes = text.as_bytes();
    let mut free_from = 0;
    let starts = bytes.iter().enumerate().filter_map(|(at, byte)| {
        let begins = matches!(byte, b'+' | b'(' | b'2'..=b'9');
        (begins && !is_joined(at.checked_sub(1).and_then(|before| bytes.get(before)))).then_some(at)
    });
    starts.filter_map(move |start| {
        let rest = bytes.get(start..).filter(|_| free_from <= start)?;
        let length = match rest.first()? {
            b'+' => international_length(rest),
            _ => north_american_length(rest),
        }?;
        free_from = start + length;
        Some(start..free_from)
    })
}

/// What a number cannot follow or run into.
fn is_joined(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-+./".contains(byte))
}

/// `+`, then 8 to 15 digits of which the first is no zero; between them single blanks, dots, dashes or parentheses.
fn international_length(text: &[u8]) -> Option<usize> {
    if !matches!(text.get(1), Some(b'1'..=b'9')) {
        return None;
    }
    let (mut digits, mut end, mut separators) = (0, 0, 0);
    for (at, byte) in text.iter().enumerate().take(MAX_PHONE).skip(1) {
        match byte {
            b'0'..=b'9' => (digits, end, separators) = (digits + 1, at + 1, 0),
            // Two at most: a blank and a parenthesis.
            b' ' | b'.' | b'-' | b'(' | b')' if separators < 2 => separators += 1,
            _ => break,
        }
    }
    let ends = text.get(end).is_none_or(|after| !after.is_ascii_alphanumeric());
    (PHONE_DIGITS.contains(&digits) && ends).then_some(end)
}

/// `(NXX) NXX-XXXX`, `NXX-NXX-XXXX` or `NXX.NXX.XXXX`, where N is no 0 and no 1.
fn north_american_length(text: &[u8]) -> Option<usize> {
    const SHAPES: [&[u8]; 5] =
        [b"(NXX) NXX-XXXX", b"(NXX)NXX-XXXX", b"NXX-NXX-XXXX", b"NXX.NXX.XXXX", b"NXX NXX XXXX"];
    let fits = |shape: &&[u8]| {
        let Some(head) = text.get(..shape.len()) else { return false };
        let same = head.iter().zip(shape.iter()).all(|(byte, wanted)| match wanted {
            b'N' => matches!(byte, b'2'..=b'9'),
            b'X' => byte.is_ascii_digit(),
            _ => byte == wanted,
        });
        same && text.get(shape.len()).is_none_or(|after| !after.is_ascii_alphanumeric() && *after != b'-')
    };
    SHAPES.iter().find(|shape| fits(shape)).map(|shape| shape.len())
}
