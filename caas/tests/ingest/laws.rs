//! What holds for any text in any format.

use caas_core::Format;
use caas_core::ingest::{Declared, IngestError};
use proptest::prelude::*;

use super::{check, parse};

const FORMATS: [Format; 8] = [
    Format::Text,
    Format::Markdown,
    Format::Html,
    Format::Json,
    Format::Yaml,
    Format::Toml,
    Format::Csv,
    Format::Log,
];

/// Pieces that mean something in one format or another, and any characters between them.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "# Heading",
        "\n",
        "\n\n",
        "\r\n",
        "\r",
        "---\n",
        "===\n",
        "```rust\n",
        "```",
        "| a | b |\n|---|---|\n",
        "> ",
        "- ",
        "1. ",
        "* * *",
        "    ",
        "\t",
        "<!--",
        "-->",
        "<div>",
        "</div>",
        "<p hidden>",
        "</p>",
        "<table><tr><td>",
        "</table>",
        "<h2>",
        "</h2>",
        "<script>",
        "</script>",
        "<pre>",
        "</pre>",
        "<b>",
        "&amp;",
        "<li>",
        "{",
        "}",
        "[",
        "]",
        "\"",
        ":",
        ": ",
        ",",
        "\"key\": ",
        "null",
        "1.5",
        "true",
        "key: value\n",
        "  - item\n",
        "? ",
        "&a ",
        "*a ",
        "|\n",
        "key = 1\n",
        "[table]\n",
        "[[list]]\n",
        "'''",
        "\"\"\"",
        "a,b,c\n",
        "1;2;3\n",
        "\"x\"\"y\"",
        "2026-01-02 10:00:00 INFO up\n",
        "  at line 3\n",
        "é",
        "日本",
        "🧑‍🚀",
        "\u{200b}",
        "\u{202e}",
        "\u{a0}",
        "\0",
        "word ",
        "Word",
        "%PDF",
        "#!x\n",
    ]);
    let any = prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => ".{0,8}"];
    prop::collection::vec(any, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn blocks_tile_the_text(text in text()) {
        for format in FORMATS {
            match parse(text.as_bytes(), Declared::format(format)) {
                Ok(ingested) => {
                    prop_assert_eq!(ingested.parsed.format, format);
                    check(&ingested);
                }
                Err(error) => prop_assert!(
                    matches!(error, IngestError::Empty | IngestError::Binary { .. } | IngestError::FormatMismatch { .. }),
                    "{}: {}", format, error
                ),
            }
        }
        if let Ok(ingested) = parse(text.as_bytes(), Declared::default()) {
            check(&ingested);
        }
    }

    #[test]
    fn blocks_tile_what_is_nested(depth in 0usize..40, width in 1usize..60, key in "[a-z]{1,6}") {
        let value = format!("\"{}\"", "v".repeat(width));
        let json = format!(
            "{}{value}{}",
            format!("{{\"{key}\": [{value}, ").repeat(depth),
            "]}".repeat(depth)
        );
        let yaml: String = (0..depth).map(|at| format!("{}{key}:\n", "  ".repeat(at))).collect();
        let yaml = format!("{yaml}{}{key}: {value}\n", "  ".repeat(depth));
        for (format, text) in [(Format::Json, json), (Format::Yaml, yaml)] {
            let ingested = parse(text.as_bytes(), Declared::format(format)).unwrap();
            check(&ingested);
            prop_assert!(ingested.parsed.quality > 0.999, "{}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(raw in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in FORMATS {
            if let Ok(ingested) = parse(&raw, Declared::format(format)) {
                check(&ingested);
            }
        }
    }

    /// Each line of a text is found where it stands in the source.
    #[test]
    fn offsets_lead_back_to_the_source(text in text()) {
        let read = parse(text.as_bytes(), Declared::format(Format::Text));
        if let Ok(ingested) = read {
            let offsets = ingested.offsets.as_ref().unwrap();
            for block in &ingested.parsed.blocks {
                let source = offsets.source(block.range.clone()).unwrap();
                let source = std::str::from_utf8(&text.as_bytes()[source]).unwrap();
                let source = source.replace("\r\n", "\n").replace('\r', "\n").replace('\0', "\u{fffd}");
                prop_assert_eq!(&source, &ingested.parsed.text[block.range.clone()]);
            }
        }
    }

    #[test]
    fn what_is_cut_from_markdown_moves_no_offset(
        before in "[a-z ]{1,20}", hidden in "[a-z ]{0,20}", after in "[a-z]{1,20}",
    ) {
        let text = format!("---\nkey: v\n---\n\nx{before}<!--{hidden}-->{after}\r\n\r\nlast{after}\r\n");
        let ingested = parse(text.as_bytes(), Declared::named("a.md")).unwrap();
        check(&ingested);
        let offsets = ingested.offsets.as_ref().unwrap();
        let last = format!("last{after}");
        let at = ingested.parsed.text.find(&last).unwrap();
        prop_assert_eq!(&text[offsets.source(at..at + last.len()).unwrap()], last);
        let whole = offsets.source(ingested.parsed.blocks[0].range.clone()).unwrap();
        prop_assert_eq!(&text[whole], format!("x{before}<!--{hidden}-->{after}"));
        let front = offsets.source(ingested.parsed.blocks[0].range.start..ingested.parsed.text.find(&before).unwrap() + before.len()).unwrap();
        prop_assert_eq!(&text[front], format!("x{before}"));
    }

    /// The same bytes give the same blocks.
    #[test]
    fn reading_is_a_function(text in text()) {
        prop_assert_eq!(parse(text.as_bytes(), Declared::default()), parse(text.as_bytes(), Declared::default()));
    }
}
