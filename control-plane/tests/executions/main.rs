//! What is done to an agent is done to every program that runs for it: real processes, at each level that has some.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail loudly"
)]

mod hosted;
mod place;
mod record;
mod signals;
mod time;
