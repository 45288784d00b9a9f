//! YAML: entries by the parser's own events, so that aliases are never expanded.

use serde_saphyr::granit_parser::{Event, Parser};

use super::draft::{Draft, Gaps};
use super::json::{quality, rest};
use super::records::{Name, Records};
use super::{IngestError, Limits};
use crate::model::Block;

/// Records of a YAML text, and the part of it that is YAML, 0 to 1. What follows an error is kept by its paragraphs.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<(Vec<Block>, f32), IngestError> {
    let mut draft = Draft::new(text, Gaps::Next, limits);
    let mut records = Records::new(limits);
    let seen = follow(text, &mut records)?;
    records.finish(seen.end, &mut draft)?;
    rest(&mut draft, text, seen.end)?;
    Ok((draft.finish()?, quality(seen.end, text)))
}

/// Whether a text is YAML as a whole and more than a word.
pub(super) fn is_mapping(text: &str, limits: &Limits) -> bool {
    follow(text, &mut Records::new(limits))
        .is_ok_and(|seen| seen.mapping && text.trim_end().len() <= seen.end)
}

struct Seen {
    /// Where the parser stopped.
    end: usize,
    /// Whether the first node is a mapping.
    mapping: bool,
}

/// What an open container expects.
enum Open {
    Sequence(usize),
    Key,
    /// A value, after a key that began here.
    Value(usize, String),
    /// A container that is a key; it has no name to show.
    KeyContainer,
}

fn follow(text: &str, records: &mut Records<'_>) -> Result<Seen, IngestError> {
    let mut open: Vec<Open> = Vec::new();
    let mut seen = Seen { end: 0, mapping: false };
    let mut first = true;
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { return Ok(seen) };
        let Some(range) = span.byte_range() else { return Ok(seen) };
        match event {
            Event::Scalar(value, ..) => {
                let (name, start) = step(&mut open, range.start, Some(&value));
                if name.is_some() {
                    records.leaf(start..range.end);
                }
                first = false;
            }
            Event::Alias(..) => {
                let (name, start) = step(&mut open, range.start, None);
                if name.is_some() {
                    records.leaf(start..range.end);
                }
                first = false;
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                let (name, start) = step(&mut open, range.start, None);
                records.open(name.unwrap_or(Name::Root), start)?;
                let mapping = matches!(event, Event::MappingStart(..));
                seen.mapping |= first && mapping;
                first = false;
                open.push(if mapping { Open::Key } else { Open::Sequence(0) });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                records.close(range.end);
                if let Some(Open::KeyContainer) = open.last() {
                    open.pop();
                    open.push(Open::Value(range.start, String::new()));
                }
            }
            Event::StreamEnd => {
                seen.end = text.len();
                return Ok(seen);
            }
            _ => {}
        }
        seen.end = seen.end.max(range.end);
    }
    Ok(seen)
}

/// Goes one node further in the innermost container: its name if it is a value, and where it begins, its key included.
fn step(open: &mut [Open], start: usize, value: Option<&str>) -> (Option<Name>, usize) {
    let Some(last) = open.last_mut() else { return (Some(Name::Root), start) };
    match last {
        Open::Sequence(index) => {
            *index += 1;
            (Some(Name::Index(*index - 1)), start)
        }
        Open::Key => {
            *last = match value {
                Some(key) => Open::Value(start, key.to_owned()),
                None => Open::KeyContainer,
            };
            (None, start)
        }
        Open::Value(key_start, key) => {
            let (name, start) = (Name::Key(std::mem::take(key)), *key_start);
            *last = Open::Key;
            (Some(name), start)
        }
        Open::KeyContainer => (None, start),
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn shown(text: &str) -> (Vec<(String, String)>, f32) {
        let (blocks, quality) = parse(text, &Limits::DEFAULT).unwrap();
        let blocks = blocks.iter().map(|block| (block.path.join("/"), text[block.range.clone()].to_owned()));
        (blocks.collect(), quality)
    }

    #[test]
    fn large_mappings_are_taken_apart_by_their_keys() {
        let long = "word ".repeat(250);
        let text = format!(
            "# top\nserver:\n  # the name\n  name: {long}\n  ports:\n    - 80\n    - 443\nmotd: {long}\n"
        );
        let (blocks, quality) = shown(&text);
        let paths: Vec<&str> = blocks.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["server", "server", ""]);
        assert!(blocks[0].1.starts_with("# top\nserver:"), "{}", blocks[0].1);
        assert!(blocks.last().unwrap().1.starts_with("motd: word"));
        assert!((quality - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn aliases_are_not_expanded() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for at in 1..40 {
            let last = format!("*a{}, ", at - 1).repeat(9);
            text.push_str(&format!("a{at}: &a{at} [{}]\n", last.trim_end_matches(", ")));
        }
        let (blocks, quality) = shown(&text);
        assert!(blocks.len() < 10 && (quality - 1.0).abs() < f32::EPSILON, "{} {quality}", blocks.len());
        assert!(is_mapping(&text, &Limits::DEFAULT));
        assert!(!is_mapping("just words", &Limits::DEFAULT));
    }

    #[test]
    fn what_follows_an_error_is_kept() {
        let text = "a: 1\nb: [1, 2\nc: }\n\nmore text here\n";
        let (blocks, quality) = shown(text);
        let all: String = blocks.into_iter().map(|(_, text)| text).collect();
        assert_eq!(all.split_whitespace().collect::<String>(), text.split_whitespace().collect::<String>());
        assert!(0.0 < quality && quality < 0.9, "{quality}");
    }
}
