#![no_main]

use caas_core::Format;
use caas_core::detect::detect;
use caas_core::ingest::{Declared, Limits, Parser};

#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    let Ok(parser) = Parser::new(Limits::DEFAULT) else { return };
    for format in [Format::Json, Format::Yaml, Format::Toml, Format::Csv, Format::Log, Format::Text] {
        if let Ok(ingested) = parser.parse(raw, &Declared::format(format)) {
            laws::tiled(&ingested);
            assert!((0.0..=1.0).contains(&detect(&ingested.parsed).confidence));
        }
    }
    if let Ok(ingested) = parser.parse(raw, &Declared::default()) {
        laws::tiled(&ingested);
    }
});
