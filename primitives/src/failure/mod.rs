//! Failures: what went wrong, of what kind, and what can be done about it.
//!
//! A record is built by [`AgentFailure::builder`] or read by [`import`]. What may follow from it is decided by its
//! [`FailureType`] alone, which [`classify`] takes from numbers and enumerations; no text decides anything.

mod cause;
pub mod classify;
mod error;
mod fingerprint;
pub mod import;
mod kind;
mod record;

pub use cause::{BadFailureId, CauseCycle, FailureId, MAX_CAUSES, causes};
pub use classify::{Classification, UnknownCode};
pub use error::FailureError;
pub use fingerprint::{Fingerprint, MAX_NORMALISED, normalise};
pub use kind::{FailureClass, FailureType, InvalidFailureType, MAX_FAILURE_TYPE, OtherType};
pub use record::{
    AgentFailure, FailureBuilder, FailureTrace, MAX_CONTEXT, MAX_CONTEXT_DEPTH, MAX_MESSAGE, MAX_STACK_TRACE,
    MAX_STEPS, RetryHint, SideEffects,
};
