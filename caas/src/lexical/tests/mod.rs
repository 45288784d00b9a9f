//! What every index must do, and what the one in memory promises besides.

mod conformance;
#[cfg(feature = "tantivy")]
mod disk;
mod laws;
mod texts;

use super::*;

#[test]
fn the_index_in_memory_conforms() {
    conformance::run(&|| Box::new(MemoryBm25::new(Parameters::DEFAULT).unwrap()));
}
