//! Forms of a text that compare equal when a reader would take them for the same.

use std::borrow::Cow;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};
use unicode_security::confusable_detection::skeleton as prototype;

/// Characters that show nothing: `Default_Ignorable_Code_Point` of Unicode 16.0, and the interlinear and object marks.
const INVISIBLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffc}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Small capitals and their kin, which Unicode's table leaves apart from the letters they show.
const SMALL_CAPITALS: [(char, char); 18] = [
    ('ᴀ', 'a'),
    ('ʙ', 'b'),
    ('ᴅ', 'd'),
    ('ᴇ', 'e'),
    ('ꜰ', 'f'),
    ('ɢ', 'g'),
    ('ʜ', 'h'),
    ('ɪ', 'i'),
    ('ᴊ', 'j'),
    ('ᴋ', 'k'),
    ('ʟ', 'l'),
    ('ᴍ', 'm'),
    ('ɴ', 'n'),
    ('ᴘ', 'p'),
    ('ʀ', 'r'),
    ('ᴛ', 't'),
    ('ᴜ', 'u'),
    ('ʏ', 'y'),
];

/// First letters of alphabets in circles, squares and flags, which have no compatibility form.
const ENCLOSED_ALPHABETS: [u32; 4] = [0x1F130, 0x1F150, 0x1F170, 0x1F1E6];

/// A text as it compares: compatibility forms (NFKC) and full case folding undone, invisible and control characters
/// removed, every run of white space one blank.
///
/// Look-alikes stay what they are: see [`skeleton`]. The result is at most 12 times as long as the text.
#[must_use]
pub fn fold(text: &str) -> String {
    folded(&clean(text), usize::MAX).unwrap_or_default()
}

/// A text as it looks to somebody who reads Latin letters: as [`fold`], and every character that looks like an ASCII
/// letter, digit or mark becomes it; accents are dropped. Works from the look of each character before its case is
/// folded, so a Greek capital `Η` is `h` and a small `η` is `n`.
///
/// Source: `confusables.txt` of UTS 39 (by way of `unicode-security`), small capitals and enclosed alphabets. ASCII is
/// left alone: `1` is not `l`.
#[must_use]
pub fn skeleton(text: &str) -> String {
    looks(&clean(text), usize::MAX).unwrap_or_default()
}

/// Whether a character shows nothing, white space excepted: a control character, one of `Default_Ignorable_Code_Point` in
/// Unicode 16.0, or an interlinear or object mark.
#[must_use]
pub fn is_invisible(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control() && !char.is_whitespace();
    }
    // Nearly all text is below, or between the format characters and the presentation forms.
    if matches!(char, '\u{a0}'..='\u{ac}' | '\u{ae}'..='\u{34e}' | '\u{3165}'..='\u{fdff}') {
        return false;
    }
    (char.is_control() && !char.is_whitespace())
        || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&char))
}

/// NFKC without invisible characters, case and white space kept.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    clean_within(text, usize::MAX).unwrap_or(Cow::Borrowed(text))
}

/// [`clean`] unless it is longer than `room`.
pub(super) fn clean_within(text: &str, room: usize) -> Option<Cow<'_, str>> {
    let untouched = if text.is_ascii() {
        !text.bytes().any(|byte| is_invisible(char::from(byte)))
    } else {
        is_nfkc_quick(text.chars()) == IsNormalized::Yes && !text.chars().any(is_invisible)
    };
    if untouched {
        return Some(Cow::Borrowed(text));
    }
    let visible = text.chars().filter(|char| !is_invisible(*char)).nfkc().filter(|char| !is_invisible(*char));
    let clean = within(visible, room)?;
    Some(if clean == text { Cow::Borrowed(text) } else { Cow::Owned(clean) })
}

/// The text of a sequence, unless it is longer than `room` bytes.
fn within(chars: impl Iterator<Item = char>, room: usize) -> Option<String> {
    let mut text = String::new();
    for char in chars {
        if room < text.len() + char.len_utf8() {
            return None;
        }
        text.push(char);
    }
    Some(text)
}

/// The folded form of a clean text, unless it is longer than `room`.
pub(super) fn folded(clean: &str, room: usize) -> Option<String> {
    if clean.is_ascii() {
        return ascii_folded(clean, room);
    }
    let folded = within(one_blank(clean.chars().flat_map(fold_case)), room)?;
    if is_nfkc_quick(folded.chars()) == IsNormalized::Yes {
        return Some(folded);
    }
    within(one_blank(folded.nfkc()), room)
}

fn ascii_folded(clean: &str, room: usize) -> Option<String> {
    let mut text = String::with_capacity(clean.len().min(room));
    let mut words = clean.split(|char: char| char.is_ascii() && char.is_whitespace()).peekable();
    let mut after_blank = false;
    while let Some(word) = words.next() {
        text.push_str(word);
        after_blank &= word.is_empty();
        if words.peek().is_some() && !after_blank {
            text.push(' ');
            after_blank = true;
        }
        if room < text.len() {
            return None;
        }
    }
    text.make_ascii_lowercase();
    Some(text)
}

/// The skeleton of a clean text, unless it is longer than `room`.
pub(super) fn looks(clean: &str, room: usize) -> Option<String> {
    if clean.is_ascii() {
        return ascii_folded(clean, room);
    }
    let mut looks = String::with_capacity(clean.len().min(room));
    for char in clean.chars() {
        if char.is_ascii() {
            looks.push(char.to_ascii_lowercase());
        } else {
            // Marks are dropped, so their order does not matter.
            decompose_canonical(char, |part| looks.extend(look(part)));
        }
        if room < looks.len() {
            return None;
        }
    }
    within(one_blank(looks.chars()), room)
}

/// Full case folding, by way of both mappings: `ẞ`, `ß` and `ss` meet, and so do the two small sigmas.
fn fold_case(char: char) -> impl Iterator<Item = char> {
    let ascii = char.is_ascii().then(|| char.to_ascii_lowercase());
    let other = (!char.is_ascii())
        .then(|| char.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
    ascii.into_iter().chain(other.into_iter().flatten())
}

/// What a character looks like, in lower case; nothing for a mark over another character.
fn look(char: char) -> impl Iterator<Item = char> {
    let latin = latin_look(char);
    let other = latin
        .is_none()
        .then(|| fold_case(char).map(|folded| latin_look(folded).unwrap_or([Some(folded), None])));
    latin.into_iter().chain(other.into_iter().flatten()).flatten().flatten()
}

/// The one or two ASCII characters that a character looks like, or none for a mark. `None` if it looks like something else:
/// no Latin letter takes more than two.
fn latin_look(char: char) -> Option<[Option<char>; 2]> {
    if char.is_ascii() {
        return Some([Some(char.to_ascii_lowercase()), None]);
    }
    if is_combining_mark(char) {
        return Some([None, None]);
    }
    let shown = enclosed_letter(char).unwrap_or(char);
    let mut own = [0; 4];
    let mut parts =
        prototype(shown.encode_utf8(&mut own)).filter(|part| !is_combining_mark(*part)).map(small_capital);
    let parts = [parts.next(), parts.next(), parts.next()];
    match parts {
        // The table knows one shape for `I`, `l` and `1`, and takes `m` apart.
        [Some('l'), None, _] if char.is_uppercase() => Some([Some('i'), None]),
        [Some('r'), Some('n'), None] => Some([Some('m'), None]),
        [Some(first), second, None] if first.is_ascii() && second.is_none_or(|second| second.is_ascii()) => {
            Some([Some(first.to_ascii_lowercase()), second.map(|second| second.to_ascii_lowercase())])
        }
        _ => None,
    }
}

fn small_capital(char: char) -> char {
    SMALL_CAPITALS.iter().find(|(from, _)| *from == char).map_or(char, |(_, to)| *to)
}

fn enclosed_letter(char: char) -> Option<char> {
    let offset = |first: &u32| u32::from(char).checked_sub(*first).filter(|offset| *offset < 26);
    let offset = ENCLOSED_ALPHABETS.iter().find_map(offset)?;
    char::from_u32(u32::from(b'a') + offset)
}

fn one_blank(chars: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let mut after_blank = false;
    chars.filter_map(move |char| {
        let blank = char.is_whitespace() || char == '\u{2800}';
        let kept = !(blank && after_blank);
        after_blank = blank;
        kept.then_some(if blank { ' ' } else { char })
    })
}
