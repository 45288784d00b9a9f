//! What follows `/?` in a path that is read: a search.

use std::fmt::Write as _;

use super::BadPath;

/// Longest query in bytes, decoded.
pub const MAX_QUERY_BYTES: usize = 1024;
/// Most hits of one search.
pub const MAX_HITS: usize = 100;
/// Most hits of a search that does not say how many.
pub const DEFAULT_HITS: usize = 10;

/// What to look for, and how many hits to answer.
///
/// INVARIANT: the text is not blank, no longer than [`MAX_QUERY_BYTES`] and holds no control character; the limit is
/// from 1 to [`MAX_HITS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    text: String,
    limit: usize,
}

impl Query {
    /// Splits `/<directory>/?q=<words>&k=<number>` into the directory and the query; a text without `/?` is a path and
    /// nothing else. Words are encoded as in a form: `+` or `%20` for a space, `%` and two digits for any other byte but
    /// letters, digits and `-._~*`.
    ///
    /// # Errors
    /// [`BadPath::Query`] for anything else that follows `/?`.
    pub(crate) fn split(text: &str) -> Result<(&str, Option<Self>), BadPath> {
        let Some((directory, query)) = text.split_once("/?") else { return Ok((text, None)) };
        let directory = if directory.is_empty() { "/" } else { directory };
        Ok((directory, Some(Self::parse(query).ok_or(BadPath::Query)?)))
    }

    /// What to look for.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// How many hits to answer at most.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    fn parse(query: &str) -> Option<Self> {
        let (words, number) = match query.split_once('&') {
            Some((words, number)) => (words, Some(number.strip_prefix("k=")?)),
            None => (query, None),
        };
        let text = decode(words.strip_prefix("q=")?)?;
        let limit = number.map_or(Some(DEFAULT_HITS), limit)?;
        let usable =
            text.len() <= MAX_QUERY_BYTES && !text.trim().is_empty() && !text.contains(char::is_control);
        usable.then_some(Self { text, limit })
    }
}

fn limit(number: &str) -> Option<usize> {
    let plain = number.bytes().all(|digit| digit.is_ascii_digit()) && !number.starts_with('0');
    number.parse().ok().filter(|limit| plain && *limit <= MAX_HITS)
}

fn decode(words: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = words.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex(rest.next()?)? << 4 | hex(rest.next()?)?,
            byte if is_plain(byte) => byte,
            _ => return None,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'*')
}

/// The path that searches `directory` for `words`.
pub(crate) fn encode_query(directory: &str, words: &str, most: usize) -> String {
    let mut path = format!("{}/?q=", directory.trim_end_matches('/'));
    for byte in words.bytes() {
        if is_plain(byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
    let _ = write!(path, "&k={most}");
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_is_a_query_searches() {
        let long = format!("/m/?q={}", "a".repeat(MAX_QUERY_BYTES + 1));
        let query = |text: &str, limit| Some(Some((text.to_owned(), limit)));
        for (path, expected) in [
            ("/m", Some(None)),
            ("/m/a?q=b", Some(None)),
            ("/m/?q=blue+whale", query("blue whale", 10)),
            ("/m/?q=blue%20whale&k=3", query("blue whale", 3)),
            ("/?q=caf%C3%A9&k=100", query("caf\u{e9}", 100)),
            ("/m/?q=50%25", query("50%", 10)),
            ("/m/?", None),
            ("/m/?q=", None),
            ("/m/?q=%20", None),
            ("/m/?q=a b", None),
            ("/m/?q=caf\u{e9}", None),
            ("/m/?q=a%2", None),
            ("/m/?q=a%zz", None),
            ("/m/?q=%FF", None),
            ("/m/?q=a%00", None),
            ("/m/?q=a/b", None),
            ("/m/?q=a&k=0", None),
            ("/m/?q=a&k=101", None),
            ("/m/?q=a&k=+1", None),
            ("/m/?q=a&k=01", None),
            ("/m/?q=a&k=", None),
            ("/m/?k=1&q=a", None),
            ("/m/?q=a&q=b", None),
            ("/m/?q=a&k=1&k=2", None),
            ("/m/?q=a&x=1", None),
            ("/m/?q=a&", None),
            ("/m/?q=a/?q=b", None),
            (&long, None),
        ] {
            let split = Query::split(path).ok();
            let split = split.map(|(_, query)| query.map(|query| (query.text, query.limit)));
            assert_eq!(split, expected, "{path}");
        }
        assert_eq!(Query::split("/?q=a").map(|(directory, _)| directory), Ok("/"));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_split_again(words in "[^\\p{Cc}]{0,40}", most in 1..=MAX_HITS) {
            prop_assume!(!words.trim().is_empty());
            let path = encode_query("/mem/semantic", &words, most);
            let expected = Query { text: words, limit: most };
            prop_assert_eq!(Query::split(&path), Ok(("/mem/semantic", Some(expected))));
        }
    }
}
