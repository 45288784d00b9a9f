//! What is looked for as it stands: error codes, paths, versions, names with dots.

use unicode_normalization::char::is_combining_mark;

use super::Tokens;
use super::script::is_unspaced;

/// Where a token stands. A program is full of names with dots and underscores, which are taken care of there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    Prose,
    Code,
}

/// Adds the runs of letters, digits and connecting characters of a lower-case text that are more than words.
pub(super) fn push_exact(text: &str, within: Within, tokens: &mut Tokens) {
    for run in text.split(|char: char| !is_letter(char) && !is_connector(char)) {
        let trimmed = trim(run);
        if is_exact(trimmed, within) {
            tokens.push_whole(trimmed);
        }
    }
}

fn is_letter(char: char) -> bool {
    (char.is_alphanumeric() && !is_unspaced(char)) || (!char.is_ascii() && is_combining_mark(char))
}

const fn is_connector(char: char) -> bool {
    matches!(char, '-' | '_' | '.' | '/' | '\\' | ':' | '@' | '#' | '+')
}

/// Punctuation around is no part, but for the end of `c++` and `c#`.
fn trim(run: &str) -> &str {
    let run = run.trim_start_matches(is_connector);
    let kept = run.trim_end_matches(is_connector);
    let end = run.get(kept.len()..).unwrap_or_default();
    let marks = end.len() - end.trim_start_matches(['+', '#']).len();
    run.get(..kept.len() + marks).unwrap_or(kept)
}

fn is_exact(token: &str, within: Within) -> bool {
    let has = |sought: fn(char) -> bool| token.chars().any(sought);
    if !has(is_connector) {
        return false;
    }
    match within {
        // A word with hyphens is no more than its words.
        Within::Prose => has(char::is_numeric) || has(|char| char != '-' && is_connector(char)),
        Within::Code => {
            (has(char::is_numeric) && has(|char| matches!(char, '-' | '.' | '/' | ':' | '@' | '\\')))
                || has(|char| matches!(char, '/' | '\\' | '@'))
        }
    }
}
