//! Bytes to text: the encoding, the line ends, and where each part was in the source.

use std::ops::Range;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::{IngestError, Limits};

/// More than one NUL in so many bytes is no text.
const BYTES_PER_NUL: usize = 1000;
/// More than one replaced or control character in so many is no text.
const CHARS_PER_BAD: usize = 20;
/// Where a page may say its encoding, in bytes from its start, as the HTML standard has it.
const CHARSET_WITHIN: usize = 1024;

/// Fewest characters that UTF-16 without a mark is told by.
const MIN_PAIRS: usize = 8;

/// A text and what was done to read it.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) offsets: Offsets,
    pub(super) encoding: &'static str,
    pub(super) replaced: usize,
}

/// Decodes by the byte order mark, else as UTF-8 if it is, else by what an HTML page says of itself, else by what its bytes
/// look like.
pub(super) fn decode(raw: &[u8], limits: &Limits) -> Result<Decoded, IngestError> {
    if limits.raw < raw.len() {
        return Err(IngestError::TooLarge { what: "bytes of source", limit: limits.raw });
    }
    let (marked, mark) = Encoding::for_bom(raw).map_or((None, 0), |(found, mark)| (Some(found), mark));
    let body = raw.get(mark..).unwrap_or_default();
    let wide = marked.filter(|found| *found != UTF_8).or_else(|| unmarked_wide(body));
    if wide.is_none()
        && body.len() < body.iter().filter(|byte| **byte == 0).count().saturating_mul(BYTES_PER_NUL)
    {
        return Err(IngestError::Binary { why: "too many NUL bytes" });
    }
    let decoded = match (wide, std::str::from_utf8(body)) {
        (None, Ok(text)) => from_utf8(text, mark),
        (wide, _) => {
            let damaged = || is_damaged_utf8(body).then_some(UTF_8);
            let encoding = wide.or(marked).or_else(damaged).or_else(|| declared(body));
            let encoding = encoding.unwrap_or_else(|| guess(body));
            from_other(body, mark, encoding)
        }
    };
    check(&decoded)?;
    Ok(decoded)
}

/// UTF-16 without a mark: half of its bytes are zero, all on the same side, where a script is Latin.
fn unmarked_wide(body: &[u8]) -> Option<&'static Encoding> {
    let zeros = |side: usize| body.iter().skip(side).step_by(2).filter(|byte| **byte == 0).count();
    let (pairs, first, second) = (body.len() / 2, zeros(0), zeros(1));
    let (most, few) = (pairs * 2 / 5, pairs / 20);
    if !body.len().is_multiple_of(2) || pairs < MIN_PAIRS {
        None
    } else if most < second && first <= few {
        Some(UTF_16LE)
    } else if most < first && second <= few {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// UTF-8 with a few bad bytes in it. Characters of several bytes do not come about by chance.
fn is_damaged_utf8(body: &[u8]) -> bool {
    let (mut good, mut bad) = (0usize, 0usize);
    for chunk in body.utf8_chunks() {
        good += chunk.valid().chars().filter(|char| !char.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    bad.saturating_mul(4) < good
}

/// The `charset` that a page gives itself. It is asked for only if the page is not UTF-8.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let head = body.get(..body.len().min(CHARSET_WITHIN))?.to_ascii_lowercase();
    let head = String::from_utf8_lossy(&head);
    let meta = head.split("<meta").skip(1).find_map(|meta| {
        let (_, value) =
            meta.split_once('>').map_or((meta, ""), |(tag, _)| (tag, tag)).1.split_once("charset=")?;
        Some(value.trim_start_matches(['"', '\'']).split(['"', '\'', ';', ' ', '/', '>']).next()?.to_owned())
    })?;
    // A page that says it is UTF-16 could not be read as far as here.
    Encoding::for_label_no_replacement(meta.as_bytes()).filter(|found| found.is_ascii_compatible())
}

fn guess(body: &[u8]) -> &'static Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(body, true);
    detector.guess(None, Utf8Detection::Allow)
}

fn from_utf8(text: &str, mark: usize) -> Decoded {
    let mut out = Normal { text: String::with_capacity(text.len()), ..Normal::default() };
    let mut offsets = Offsets { exact: true, marks: vec![(0, mark)], text: 0, source: mark + text.len() };
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\0']) {
        let Some((before, after)) = rest.split_at_checked(at) else { break };
        out.text.push_str(before);
        let used = out.special(after);
        rest = after.get(used..).unwrap_or_default();
        offsets.marks.push((out.text.len(), mark + text.len() - rest.len()));
    }
    out.text.push_str(rest);
    offsets.text = out.text.len();
    Decoded { text: out.text, offsets, encoding: UTF_8.name(), replaced: out.replaced }
}

/// Decodes line by line, so that at least each line can be found in the source.
fn from_other(body: &[u8], mark: usize, encoding: &'static Encoding) -> Decoded {
    let width = if encoding == UTF_16LE || encoding == UTF_16BE { 2 } else { 1 };
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut offsets = Offsets { exact: false, marks: vec![(0, mark)], text: 0, source: mark + body.len() };
    let (mut out, mut at, mut replaced) = (Normal::default(), 0, 0);
    let mut line = String::new();
    while at < body.len() {
        let rest = body.get(at..).unwrap_or_default();
        let end = if width == 2 {
            let feed = if encoding == UTF_16LE { [b'\n', 0] } else { [0, b'\n'] };
            rest.chunks(2).position(|unit| unit == feed).map_or(rest.len(), |unit| unit * 2 + 2)
        } else {
            rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |byte| byte + 1)
        };
        let mut input = rest.get(..end).unwrap_or_default();
        at += end;
        loop {
            line.reserve(decoder.max_utf8_buffer_length(input.len()).unwrap_or(input.len() * 3));
            let last = body.len() <= at;
            let (result, read) = decoder.decode_to_string_without_replacement(input, &mut line, last);
            input = input.get(read..).unwrap_or_default();
            match result {
                DecoderResult::InputEmpty => break,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    line.push(char::REPLACEMENT_CHARACTER);
                    replaced += 1;
                }
            }
        }
        out.push(&line);
        line.clear();
        offsets.marks.push((out.text.len(), mark + at));
    }
    offsets.text = out.text.len();
    Decoded { text: out.text, offsets, encoding: encoding.name(), replaced: replaced + out.replaced }
}

/// A text with `\n` line ends and without NUL.
#[derive(Default)]
struct Normal {
    text: String,
    replaced: usize,
}

impl Normal {
    fn push(&mut self, mut rest: &str) {
        while let Some((before, after)) = rest.find(['\r', '\0']).and_then(|at| rest.split_at_checked(at)) {
            self.text.push_str(before);
            let used = self.special(after);
            rest = after.get(used..).unwrap_or_default();
        }
        self.text.push_str(rest);
    }

    /// Writes what stands for the carriage return or NUL that `rest` begins with; says how many bytes that were.
    fn special(&mut self, rest: &str) -> usize {
        if rest.starts_with('\0') {
            self.text.push(char::REPLACEMENT_CHARACTER);
            self.replaced += 1;
            return 1;
        }
        self.text.push('\n');
        if rest.starts_with("\r\n") { 2 } else { 1 }
    }
}

fn check(decoded: &Decoded) -> Result<(), IngestError> {
    let (mut chars, mut control) = (0usize, 0usize);
    for char in decoded.text.chars() {
        chars += 1;
        // Escape sequences of a terminal are common in logs.
        control += usize::from(char.is_control() && !"\t\n\x0c\x1b".contains(char));
    }
    if chars < decoded.replaced.saturating_mul(CHARS_PER_BAD) {
        return Err(IngestError::Binary { why: "too much of it is text in no encoding" });
    }
    if chars < control.saturating_mul(CHARS_PER_BAD) {
        return Err(IngestError::Binary { why: "too many control characters" });
    }
    if decoded.text.chars().all(|char| char.is_whitespace() || char == '\u{feff}') {
        return Err(IngestError::Empty);
    }
    Ok(())
}

/// Where the parts of a text are in the bytes it was decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// Whether a byte of the text is a byte of the source between two marks.
    exact: bool,
    /// Offsets in the text and in the source that belong together, ascending.
    marks: Vec<(usize, usize)>,
    text: usize,
    source: usize,
}

impl Offsets {
    /// The bytes of the source that a range of the text was made from: exactly those if the source is UTF-8, else those of its
    /// whole lines. `None` if the text does not have this range.
    #[must_use]
    pub fn source(&self, range: Range<usize>) -> Option<Range<usize>> {
        if range.end < range.start || self.text < range.end {
            return None;
        }
        let start = self.before(range.start)?;
        let end = if range.is_empty() { start } else { self.after(range.end)? };
        Some(start..end.max(start))
    }

    fn before(&self, at: usize) -> Option<usize> {
        let next = self.marks.partition_point(|(text, _)| *text <= at);
        let (text, source) = *self.marks.get(next.checked_sub(1)?)?;
        Some(if self.exact { source + (at - text) } else { source })
    }

    fn after(&self, at: usize) -> Option<usize> {
        let next = self.marks.partition_point(|(text, _)| *text < at);
        match self.marks.get(next) {
            Some((text, source)) if *text == at => return Some(*source),
            Some((_, source)) if !self.exact => return Some(*source),
            None if !self.exact => return Some(self.source),
            _ => {}
        }
        let (text, source) = *self.marks.get(next.checked_sub(1)?)?;
        Some(source + (at - text))
    }

    /// The same for a text that is this one without some ranges of it, in ascending order.
    pub(super) fn without(&self, cuts: &[Range<usize>]) -> Self {
        let mut marks = Vec::with_capacity(self.marks.len() + cuts.len());
        let (mut at, mut removed) = (0, 0);
        for cut in cuts.iter().cloned().chain(std::iter::once(self.text..self.text)) {
            let end = cut.start.max(at);
            marks.extend(self.before(at).map(|source| (at - removed, source)));
            let from = self.marks.partition_point(|(text, _)| *text <= at);
            let to = self.marks.partition_point(|(text, _)| *text < end);
            let within = self.marks.get(from..to).unwrap_or_default();
            marks.extend(within.iter().map(|(text, source)| (text - removed, *source)));
            // Two marks at one offset: what ends here ends before the cut, what begins here begins after it.
            marks.extend(self.after(end).filter(|_| at < end).map(|source| (end - removed, source)));
            removed += cut.end.saturating_sub(end);
            at = at.max(cut.end);
        }
        marks.dedup();
        Self { exact: self.exact, marks, text: self.text - removed, source: self.source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &[u8]) -> Decoded {
        decode(raw, &Limits::DEFAULT).unwrap()
    }

    #[test]
    fn encodings_are_found() {
        let german = "Die Bürgermeisterin überreichte am Samstag die Schlüssel für das neue Gebäude.";
        let wide = |big: bool| -> Vec<u8> {
            german
                .encode_utf16()
                .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect()
        };
        let latin: Vec<u8> = german.chars().map(|char| char as u8).collect();
        for (raw, encoding) in [
            (german.as_bytes().to_vec(), "UTF-8"),
            ([b"\xef\xbb\xbf", german.as_bytes()].concat(), "UTF-8"),
            ([b"\xff\xfe".to_vec(), wide(false)].concat(), "UTF-16LE"),
            ([b"\xfe\xff".to_vec(), wide(true)].concat(), "UTF-16BE"),
            (wide(false), "UTF-16LE"),
            (wide(true), "UTF-16BE"),
            (latin, "windows-1252"),
        ] {
            let decoded = read(&raw);
            assert_eq!((decoded.text.as_str(), decoded.encoding), (german, encoding));
            assert_eq!(decoded.replaced, 0);
        }
        let japanese = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。";
        let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode(japanese);
        assert_eq!((read(&bytes).text.as_str(), read(&bytes).encoding), (japanese, "Shift_JIS"));
    }

    #[test]
    fn a_page_says_its_encoding() {
        let (page, _, _) = encoding_rs::KOI8_R.encode("<meta charset=\"koi8-r\"><p>да</p>");
        let decoded = read(&page);
        assert!(decoded.text.ends_with("<p>да</p>"), "{}", decoded.text);
        assert_eq!(decoded.encoding, "KOI8-R");
    }

    #[test]
    fn line_ends_become_one_and_offsets_lead_back() {
        let raw = b"\xef\xbb\xbfone\r\ntwo\rthree\n\xc3\xa9\r\n\r\nfour";
        let decoded = read(raw);
        assert_eq!(decoded.text, "one\ntwo\nthree\né\n\nfour");
        for word in ["one", "two", "three", "é", "four"] {
            let at = decoded.text.find(word).unwrap();
            let source = decoded.offsets.source(at..at + word.len()).unwrap();
            assert_eq!(&raw[source], word.as_bytes(), "{word}");
        }
        assert_eq!(decoded.offsets.source(0..decoded.text.len()).unwrap(), 3..raw.len());
        assert_eq!(decoded.offsets.source(0..decoded.text.len() + 1), None);
        let later = decoded.offsets.without(&[0..4, 8..10]);
        assert_eq!(&raw[later.source(0..3).unwrap()], b"two");
        assert_eq!(&raw[later.source(4..7).unwrap()], b"ree");
        let lines = read(b"caf\xe9 noir\r\nth\xe9 vert");
        let source = lines.offsets.source(lines.text.find("vert").unwrap()..lines.text.len()).unwrap();
        assert_eq!(source, 11..19);
    }

    #[test]
    fn what_cannot_be_decoded_is_counted_and_too_much_of_it_is_binary() {
        let mut raw = "Grüße an alle. ".repeat(20).into_bytes();
        raw.insert(2, 0xff);
        let decoded = read(&raw);
        assert!(decoded.encoding == "UTF-8" && decoded.replaced == 1, "{decoded:?}");
        let noise: Vec<u8> =
            (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 | 1).collect();
        for bad in [&b"a\0b"[..], &[0; 100], &noise] {
            let error = decode(bad, &Limits::DEFAULT).unwrap_err();
            assert!(matches!(error, IngestError::Binary { .. }), "{error}");
        }
        let mut once = "word ".repeat(1000).into_bytes();
        once.push(0);
        assert_eq!(read(&once).replaced, 1);
    }

    #[test]
    fn nothing_but_white_space_is_empty() {
        for blank in ["", " \r\n\t", "\u{feff}", "\u{a0}\u{2003}"] {
            assert_eq!(decode(blank.as_bytes(), &Limits::DEFAULT).unwrap_err(), IngestError::Empty);
        }
    }
}
