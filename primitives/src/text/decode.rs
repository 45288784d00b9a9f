//! What a text says once one layer of encoding is taken off.
//!
//! The strict decoders of the usual crates refuse what these must read: both base64 alphabets mixed, no padding, line
//! breaks, a run that begins in the middle of another, an encoded word inside plain prose.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Shortest encoded run that is decoded, in encoded characters.
pub(super) const MIN_RUN: usize = 8;
/// Shortest stretch of decoded base64 that counts as text: shorter ones turn up in any noise.
const MIN_STRETCH: usize = 6;
/// Shortest stretch of decoded hexadecimal that counts as text.
const MIN_HEX_STRETCH: usize = 4;
/// Shortest stretch below the last layer that says so.
const MIN_DEEP_STRETCH: usize = 8;
/// What stands between two stretches; in no alphabet that is decoded.
const BETWEEN: &[u8] = b" ~ ";
/// Longest name or number of a character reference that is looked at.
const MAX_REFERENCE: usize = 16;

/// The text with a blank for every `+` between two words, as forms are sent. `None` if there is none.
pub(super) fn spaced(text: &str) -> Option<String> {
    memchr::memchr(b'+', text.as_bytes())?;
    let after = text.chars().skip(1).map(Some).chain([None]);
    let (mut before, mut changed) = (None, false);
    let spaced = text.chars().zip(after).map(|(char, after)| {
        let joins = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        let blank = char == '+' && joins(before) && joins(after);
        before = Some(char);
        changed |= blank;
        if blank { ' ' } else { char }
    });
    let spaced = spaced.collect();
    changed.then_some(spaced)
}

/// A text with one layer of escapes undone.
pub(super) struct Unescaped {
    pub(super) text: String,
    /// Whether any escape named a character by its number; a lone backslash does not.
    pub(super) coded: bool,
}

/// Undoes percent signs, character references and backslash escapes in one pass from left to right. `None` if there are
/// none. Never longer than the text.
pub(super) fn unescape(text: &str) -> Option<Unescaped> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| b"%&\\".contains(byte)) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut coded, mut changed) = (0, false, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at + 1..).unwrap_or_default();
        let step = match byte {
            b'%' => percent(rest),
            b'&' => reference(rest),
            b'\\' => backslash(rest),
            _ => None,
        };
        match step {
            Some((what, used)) => {
                coded |= !matches!(what, What::Plain(_));
                changed = true;
                what.push_to(&mut out);
                at += 1 + used;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    changed.then(|| Unescaped { text: valid(&out), coded })
}

/// What an escape stands for.
enum What {
    Plain(u8),
    Byte(u8),
    Char(char),
}

impl What {
    fn push_to(self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(byte) | Self::Byte(byte) => out.push(byte),
            Self::Char(char) => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

type Step = Option<(What, usize)>;

fn percent(rest: &[u8]) -> Step {
    if let Some(digits) = rest.strip_prefix(b"u").or_else(|| rest.strip_prefix(b"U")) {
        return unit(digits).map(|(char, used)| (What::Char(char), used + 1));
    }
    number(rest, 16, 2).and_then(|byte| Some((What::Byte(u8::try_from(byte).ok()?), 2)))
}

fn backslash(rest: &[u8]) -> Step {
    let (&kind, after) = rest.split_first()?;
    let braced = || {
        let digits = after.strip_prefix(b"{")?;
        let length = digits.iter().take(8).position(|byte| *byte == b'}')?;
        let char = char::from_u32(number(digits, 16, length)?)?;
        Some((What::Char(char), length + 3))
    };
    match kind {
        b'u' => unit(after).map(|(char, used)| (What::Char(char), used + 1)).or_else(braced),
        b'x' => number(after, 16, 2)
            .and_then(|byte| Some((What::Byte(u8::try_from(byte).ok()?), 3)))
            .or_else(braced),
        b'U' => number(after, 16, 8).and_then(char::from_u32).map(|char| (What::Char(char), 9)),
        b'0'..=b'7' => number(rest, 8, 3).and_then(|byte| Some((What::Byte(u8::try_from(byte).ok()?), 3))),
        b'n' | b'r' | b't' => Some((What::Plain(b' '), 1)),
        _ if kind.is_ascii() => Some((What::Plain(kind), 1)),
        _ => None,
    }
}

/// The character of four hexadecimal digits, or of two such escapes that are a surrogate pair, and how many bytes that
/// took.
fn unit(digits: &[u8]) -> Option<(char, usize)> {
    let high = number(digits, 16, 4)?;
    if let Some(char) = char::from_u32(high) {
        return Some((char, 4));
    }
    let next = digits.get(4..)?;
    let low = next.strip_prefix(b"\\u").or_else(|| next.strip_prefix(b"%u"))?;
    let low = number(low, 16, 4).filter(|low| (0xDC00..0xE000).contains(low))?;
    let high = high.checked_sub(0xD800).filter(|high| *high < 0x400)?;
    char::from_u32(0x10000 + (high << 10) + (low - 0xDC00)).map(|char| (char, 10))
}

fn reference(rest: &[u8]) -> Step {
    let window = rest.get(..rest.len().min(MAX_REFERENCE)).unwrap_or_default();
    let (char, used) = if let Some(digits) = window.strip_prefix(b"#") {
        let (digits, radix, before) = match digits.strip_prefix(b"x").or_else(|| digits.strip_prefix(b"X")) {
            Some(digits) => (digits, 16, 2),
            None => (digits, 10, 1),
        };
        let length =
            digits.iter().position(|byte| !char::from(*byte).is_digit(radix)).unwrap_or(digits.len());
        (char::from_u32(number(digits, radix, length)?)?, before + length)
    } else {
        let length = window.iter().position(|byte| !byte.is_ascii_alphanumeric())?;
        let name = window.get(..length)?;
        (REFERENCES.iter().find(|(known, _)| known.as_bytes() == name)?.1, length)
    };
    let closed = rest.get(used) == Some(&b';');
    Some((What::Char(char), used + usize::from(closed)))
}

/// Names of the characters that hide something in ASCII text.
const REFERENCES: [(&str, char); 38] = [
    ("lt", '<'),
    ("gt", '>'),
    ("amp", '&'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("Tab", ' '),
    ("NewLine", ' '),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("shy", '\u{ad}'),
    ("zwj", '\u{200d}'),
    ("zwnj", '\u{200c}'),
    ("ZeroWidthSpace", '\u{200b}'),
    ("NoBreak", '\u{2060}'),
    ("lrm", '\u{200e}'),
    ("rlm", '\u{200f}'),
    ("sol", '/'),
    ("bsol", '\\'),
    ("colon", ':'),
    ("semi", ';'),
    ("comma", ','),
    ("period", '.'),
    ("excl", '!'),
    ("quest", '?'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("plus", '+'),
    ("equals", '='),
    ("commat", '@'),
    ("lowbar", '_'),
    ("hyphen", '-'),
    ("grave", '`'),
];

/// The number that the first `length` digits write.
fn number(text: &[u8], radix: u32, length: usize) -> Option<u32> {
    let digits = text.get(..length).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0u32, |number, byte| {
        number.checked_mul(radix)?.checked_add(char::from(*byte).to_digit(radix)?)
    })
}

/// Text hidden in characters that show nothing: tags (U+E0020 and on stand for ASCII) and variation selectors (256 of
/// them, one for each byte). `None` if there is none. Works on the text before [`clean`](super::fold::clean).
pub(super) fn hidden(text: &str) -> Option<String> {
    // Both begin with one of two bytes in UTF-8.
    if !text.as_bytes().iter().any(|byte| matches!(byte, 0xF3 | 0xEF)) {
        return None;
    }
    let mut bytes = Vec::new();
    for char in text.chars() {
        let byte = match u32::from(char) {
            tag @ 0xE0020..=0xE007E => tag - 0xE0000,
            selector @ 0xFE00..=0xFE0F => selector - 0xFE00,
            selector @ 0xE0100..=0xE01EF => selector - 0xE0100 + 16,
            _ => continue,
        };
        bytes.extend(u8::try_from(byte));
    }
    let mut out = Vec::new();
    stretches(&bytes, MIN_HEX_STRETCH, &mut out);
    (!out.is_empty()).then(|| valid(&out))
}

/// What the runs of base64 and hexadecimal in a text say, one after another.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// Nothing that is text.
    Nothing,
    /// This.
    Text(String),
    /// More bytes than there was room for.
    TooLong,
}

/// Decodes runs, each only once however many layers show it.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// Hashes of the runs seen so far, without a random key: the same text has the same readings everywhere.
    seen: HashSet<u64>,
}

impl Runs {
    /// What the new runs of a text say.
    pub(super) fn decode(&mut self, text: &str, room: usize) -> Decoded {
        self.stretches(text, room, (MIN_STRETCH, MIN_HEX_STRETCH))
    }

    /// Whether a new run holds a stretch of text too long to be noise.
    pub(super) fn any_left(&mut self, text: &str) -> bool {
        self.stretches(text, 0, (MIN_DEEP_STRETCH, MIN_DEEP_STRETCH)) != Decoded::Nothing
    }

    fn stretches(&mut self, text: &str, room: usize, least: (usize, usize)) -> Decoded {
        let (mut out, mut decoded) = (Vec::new(), Vec::new());
        for_each_base64_run(text.as_bytes(), |sextets| {
            for offset in 0..if self.is_new(sextets) { 4 } else { 0 } {
                pack::<6>(sextets.get(offset..).unwrap_or_default(), &mut decoded);
                stretches(&decoded, least.0, &mut out);
            }
            out.len() <= room
        });
        for_each_hex_run(text.as_bytes(), |nibbles| {
            for offset in 0..if self.is_new(nibbles) { 2 } else { 0 } {
                pack::<4>(nibbles.get(offset..).unwrap_or_default(), &mut decoded);
                stretches(&decoded, least.1, &mut out);
            }
            out.len() <= room
        });
        match out.len() {
            0 => Decoded::Nothing,
            length if length <= room => Decoded::Text(valid(&out)),
            _ => Decoded::TooLong,
        }
    }

    fn is_new(&mut self, digits: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        digits.hash(&mut hasher);
        self.seen.insert(hasher.finish())
    }
}

/// Calls back with the digits of every run of either base64 alphabet, line breaks and
/// indentation left out, until told to stop.
fn for_each_base64_run(text: &[u8], mut visit: impl FnMut(&[u8]) -> bool) {
    let mut run = Vec::new();
    let mut at_line_start = false;
    for byte in text.iter().copied().map(Some).chain([None]) {
        match (byte, byte.and_then(sextet)) {
            (_, Some(digit)) => run.push(digit),
            (Some(b'\r' | b'\n'), None) => {
                at_line_start = true;
                continue;
            }
            (Some(b' ' | b'\t'), None) if at_line_start => continue,
            _ => {
                if MIN_RUN <= run.len() && !visit(&run) {
                    return;
                }
                run.clear();
            }
        }
        at_line_start = false;
    }
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Calls back with the digits of every run of hexadecimal, until told to stop. Groups of two digits or more may stand apart by one
/// blank, colon, comma or dash, each with `0x` in front.
fn for_each_hex_run(text: &[u8], mut visit: impl FnMut(&[u8]) -> bool) {
    let mut run = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = match rest {
            [b'0', b'x' | b'X', digits @ ..] => digits,
            _ => rest,
        };
        let group = run.len();
        run.extend(digits.iter().map_while(|byte| nibble(*byte)));
        let length = run.len() - group;
        rest = digits.get(length..).unwrap_or_default();
        let goes_on = match rest {
            [b' ' | b':' | b',' | b'-', next, ..] => 2 <= length && nibble(*next).is_some(),
            _ => false,
        };
        if !goes_on {
            if MIN_RUN <= run.len() && !visit(&run) {
                return;
            }
            run.clear();
        }
        rest = rest.get(1..).unwrap_or_default();
    }
}

fn nibble(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Packs digits of `BITS` bits into bytes; bits left over at the end are dropped.
fn pack<const BITS: u32>(digits: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let (mut held, mut bits) = (0u32, 0);
    for digit in digits {
        held = (held << BITS | u32::from(*digit)) & 0xFFFF;
        bits += BITS;
        if 8 <= bits {
            bits -= 8;
            out.extend(u8::try_from(held >> bits & 0xFF));
        }
    }
}

/// Appends the stretches of text among bytes. Where every third byte or more is zero, as in UTF-16, zeros are left out.
fn stretches(bytes: &[u8], least: usize, out: &mut Vec<u8>) {
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let narrow: Vec<u8>;
    let bytes = if bytes.len() <= zeros * 3 {
        narrow = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        &narrow
    } else {
        bytes
    };
    for chunk in bytes.utf8_chunks() {
        for stretch in chunk.valid().split(|char: char| char.is_control() && !char.is_whitespace()) {
            if least <= stretch.len() {
                if !out.is_empty() {
                    out.extend_from_slice(BETWEEN);
                }
                out.extend_from_slice(stretch.as_bytes());
            }
        }
    }
}

/// The text among bytes; what is none is left out, so that it takes no more room than before.
fn valid(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| chunk.valid()).collect()
}

/// The bytes that a run of base64 writes.
pub(crate) fn base64_bytes(run: &[u8]) -> Vec<u8> {
    let sextets: Vec<u8> = run.iter().copied().map_while(sextet).collect();
    let mut bytes = Vec::new();
    pack::<6>(&sextets, &mut bytes);
    bytes
}
