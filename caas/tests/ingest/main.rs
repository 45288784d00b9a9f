//! Reading documents: what must hold for any bytes, for the files of a folder, and for what is broken or hostile.
#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test may fail loudly")]

mod folder;
mod laws;
#[path = "../../fuzz/laws.rs"]
mod laws_of_any;
#[cfg(feature = "pdf")]
mod pdf;
mod robustness;

use caas_core::ingest::{Declared, IngestError, Ingested, Limits, Parser};
use laws_of_any::tiled as check;

fn parser() -> Parser {
    Parser::new(Limits::DEFAULT).unwrap()
}

fn parse(raw: &[u8], declared: Declared<'_>) -> Result<Ingested, IngestError> {
    parser().parse(raw, &declared)
}
