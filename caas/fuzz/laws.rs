//! What must hold of any document. The fuzz targets and `tests/ingest/main.rs` run the same function.

use caas_core::ingest::Ingested;

/// What `Parsed` promises: blocks are in order, apart, on the borders of characters, and cover all that is not white space.
pub(crate) fn tiled(ingested: &Ingested) {
    let parsed = &ingested.parsed;
    let blank = |range: std::ops::Range<usize>| {
        let between = parsed.text.get(range.clone());
        assert!(between.is_some_and(|between| between.trim().is_empty()), "{range:?} of {:?}", parsed.text);
    };
    let mut end = 0;
    for block in &parsed.blocks {
        assert!(end <= block.range.start && block.range.start < block.range.end, "{:?}", parsed.blocks);
        blank(end..block.range.start);
        assert!(
            parsed.text.get(block.range.clone()).is_some_and(|text| !text.trim().is_empty()),
            "{block:?}"
        );
        end = block.range.end;
    }
    blank(end..parsed.text.len());
    assert!(!parsed.text.contains(['\r', '\0']));
    assert!((0.0..=1.0).contains(&parsed.quality), "{}", parsed.quality);
    assert!(
        parsed
            .removed
            .iter()
            .all(|removed| removed.text.len() <= 1024 && removed.text.len() <= removed.bytes)
    );
    if let Some(offsets) = &ingested.offsets {
        let all = offsets.source(0..parsed.text.len());
        assert!(all.is_some_and(|all| all.start <= all.end));
    }
}
