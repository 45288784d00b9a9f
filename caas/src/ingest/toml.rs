//! TOML: an entry with its comments is a record beneath its table.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, Gaps};
use super::json::{quality, rest};
use super::{IngestError, Limits};
use crate::model::{Block, BlockKind, Path};

/// Records up to this many bytes are joined while they lie in one table.
const TARGET: usize = 1024;

/// Records of a TOML text, and the part of it that is TOML: all or nothing, since a table may be continued anywhere.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<(Vec<Block>, f32), IngestError> {
    let mut draft = Draft::new(text, Gaps::Next, limits);
    let Ok(table) = DeTable::parse(text) else {
        rest(&mut draft, text, 0)?;
        return Ok((draft.finish()?, 0.0));
    };
    let mut entries = Vec::new();
    collect(table.get_ref(), &Vec::new(), 0, limits, &mut entries)?;
    entries.sort_by_key(|(range, _)| range.start);
    let mut open: Option<(Range<usize>, Path)> = None;
    for (range, path) in entries {
        if let Some((last, above)) = &mut open
            && *above == path
            && range.end.saturating_sub(last.start) <= TARGET
        {
            last.end = range.end;
            continue;
        }
        if let Some((last, above)) = open.replace((range, path)) {
            draft.push(BlockKind::Record, last, &above)?;
        }
    }
    if let Some((last, above)) = open {
        draft.push(BlockKind::Record, last, &above)?;
    }
    Ok((draft.finish()?, quality(text.len(), text)))
}

/// Whether a text is TOML as a whole, with a key at least.
pub(super) fn is_toml(text: &str) -> bool {
    text.contains('=') && DeTable::parse(text).is_ok_and(|table| !table.get_ref().is_empty())
}

/// The entries of a table and of all beneath it. The parser bounds how deep that is, and the limit bounds it again.
fn collect(
    table: &DeTable<'_>,
    above: &[Arc<str>],
    depth: usize,
    limits: &Limits,
    entries: &mut Vec<(Range<usize>, Path)>,
) -> Result<(), IngestError> {
    limits.nesting(depth)?;
    for (key, value) in table {
        let mut path = above.to_vec();
        path.push(key.get_ref().as_ref().into());
        match value.get_ref() {
            DeValue::Table(inner) if is_opened(key, value) => {
                collect(inner, &path, depth + 1, limits, entries)?;
            }
            DeValue::Array(tables) if tables_only(tables) && is_opened(key, value) => {
                for one in tables {
                    if let DeValue::Table(inner) = one.get_ref() {
                        collect(inner, &path, depth + 1, limits, entries)?;
                    }
                }
            }
            _ => entries.push((key.span().start..value.span().end, above.into())),
        }
    }
    Ok(())
}

/// Whether a table has a header of its own, or is spelled by dots; one in braces is a value like any other.
fn is_opened(key: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'_>>) -> bool {
    value.span().start <= key.span().start
}

fn tables_only(values: &[Spanned<DeValue<'_>>]) -> bool {
    !values.is_empty() && values.iter().all(|value| matches!(value.get_ref(), DeValue::Table(_)))
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn entries_lie_beneath_their_tables() {
        let text = "# all\nname = \"x\"\n\n[dependencies]\n# a comment\nserde = { version = \"1\", features = [\"a\"] }\ntext = \"\"\"\n[not.a.table]\n\"\"\"\n\n[[bin]]\nname = \"b\"\n[bin.extra]\na.b = 1\n";
        let (blocks, quality) = parse(text, &Limits::DEFAULT).unwrap();
        let seen: Vec<_> =
            blocks.iter().map(|block| (block.path.join("/"), &text[block.range.clone()])).collect();
        assert_eq!(
            seen,
            [
                (String::new(), "# all\nname = \"x\""),
                (
                    "dependencies".into(),
                    "[dependencies]\n# a comment\nserde = { version = \"1\", features = [\"a\"] }\ntext = \"\"\"\n[not.a.table]\n\"\"\""
                ),
                ("bin".into(), "[[bin]]\nname = \"b\""),
                ("bin/extra/a".into(), "[bin.extra]\na.b = 1"),
            ]
        );
        assert!((quality - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn what_is_no_toml_is_kept() {
        let (blocks, quality) = parse("a = 1\na = 2\n\nb = 3\n", &Limits::DEFAULT).unwrap();
        assert_eq!((blocks.len(), quality), (2, 0.0));
        assert!(is_toml("a = 1\n") && !is_toml("a = b = c") && !is_toml("words"));
    }
}
