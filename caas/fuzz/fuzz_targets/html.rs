#![no_main]

use caas_core::Format;
use caas_core::ingest::{Declared, Limits, Parser};

#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    let Ok(parser) = Parser::new(Limits::DEFAULT) else { return };
    if let Ok(ingested) = parser.parse(raw, &Declared::format(Format::Html)) {
        laws::tiled(&ingested);
    }
});
