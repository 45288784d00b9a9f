//! The state word and the mailbox as they are in `control-plane/src/signal`, on loom's atomics and locks.
//!
//! Each test runs in every order in which the steps of its threads can interleave (`cargo test --release`).

#![cfg(test)]

#[path = "../../src/signal/mailbox.rs"]
mod mailbox;
mod model;
#[path = "../../src/signal/word.rs"]
mod word;

/// What takes the place of `control-plane/src/signal/sync.rs`.
mod sync {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}
