//! Programs.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use super::{Stems, Tokens, exact, push_word, script};

pub(super) fn analyze(text: &str, tokens: &mut Tokens, stems: &mut Stems) {
    let text = if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.nfkc().collect()) };
    for run in text.split(|char: char| !in_identifier(char)) {
        if run.is_ascii() {
            identifier(run, tokens, stems);
            continue;
        }
        for (part, unspaced) in script::runs(run) {
            if unspaced {
                script::push_pairs(part, tokens);
            } else {
                identifier(part, tokens, stems);
            }
        }
    }
    exact::push_exact(&text.to_lowercase(), exact::Within::Code, tokens);
}

fn in_identifier(char: char) -> bool {
    char == '_' || char == '$' || char.is_alphanumeric() || (!char.is_ascii() && is_combining_mark(char))
}

/// Adds the parts of an identifier and, where there are several, the whole.
fn identifier(name: &str, tokens: &mut Tokens, stems: &mut Stems) {
    let name = name.trim_matches(['_', '$']);
    let mut parts = humps(name).peekable();
    let first = parts.next();
    if parts.peek().is_some() {
        tokens.push_whole(&name.to_lowercase());
    }
    for part in first.into_iter().chain(parts) {
        push_word(&part.to_lowercase(), tokens, stems);
    }
}

/// The parts of an identifier: split at `_` and `$`, before a capital that follows a small letter or begins a word after
/// an abbreviation, and between letters and digits.
fn humps(name: &str) -> impl Iterator<Item = &str> {
    name.split(['_', '$']).filter(|part| !part.is_empty()).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let (hump, after) = rest.split_at_checked(hump_end(rest))?;
            rest = after;
            (!hump.is_empty()).then_some(hump)
        })
    })
}

fn hump_end(text: &str) -> usize {
    let mut chars = text.char_indices().peekable();
    let Some((_, mut before)) = chars.next() else { return 0 };
    while let Some((place, char)) = chars.next() {
        let after = chars.peek().map(|(_, after)| *after);
        let begins = if is_combining_mark(char) {
            false
        } else if before.is_numeric() || char.is_numeric() {
            before.is_numeric() != char.is_numeric()
        } else if char.is_uppercase() {
            !before.is_uppercase() || after.is_some_and(char::is_lowercase)
        } else {
            false
        };
        if begins {
            return place;
        }
        before = char;
    }
    text.len()
}
