//! Plain text: paragraphs, and the headings that a text without markup can have.

use std::ops::Range;

use super::draft::{Draft, Gaps, Outline, lines};
use super::{IngestError, Limits};
use crate::model::{Block, BlockKind};

/// Longest line that is a heading, in characters.
const MAX_HEADING: usize = 80;

/// Blocks of a plain text. Blank lines part paragraphs. A heading stands alone and is underlined, numbered in levels, or in
/// capitals; nothing else is one, whatever it says.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Vec<Block>, IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Paragraph), limits);
    let mut outline = Outline::default();
    for group in paragraphs(text) {
        let body = draft.slice(group.clone());
        match heading(body) {
            Some((level, title)) => {
                let above = outline.above(level);
                draft.push(BlockKind::Heading(level), group, &above)?;
                outline.enter(level, title);
            }
            None => {
                draft.push(BlockKind::Paragraph, group, &outline.path())?;
            }
        }
    }
    draft.finish()
}

/// Runs of lines that are not blank. A page feed ends one too.
pub(super) fn paragraphs(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut open: Option<Range<usize>> = None;
    lines(text).map(Some).chain([None]).filter_map(move |line| match line {
        Some((range, line)) if !line.trim().is_empty() => {
            if line.starts_with('\x0c') {
                return open.replace(range);
            }
            let start = open.as_ref().map_or(range.start, |open| open.start);
            open = Some(start..range.end);
            None
        }
        _ => open.take(),
    })
}

fn heading(group: &str) -> Option<(u8, &str)> {
    let mut lines = group.trim_matches('\x0c').lines();
    let title = lines.next()?.trim();
    if title.is_empty() || MAX_HEADING < title.chars().count() || title.ends_with(['.', ',', ';', '!', '?']) {
        return None;
    }
    match (lines.next().map(str::trim), lines.next()) {
        (Some(rule), None) if 3 <= rule.len() && rule.bytes().all(|byte| byte == b'=') => Some((1, title)),
        (Some(rule), None) if 3 <= rule.len() && rule.bytes().all(|byte| byte == b'-') => Some((2, title)),
        (None, None) => numbered(title).or_else(|| capitals(title)).map(|level| (level, title)),
        _ => None,
    }
}

/// `2.1 Terms` is a heading of the second level.
fn numbered(title: &str) -> Option<u8> {
    let (number, words) = title.split_once(' ')?;
    let parts: Vec<&str> = number.trim_end_matches('.').split('.').collect();
    let numbers =
        parts.iter().all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
    let named = words.trim_start().starts_with(char::is_uppercase) && words.split_whitespace().count() <= 10;
    (numbers && named && parts.len() <= 6).then(|| u8::try_from(parts.len()).unwrap_or(6))
}

fn capitals(title: &str) -> Option<u8> {
    let letters = title.chars().filter(|char| char.is_alphabetic()).count();
    let upper = title.chars().filter(|char| char.is_uppercase()).count();
    (4 <= letters && letters == upper).then_some(1)
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn headings_are_told_by_form() {
        let text = "Intro text.\n\nGUIDE\n\nFirst.\n\n2. Terms\n\nMore,\nand more.\n\n2.1 Fees\n\nTen.\n\nNotes\n=====\n\nx\n\nNOTE: a sentence, in part.\n";
        let blocks = parse(text, &Limits::DEFAULT).unwrap();
        let seen: Vec<_> = blocks
            .iter()
            .map(|block| (block.kind, &text[block.range.clone()], block.path.join(" > ")))
            .collect();
        let paragraph = BlockKind::Paragraph;
        assert_eq!(
            seen,
            [
                (paragraph, "Intro text.", String::new()),
                (BlockKind::Heading(1), "GUIDE", String::new()),
                (paragraph, "First.", "GUIDE".into()),
                (BlockKind::Heading(1), "2. Terms", String::new()),
                (paragraph, "More,\nand more.", "2. Terms".into()),
                (BlockKind::Heading(2), "2.1 Fees", "2. Terms".into()),
                (paragraph, "Ten.", "2. Terms > 2.1 Fees".into()),
                (BlockKind::Heading(1), "Notes\n=====", String::new()),
                (paragraph, "x", "Notes".into()),
                (paragraph, "NOTE: a sentence, in part.", "Notes".into()),
            ]
        );
    }
}
