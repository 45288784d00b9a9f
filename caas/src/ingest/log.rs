//! Logs: a record is a line that begins with a time or a level, and the lines that go with it.

use std::ops::Range;
use std::sync::Arc;

use super::draft::{Draft, Gaps, lines};
use super::{IngestError, Limits};
use crate::model::{Block, BlockKind};

/// A record of a log each: stack traces and other lines without a time of their own stay with the line before.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Vec<Block>, IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Record), limits);
    let none = Arc::new([]) as crate::model::Path;
    let mut open: Option<Range<usize>> = None;
    // A log whose lines begin in no known way has a record in each line.
    let headed = text.lines().any(begins);
    for (range, line) in lines(text) {
        if let Some(record) = &mut open
            && headed
            && !begins(line)
        {
            record.end = range.end;
            continue;
        }
        if let Some(record) = open.replace(range) {
            draft.push(BlockKind::Record, record, &none)?;
        }
    }
    if let Some(record) = open {
        draft.push(BlockKind::Record, record, &none)?;
    }
    draft.finish()
}

/// The part of the lines that begin a record, 0 to 1.
pub(super) fn share<'t>(lines: impl Iterator<Item = &'t str>) -> f32 {
    let (mut all, mut records) = (0u16, 0u16);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        all += 1;
        records += u16::from(begins(line) || line.starts_with([' ', '\t']) && 0 < records);
    }
    if records < 2 { 0.0 } else { f32::from(records) / f32::from(all) }
}

/// Whether a line begins a record: with a date, a time of day, seconds since an epoch in brackets, or a level.
fn begins(line: &str) -> bool {
    let start = line.trim_start_matches(['[', '(', '<', '"']);
    if start.len() == line.len() && line.starts_with([' ', '\t']) {
        return false;
    }
    shaped(start, "9999-99-99")
        || shaped(start, "9999/99/99")
        || shaped(start, "99:99:99")
        || shaped(start, "99/Aaa/9999")
        || shaped(start, "Aaa 99 99:99:99")
        || shaped(start, "Aaa  9 99:99:99")
        || (start.len() < line.len() && shaped(start.trim_start(), "9") && {
            let number = start.trim_start().split([']', ' ']).next().unwrap_or_default();
            number.contains('.') && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
        || level(start)
}

fn level(start: &str) -> bool {
    let word = start.split(|char: char| !char.is_ascii_alphabetic()).next().unwrap_or_default();
    let after = start.get(word.len()..).unwrap_or_default();
    let known = ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"];
    known.contains(&word) && after.starts_with([':', ']', ' ', '\t', '|'])
}

/// Whether a line begins like a pattern: `9` is a digit, `A` a capital, `a` a small letter, all else itself.
fn shaped(line: &str, pattern: &str) -> bool {
    let mut bytes = line.bytes();
    pattern.bytes().all(|shape| {
        bytes.next().is_some_and(|byte| match shape {
            b'9' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            _ => byte == shape,
        })
    })
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn a_trace_stays_with_its_record() {
        let text =
            "2026-01-02T03:04:05Z ERROR failed\n  at main.rs:3\nCaused by: x\n[10:00:00] ok\nWARN: hot\n";
        let blocks = parse(text, &Limits::DEFAULT).unwrap();
        let seen: Vec<&str> = blocks.iter().map(|block| &text[block.range.clone()]).collect();
        assert_eq!(
            seen,
            ["2026-01-02T03:04:05Z ERROR failed\n  at main.rs:3\nCaused by: x", "[10:00:00] ok", "WARN: hot"]
        );
        let plain = parse("one\ntwo\n", &Limits::DEFAULT).unwrap();
        assert_eq!(plain.len(), 2);
    }

    #[test]
    fn records_are_told_from_prose() {
        for line in [
            "2026-01-02 x",
            "2026/01/02 x",
            "Jan  3 10:00:00 host sshd",
            "[12.345678] usb",
            "127",
            "ERROR: x",
            "[INFO] up",
            "Errors happen",
            "  2026-01-02",
            "12 men",
        ] {
            let is = !matches!(line, "127" | "Errors happen" | "  2026-01-02" | "12 men");
            assert_eq!(begins(line), is, "{line}");
        }
    }
}
