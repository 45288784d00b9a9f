//! What is done to an agent is done to every program that runs for it: real processes, at each level that has some.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod hosted;
mod place;
mod record;
mod signals;
mod time;
