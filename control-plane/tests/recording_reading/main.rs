//! Reading a recording: replay, queries, following, export and redaction.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail loudly")]

#[path = "../kernel/host.rs"]
#[expect(dead_code, reason = "the kernel's tests use more of it")]
mod host;
mod replay;
