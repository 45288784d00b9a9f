//! Keys that say what they are: a fixed prefix and a run of a known alphabet.
//!
//! No checksum is asked for, although some services publish one: a key with a typing error is a secret all the same.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::memmem;

use super::Kind;

/// Longest label of a PEM block that is looked at.
const MAX_PEM_LABEL: usize = 64;
/// Longest header of a token that is looked at, encoded.
const MAX_JWT_HEADER: usize = 4096;
const PEM_BEGIN: &str = "-----BEGIN ";

/// What follows a prefix.
#[derive(Clone, Copy)]
enum Shape {
    /// So many of these at least.
    Run {
        least: usize,
        takes: fn(u8) -> bool,
    },
    Jwt,
    Pem,
}

/// A prefix and what it promises.
pub(crate) struct Mark {
    prefix: &'static str,
    shape: Shape,
    kind: Kind,
    /// Whether it is taken out of whatever is recorded.
    pub(crate) redacted: bool,
}

impl Mark {
    /// Whether it marks this kind.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }
}

const fn key(prefix: &'static str, least: usize, takes: fn(u8) -> bool) -> Mark {
    Mark { prefix, shape: Shape::Run { least, takes }, kind: Kind::Key, redacted: false }
}

const fn redacted(mark: Mark) -> Mark {
    Mark { redacted: true, ..mark }
}

const fn jwt(prefix: &'static str) -> Mark {
    Mark { prefix, shape: Shape::Jwt, kind: Kind::Jwt, redacted: false }
}

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

fn dotted(byte: u8) -> bool {
    word(byte) || byte == b'.'
}

fn token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

/// As the services document them, and as GitHub's secret scanning lists them.
static MARKS: [Mark; 39] = [
    redacted(key("AKIA", 16, upper)),
    key("ASIA", 16, upper),
    redacted(key("sk-", 20, word)),
    redacted(key("ghp_", 36, alphanumeric)),
    redacted(key("gho_", 36, alphanumeric)),
    redacted(key("ghu_", 36, alphanumeric)),
    redacted(key("ghs_", 36, alphanumeric)),
    redacted(key("ghr_", 36, alphanumeric)),
    key("github_pat_", 60, word),
    key("glpat-", 20, word),
    key("xoxa-", 10, word),
    key("xoxb-", 10, word),
    key("xoxe-", 10, word),
    key("xoxp-", 10, word),
    key("xoxr-", 10, word),
    key("xoxs-", 10, word),
    key("xapp-", 10, word),
    key("AIza", 35, word),
    key("ya29.", 20, dotted),
    key("GOCSPX-", 28, word),
    key("sk_live_", 16, alphanumeric),
    key("sk_test_", 16, alphanumeric),
    key("rk_live_", 16, alphanumeric),
    key("rk_test_", 16, alphanumeric),
    key("whsec_", 24, token68),
    key("SG.", 60, dotted),
    key("npm_", 36, alphanumeric),
    key("pypi-", 50, word),
    key("hf_", 30, alphanumeric),
    key("dop_v1_", 64, alphanumeric),
    key("doo_v1_", 64, alphanumeric),
    key("AGE-SECRET-KEY-1", 58, upper),
    jwt("eyJ"),
    jwt("eyA"),
    jwt("ewo"),
    jwt("ew0"),
    jwt("ewk"),
    Mark {
        prefix: "Bearer ",
        shape: Shape::Run { least: 8, takes: token68 },
        kind: Kind::Credential,
        redacted: true,
    },
    Mark { prefix: PEM_BEGIN, shape: Shape::Pem, kind: Kind::PrivateKey, redacted: true },
];

/// `None` only if the fixed table above could not be compiled, which the tests rule out; then all text is secret.
static PREFIXES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let prefixes = MARKS.iter().map(|mark| mark.prefix);
    AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(prefixes).ok()
});

/// The keys of one kind in a text, less those that read like words.
pub(super) fn keys(text: &str, kind: Kind) -> impl Iterator<Item = Range<usize>> + '_ {
    marked(text, move |mark| mark.is(kind))
        .filter(move |range| text.get(range.clone()).is_some_and(|key| !reads_like_words(key)))
}

/// Everything with one of the wanted marks, in order, apart from each other.
pub(crate) fn marked(text: &str, wanted: impl Fn(&Mark) -> bool) -> impl Iterator<Item = Range<usize>> {
    let (mut at, mut last_end) = (0, 0);
    std::iter::from_fn(move || {
        let Some(prefixes) = PREFIXES.as_ref() else {
            let whole = at..text.len();
            at = text.len();
            return (!whole.is_empty()).then_some(whole);
        };
        loop {
            let hit = prefixes.find(aho_corasick::Input::new(text).range(at..))?;
            at = hit.start() + 1;
            let Some(mark) = MARKS.get(hit.pattern().as_usize()).filter(|mark| wanted(mark)) else {
                continue;
            };
            // Where a secret ended a new one may begin, or else redacting twice would find more than once.
            let before = text.as_bytes().get(hit.start().wrapping_sub(1)).filter(|_| hit.start() != last_end);
            let inside_word = before.is_some_and(u8::is_ascii_alphanumeric);
            let rest = text.get(hit.end()..).unwrap_or_default();
            let length = match mark.shape {
                Shape::Run { .. } if inside_word => None,
                Shape::Run { least, takes } => run(rest, least, takes),
                // One header for each run of its alphabet, so that a text of nothing but prefixes takes linear time.
                Shape::Jwt if before.copied().is_some_and(word) => None,
                Shape::Jwt => jwt_length(text.get(hit.start()..).unwrap_or_default())
                    .and_then(|length| length.checked_sub(hit.len())),
                Shape::Pem => private_key(rest),
            };
            if let Some(length) = length {
                at = hit.end() + length;
                last_end = at;
                return Some(hit.start()..at);
            }
        }
    })
}

/// The length of the leading run, if it is long enough. A PEM block that follows without a gap is left to its own rule.
fn run(rest: &str, least: usize, takes: fn(u8) -> bool) -> Option<usize> {
    let length = rest.bytes().position(|byte| !takes(byte)).unwrap_or(rest.len());
    // The mark of a block ends in a blank, which is in no alphabet: it can stand at the end of a run only.
    let dashes = PEM_BEGIN.trim_end();
    let begins = rest.get(..length)?.ends_with(dashes) && rest.get(length..)?.starts_with(' ');
    let length = if begins { length - dashes.len() } else { length };
    (least <= length).then_some(length)
}

/// The length of what belongs to a private key after `-----BEGIN `: up to its end line, and to the end of the text when
/// there is none, since what was cut off may have been in the middle.
fn private_key(rest: &str) -> Option<usize> {
    let window = rest.as_bytes().get(..rest.len().min(MAX_PEM_LABEL + 5)).unwrap_or_default();
    let label = rest.get(..memmem::find(window, b"-----")?)?;
    if !label.contains("PRIVATE KEY") {
        return None;
    }
    let end = format!("-----END {label}-----");
    Some(memmem::find(rest.as_bytes(), end.as_bytes()).map_or(rest.len(), |at| at + end.len()))
}

/// The length of a token at the start of a text: three parts, of which the last may be empty (RFC 7519, section 6).
fn jwt_length(text: &str) -> Option<usize> {
    let part = |from: usize| -> Option<usize> {
        let rest = text.as_bytes().get(from..)?;
        Some(from + rest.iter().position(|byte| !word(*byte)).unwrap_or(rest.len()))
    };
    let header = part(0).filter(|end| *end <= MAX_JWT_HEADER)?;
    let dot = |at: usize| (text.as_bytes().get(at) == Some(&b'.')).then_some(at + 1);
    let after_header = dot(header)?;
    let claims = part(after_header)?;
    let end = part(dot(claims)?)?;
    let header = crate::text::base64_bytes(text.get(..header)?.as_bytes());
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("alg")?.as_str()?;
    Some(end)
}

/// Whether a key is made of small words and dashes only, like `sk-assessment-of-the-quarter`.
fn reads_like_words(key: &str) -> bool {
    let small = |part: &str| part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    2 <= key.matches('-').count() && key.split('-').all(small)
}
