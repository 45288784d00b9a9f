//! A text that is too long, cut behind a sentence or a line.

use crate::tokens::TokenCounter;

/// What stands for the rest.
pub(super) const MARK: &str = " […]";

/// The longest beginning of `text` that ends with a sentence or a line and fits, with a mark behind it. `None` where no
/// sentence fits.
pub(super) fn cut(text: &str, tokens: usize, counter: &dyn TokenCounter) -> Option<String> {
    let ends: Vec<usize> = ends(text);
    let form = |end: usize| format!("{}{MARK}", text.get(..end).unwrap_or_default().trim_end());
    // The last end that fits, by halving; what is answered was counted.
    let (mut fits, mut from, mut until) = (None, 0, ends.len());
    while from < until {
        let middle = from.midpoint(until);
        let shorter = ends.get(middle).copied().map(form)?;
        if counter.count(&shorter) <= tokens {
            fits = Some(shorter);
            from = middle + 1;
        } else {
            until = middle;
        }
    }
    fits
}

/// Where a sentence or a line ends and another begins.
fn ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((_, char)) = chars.next() {
        let Some((next, following)) = chars.peek().copied() else { break };
        let sentence = matches!(char, '.' | '!' | '?') && following.is_whitespace();
        if sentence || following == '\n' || matches!(char, '。' | '！' | '？') {
            ends.push(next);
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Bytes;

    impl TokenCounter for Bytes {
        fn name(&self) -> &str {
            "bytes"
        }

        fn count(&self, text: &str) -> usize {
            text.len()
        }
    }

    #[test]
    fn a_text_is_cut_behind_a_sentence_or_a_line() {
        let text = "Use v1.2. It works!\nfn main() {}\nlast";
        for (tokens, expected) in [
            (100, Some("Use v1.2. It works!\nfn main() {} […]")),
            (26, Some("Use v1.2. It works! […]")),
            (24, Some("Use v1.2. […]")),
            (14, None),
        ] {
            assert_eq!(cut(text, tokens, &Bytes).as_deref(), expected, "{tokens}");
        }
        assert_eq!(cut("one sentence only.", 10, &Bytes), None);
    }
}
