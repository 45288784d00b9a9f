//! Vectors of texts from a model in a local folder.
//!
//! [`CandleBert`] runs BERT-like sentence embedders, such as all-MiniLM-L6-v2, with candle. Candle is Rust throughout: it
//! builds wherever this crate builds, needs no shared library at run time and fetches nothing, neither when it is built nor
//! when it runs. ONNX Runtime is faster on large batches, but it is a C++ library that its bindings download or link while they
//! build. Nothing here opens a connection: the host puts the folder where it is.

mod bert;
mod folder;

pub use bert::CandleBert;

pub use crate::tokens::ModelError;

#[cfg(test)]
mod tests;
