//! JSON, and JSON values one after another.

use super::draft::{Draft, Gaps};
use super::records::{Name, Records};
use super::{IngestError, Limits, plain};
use crate::model::{Block, BlockKind};

/// Records of a JSON text, and the part of it that is JSON, 0 to 1. What follows an error is kept by its paragraphs.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<(Vec<Block>, f32), IngestError> {
    let mut draft = Draft::new(text, Gaps::Next, limits);
    let mut records = Records::new(limits);
    let end = Scanner { text, at: 0 }.scan(&mut records)?;
    records.finish(end, &mut draft)?;
    rest(&mut draft, text, end)?;
    Ok((draft.finish()?, quality(end, text)))
}

/// Keeps what a parser did not get to.
pub(super) fn rest(draft: &mut Draft<'_>, text: &str, end: usize) -> Result<(), IngestError> {
    let tail = text.get(end..).unwrap_or_default();
    for range in plain::paragraphs(tail) {
        draft.push(BlockKind::Record, range.start + end..range.end + end, &[].into())?;
    }
    Ok(())
}

/// The part of a text before an offset, white space at its end aside.
#[expect(clippy::cast_precision_loss, reason = "a share, and no text is longer than f32 counts well enough")]
pub(super) fn quality(end: usize, text: &str) -> f32 {
    let all = text.trim_end().len();
    if all <= end { 1.0 } else { end as f32 / all as f32 }
}

/// Whether a text is JSON as a whole.
pub(super) fn is_json(text: &str, limits: &Limits) -> bool {
    let end = Scanner { text, at: 0 }.scan(&mut Records::new(limits));
    end.is_ok_and(|end| text.trim_end().len() <= end)
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

/// What an open container is, and how far in it we are.
enum Open {
    Object,
    Array(usize),
}

impl Scanner<'_> {
    /// The offset behind the last value that is right.
    fn scan(mut self, records: &mut Records<'_>) -> Result<usize, IngestError> {
        let mut open: Vec<Open> = Vec::new();
        let mut good = 0;
        loop {
            self.blank();
            // At the start of a value, or at the end of a container.
            let start = self.at;
            match (self.peek(), open.last()) {
                (None, _) => return Ok(if open.is_empty() { self.at } else { good }),
                (Some(b'}'), Some(Open::Object)) | (Some(b']'), Some(Open::Array(_))) => {
                    self.at += 1;
                    open.pop();
                    records.close(self.at);
                    if !self.separated(&open, records) {
                        return Ok(good);
                    }
                    good = self.at;
                    continue;
                }
                _ => {}
            }
            let Some(name) = self.name(open.last_mut()) else { return Ok(good) };
            match self.peek() {
                Some(byte @ (b'{' | b'[')) => {
                    self.at += 1;
                    records.open(name, start)?;
                    open.push(if byte == b'{' { Open::Object } else { Open::Array(0) });
                }
                Some(_) if self.scalar() => {
                    records.leaf(start..self.at);
                    if !self.separated(&open, records) {
                        return Ok(good);
                    }
                    good = self.at;
                }
                _ => return Ok(good),
            }
        }
    }

    /// The comma after a value, or the end of what holds it. Whether either is there.
    fn separated(&mut self, open: &[Open], records: &mut Records<'_>) -> bool {
        let end = self.at;
        self.blank();
        match (self.peek(), open.last()) {
            (Some(b','), Some(_)) => {
                self.at += 1;
                records.extend(self.at);
                let comma = self.at;
                self.blank();
                let more = !matches!(self.peek(), Some(b'}' | b']'));
                self.at = comma;
                more
            }
            (Some(b'}'), Some(Open::Object)) | (Some(b']'), Some(Open::Array(_))) => true,
            // A value of its own begins on white space, as in JSON lines.
            (None, None) => true,
            (Some(_), None) => end < self.at,
            _ => false,
        }
    }

    fn name(&mut self, open: Option<&mut Open>) -> Option<Name> {
        match open {
            None => Some(Name::Root),
            Some(Open::Array(index)) => {
                *index += 1;
                Some(Name::Index(*index - 1))
            }
            Some(Open::Object) => {
                let start = self.at;
                if self.peek() != Some(b'"') || !self.string() {
                    return None;
                }
                let key = serde_json::from_str(self.text.get(start..self.at)?).ok()?;
                self.blank();
                if self.peek() != Some(b':') {
                    return None;
                }
                self.at += 1;
                self.blank();
                Some(Name::Key(key))
            }
        }
    }

    fn scalar(&mut self) -> bool {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && !b"+-.".contains(byte))
            .unwrap_or(rest.len());
        let token = self.text.get(self.at..self.at + length).unwrap_or_default();
        self.at += length;
        matches!(token, "true" | "false" | "null")
            || token.starts_with(|char: char| char == '-' || char.is_ascii_digit())
                && serde_json::from_str::<serde_json::Number>(token).is_ok()
    }

    fn string(&mut self) -> bool {
        self.at += 1;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return true;
                }
                b'\\' => self.at += 2,
                0..=0x1f => return false,
                _ => self.at += 1,
            }
        }
        false
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
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
    fn small_values_stay_whole_and_large_ones_are_taken_apart() {
        let (small, quality) = shown(r#"{"a": {"b": [1, 2]}, "c": null}"#);
        assert_eq!(small, [(String::new(), r#"{"a": {"b": [1, 2]}, "c": null}"#.to_owned())]);
        assert!((quality - 1.0).abs() < f32::EPSILON);
        let long = "x".repeat(900);
        let text = format!(r#"{{"one": {{"a": "{long}", "b\u0021": ["{long}", "{long}"]}}, "two": 2}}"#);
        let (large, _) = shown(&text);
        let paths: Vec<&str> = large.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["one", "one/b!", "one/b!", ""]);
        assert!(
            large[0].1.starts_with("{\"one\": {\"a\": \"xxx") && large[0].1.ends_with("x\","),
            "{}",
            large[0].1
        );
        assert_eq!(large[3].1, "\"two\": 2}");
    }

    #[test]
    fn lines_of_json_are_records() {
        let line = format!("{{\"id\": 1, \"text\": \"{}\"}}", "y".repeat(900));
        let (records, quality) = shown(&format!("{line}\n{line}\n"));
        assert_eq!(records, [(String::new(), line.clone()), (String::new(), line)]);
        assert!((quality - 1.0).abs() < f32::EPSILON);
    }

    #[test]
    fn what_follows_an_error_is_kept() {
        for (text, good) in [
            ("{\"a\": 1, \"b\": tru", "{\"a\": 1,"),
            ("[1, 2", "[1,"),
            ("[1,]", ""),
            ("[1} x", ""),
            ("{\"a\" 1}", ""),
            ("{\"a\": 01}", ""),
            ("[\"a\nb\"]", ""),
        ] {
            let (blocks, quality) = shown(text);
            let all: String = blocks.into_iter().map(|(_, text)| text).collect();
            let squeezed = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(squeezed(&all), squeezed(text));
            assert!((quality - good.len() as f32 / text.len() as f32).abs() < 1e-6, "{text}: {quality}");
            assert!(!is_json(text, &Limits::DEFAULT));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let error = parse(&"[".repeat(300), &Limits::DEFAULT).unwrap_err();
        assert_eq!(error.code(), "AK0757");
        assert!(!is_json(&"[".repeat(100_000), &Limits::DEFAULT));
    }
}
