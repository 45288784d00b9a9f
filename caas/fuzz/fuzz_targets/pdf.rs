#![no_main]

use caas_core::ingest::{Declared, IngestError, Limits, Parser};

#[path = "../laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    let mut limits = Limits::DEFAULT;
    limits.time = std::time::Duration::from_secs(10);
    let Ok(parser) = Parser::new(limits) else { return };
    let raw = [b"%PDF-1.7\n", raw].concat();
    match parser.parse(&raw, &Declared::default()) {
        Ok(ingested) => laws::tiled(&ingested),
        // A panic of the library is caught, and a file on which it does not end is one we want to know.
        Err(IngestError::Timeout { .. }) => panic!("it does not end"),
        Err(_) => {}
    }
});
