//! Reading documents: what must hold for any bytes, for the files of a folder, and for what is broken or hostile.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::string_slice,
    reason = "a test may fail loudly"
)]

mod folder;
mod laws;
#[cfg(feature = "pdf")]
mod pdf;
mod robustness;

use caas_core::ingest::{Declared, IngestError, Ingested, Limits, Parser};

fn parser() -> Parser {
    Parser::new(Limits::DEFAULT).unwrap()
}

fn parse(raw: &[u8], declared: Declared<'_>) -> Result<Ingested, IngestError> {
    parser().parse(raw, &declared)
}

/// What [`caas_core::Parsed`] promises.
fn check(ingested: &Ingested) {
    let parsed = &ingested.parsed;
    let mut end = 0;
    let blank = |range: std::ops::Range<usize>| {
        let between = parsed.text.get(range.clone()).unwrap_or_else(|| panic!("{range:?} parts a character"));
        assert!(between.trim().is_empty(), "in no block: {between:?} of {:?}", parsed.text);
    };
    for block in &parsed.blocks {
        assert!(end <= block.range.start && block.range.start < block.range.end, "{:?}", parsed.blocks);
        blank(end..block.range.start);
        let text = parsed.text.get(block.range.clone()).expect("a block parts a character");
        assert!(!text.trim().is_empty());
        end = block.range.end;
    }
    blank(end..parsed.text.len());
    assert!(!parsed.text.contains('\r') && !parsed.text.contains('\0'));
    assert!((0.0..=1.0).contains(&parsed.quality), "{}", parsed.quality);
    assert!(parsed.removed.iter().all(|removed| removed.text.len() <= 1024));
}
