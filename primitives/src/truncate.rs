//! Cutting text to size so that a reader sees that, and how much, was cut.

use std::borrow::Cow;

/// The first `limit` bytes of `text`, or fewer so that no character is split, and behind them `…[+NB]` with the number of
/// bytes that were cut off. A text that fits is returned as it is.
///
/// The suffix comes on top of `limit`; [`within`] counts it in.
#[must_use]
pub fn truncate_utf8(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let kept = (0..=limit).rev().find_map(|at| text.get(..at)).unwrap_or_default();
    Cow::Owned(format!("{kept}…[+{}B]", text.len() - kept.len()))
}

/// Longest suffix in bytes: that of a cut of `usize::MAX`.
const MAX_SUFFIX: usize = "…[+18446744073709551615B]".len();

/// As [`truncate_utf8`], with the suffix inside the limit, so that cutting again changes nothing. The result exceeds
/// `limit` only if that is below the length of a suffix, 27 bytes.
#[must_use]
pub fn within(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    truncate_utf8(text, limit.saturating_sub(MAX_SUFFIX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_is_counted() {
        let cases = [
            ("hello world", 5, "hello…[+6B]"),
            ("日本語テキスト", 7, "日本…[+15B]"),
            ("😀😀", 5, "😀…[+4B]"),
            ("é", 1, "…[+2B]"),
            ("", 0, ""),
            ("abc", 3, "abc"),
        ];
        for (text, limit, expected) in cases {
            assert_eq!(truncate_utf8(text, limit), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_and_what_is_counted_make_the_whole(text in "\\PC{0,40}", limit in 0usize..80) {
            let cut = truncate_utf8(&text, limit);
            match cut.rsplit_once("…[+") {
                Some((kept, count)) if cut != text => {
                    let count: usize = count.strip_suffix("B]").unwrap().parse().unwrap();
                    prop_assert!(text.starts_with(kept) && kept.len() <= limit);
                    prop_assert_eq!(kept.len() + count, text.len());
                }
                _ => prop_assert_eq!(&cut, &text),
            }
        }

        #[test]
        fn a_text_cut_within_its_limit_fits_and_stays(text in "\\PC{0,60}", limit in 27usize..80) {
            let once = within(&text, limit).into_owned();
            prop_assert!(once.len() <= limit);
            prop_assert_eq!(within(&once, limit), once.as_str());
        }
    }
}
