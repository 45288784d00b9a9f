//! Names of tables and functions, compared part by part.

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

/// A name of one to four parts; in each part `*` stands for any run of characters, never for a dot.
///
/// An unquoted part of a name is compared without regard to case, a quoted one exactly as the policy spells it.
#[derive(Clone, Debug)]
pub(in crate::policy) struct NamePattern {
    parts: Box<[Part]>,
    folds: bool,
}

#[derive(Clone, Debug)]
struct Part {
    /// As written, split at the stars.
    exact: Box<[String]>,
    /// The same in lower case.
    folded: Box<[String]>,
}

impl NamePattern {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let parts: Vec<Part> = text
            .split('.')
            .map(|part| Part {
                exact: part.split('*').map(str::to_owned).collect(),
                folded: part.split('*').map(str::to_lowercase).collect(),
            })
            .collect();
        if text.split('.').any(str::is_empty) || 4 < parts.len() {
            return Err("a name has one to four parts, joined by dots");
        }
        if text.contains(['"', '`', '[', '\'', '?', '{', '(']) || text.contains(char::is_control) {
            return Err("write the name plainly, without quotes; the only wildcard is `*`");
        }
        Ok(Self { parts: parts.into(), folds: true })
    }

    /// Sets whether the case of unquoted parts is ignored.
    pub(super) fn folding(self, folds: bool) -> Self {
        Self { folds, ..self }
    }

    /// Whether the name has as many parts as the pattern and each matches. A computed part never does.
    pub(super) fn matches(&self, name: &ObjectName) -> bool {
        let part_matches = |(part, found): (&Part, &ObjectNamePart)| match found {
            ObjectNamePart::Identifier(ident) => part.matches(ident, self.folds),
            ObjectNamePart::Function(_) => false,
        };
        self.parts.len() == name.0.len() && self.parts.iter().zip(&name.0).all(part_matches)
    }

    /// Whether the pattern is this one word. Used for functions that the grammar has its own syntax for.
    pub(super) fn matches_word(&self, word: &str) -> bool {
        self.matches(&ObjectName(vec![ObjectNamePart::Identifier(Ident::new(word))]))
    }
}

impl Part {
    fn matches(&self, ident: &Ident, folds: bool) -> bool {
        match ident.quote_style {
            // Some databases read a string in the place of a table as the name of a file.
            Some('\'') => false,
            None if folds => wildcard(&self.folded, &ident.value.to_lowercase()),
            _ => wildcard(&self.exact, &ident.value),
        }
    }
}

/// Whether `text` is the pieces with anything in between. Taking each piece at its first place is enough, since only
/// the last one is tied to the end.
fn wildcard(pieces: &[String], text: &str) -> bool {
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some((last, middle)) = rest.split_last() else { return text == first };
    let Some(mut text) = text.strip_prefix(first.as_str()) else { return false };
    for piece in middle {
        match text.split_once(piece.as_str()) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    text.ends_with(last.as_str())
}
