//! Paths inside an agent's tree.

use std::fmt;
use std::sync::Arc;

use agent_primitives::AgentId;
use unicode_normalization::is_nfc;

use super::RelPath;

/// Longest path in bytes, as `PATH_MAX` on Linux.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most segments of a path.
pub const MAX_SEGMENTS: usize = 64;
/// Longest segment in bytes, as `NAME_MAX` on Linux.
pub const MAX_SEGMENT_BYTES: usize = 255;

/// An absolute, normalised path.
///
/// INVARIANT: starts with `/`, has no empty, `.` or `..` segment, none that begins with `?`, and no slash at the end (but for the root itself), is
/// in Unicode normalisation form C, holds no control, bidirectional or other invisible formatting character, and keeps
/// within [`MAX_PATH_BYTES`], [`MAX_SEGMENTS`] and [`MAX_SEGMENT_BYTES`]. One file therefore has one spelling, and
/// whoever holds a `VfsPath` need not look again. Cloning is a reference count.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VfsPath(Arc<str>);

/// Why a text is not a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPath {
    /// Does not start with `/`.
    #[error("the path is not absolute")]
    NotAbsolute,
    /// Exceeds a limit on bytes or segments.
    #[error("the path is too long")]
    TooLong,
    /// Holds an empty, `.` or `..` segment, or ends with a slash.
    #[error("the path is not normalised: empty, `.` and `..` segments are refused")]
    NotNormalised,
    /// A segment begins with `?`, which is what a query begins with; or the query is none.
    #[error(
        "what follows `/?` is not a query: `q=` and words, percent-encoded, then `&k=` and a number up to 100 if need be"
    )]
    Query,
    /// Holds a character that would let two paths look alike.
    #[error("the path holds a control or invisible character, or is not in normalisation form C")]
    Unclean,
}

impl VfsPath {
    /// Parses `text`; nothing is repaired.
    ///
    /// # Errors
    /// [`BadPath`] says which part of the invariant does not hold.
    pub fn parse(text: &str) -> Result<Self, BadPath> {
        let rest = text.strip_prefix('/').ok_or(BadPath::NotAbsolute)?;
        if MAX_PATH_BYTES < text.len() {
            return Err(BadPath::TooLong);
        }
        check_segments(rest)?;
        Ok(Self(text.into()))
    }

    /// The root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments from the root down; none for the root itself.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The last segment; `None` for the root.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.segments().next_back()
    }

    /// What is left of the path below `base`, without a leading slash; empty when the two are equal. `None` when the
    /// path is not at or below `base`, so `/policyfoo` is not below `/policy`.
    #[must_use]
    pub fn below(&self, base: &Self) -> Option<&str> {
        if &*base.0 == "/" {
            return self.0.strip_prefix('/');
        }
        let rest = self.0.strip_prefix(&*base.0)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The path `below` this one.
    ///
    /// # Errors
    /// [`BadPath::TooLong`] when the two are, together.
    pub(super) fn join(&self, below: RelPath<'_>) -> Result<Self, BadPath> {
        if below.is_root() {
            return Ok(self.clone());
        }
        Self::parse(&format!("{}/{below}", self.0.trim_end_matches('/')))
    }

    /// Turns `/agent/<id>/…` into the view of the agent whose root that is.
    ///
    /// `Ok` holds the path as that agent sees it: its own tree without the prefix, any path outside `/agent`
    /// unchanged. `Err` means the path lies in somebody else's tree, or names none.
    pub(crate) fn seen_by(&self, agent: &AgentId) -> Result<Self, OtherTree> {
        let mut segments = self.segments();
        if segments.next() != Some("agent") {
            return Ok(self.clone());
        }
        if segments.next() != Some(agent.as_str()) {
            return Err(OtherTree);
        }
        let rest: Vec<&str> = segments.collect();
        Ok(Self(format!("/{}", rest.join("/")).into()))
    }
}

/// The path lies under `/agent` but not in the caller's own tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OtherTree;

/// Holds a path without its leading slash against the invariant of [`VfsPath`]; the empty text is the root.
pub(super) fn check_segments(text: &str) -> Result<(), BadPath> {
    if !text.is_ascii() && (!is_nfc(text) || text.chars().any(invisible)) {
        return Err(BadPath::Unclean);
    }
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(BadPath::Unclean);
    }
    if text.is_empty() {
        return Ok(());
    }
    let mut segments = 0;
    for segment in text.split('/') {
        segments += 1;
        if matches!(segment, "" | "." | "..") {
            return Err(BadPath::NotNormalised);
        }
        if segment.starts_with('?') {
            return Err(BadPath::Query);
        }
        if MAX_SEGMENT_BYTES < segment.len() || MAX_SEGMENTS < segments {
            return Err(BadPath::TooLong);
        }
    }
    Ok(())
}

/// Characters that show nothing, or change how their neighbours show.
fn invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{AD}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{180E}' | '\u{3164}' | '\u{FFA0}' | '\u{FEFF}'
            | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FE00}'..='\u{FE0F}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
}

impl fmt::Display for VfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl std::str::FromStr for VfsPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_one_spelling_of_a_path_parses() {
        let long_segment = format!("/{}", "a".repeat(256));
        let long_path = "/a".repeat(2049);
        let many = "/a".repeat(65);
        let cases: &[(&str, Result<(), BadPath>)] = &[
            ("/", Ok(())),
            ("/mem/working/a.txt", Ok(())),
            ("/mem/caf\u{e9}", Ok(())),
            ("", Err(BadPath::NotAbsolute)),
            ("mem", Err(BadPath::NotAbsolute)),
            ("/mem/", Err(BadPath::NotNormalised)),
            ("//mem", Err(BadPath::NotNormalised)),
            ("/mem/../policy", Err(BadPath::NotNormalised)),
            ("/./mem", Err(BadPath::NotNormalised)),
            ("/mem/a?", Ok(())),
            ("/mem/?", Err(BadPath::Query)),
            ("/mem/?q=a", Err(BadPath::Query)),
            ("/mem/?q/a", Err(BadPath::Query)),
            ("/mem\0", Err(BadPath::Unclean)),
            ("/mem\n", Err(BadPath::Unclean)),
            ("/cafe\u{301}", Err(BadPath::Unclean)),
            ("/a\u{202e}b", Err(BadPath::Unclean)),
            ("/a\u{200b}", Err(BadPath::Unclean)),
            (&long_segment, Err(BadPath::TooLong)),
            (&long_path, Err(BadPath::TooLong)),
            (&many, Err(BadPath::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(VfsPath::parse(text).map(drop), *expected, "{text:?}");
        }
    }

    #[test]
    fn below_respects_segment_borders() {
        let path = |text| VfsPath::parse(text).unwrap();
        assert_eq!(path("/policy/active.json").below(&path("/policy")), Some("active.json"));
        assert_eq!(path("/policy").below(&path("/policy")), Some(""));
        assert_eq!(path("/policyfoo").below(&path("/policy")), None);
        assert_eq!(path("/a/b").below(&VfsPath::root()), Some("a/b"));
    }

    #[test]
    fn an_agent_sees_its_own_tree_as_the_root_and_no_other() {
        let me: AgentId = "w".parse().unwrap();
        let seen = |text: &str| VfsPath::parse(text).unwrap().seen_by(&me).map(|path| path.to_string());
        assert_eq!(seen("/agent/w/mem/a"), Ok("/mem/a".to_owned()));
        assert_eq!(seen("/agent/w"), Ok("/".to_owned()));
        assert_eq!(seen("/mem/a"), Ok("/mem/a".to_owned()));
        assert_eq!(seen("/agent/v/mem/a"), Err(OtherTree));
        assert_eq!(seen("/agent"), Err(OtherTree));
    }

    proptest! {
        #[test]
        fn parsing_round_trips_and_never_lets_a_dot_dot_through(text in "[/a.\u{e9}\u{200b}-]{0,24}") {
            if let Ok(path) = VfsPath::parse(&text) {
                prop_assert_eq!(path.as_str(), &text);
                prop_assert!(path.segments().all(|segment| segment != ".." && segment != "."));
            }
        }
    }
}
