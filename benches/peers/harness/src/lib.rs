//! What the peer measurements share.
//!
//! Each peer lives in a binary of its own, because their pinned dependencies exclude each other; all of them read one
//! [`Workload`] on standard input and print one [`Report`]. [`command::run`] is that frame, [`measure()`] the clockwork, and
//! [`naive::allows`] says what the rules mean.

pub mod command;
mod measure;
pub mod naive;
mod report;
mod workload;

pub use measure::{Measurement, Operation, measure};
pub use report::{Report, Row};
pub use workload::{
    Condition, Effect, InvalidWorkload, MAX_DOCUMENT_BYTES, MAX_REQUESTS, MAX_ROUNDS, MAX_RULES, Request,
    Rule, Test, Workload,
};
