//! Reading a recording: replay, queries, following, export and redaction.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod family;
mod follow;
#[path = "../kernel/host.rs"]
#[expect(dead_code, reason = "the kernel's tests use more of it")]
mod host;
mod query;
mod redact;
mod replay;
