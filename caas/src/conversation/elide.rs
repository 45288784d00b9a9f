//! A long text, cut in its middle.

use std::sync::Arc;

use crate::tokens::TokenCounter;

/// Of a text that was cut.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    /// Bytes of its beginning that are left.
    head: usize,
    /// Where its end begins, in the text as it is now.
    tail: usize,
    /// Bytes of the whole text.
    pub(super) bytes: usize,
    /// Where the whole text is.
    pub(super) archived: Option<String>,
}

/// Of what is left of a text, the beginning has six tenths: it says what the text is.
const HEAD: (usize, usize) = (6, 10);

/// The longest form of `text`, six tenths from its beginning and four from its end with a marker between, that has at most
/// `tokens`; the marker alone where nothing fits.
pub(super) fn elide(
    text: &str,
    before: Option<&Cut>,
    archived: Option<String>,
    tokens: usize,
    counter: &dyn TokenCounter,
) -> (Arc<str>, Cut) {
    let (head, tail) = before.map_or((text, text), |cut| {
        (text.get(..cut.head).unwrap_or_default(), text.get(cut.tail..).unwrap_or_default())
    });
    let bytes = before.map_or(text.len(), |cut| cut.bytes);
    let whole = before.map_or(text.len(), |cut| cut.head + text.len().saturating_sub(cut.tail));
    let form = |kept: usize| {
        let first = kept * HEAD.0 / HEAD.1;
        let head = head.get(..border(head, first)).unwrap_or_default();
        let from = tail.len().saturating_sub(kept - first);
        let tail = tail.get(border_from(tail, from)..).unwrap_or_default();
        let left_out = bytes.saturating_sub(head.len() + tail.len());
        let place = archived.as_deref().map(|name| format!("; whole text: {name}")).unwrap_or_default();
        let middle = format!("\n[{left_out} bytes left out{place}]\n");
        let cut =
            Cut { head: head.len(), tail: head.len() + middle.len(), bytes, archived: archived.clone() };
        (format!("{head}{middle}{tail}"), cut)
    };
    // The largest size that fits, by halving. Counters are not quite monotone, so the answer is one that was counted.
    let (mut fits, mut beyond) = (0, whole);
    while fits + 1 < beyond {
        let middle = fits.midpoint(beyond);
        if counter.count(&form(middle).0) <= tokens {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    let (text, cut) = form(fits);
    (text.into(), cut)
}

/// The border of characters at or before `at`.
pub(super) fn border(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The border of characters at or behind `at`.
fn border_from(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}
