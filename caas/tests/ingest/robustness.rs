//! Broken and hostile documents: each is refused with a type or read, soon.

use std::time::Duration;

use agent_primitives::{Clock, SystemClock};
use caas_core::Format;
use caas_core::ingest::{Declared, IngestError, Limits, Parser};

use super::{check, parse};

/// Debug builds on a busy machine are slow; what would run away takes minutes.
const SOON: Duration = Duration::from_secs(20);

/// The code of the refusal, `None` if it was read.
fn outcome(raw: &[u8], declared: Declared<'_>) -> Option<&'static str> {
    let clock = SystemClock::new();
    let start = clock.monotonic();
    let read = parse(raw, declared);
    let took = clock.monotonic().since(start);
    assert!(took < SOON, "took {took:?}: {declared:?}");
    match read {
        Ok(ingested) => {
            check(&ingested);
            None
        }
        Err(error) => Some(error.code()),
    }
}

#[test]
fn every_document_is_read_or_refused() {
    let long_line = "word ".repeat(200_000);
    let deep = "<div>".repeat(10_000);
    let rtl = "שלום \u{202e}dlrow\u{202c} \u{200b}\u{200d}\u{feff} مرحبا";
    for (name, raw, code) in [
        ("empty.txt", Vec::new(), Some("AK0756")),
        ("blank.md", b" \r\n\t\n".to_vec(), Some("AK0756")),
        ("front-matter-only.md", b"---\ntitle: x\n---\n".to_vec(), Some("AK0756")),
        ("deep.html", deep.into_bytes(), Some("AK0757")),
        ("unclosed.html", "<div><p><b><i><table><tr>".repeat(10).into_bytes(), Some("AK0756")),
        ("line.txt", long_line.clone().into_bytes(), None),
        ("line.md", long_line.clone().into_bytes(), None),
        ("line.html", long_line.clone().into_bytes(), None),
        ("line.json", long_line.clone().into_bytes(), None),
        ("line.yaml", long_line.clone().into_bytes(), None),
        ("line.toml", long_line.clone().into_bytes(), None),
        ("line.csv", long_line.clone().into_bytes(), None),
        ("line.log", long_line.clone().into_bytes(), None),
        ("line.rs", long_line.into_bytes(), None),
        ("latin.txt", b"caf\xe9 cr\xe8me".to_vec(), None),
        ("bad.txt", b"\xff\xfe\x00\xd8\x00\xd8\x00\xd8\x00\xd8".to_vec(), Some("AK0758")),
        ("nul.txt", b"a\0b\0c\0d".to_vec(), Some("AK0758")),
        ("nuls.txt", vec![0; 5000], Some("AK0758")),
        ("zip.txt", b"PK\x03\x04\x14\0\0\0\x08\0rest".to_vec(), Some("AK0760")),
        ("docx.docx", b"PK\x03\x04\x14\0\x06\0word/document.xml".to_vec(), Some("AK0760")),
        ("rtl.txt", rtl.as_bytes().to_vec(), None),
        ("rtl.html", format!("<p>{rtl}</p>").into_bytes(), None),
        ("brackets.json", "[".repeat(1_000_000).into_bytes(), Some("AK0757")),
        ("brackets.yaml", "[".repeat(100_000).into_bytes(), None),
        ("quotes.md", "> ".repeat(100_000).into_bytes(), Some("AK0757")),
        ("stars.md", "*a **b ".repeat(50_000).into_bytes(), None),
        ("links.md", "[".repeat(50_000).into_bytes(), None),
        ("ticks.md", (1..400).map(|at| "`".repeat(at) + " ").collect::<String>().into_bytes(), None),
        ("comments.html", format!("<p>x{}", "<!-- c -->".repeat(50_000)).into_bytes(), None),
        ("cells.html", format!("<table>{}", "<tr><td>x".repeat(50_000)).into_bytes(), None),
        ("foster.html", "<table><b>x".repeat(5_000).into_bytes(), None),
        ("entities.html", "&amp;&lt;&#0;&#x10ffff;&bogus;".repeat(10_000).into_bytes(), None),
        ("many.log", "x\n".repeat(250_000).into_bytes(), Some("AK0757")),
        ("not.pdf", b"hello".to_vec(), Some("AK0759")),
    ] {
        assert_eq!(outcome(&raw, Declared::named(name)), code, "{name}");
    }
}

#[test]
fn too_much_is_refused_and_never_cut() {
    let limits = |change: fn(&mut Limits)| {
        let mut limits = Limits::DEFAULT;
        change(&mut limits);
        Parser::new(limits).unwrap()
    };
    for (parser, text, what) in [
        (limits(|limits| limits.raw = 10), "eleven bytes", "the document has more than 10 bytes of source"),
        (limits(|limits| limits.text = 10), "eleven bytes", "the document has more than 10 bytes of text"),
        (limits(|limits| limits.blocks = 2), "a\n\nb\n\nc", "the document has more than 2 blocks"),
    ] {
        let error = parser.parse(text.as_bytes(), &Declared::default()).unwrap_err();
        assert_eq!(error.to_string(), what);
    }
    let page = limits(|limits| limits.text = 100)
        .parse(b"<p>1234567890</p>".repeat(10).as_slice(), &Declared::named("a.html"));
    assert_eq!(page.unwrap_err().code(), "AK0757");
    for bad in [limits_of(|limits| limits.raw = 0), limits_of(|limits| limits.nesting = 5000)] {
        assert!(matches!(Parser::new(bad), Err(IngestError::BadLimits { .. })));
    }
}

fn limits_of(change: fn(&mut Limits)) -> Limits {
    let mut limits = Limits::DEFAULT;
    change(&mut limits);
    limits
}

#[test]
fn a_declaration_that_the_bytes_contradict_is_refused() {
    for (raw, format) in
        [(&b"%PDF-1.7\n"[..], Format::Text), (b"\x89PNG\r\n\x1a\n", Format::Markdown), (b"text", Format::Pdf)]
    {
        assert_eq!(outcome(raw, Declared::format(format)), Some("AK0759"));
    }
}

#[test]
fn equal_texts_have_equal_digests() {
    let digest = |raw: &[u8], name: &str| parse(raw, Declared::named(name)).unwrap().digest;
    assert_eq!(digest(b"a\r\nb", "x.txt"), digest(b"\xef\xbb\xbfa\nb", "y.log"));
    assert_ne!(digest(b"a\nb", "x.txt"), digest(b"a\nc", "x.txt"));
}

#[cfg(not(feature = "pdf"))]
#[test]
fn without_its_feature_a_pdf_is_refused() {
    assert_eq!(outcome(b"%PDF-1.7\n", Declared::default()), Some("AK0760"));
}
