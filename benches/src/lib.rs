//! Bench suite; the benches themselves stand in `benches/`.
