//! PDF, made here object by object.

use std::fmt::Write as _;
use std::time::Duration;

use caas_core::ingest::{Declared, IngestError, Ingested, Limits, Parser};
use caas_core::{BlockKind, RemovedKind};
use lopdf::encryption::{EncryptionState, EncryptionVersion, Permissions};
use lopdf::{Document, Object, Stream, dictionary};

use super::{check, parse};

/// A PDF with these pages; each is its drawing instructions.
fn document(pages: &[String], compress: bool) -> Document {
    let mut document = Document::with_version("1.5");
    let root = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let mut kids = Vec::new();
    for page in pages {
        let mut stream = Stream::new(dictionary! {}, page.clone().into_bytes());
        if compress {
            stream.compress().unwrap();
        }
        let content = document.add_object(stream);
        kids.push(Object::Reference(document.add_object(dictionary! {
            "Type" => "Page", "Parent" => root, "Contents" => content,
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
            "Resources" => dictionary! { "Font" => dictionary! { "F1" => font } },
        })));
    }
    let count = i64::try_from(kids.len()).unwrap();
    document.objects.insert(root, dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count }.into());
    let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => root });
    document.trailer.set("Root", catalog);
    let info = document.add_object(dictionary! { "Title" => Object::string_literal("The Manual"), "Author" => Object::string_literal("A. B.") });
    document.trailer.set("Info", info);
    document
}

fn bytes(mut document: Document) -> Vec<u8> {
    let mut raw = Vec::new();
    document.save_to(&mut raw).unwrap();
    raw
}

/// Lines from the top of a page, each with its size and the step down to it.
fn lines(lines: &[(&str, u32, u32)]) -> String {
    let mut content = String::from("BT 50 800 Td ");
    for (text, size, step) in lines {
        write!(content, "/F1 {size} Tf 0 -{step} Td ({text}) Tj ").unwrap();
    }
    content + "ET"
}

fn shown(read: &Ingested) -> Vec<(BlockKind, &str, u32, String)> {
    let parsed = &read.parsed;
    parsed
        .blocks
        .iter()
        .map(|block| {
            (block.kind, &parsed.text[block.range.clone()], block.page.unwrap(), block.path.join(" > "))
        })
        .collect()
}

fn code(raw: &[u8]) -> &'static str {
    parse(raw, Declared::default()).unwrap_err().code()
}

#[test]
fn pages_headings_and_repeated_lines() {
    let pages: Vec<String> = ["The first steps.", "Some repair-", "Last words."]
        .iter()
        .enumerate()
        .map(|(at, body)| {
            let rest = if at == 1 { "ing of things." } else { "More of it." };
            let footer = format!("Page {} of 3", at + 1);
            let heading = ["Begin", "Go on", "End"][at];
            lines(&[("ACME", 9, 10), (heading, 18, 40), (body, 10, 40), (rest, 10, 12), (&footer, 9, 300)])
        })
        .collect();
    for compress in [false, true] {
        let read = parse(&bytes(document(&pages, compress)), Declared::named("a.pdf")).unwrap();
        check(&read);
        let blocks = shown(&read);
        assert_eq!(
            blocks[4..8],
            [
                (BlockKind::Repeated, "ACME", 2, "Begin".to_owned()),
                (BlockKind::Heading(1), "Go on", 2, String::new()),
                (BlockKind::Paragraph, "Some repairing of things.", 2, "Go on".to_owned()),
                (BlockKind::Repeated, "Page 2 of 3", 2, "Go on".to_owned()),
            ]
        );
        assert_eq!(blocks.len(), 12);
        assert_eq!(read.parsed.pages, Some(3));
        assert_eq!(read.parsed.title.as_deref(), Some("The Manual"));
        assert_eq!(read.parsed.attributes["author"], "A. B.");
        assert_eq!((read.encoding, read.offsets), (None, None));
    }
}

#[test]
fn words_are_apart_where_the_pen_moved() {
    let content = "BT /F1 10 Tf 50 700 Td [(Kerned te) 20 (xt and) -300 (gap)] TJ 200 0 Td (far) Tj ET \
                   q 2 0 0 2 0 0 cm BT /F1 10 Tf 1 0 0 1 25 100 Tm (caf\\351) Tj ET Q";
    let read = parse(&bytes(document(&[content.to_owned()], true)), Declared::default()).unwrap();
    assert_eq!(
        read.parsed.text.split_whitespace().collect::<Vec<_>>().join(" "),
        "Kerned text and gap far café"
    );
}

#[test]
fn text_that_is_not_painted_is_listed() {
    let content = "BT /F1 10 Tf 50 700 Td (Seen.) Tj 3 Tr 0 -20 Td (Obey me.) Tj 0 Tr /F1 0.1 Tf 0 -20 Td (And me.) Tj ET";
    let read = parse(&bytes(document(&[content.to_owned()], true)), Declared::default()).unwrap();
    assert_eq!(read.parsed.text.trim(), "Seen.");
    assert_eq!(read.parsed.removed[0].kind, RemovedKind::Hidden);
    assert_eq!(read.parsed.removed[0].text, "Obey me.\nAnd me.");
    // Text under a picture of itself is all the text there is.
    let scan = "BT 3 Tr /F1 10 Tf 50 700 Td (Scanned.) Tj ET";
    let read = parse(&bytes(document(&[scan.to_owned()], true)), Declared::default()).unwrap();
    assert_eq!(read.parsed.text.trim(), "Scanned.");
}

#[test]
fn drawings_within_drawings_are_followed_and_cycles_end() {
    let mut document = document(&["/X Do".to_owned()], false);
    let form = document.new_object_id();
    let font = dictionary! { "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding" };
    let resources = dictionary! {
        "XObject" => dictionary! { "X" => form }, "Font" => dictionary! { "F" => Object::Dictionary(font) },
    };
    let stream = Stream::new(
        dictionary! { "Type" => "XObject", "Subtype" => "Form", "Resources" => resources.clone() },
        b"BT /F 10 Tf 50 700 Td (inside) Tj ET /X Do".to_vec(),
    );
    document.objects.insert(form, stream.into());
    let page = document.get_pages()[&1];
    document.get_dictionary_mut(page).unwrap().set("Resources", resources);
    let read = parse(&bytes(document), Declared::default()).unwrap();
    assert!(read.parsed.text.contains("inside") && read.parsed.text.len() < 1000);
}

#[test]
fn pages_without_text_are_an_error_or_counted() {
    let empty = "0 0 10 10 re f".to_owned();
    let error =
        parse(&bytes(document(&[empty.clone(), empty.clone()], true)), Declared::default()).unwrap_err();
    assert_eq!(error, IngestError::NoText { pages: 2 });
    let read =
        parse(&bytes(document(&[empty, lines(&[("Text.", 10, 10)])], true)), Declared::default()).unwrap();
    assert_eq!(read.parsed.attributes["pages_without_text"], 1);
}

#[test]
fn encrypted_files_are_refused_unless_everybody_may_read_them() {
    for (password, refused) in [("secret", true), ("", false)] {
        let mut document = document(&[lines(&[("Locked.", 10, 10)])], true);
        document.trailer.set(
            "ID",
            vec![Object::string_literal("0123456789abcdef"), Object::string_literal("0123456789abcdef")],
        );
        let version = EncryptionVersion::V2 {
            document: &document,
            owner_password: "owner",
            user_password: password,
            key_length: 128,
            permissions: Permissions::all(),
        };
        let state = EncryptionState::try_from(version).unwrap();
        document.encrypt(&state).unwrap();
        let read = parse(&bytes(document), Declared::default());
        match refused {
            true => assert_eq!(read.unwrap_err(), IngestError::Encrypted),
            false => assert_eq!(read.unwrap().parsed.text.trim(), "Locked."),
        }
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let spaces = " ".repeat(24 << 20);
    let one = bytes(document(&[format!("BT /F1 10 Tf (x) Tj{spaces}ET")], true));
    assert!(one.len() < 100_000, "{}", one.len());
    assert_eq!(code(&one), "AK0757");
    // In a file large enough for it, it is a page that is left out.
    let mut large = document(&[format!("BT /F1 10 Tf (x) Tj{spaces}ET"), lines(&[("Text.", 10, 10)])], true);
    let noise: Vec<u8> = (0..(1u32 << 20)).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    large.add_object(Stream::new(dictionary! {}, noise));
    let read = parse(&bytes(large), Declared::default()).unwrap();
    assert_eq!(read.parsed.attributes["pages_left_out"], 1);
    assert_eq!(read.parsed.text.trim(), "Text.");
    // None is too large by itself.
    let page = format!("BT /F1 10 Tf (x) Tj{}ET", " ".repeat(200 << 10));
    let many = bytes(document(&vec![page; 100], true));
    assert_eq!(code(&many), "AK0757");
}

#[test]
fn broken_files_are_refused_or_mended() {
    let whole = bytes(document(&vec![lines(&[("Some text of a page.", 10, 10)]); 5], true));
    for length in (0..whole.len()).step_by(97) {
        match parse(&whole[..length], Declared::named("a.pdf")) {
            Ok(read) => check(&read),
            Err(error) => assert!(
                matches!(
                    error,
                    IngestError::Malformed { .. }
                        | IngestError::Empty
                        | IngestError::NoText { .. }
                        | IngestError::FormatMismatch { .. }
                ),
                "{length}: {error}"
            ),
        }
    }
    for at in (0..whole.len()).step_by(61) {
        let mut broken = whole.clone();
        broken[at] ^= 0x15;
        if let Ok(read) = parse(&broken, Declared::named("a.pdf")) {
            check(&read);
        }
    }
    let nested =
        format!("%PDF-1.5\n1 0 obj\n{}\nendobj\ntrailer <</Root 1 0 R>>\n%%EOF", "[".repeat(100_000));
    assert!(matches!(code(nested.as_bytes()), "AK0761" | "AK0763"), "{}", code(nested.as_bytes()));
    assert_eq!(code(b"%PDF-1.7\nnothing"), "AK0761");
}

#[test]
fn time_is_bounded() {
    let mut limits = Limits::DEFAULT;
    limits.time = Duration::from_nanos(1);
    let parser = Parser::new(limits).unwrap();
    let raw = bytes(document(&vec![lines(&[("Text.", 10, 10)]); 200], true));
    for _ in 0..5 {
        let error = parser.parse(&raw, &Declared::default()).unwrap_err();
        assert!(matches!(error, IngestError::Timeout { .. } | IngestError::Stuck { .. }), "{error}");
    }
}

/// A PDF whose objects are packed, `streams` times `bytes` of them.
fn packed(streams: usize, bytes: usize) -> Vec<u8> {
    let mut objects = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_vec(),
    ];
    let stream = |of: &str, content: String| {
        let mut stream = Stream::new(dictionary! {}, content.into_bytes());
        stream.compress().unwrap();
        let filter = if stream.dict.has(b"Filter") { "/Filter /FlateDecode" } else { "" };
        let head = format!("<< {of} {filter} /Length {} >>\nstream\n", stream.content.len());
        [head.as_bytes(), &stream.content, b"\nendstream"].concat()
    };
    objects.push(stream("", lines(&[("Hello", 12, 0)])));
    objects
        .push(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec());
    for number in 0..streams {
        let place = format!("{} 0 ", 1000 + number);
        let of = format!("/Type /ObjStm /N 1 /First {}", place.len());
        objects.push(stream(&of, format!("{place}({})", "a".repeat(bytes))));
    }
    let (mut raw, mut offsets) = (b"%PDF-1.5\n".to_vec(), Vec::new());
    for (number, object) in (1..).zip(&objects) {
        offsets.push(raw.len());
        raw.extend(format!("{number} 0 obj\n").bytes().chain(object.iter().copied()).chain(*b"\nendobj\n"));
    }
    let (start, size) = (raw.len(), objects.len() + 1);
    let mut table = format!("xref\n0 {size}\n0000000000 65535 f \n");
    for offset in offsets {
        writeln!(table, "{offset:010} 00000 n ").unwrap();
    }
    write!(table, "trailer\n<< /Root 1 0 R /Size {size} >>\nstartxref\n{start}\n%%EOF\n").unwrap();
    raw.extend(table.bytes());
    raw
}

/// Each of these streams is within what one may become, and all together are a thousand times the file.
#[test]
fn packed_objects_are_bounded_together() {
    let read = parse(&packed(3, 10_000), Declared::default()).unwrap();
    assert_eq!(read.parsed.text.trim(), "Hello");
    let bomb = packed(40, 2_000_000);
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    assert_eq!(code(&bomb), "AK0757");
}
