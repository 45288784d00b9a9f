//! Tables of separated values.

use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};

use super::draft::{Draft, Gaps};
use super::{IngestError, Limits};
use crate::model::{Block, BlockKind, Path};

/// Rows up to this many bytes share a block.
const TARGET: usize = 1024;
/// Most rows that the separator is told from.
const SAMPLE: usize = 20;
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// Blocks of a table: its header, and its rows beneath the header's text, so that a row found by itself says what its fields
/// are. The quality is the share of rows with as many fields as the first.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<(Vec<Block>, f32), IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Record), limits);
    let separator = separator(text).unwrap_or_else(|| most(text));
    let mut reader = reader(text, separator);
    let (mut record, mut path) = (StringRecord::new(), Arc::new([]) as Path);
    let mut open: Option<Range<usize>> = None;
    let (mut fields, mut rows, mut even) = (0, 0u32, 0u32);
    let mut at = 0;
    // A decoded text has no bytes that the reader could refuse, and rows may have any number of fields.
    while reader.read_record(&mut record).unwrap_or(false) {
        let range = at..usize::try_from(reader.position().byte()).unwrap_or(text.len()).min(text.len());
        at = range.end;
        rows += 1;
        if rows == 1 {
            fields = record.len();
            if is_header(&record) {
                draft.push(BlockKind::Table, range, &path)?;
                path = Arc::new([header(&record)]);
                even += 1;
                continue;
            }
        }
        even += u32::from(record.len() == fields);
        match &mut open {
            Some(open) if range.end - open.start <= TARGET => open.end = range.end,
            _ => {
                if let Some(done) = open.replace(range) {
                    draft.push(BlockKind::Record, done, &path)?;
                }
            }
        }
    }
    if let Some(done) = open {
        draft.push(BlockKind::Record, done, &path)?;
    }
    let quality = if rows == 0 { 0.0 } else { f64::from(even) / f64::from(rows) };
    #[expect(clippy::cast_possible_truncation, reason = "a share")]
    Ok((draft.finish()?, quality as f32))
}

/// Whether the first rows have the same number of fields, three at least.
pub(super) fn is_table(text: &str) -> bool {
    separator(text).is_some()
}

/// The separator that parts the first rows into most fields, the same number in each.
fn separator(text: &str) -> Option<u8> {
    let counts = SEPARATORS.into_iter().filter_map(|separator| {
        let mut counts = Vec::new();
        let mut reader = reader(text, separator);
        let mut record = StringRecord::new();
        while counts.len() < SAMPLE && reader.read_record(&mut record).unwrap_or(false) {
            counts.push(record.len());
        }
        let first = *counts.first()?;
        let even = 3 <= counts.len() && counts.iter().all(|count| *count == first);
        (even && 3 <= first || even && first == 2 && separator != b',').then_some((first, separator))
    });
    // Of two that part alike, the one that comes first in the list.
    counts
        .fold(None, |best: Option<(usize, u8)>, one| match best {
            Some(best) if one.0 <= best.0 => Some(best),
            _ => Some(one),
        })
        .map(|(_, separator)| separator)
}

/// The separator that the first row has most of.
fn most(text: &str) -> u8 {
    let fields = |separator: u8| {
        let mut record = StringRecord::new();
        let read = reader(text, separator).read_record(&mut record);
        read.map_or(0, |_| record.len())
    };
    // Of two with as many, the one that comes first in the list.
    SEPARATORS.into_iter().rev().max_by_key(|separator| fields(*separator)).unwrap_or(b',')
}

fn reader(text: &str, separator: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().has_headers(false).flexible(true).delimiter(separator).from_reader(text.as_bytes())
}

/// Names, not values: none is empty, a number, or there twice.
fn is_header(record: &StringRecord) -> bool {
    let mut names: Vec<&str> = record.iter().map(str::trim).collect();
    let named =
        names.iter().all(|name| !name.is_empty() && name.parse::<f64>().is_err() && name.len() <= 100);
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    named && 1 < count && names.len() == count
}

fn header(record: &StringRecord) -> Arc<str> {
    let names: Vec<&str> = record.iter().map(str::trim).collect();
    names.join(", ").chars().take(200).collect::<String>().into()
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_beneath_their_header() {
        let long = "z".repeat(700);
        let text = format!("id;name;note\n1;\"A;\nB\";{long}\n2;C;{long}\n3;D\n");
        let (blocks, quality) = parse(&text, &Limits::DEFAULT).unwrap();
        let seen: Vec<_> = blocks.iter().map(|block| (block.kind, block.path.join("/"))).collect();
        let row = (BlockKind::Record, "id, name, note".to_owned());
        assert_eq!(seen, [(BlockKind::Table, String::new()), row.clone(), row]);
        assert!(text[blocks[1].range.clone()].starts_with("1;\"A;\nB\";zz"));
        assert!((quality - 0.75).abs() < 1e-6, "{quality}");
    }

    #[test]
    fn a_table_without_header_has_rows_only() {
        let (blocks, _) = parse("1\t2\t3\n4\t5\t6\n7\t8\t9\n", &Limits::DEFAULT).unwrap();
        assert_eq!(blocks.len(), 1);
        assert!(
            is_table("1\t2\t3\n4\t5\t6\n7\t8\t9\n") && !is_table("a, b\nc\nd, e, f\n") && !is_table("words")
        );
    }
}
