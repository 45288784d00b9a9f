//! Texts without blanks between their words.

use super::Tokens;

/// Whether a character belongs to a script that is written without blanks, or with blanks that tell little: Han, kana,
/// Hangul, Thai, Lao, Myanmar and Khmer.
pub(super) const fn is_unspaced(char: char) -> bool {
    matches!(char,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Adds a run of such characters as the pairs of neighbours; a single one stays.
pub(super) fn push_pairs(run: &str, tokens: &mut Tokens) {
    let chars: Vec<char> = run.chars().collect();
    if let [single] = *chars {
        tokens.push(single.encode_utf8(&mut [0; 4]));
    }
    for pair in chars.windows(2) {
        tokens.push(&String::from_iter(pair));
    }
}

/// Splits a text into runs that are written with blanks and runs that are not, in order.
pub(super) fn runs(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let unspaced = rest.chars().next().map(is_unspaced)?;
        let end = rest.find(|char| is_unspaced(char) != unspaced).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        rest = after;
        Some((run, unspaced))
    })
}
