//! Failures: what went wrong, of what kind, and what can be done about it.

pub mod classify;
mod kind;

pub use classify::{Classification, UnknownCode};
pub use kind::{FailureClass, FailureType, InvalidFailureType, MAX_FAILURE_TYPE, OtherType};
