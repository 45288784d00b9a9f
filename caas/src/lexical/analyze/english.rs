//! Running text.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::{Stems, Tokens, exact, push_word, script};

pub(super) fn analyze(text: &str, tokens: &mut Tokens, stems: &mut Stems) {
    let text = normalised(text);
    if text.is_ascii() {
        words(&text, tokens, stems);
    } else {
        for (run, unspaced) in script::runs(&text) {
            if unspaced {
                // Punctuation of these scripts is not in their ranges, so a run is all words.
                script::push_pairs(run, tokens);
            } else {
                words(run, tokens, stems);
            }
        }
    }
    exact::push_exact(&text, exact::Within::Prose, tokens);
}

/// NFKC, lower case, one apostrophe.
fn normalised(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    let plain = |char| if char == '\u{2019}' { '\'' } else { char };
    Cow::Owned(text.nfkc().flat_map(char::to_lowercase).map(plain).collect())
}

fn words(text: &str, tokens: &mut Tokens, stems: &mut Stems) {
    for word in text.unicode_words() {
        if word.contains(['_', '.', ':', ',']) {
            compound(word, tokens, stems);
        } else {
            push_word(word, tokens, stems);
        }
    }
}

/// What UAX #29 holds together: a number with its separators is a number without them, all else falls into its parts.
fn compound(word: &str, tokens: &mut Tokens, stems: &mut Stems) {
    if word.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
        tokens.push(&word.replace(',', ""));
        return;
    }
    for part in word.split(['_', '.', ':', ',']).filter(|part| !part.is_empty()) {
        push_word(part, tokens, stems);
    }
}
