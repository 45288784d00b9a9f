//! Grouping equal faults: the message without what differs from case to case.

use std::fmt;

use super::FailureType;
use crate::{Digest, json};

/// Most characters of a normalised message.
pub const MAX_NORMALISED: usize = 256;

const DOMAIN: &str = "agent-os primitives failure-fingerprint v1";

/// What failures of one kind and cause have in common. Prints as 16 lower-case hex digits.
///
/// For counting and grouping only: who can choose a message can make it look like another one of the same type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// The fingerprint of a message: eight bytes of the digest of its [`normalise`]d form and the type, so that two types
    /// never share one for the same text.
    #[must_use]
    pub fn of(kind: &FailureType, message: &str) -> Self {
        // The canonical form of an object of both.
        let mut bytes = br#"{"m":"#.to_vec();
        json::canonical_text(&normalise(message), &mut bytes);
        bytes.extend_from_slice(br#","t":"#);
        json::canonical_text(kind.as_str(), &mut bytes);
        bytes.push(b'}');
        Self(Digest::of(DOMAIN, &bytes).as_bytes().first_chunk().copied().unwrap_or_default())
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The message in lower case with its variable parts replaced: UUIDs by `<uuid>`, `0x…` and words of eight or more hex
/// digits that mix letters and numbers by `<hex>`, quoted text by `<str>`, numbers by `<n>`; white space is one blank, and
/// none at the ends. At most [`MAX_NORMALISED`] characters; linear time.
///
/// An apostrophe inside a word (`can't`) quotes nothing.
#[must_use]
pub fn normalise(message: &str) -> String {
    let lower = message.to_lowercase();
    let mut scan = Scan { text: &lower, at: 0, unclosed: Vec::new() };
    let mut out = String::new();
    let mut blank = false;
    while let Some(piece) = scan.next_piece() {
        let piece = match piece {
            Piece::Blank => {
                blank = true;
                continue;
            }
            Piece::Mark(mark) => mark,
            Piece::Text(text) => text,
        };
        if std::mem::take(&mut blank) && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(piece);
        // A character has at most four bytes; past that there is nothing more to keep.
        if MAX_NORMALISED * 4 < out.len() {
            break;
        }
    }
    if let Some((end, _)) = out.char_indices().nth(MAX_NORMALISED) {
        out.truncate(end);
    }
    out
}

enum Piece<'a> {
    Blank,
    Mark(&'static str),
    Text(&'a str),
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// Quotes that no later quote closes: each is looked for in vain once only, which keeps the scan linear.
    unclosed: Vec<char>,
}

impl<'a> Scan<'a> {
    fn next_piece(&mut self) -> Option<Piece<'a>> {
        let (before, rest) = self.text.split_at_checked(self.at)?;
        let first = rest.chars().next()?;
        let starts_word = !before.chars().next_back().is_some_and(is_word);
        let (length, piece) = if is_blank(first) {
            (rest.find(|next| !is_blank(next)).unwrap_or(rest.len()), Piece::Blank)
        } else if let Some(length) = uuid(rest).filter(|_| starts_word) {
            (length, Piece::Mark("<uuid>"))
        } else if let Some(length) = prefixed_hex(rest) {
            (length, Piece::Mark("<hex>"))
        } else if let Some(length) = bare_hex(rest).filter(|_| starts_word) {
            (length, Piece::Mark("<hex>"))
        } else if let Some(length) = self.quoted(rest, first, starts_word) {
            (length, Piece::Mark("<str>"))
        } else if let Some(length) = number(rest) {
            (length, Piece::Mark("<n>"))
        } else {
            // Nothing that is replaced begins within a word, but with a digit.
            let inner = |char: char| is_word(char) && !char.is_ascii_digit();
            let word = rest.find(|char| !inner(char)).unwrap_or(rest.len());
            let length = word.max(first.len_utf8());
            (length, Piece::Text(rest.get(..length)?))
        };
        self.at += length;
        Some(piece)
    }

    fn quoted(&mut self, rest: &str, quote: char, starts_word: bool) -> Option<usize> {
        let apostrophe = quote == '\'';
        if !matches!(quote, '"' | '`' | '\'') || apostrophe && !starts_word || self.unclosed.contains(&quote)
        {
            return None;
        }
        let inner = rest.get(1..)?;
        let closes = |at: &usize| {
            !apostrophe || !inner.get(at + 1..).and_then(|after| after.chars().next()).is_some_and(is_word)
        };
        match inner.match_indices(quote).map(|(at, _)| at).find(closes) {
            Some(at) => Some(at + 2),
            None => {
                self.unclosed.push(quote);
                None
            }
        }
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// White space, and the four separators U+001C to U+001F that some writers take for it.
fn is_blank(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

fn hex_run(text: &str) -> usize {
    text.bytes().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(text.len())
}

fn ends_word(rest: &str) -> bool {
    !rest.chars().next().is_some_and(is_word)
}

fn uuid(text: &str) -> Option<usize> {
    let (mut rest, mut length) = (text, 0);
    for (index, digits) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index != 0 {
            rest = rest.strip_prefix('-')?;
            length += 1;
        }
        let (group, after) = rest.split_at_checked(digits)?;
        if hex_run(group) != digits {
            return None;
        }
        (rest, length) = (after, length + digits);
    }
    ends_word(rest).then_some(length)
}

fn prefixed_hex(text: &str) -> Option<usize> {
    let digits = hex_run(text.strip_prefix("0x")?);
    (digits != 0).then_some(digits + 2)
}

fn bare_hex(text: &str) -> Option<usize> {
    let length = hex_run(text);
    let (run, rest) = text.split_at_checked(length)?;
    let mixed =
        run.bytes().any(|byte| byte.is_ascii_digit()) && run.bytes().any(|byte| byte.is_ascii_alphabetic());
    (8 <= length && mixed && ends_word(rest)).then_some(length)
}

/// Digits, with a fraction if there is one.
fn number(text: &str) -> Option<usize> {
    let digits = |text: &str| text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let whole = digits(text);
    let fraction = text.get(whole..)?.strip_prefix('.').map_or(0, digits);
    (whole != 0).then_some(if fraction == 0 { whole } else { whole + 1 + fraction })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_differs_from_case_to_case_is_replaced() {
        let cases = [
            ("Request timed out after 45s", "request timed out after <n>s"),
            ("File \"a.txt\" not found", "file <str> not found"),
            (
                "job 550e8400-e29b-41d4-a716-446655440000 crashed at 0x7ffdeadbeef",
                "job <uuid> crashed at <hex>",
            ),
            ("  a\t\n b\u{a0}c ", "a b c"),
            ("commit deadbeef1 and deadbeef and 12345678", "commit <hex> and deadbeef and <n>"),
            ("load 3.5, ratio 10.", "load <n>, ratio <n>."),
            ("can't open 'x' or `y 2`", "can't open <str> or <str>"),
            ("'it's' 5' long \"open 7", "<str> <n>' long \"open <n>"),
            ("worker12 node_3", "worker<n> node_<n>"),
            ("\"550e8400-e29b-41d4-a716-446655440000 'q'\"", "<str>"),
            ("550e8400-e29b-41d4-a716-4466554400001", "<hex>-e<n>b-<n>d<n>-a<n>-<n>"),
            ("", ""),
        ];
        for (message, expected) in cases {
            assert_eq!(normalise(message), expected, "{message}");
        }
    }

    #[test]
    fn types_do_not_share_a_fingerprint() {
        let of = |kind| Fingerprint::of(&kind, "took 5 s");
        assert_ne!(of(FailureType::Timeout), of(FailureType::Unknown));
        assert_eq!(of(FailureType::Timeout), Fingerprint::of(&FailureType::Timeout, "Took 17 s"));
        assert_eq!(Fingerprint::of(&FailureType::Unknown, "").to_string(), "a838edab62c221c2");
    }

    /// Letter by letter, as nothing within a word but a number is replaced.
    fn slowly(message: &str) -> String {
        let lower = message.to_lowercase();
        let mut scan = Scan { text: &lower, at: 0, unclosed: Vec::new() };
        let (mut out, mut blank) = (String::new(), false);
        loop {
            let at = scan.at;
            let text = match scan.next_piece() {
                None => return out.chars().take(MAX_NORMALISED).collect(),
                Some(Piece::Blank) => {
                    blank = true;
                    continue;
                }
                Some(Piece::Mark(mark)) => mark,
                Some(Piece::Text(text)) => {
                    let first = text.chars().next().map_or(0, char::len_utf8);
                    scan.at = at + first;
                    text.get(..first).unwrap_or_default()
                }
            };
            if std::mem::take(&mut blank) && !out.is_empty() {
                out.push(' ');
            }
            out.push_str(text);
        }
    }

    proptest! {
        #[test]
        fn words_are_taken_whole_to_the_same_end(message in "([-'\"`0-9a-gx_. é٣\\n]|0x|[a-f0-9]{7,9}){0,120}") {
            prop_assert_eq!(normalise(&message), slowly(&message));
        }

        #[test]
        fn no_message_panics_or_passes_the_bound(message in "[-'\"`0-9a-fx. é\\n]{0,600}") {
            let normalised = normalise(&message);
            prop_assert!(normalised.chars().count() <= MAX_NORMALISED);
            prop_assert!(!normalised.contains(|char: char| char.is_ascii_digit()));
        }

        #[test]
        fn numbers_do_not_matter(a: u32, b: u32, words in "[a-z ]{0,20}") {
            let of = |number| Fingerprint::of(&FailureType::Timeout, &format!("{words} {number} s"));
            prop_assert_eq!(of(a), of(b));
        }
    }
}
