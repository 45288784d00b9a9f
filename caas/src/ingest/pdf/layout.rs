//! From the lines of pages to a text with blocks.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::super::draft::Outline;
use super::super::{IngestError, Limits};
use super::page::{Line, PageLines, edges, shape};
use crate::model::{BlockKind, Path};

/// Lines at the top and at the bottom of a page that may be repeated on others.
const EDGE: usize = 3;
/// A line is repeated if it is on so many pages, and on this share of all.
const MIN_PAGES: usize = 3;
const MIN_SHARE: f64 = 0.6;
/// Letters so many times larger than those of the text make a heading.
const HEADING: f32 = 1.15;
/// Longest heading, in characters.
const MAX_HEADING: usize = 120;

pub(super) struct Span {
    pub(super) kind: BlockKind,
    pub(super) range: Range<usize>,
    pub(super) path: Path,
    pub(super) page: u32,
}

pub(super) struct Layout {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
}

/// Joins the lines of all pages: words that were parted at the end of a line are whole again, repeated headers and footers are
/// blocks of their own, and larger letters are headings.
pub(super) fn arrange(pages: &[PageLines], limits: &Limits) -> Result<Layout, IngestError> {
    let repeated = repeated(pages);
    let levels = levels(pages, &repeated);
    let hyphenated = hyphenated(pages);
    let mut layout = Layout { text: String::new(), spans: Vec::new() };
    let mut outline = Outline::default();
    for page in pages {
        let last = page.lines.len();
        let mut open: Option<(BlockKind, usize)> = None;
        for (at, line) in page.lines.iter().enumerate() {
            let edge = at < EDGE || last <= at + EDGE;
            let kind = if edge && repeated.contains(&shape(&line.text)) {
                BlockKind::Repeated
            } else {
                level(line, &levels).map_or(BlockKind::Paragraph, BlockKind::Heading)
            };
            if let Some((before, start)) = open
                && (before != kind || line.apart)
            {
                layout.close(before, start, page.number, &mut outline);
                open = None;
            }
            match open {
                Some(_) => layout.join(&line.text, &hyphenated),
                None => {
                    open = Some((kind, layout.text.len()));
                    layout.text.push_str(&line.text);
                }
            }
        }
        if let Some((kind, start)) = open {
            layout.close(kind, start, page.number, &mut outline);
        }
        limits.text(layout.text.len())?;
    }
    Ok(layout)
}

impl Layout {
    fn close(&mut self, kind: BlockKind, start: usize, page: u32, outline: &mut Outline) {
        let range = start..self.text.len();
        let path = match kind {
            BlockKind::Heading(level) => {
                let above = outline.above(level);
                outline.enter(level, self.text.get(range.clone()).unwrap_or_default());
                above
            }
            _ => outline.path(),
        };
        self.spans.push(Span { kind, range, path, page });
        self.text.push_str("\n\n");
    }

    /// Adds a line to the block that is open.
    fn join(&mut self, line: &str, hyphenated: &HashSet<String>) {
        if let Some(word) = parted(&self.text, line) {
            if !hyphenated.contains(&word) {
                self.text.pop();
            }
            self.text.push_str(line);
            return;
        }
        self.text.push('\n');
        self.text.push_str(line);
    }
}

/// The word with its hyphen, if a text ends in the first part of one and the next line goes on with it.
fn parted(text: &str, next: &str) -> Option<String> {
    let front = text.strip_suffix(['-', '\u{ad}', '\u{2010}'])?;
    let first = front.rsplit(|char: char| !char.is_alphabetic()).next().filter(|part| !part.is_empty())?;
    let second = next.split(|char: char| !char.is_alphabetic()).next()?;
    let goes_on = second.starts_with(char::is_lowercase) && first.ends_with(char::is_lowercase);
    goes_on.then(|| format!("{first}-{second}").to_lowercase())
}

/// Words that are written with a hyphen in the middle of a line: they keep it at the end of one.
fn hyphenated(pages: &[PageLines]) -> HashSet<String> {
    let words = pages.iter().flat_map(|page| &page.lines).flat_map(|line| line.text.split_whitespace());
    words
        .map(|word| word.trim_matches(|char: char| !char.is_alphabetic()).to_lowercase())
        .filter(|word| word.contains('-'))
        .collect()
}

fn repeated(pages: &[PageLines]) -> HashSet<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for page in pages {
        for line in edges(page, EDGE).into_keys() {
            *counts.entry(line).or_default() += 1;
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "pages"
    )]
    let most = (pages.len() as f64 * MIN_SHARE).ceil() as usize;
    counts.retain(|_, count| MIN_PAGES.max(most) <= *count);
    counts.into_keys().collect()
}

/// The sizes of headings, largest first.
fn levels(pages: &[PageLines], repeated: &HashSet<String>) -> Vec<u32> {
    let mut letters: BTreeMap<u32, usize> = BTreeMap::new();
    let lines =
        || pages.iter().flat_map(|page| &page.lines).filter(|line| !repeated.contains(&shape(&line.text)));
    for line in lines() {
        *letters.entry(halves(line.size)).or_default() += line.text.len();
    }
    let body = letters.iter().max_by_key(|(_, count)| **count).map_or(0, |(size, _)| *size);
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let least = body as f32 * HEADING;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let mut sizes: Vec<u32> = lines()
        .filter(|line| line.text.chars().count() <= MAX_HEADING && line.text.chars().any(char::is_alphabetic))
        .map(|line| halves(line.size))
        .filter(|size| least <= *size as f32)
        .collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes.dedup();
    sizes
}

fn level(line: &Line, levels: &[u32]) -> Option<u8> {
    let short = line.text.chars().count() <= MAX_HEADING && line.text.chars().any(char::is_alphabetic);
    let at = levels.iter().position(|size| *size == halves(line.size)).filter(|_| short)?;
    Some(u8::try_from(at + 1).unwrap_or(6).min(6))
}

/// A size in half points.
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a size is positive and small")]
fn halves(size: f32) -> u32 {
    (size * 2.0).round().clamp(0.0, 10_000.0) as u32
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn page(number: u32, lines: &[(&str, f32, bool)]) -> PageLines {
        let lines =
            lines.iter().map(|(text, size, apart)| Line { text: (*text).into(), size: *size, apart: *apart });
        PageLines { number, lines: lines.collect() }
    }

    fn shown(layout: &Layout) -> Vec<(BlockKind, &str, u32, String)> {
        layout
            .spans
            .iter()
            .map(|span| (span.kind, &layout.text[span.range.clone()], span.page, span.path.join(" > ")))
            .collect()
    }

    #[test]
    fn headers_and_footers_are_told_from_text() {
        let pages: Vec<PageLines> = (1..=4)
            .map(|number| {
                let footer = format!("Page {number} of 4");
                let body =
                    ["The first text", "The second text", "Some third", "A fourth"][number as usize - 1];
                page(number, &[("ACME manual", 9.0, true), (body, 10.0, true), (&footer, 9.0, true)])
            })
            .collect();
        let layout = arrange(&pages, &Limits::DEFAULT).unwrap();
        let kinds: Vec<BlockKind> = layout.spans.iter().map(|span| span.kind).collect();
        assert_eq!(kinds, [BlockKind::Repeated, BlockKind::Paragraph, BlockKind::Repeated].repeat(4));
        let two = arrange(&pages[..2], &Limits::DEFAULT).unwrap();
        assert!(two.spans.iter().all(|span| span.kind != BlockKind::Repeated));
    }

    #[test]
    fn parted_words_are_whole_again_and_larger_letters_are_headings() {
        let pages = [page(
            1,
            &[
                ("Chapter", 18.0, true),
                ("An exam-", 10.0, true),
                ("ple of a well-", 10.0, false),
                ("known thing, well-known to all.", 10.0, false),
                ("Section", 14.0, true),
                ("Next A-", 10.0, true),
                ("Z", 10.0, false),
            ],
        )];
        let layout = arrange(&pages, &Limits::DEFAULT).unwrap();
        assert_eq!(
            shown(&layout),
            [
                (BlockKind::Heading(1), "Chapter", 1, String::new()),
                (
                    BlockKind::Paragraph,
                    "An example of a well-known thing, well-known to all.",
                    1,
                    "Chapter".to_owned()
                ),
                (BlockKind::Heading(2), "Section", 1, "Chapter".to_owned()),
                (BlockKind::Paragraph, "Next A-\nZ", 1, "Chapter > Section".to_owned()),
            ]
        );
    }
}
