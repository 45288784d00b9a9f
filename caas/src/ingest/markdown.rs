//! Markdown: CommonMark with tables, footnotes, task lists and front matter.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::Value;

use super::draft::{Draft, Gaps, Outline};
use super::raw_html;
use super::removals::Removals;
use super::{IngestError, Limits};
use crate::model::{Block, BlockKind, Language, Removed};

/// Longest front matter that is read as such, in bytes.
const MAX_MATTER: usize = 64 << 10;

/// What a Markdown text says beside its blocks.
pub(super) struct Document {
    pub(super) blocks: Vec<Block>,
    pub(super) title: Option<String>,
}

/// What is no text of a document for its reader, as ranges of its source in ascending order.
pub(super) struct Unseen {
    pub(super) cuts: Vec<Range<usize>>,
    pub(super) removed: Vec<Removed>,
    pub(super) attributes: BTreeMap<String, Value>,
}

/// Finds front matter, comments, scripts and hidden elements.
pub(super) fn unseen(text: &str) -> Unseen {
    let (attributes, matter) = front_matter(text).unwrap_or_default();
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut removals = Removals::default();
    if 0 < matter {
        cuts.push(0..matter);
    }
    let body = text.get(matter..).unwrap_or_default();
    let pieces =
        Parser::new_ext(body, options()).into_offset_iter().filter_map(|(event, range)| match event {
            Event::Start(Tag::HtmlBlock) => Some((range, true)),
            Event::InlineHtml(_) => Some((range, false)),
            _ => None,
        });
    for (kind, range) in raw_html::unseen(body, pieces) {
        removals.add(kind, raw_html::said(body.get(range.clone()).unwrap_or_default(), kind).trim());
        cuts.push(range.start + matter..range.end + matter);
    }
    Unseen { cuts, removed: removals.into_list(), attributes }
}

/// The blocks of a Markdown text without front matter. Markup stays as it was written, so every block can be found in the
/// source.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Document, IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Paragraph), limits);
    let mut outline = Outline::default();
    let titled = is_titled(text);
    let (mut depth, mut title, mut heading) = (0usize, None, None::<String>);
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                depth += 1;
                limits.nesting(depth)?;
                match (depth, tag) {
                    (1, Tag::Heading { .. }) => heading = Some(String::new()),
                    (1, tag) => {
                        if let Some((kind, language)) = kind_of(&tag)
                            && let Some(block) = draft.push(kind, range, &outline.path())?
                        {
                            block.language = language;
                        }
                    }
                    (2, Tag::Item) => {
                        draft.push(BlockKind::ListItem, range, &outline.path())?;
                    }
                    _ => {}
                }
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if let TagEnd::Heading(level) = end
                    && depth == 0
                    && let Some(said) = heading.take()
                {
                    let level = number(level);
                    if titled && level == 1 {
                        draft.push(BlockKind::Title, range, &outline.path())?;
                        title = Some(said.split_whitespace().collect::<Vec<_>>().join(" "));
                    } else {
                        let above = outline.above(level);
                        draft.push(BlockKind::Heading(level), range, &above)?;
                        outline.enter(level, &said);
                        draft.enter(outline.path());
                    }
                }
            }
            Event::Text(said) | Event::Code(said) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&said);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(heading) = &mut heading {
                    heading.push(' ');
                }
            }
            _ => {}
        }
    }
    Ok(Document { blocks: draft.finish()?, title: title.filter(|title| !title.is_empty()) })
}

fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
}

/// Whether the only heading of the first level comes before all others: it is the title then, and no chapter.
fn is_titled(text: &str) -> bool {
    let mut levels = Parser::new_ext(text, options()).filter_map(|event| match event {
        Event::Start(Tag::Heading { level, .. }) => Some(number(level)),
        _ => None,
    });
    levels.next() == Some(1) && levels.all(|level| 1 < level)
}

const fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn kind_of(tag: &Tag<'_>) -> Option<(BlockKind, Option<Language>)> {
    Some(match tag {
        Tag::CodeBlock(CodeBlockKind::Fenced(info)) => {
            let word = info.split([' ', ',', '{', '\t']).next().unwrap_or_default();
            (BlockKind::Code, named_language(word))
        }
        Tag::CodeBlock(CodeBlockKind::Indented) => (BlockKind::Code, None),
        Tag::BlockQuote(_) => (BlockKind::Quote, None),
        Tag::Table(_) => (BlockKind::Table, None),
        Tag::Paragraph | Tag::HtmlBlock | Tag::FootnoteDefinition(_) => (BlockKind::Paragraph, None),
        // The items of a list are blocks.
        _ => return None,
    })
}

/// A language by the names that writers give it.
pub(super) fn named_language(word: &str) -> Option<Language> {
    Some(match word.to_ascii_lowercase().as_str() {
        "c" | "h" => Language::C,
        "cpp" | "c++" | "cxx" | "cc" | "hpp" => Language::Cpp,
        "go" | "golang" => Language::Go,
        "java" => Language::Java,
        "javascript" | "js" | "jsx" | "node" => Language::JavaScript,
        "python" | "py" | "python3" | "pycon" => Language::Python,
        "rust" | "rs" => Language::Rust,
        "typescript" | "ts" | "tsx" => Language::TypeScript,
        _ => return None,
    })
}

/// What stands between the rules at the very start, and where the text begins after it. What cannot be read as a mapping is
/// text like any other.
fn front_matter(text: &str) -> Option<(BTreeMap<String, Value>, usize)> {
    let (rule, toml) =
        [("---\n", false), ("+++\n", true)].into_iter().find(|(rule, _)| text.starts_with(rule))?;
    let rest = text.get(rule.len()..)?;
    let head = rest.get(..rest.len().min(MAX_MATTER)).or_else(|| {
        let end = (0..MAX_MATTER).rev().find(|at| rest.is_char_boundary(*at))?;
        rest.get(..end)
    })?;
    let (mut at, mut end) = (0, None);
    for line in head.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == rule.trim_end() || (!toml && bare == "...") {
            end = Some((at, at + line.len()));
            break;
        }
        at += line.len();
    }
    let (inner, after) = end?;
    let inner = head.get(..inner)?;
    let matter: BTreeMap<String, Value> =
        if toml { ::toml::from_str(inner).ok()? } else { serde_saphyr::from_str(inner).ok()? };
    Some((matter, rule.len() + after))
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(BlockKind, String, String)> {
        let document = parse(text, &Limits::DEFAULT).unwrap();
        document
            .blocks
            .iter()
            .map(|block| (block.kind, text[block.range.clone()].to_owned(), block.path.join(" > ")))
            .collect()
    }

    #[test]
    fn blocks_lie_beneath_their_headings() {
        let text = "intro\n\nPart *one*\n========\n\n- a\n- b\n\n  more\n\n### Deep `x`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\n# no heading\n```\n\n> said\n\n## Side\n\n[ref]: http://x\n\n# Last\ntext\n***\n";
        let seen = shown(text);
        let flat: Vec<_> =
            seen.iter().map(|(kind, text, path)| (*kind, text.as_str(), path.as_str())).collect();
        assert_eq!(
            flat,
            [
                (BlockKind::Paragraph, "intro", ""),
                (BlockKind::Heading(1), "Part *one*\n========", ""),
                (BlockKind::ListItem, "- a", "Part one"),
                (BlockKind::ListItem, "- b\n\n  more", "Part one"),
                (BlockKind::Heading(3), "### Deep `x`", "Part one"),
                (BlockKind::Table, "| a | b |\n|---|---|\n| 1 | 2 |", "Part one > Deep x"),
                (BlockKind::Code, "```rust\n# no heading\n```", "Part one > Deep x"),
                (BlockKind::Quote, "> said", "Part one > Deep x"),
                (BlockKind::Heading(2), "## Side", "Part one"),
                (BlockKind::Paragraph, "[ref]: http://x", "Part one > Side"),
                (BlockKind::Heading(1), "# Last", ""),
                (BlockKind::Paragraph, "text", "Last"),
                (BlockKind::Paragraph, "***", "Last"),
            ]
        );
    }

    #[test]
    fn the_only_first_heading_is_the_title() {
        let document = parse("# The *guide*\n\na\n\n## Part\n\nb\n", &Limits::DEFAULT).unwrap();
        assert_eq!(document.title.as_deref(), Some("The guide"));
        assert_eq!(document.blocks[0].kind, BlockKind::Title);
        assert_eq!(*document.blocks[3].path, ["Part".into()]);
    }

    #[test]
    fn front_matter_is_metadata() {
        for (text, title, rest) in [
            ("---\ntitle: A\ntags: [x, y]\n---\nbody\n", Some("A"), "body\n"),
            ("+++\ntitle = \"A\"\n+++\nbody\n", Some("A"), "body\n"),
            ("---\n\nnot a mapping\n\n---\nbody\n", None, "---\n\nnot a mapping\n\n---\nbody\n"),
            ("---\nno end", None, "---\nno end"),
        ] {
            let unseen = unseen(text);
            assert_eq!(unseen.attributes.get("title").and_then(Value::as_str), title, "{text}");
            assert_eq!(&text[unseen.cuts.first().map_or(0, |cut| cut.end)..], rest);
        }
    }

    #[test]
    fn what_a_reader_does_not_see_is_found() {
        let text = "Hi <!-- obey --> there.\n\n<!--\nline one\n\nline two\n-->\n\n<div style=\"display:none\">\n\ninner *text*\n\n</div>\n\n<script>\nx()\n</script>\n\n`<!-- code -->`\n\n<b>bold</b> <span hidden>gone <span>x</span></span> end\n";
        let unseen = unseen(text);
        let removed: Vec<_> = unseen.removed.iter().map(|one| one.text.as_str()).collect();
        assert_eq!(removed, ["obey", "line one\n\nline two", "inner *text*", "x()", "gone <span>x</span>"]);
        let mut rest = text.to_owned();
        for cut in unseen.cuts.into_iter().rev() {
            rest.replace_range(cut, "");
        }
        assert_eq!(
            rest.split_whitespace().collect::<Vec<_>>().join(" "),
            "Hi there. `<!-- code -->` <b>bold</b> end"
        );
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("{} x\n", "> ".repeat(1000));
        assert_eq!(parse(&deep, &Limits::DEFAULT).map(|_| ()).unwrap_err().code(), "AK0757");
    }
}
