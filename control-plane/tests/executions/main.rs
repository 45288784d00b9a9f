//! What is done to an agent is done to every program that runs for it: real programs, at each level that has some.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

#[cfg(feature = "docker")]
mod container;
#[cfg(feature = "docker")]
#[expect(dead_code, clippy::panic, reason = "it has more than these tests use, and may fail loudly")]
#[path = "../../../atr/tests/docker/daemon.rs"]
mod daemon;
#[cfg(feature = "wasm")]
mod guests;
mod hosted;
mod place;
mod record;
mod seen;
mod signals;
mod time;
#[cfg(feature = "wasm")]
#[expect(dead_code, clippy::panic, reason = "it has more than these tests use, and may fail loudly")]
#[path = "../../../atr/tests/wasm/guests.rs"]
mod wat_text;
mod world;
