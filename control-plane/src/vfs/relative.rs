//! Paths inside one backend.

use std::fmt;

use super::path::{BadPath, MAX_PATH_BYTES, VfsPath, check_segments};

/// A path relative to the root of a backend.
///
/// INVARIANT: what [`VfsPath`] promises, without the leading slash. The empty path is the backend's root. Borrowed from
/// the path of the call, so handing it on costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath<'a>(&'a str);

impl<'a> RelPath<'a> {
    /// Parses `text`; nothing is repaired.
    ///
    /// # Errors
    /// [`BadPath`] says which part of the invariant does not hold.
    pub fn parse(text: &'a str) -> Result<Self, BadPath> {
        if MAX_PATH_BYTES < text.len() {
            return Err(BadPath::TooLong);
        }
        check_segments(text)?;
        Ok(Self(text))
    }

    /// What is left of `path` below `point`; `None` when it lies elsewhere.
    pub(super) fn below(path: &'a VfsPath, point: &VfsPath) -> Option<Self> {
        path.below(point).map(Self)
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// Whether this is the root of the backend.
    #[must_use]
    pub fn is_root(self) -> bool {
        self.0.is_empty()
    }

    /// The segments from the root down; none for the root itself.
    #[must_use]
    pub fn segments(self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// The directory the path lies in, and its name there; `None` for the root.
    #[must_use]
    pub fn split_name(self) -> Option<(Self, &'a str)> {
        if self.is_root() {
            return None;
        }
        Some(self.0.rsplit_once('/').map_or((Self(""), self.0), |(parent, name)| (Self(parent), name)))
    }
}

impl fmt::Display for RelPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for RelPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_keeps_the_invariant_of_an_absolute_one() {
        for (text, expected) in [
            ("", Ok(())),
            ("a/b", Ok(())),
            ("/a", Err(BadPath::NotNormalised)),
            ("a/", Err(BadPath::NotNormalised)),
            ("../a", Err(BadPath::NotNormalised)),
            ("a\nb", Err(BadPath::Unclean)),
        ] {
            assert_eq!(RelPath::parse(text).map(drop), expected, "{text:?}");
        }
    }

    #[test]
    fn the_name_is_what_follows_the_last_slash() {
        let split =
            |text| RelPath::parse(text).unwrap().split_name().map(|(parent, name)| (parent.as_str(), name));
        assert_eq!(split("a/b/c"), Some(("a/b", "c")));
        assert_eq!(split("c"), Some(("", "c")));
        assert_eq!(split(""), None);
    }
}
