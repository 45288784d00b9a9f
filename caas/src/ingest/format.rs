//! What a document is written in.

use super::{IngestError, Limits, csv, decode, json, log, toml, yaml};
use crate::model::{Format, Language};

/// What the host says of a document before it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Declared<'a> {
    /// Its file name or path; its extension tells the format where nothing better does.
    pub name: Option<&'a str>,
    /// Its format, where the host knows. Bytes that say otherwise are an error.
    pub format: Option<Format>,
    /// Its programming language.
    pub language: Option<Language>,
}

impl<'a> Declared<'a> {
    /// Nothing but a name.
    #[must_use]
    pub const fn named(name: &'a str) -> Self {
        Self { name: Some(name), format: None, language: None }
    }

    /// Nothing but a format.
    #[must_use]
    pub const fn format(format: Format) -> Self {
        Self { name: None, format: Some(format), language: None }
    }
}

/// The format of a document, and its language if it is a program: by its first bytes, then by what was declared, then by
/// the extension of its name, then by how its text is built.
///
/// # Errors
/// `FormatMismatch` if a format was declared that the first bytes contradict; `Unsupported` for formats that are recognised
/// and not read; what decoding it gives, if its text has to be looked at.
pub fn detect_format(
    raw: &[u8],
    declared: &Declared<'_>,
    limits: &Limits,
) -> Result<(Format, Option<Language>), IngestError> {
    match by_bytes(raw, declared)? {
        Some(found) => Ok(found),
        None => by_content(&decode::decode(raw, limits)?.text, declared, limits),
    }
}

/// As far as the first bytes, the declaration and the name tell.
pub(super) fn by_bytes(
    raw: &[u8],
    declared: &Declared<'_>,
) -> Result<Option<(Format, Option<Language>)>, IngestError> {
    let name = declared.name.and_then(by_name);
    match (magic(raw), declared.format) {
        (Some(Magic::Pdf), None | Some(Format::Pdf)) => return Ok(Some((Format::Pdf, None))),
        (Some(Magic::Pdf), Some(declared)) => {
            return Err(IngestError::FormatMismatch { declared, found: "a PDF" });
        }
        (Some(Magic::Other(found)), Some(declared)) => {
            return Err(IngestError::FormatMismatch { declared, found });
        }
        (Some(Magic::Other(what)), None) => {
            return Err(IngestError::Unsupported { what, why: "only text, and PDF, is" });
        }
        (None, Some(Format::Pdf)) => {
            return Err(IngestError::FormatMismatch { declared: Format::Pdf, found: "no PDF" });
        }
        (None, None) if name == Some((Format::Pdf, None)) && !raw.iter().all(u8::is_ascii_whitespace) => {
            return Err(IngestError::FormatMismatch { declared: Format::Pdf, found: "no PDF" });
        }
        (None, _) => {}
    }
    let language = declared.language.or_else(|| name.and_then(|(_, language)| language));
    Ok(match (declared.format, name) {
        (Some(Format::Code), _) => language.map(|language| (Format::Code, Some(language))),
        (Some(format), _) => Some((format, None)),
        (None, _) if declared.language.is_some() => Some((Format::Code, declared.language)),
        (None, name) => name.filter(|(format, _)| *format != Format::Pdf),
    })
}

enum Magic {
    Pdf,
    Other(&'static str),
}

/// Formats by the bytes that their files begin with, as `file(1)` and their specifications have them.
const MAGIC: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive (an office document, an EPUB, a jar)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh91AY&SY", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\x7fELF", "a program (ELF)"),
    (b"\xca\xfe\xba\xbe", "a Java class or Mach-O file"),
    (b"\xcf\xfa\xed\xfe", "a program (Mach-O)"),
    (b"\0asm", "a WebAssembly module"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file (an old office document)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"OggS\0", "an Ogg file"),
    (b"ID3\x03\0", "an MP3 file"),
    (b"ID3\x04\0", "an MP3 file"),
    (b"{\\rtf", "a rich text file"),
];

fn magic(raw: &[u8]) -> Option<Magic> {
    let head = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    if head.trim_ascii_start().starts_with(b"%PDF-") {
        return Some(Magic::Pdf);
    }
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| raw.starts_with(magic)) {
        return Some(Magic::Other(what));
    }
    let at = |from: usize, what: &[u8]| raw.get(from..).is_some_and(|rest| rest.starts_with(what));
    if at(257, b"ustar") {
        Some(Magic::Other("a tar archive"))
    } else if at(0, b"RIFF") && (at(8, b"WAVE") || at(8, b"WEBP") || at(8, b"AVI ")) {
        Some(Magic::Other("a RIFF file (sound, image or film)"))
    } else if at(4, b"ftyp") && at(0, b"\0\0") {
        Some(Magic::Other("an MP4 file"))
    } else if at(0, b"MZ") && raw.iter().take(64).filter(|byte| **byte == 0).count() > 8 {
        Some(Magic::Other("a program (PE)"))
    } else {
        None
    }
}

fn by_name(name: &str) -> Option<(Format, Option<Language>)> {
    use Format as F;
    use Language as L;
    let file = name.rsplit(['/', '\\']).next()?;
    if matches!(file, "Cargo.lock" | "Pipfile" | "poetry.lock" | "uv.lock") {
        return Some((F::Toml, None));
    }
    let (_, extension) = file.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "txt" | "text" => (F::Text, None),
        "md" | "markdown" | "mdown" | "mkd" | "mdx" => (F::Markdown, None),
        "html" | "htm" | "xhtml" => (F::Html, None),
        "pdf" => (F::Pdf, None),
        "json" | "jsonl" | "ndjson" | "geojson" | "ipynb" => (F::Json, None),
        "yaml" | "yml" => (F::Yaml, None),
        "toml" => (F::Toml, None),
        "csv" | "tsv" => (F::Csv, None),
        "log" => (F::Log, None),
        "c" | "h" => (F::Code, Some(L::C)),
        "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" => (F::Code, Some(L::Cpp)),
        "go" => (F::Code, Some(L::Go)),
        "java" => (F::Code, Some(L::Java)),
        "js" | "mjs" | "cjs" | "jsx" => (F::Code, Some(L::JavaScript)),
        "py" | "pyi" => (F::Code, Some(L::Python)),
        "rs" => (F::Code, Some(L::Rust)),
        "ts" | "tsx" | "mts" | "cts" => (F::Code, Some(L::TypeScript)),
        _ => return None,
    })
}

/// Most lines that are looked at one by one.
const MAX_LINES: usize = 50;

/// By how the text is built. What is no format of its own is plain text.
pub(super) fn by_content(
    text: &str,
    declared: &Declared<'_>,
    limits: &Limits,
) -> Result<(Format, Option<Language>), IngestError> {
    let interpreter = interpreter(text);
    if declared.format == Some(Format::Code) {
        return match interpreter {
            Some(language) => Ok((Format::Code, Some(language))),
            None => Err(IngestError::Unsupported { what: "source code", why: "its language is not known" }),
        };
    }
    if let Some(language) = interpreter {
        return Ok((Format::Code, Some(language)));
    }
    let start = text.trim_start();
    let format = if is_page(start) {
        Format::Html
    } else if start.starts_with(['{', '[']) && json::is_json(start, limits) {
        Format::Json
    } else if log::share(text.lines().take(MAX_LINES)) >= 0.6 {
        Format::Log
    } else if is_markdown(start) {
        Format::Markdown
    } else if toml::is_toml(start) {
        Format::Toml
    } else if csv::is_table(start) {
        Format::Csv
    } else if start.starts_with("---\n") && yaml::is_mapping(start, limits) {
        Format::Yaml
    } else {
        Format::Text
    };
    Ok((format, None))
}

fn interpreter(text: &str) -> Option<Language> {
    let line = text.lines().next()?.strip_prefix("#!")?;
    let mut words = line.split_whitespace().map(|word| word.rsplit('/').next().unwrap_or(word));
    let program = words.find(|word| *word != "env" && !word.starts_with('-'))?;
    match program.trim_end_matches(|char: char| char.is_ascii_digit() || char == '.') {
        "python" => Some(Language::Python),
        "node" | "nodejs" => Some(Language::JavaScript),
        "deno" | "ts-node" | "tsx" => Some(Language::TypeScript),
        _ => None,
    }
}

fn is_page(start: &str) -> bool {
    let head = start.get(..start.len().min(64)).or_else(|| start.lines().next()).unwrap_or_default();
    let head = head.to_ascii_lowercase();
    ["<!doctype html", "<html", "<head>", "<body"].iter().any(|tag| head.starts_with(tag))
}

/// Marks that plain text and programs do not have: fences, headings that stand alone, links, rules of tables. Front matter.
fn is_markdown(start: &str) -> bool {
    if let Some(matter) = start.strip_prefix("---\n")
        && let Some((_, body)) = matter.split_once("\n---\n")
        && body.trim_start().starts_with(|char: char| char == '#' || char.is_alphabetic())
        && !body.contains("\n---\n")
    {
        return true;
    }
    let (mut marks, mut blank) = (0, true);
    let mut lines = start.lines().take(10 * MAX_LINES).peekable();
    while let Some(line) = lines.next() {
        let alone = blank && lines.peek().is_none_or(|next| next.trim().is_empty());
        blank = line.trim().is_empty();
        let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
        marks += usize::from(
            alone
                && (1..=6).contains(&hashes)
                && line.get(hashes..).is_some_and(|rest| rest.starts_with(' ')),
        );
        marks += usize::from(line.starts_with("```") || line.starts_with("~~~"));
        marks += usize::from(line.contains("](http") || line.contains("](./") || line.contains("](#"));
        marks += usize::from(line.starts_with('|') && line.contains("---") && line.ends_with('|'));
    }
    2 <= marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(raw: &[u8], declared: Declared<'_>) -> Result<(Format, Option<Language>), IngestError> {
        detect_format(raw, &declared, &Limits::DEFAULT)
    }

    #[test]
    fn bytes_come_before_names_and_names_before_content() {
        for (raw, name, format) in [
            (&b"%PDF-1.7\n"[..], "notes.txt", Format::Pdf),
            (b"<html><p>x", "notes.txt", Format::Text),
            (b"<!DOCTYPE HTML><p>x", "notes", Format::Html),
            (b"{\"a\": [1, 2]}\n{\"a\": []}\n", "notes", Format::Json),
            (b"{not json}", "notes", Format::Text),
            (b"# Title\n\nSome text.\n\n## Part\n\nMore.\n", "notes", Format::Markdown),
            (b"---\ntitle: x\n---\n\nText.\n", "", Format::Markdown),
            (b"---\ntitle: x\nsize: 3\n", "", Format::Yaml),
            (b"[server]\nport = 80\nhost = \"x\"\n", "", Format::Toml),
            (b"name,age,town\nA,3,X\nB,4,Y\nC,5,Z\n", "", Format::Csv),
            (b"2026-01-01 10:00:00 INFO up\n2026-01-01 10:00:01 WARN hot\n", "", Format::Log),
            (b"# a comment\nx = f(1)\n", "", Format::Text),
            (b"Dear all, thanks, and bye.\nYours, truly, X.\n", "", Format::Text),
        ] {
            let what = String::from_utf8_lossy(raw);
            assert_eq!(found(raw, Declared::named(name)).unwrap(), (format, None), "{what}");
        }
        assert_eq!(
            found(b"#!/usr/bin/env python3\nprint(1)\n", Declared::default()).unwrap(),
            (Format::Code, Some(Language::Python))
        );
        assert_eq!(found(b"int x;", Declared::named("src/a.H")).unwrap(), (Format::Code, Some(Language::C)));
    }

    #[test]
    fn what_contradicts_the_bytes_is_refused() {
        for (raw, declared) in
            [(&b"%PDF-1.7"[..], Format::Markdown), (b"PK\x03\x04....", Format::Text), (b"hello", Format::Pdf)]
        {
            let error = found(raw, Declared::format(declared)).unwrap_err();
            assert!(matches!(error, IngestError::FormatMismatch { .. }), "{error}");
        }
        let error = found(b"hello", Declared::named("x.pdf")).unwrap_err();
        assert!(matches!(error, IngestError::FormatMismatch { .. }), "{error}");
        for raw in [&b"PK\x03\x04...."[..], b"\x1f\x8b\x08", b"\x89PNG\r\n\x1a\n"] {
            let error = found(raw, Declared::default()).unwrap_err();
            assert!(matches!(error, IngestError::Unsupported { .. }), "{error}");
        }
        let error = found(b"x", Declared::format(Format::Code)).unwrap_err();
        assert!(matches!(error, IngestError::Unsupported { .. }), "{error}");
    }
}
