//! Words, numbers, marks and blanks, as the pattern of `o200k_base` takes them:
//!
//! 1. a sign that is neither letter, digit nor line end, or none; then letters, upper case before lower; then `'s` and the like;
//! 2. up to three digits;
//! 3. a blank or none, then marks, then line ends and slashes;
//! 4. blanks up to the last line end among them; or all but the last, which belongs to what follows; or that one.
//!
//! Only letters whose class is certain without tables of Unicode are taken together. Every other sign stands alone.

/// A part of a text that is joined by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// What the vocabulary may know.
    Known(&'t str),
    /// A sign of no certain class.
    Unknown(char),
}

/// What a sign is to the pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Upper,
    Lower,
    /// A letter without case, which stands for either.
    Letter,
    Digit,
    LineEnd,
    Blank,
    Mark,
    Unknown,
}

fn class(sign: char) -> Class {
    match sign {
        'a'..='z' => Class::Lower,
        'A'..='Z' => Class::Upper,
        '0'..='9' => Class::Digit,
        '\r' | '\n' => Class::LineEnd,
        _ if sign.is_whitespace() => Class::Blank,
        _ if sign.is_ascii() => Class::Mark,
        // Latin, Greek and Cyrillic, without what is a letter there and has no case.
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' if sign.is_lowercase() => Class::Lower,
        '\u{c0}'..='\u{24f}' | '\u{370}'..='\u{52f}' if sign.is_uppercase() => Class::Upper,
        // Kana, Han and Hangul.
        '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}' => Class::Letter,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => Class::Letter,
        // General punctuation, that of East Asia, and pictures.
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' => Class::Mark,
        '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' | '\u{ff01}'..='\u{ff0f}' => Class::Mark,
        '\u{ff1a}'..='\u{ff20}' | '\u{1f300}'..='\u{1f64f}' | '\u{1f680}'..='\u{1f6ff}' => Class::Mark,
        _ => Class::Unknown,
    }
}

/// The pieces of a text; together they are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let length = match class(first) {
            Class::Unknown => first.len_utf8(),
            class => length(rest, first, class).max(first.len_utf8()),
        };
        let (piece, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(if class(first) == Class::Unknown { Piece::Unknown(first) } else { Piece::Known(piece) })
    })
}

/// Bytes of the first piece.
fn length(rest: &str, first: char, kind: Class) -> usize {
    let after_first = rest.get(first.len_utf8()..).unwrap_or_default();
    match kind {
        Class::Upper | Class::Lower | Class::Letter => return word(rest),
        Class::Digit => return run(rest, 3, |class| class == Class::Digit),
        Class::Mark | Class::Blank => {
            let word = word(after_first);
            if word != 0 {
                return first.len_utf8() + word;
            }
        }
        Class::LineEnd | Class::Unknown => {}
    }
    let lead = usize::from(first == ' ');
    let marks = run(rest.get(lead..).unwrap_or_default(), usize::MAX, |class| class == Class::Mark);
    if marks != 0 {
        let ends = rest.get(lead + marks..).unwrap_or_default();
        return lead + marks + ends.len() - ends.trim_start_matches(['\r', '\n', '/']).len();
    }
    blanks(rest)
}

/// Bytes of letters at the beginning, and of a contraction after them.
fn word(rest: &str) -> usize {
    let upper = run(rest, usize::MAX, |class| matches!(class, Class::Upper | Class::Letter));
    let after = rest.get(upper..).unwrap_or_default();
    let lower = run(after, usize::MAX, |class| matches!(class, Class::Lower | Class::Letter));
    let letters = if lower != 0 {
        upper + lower
    } else {
        // What has no case ends a word too; upper case after it begins the next.
        let head = rest.get(..upper).unwrap_or_default();
        let last = head.char_indices().rfind(|(_, sign)| class(*sign) == Class::Letter);
        last.map_or(upper, |(place, sign)| place + sign.len_utf8())
    };
    if letters == 0 { 0 } else { letters + contraction(rest.get(letters..).unwrap_or_default()) }
}

fn contraction(rest: &str) -> usize {
    let known =
        |ending: &&str| rest.get(..ending.len()).is_some_and(|head| head.eq_ignore_ascii_case(ending));
    ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"]
        .iter()
        .find(|ending| known(ending))
        .map_or(0, |ending| ending.len())
}

/// Bytes of blanks and line ends at the beginning, as far as they are one piece.
fn blanks(rest: &str) -> usize {
    let length = run(rest, usize::MAX, |class| matches!(class, Class::Blank | Class::LineEnd));
    let head = rest.get(..length).unwrap_or_default();
    if let Some(last) = head.rfind(['\r', '\n']) {
        return last + 1;
    }
    if length == rest.len() {
        return length;
    }
    // 0 where there is but one, which the caller takes.
    head.char_indices().next_back().map_or(0, |(place, _)| place)
}

/// Bytes of the first signs of a kind.
fn run(rest: &str, most: usize, of: impl Fn(Class) -> bool) -> usize {
    rest.chars().take(most).take_while(|sign| of(class(*sign))).map(char::len_utf8).sum()
}
