//! Calls for hosts that use this crate alone: who may make them, how often, with whose consent, and what is put on record.
//!
//! An [`Invoker`] takes a call through its [stages](Stage), always in this order: the tool is found and is in a state to
//! be called; every principal of the [chain](CallChain) is allowed to; the arguments are parsed and fit; quotas, consent
//! and secrets are there; an executor that is isolated enough is found; the tool runs, and its answer is bounded and fits;
//! the call is put on record. Nothing runs after a stage that failed, but for the last.
//!
//! Inside the kernel, its policy and its flight recorder stand in the place of this module.

mod access;
mod approval;
mod audit;
mod breaker;
mod caller;
mod invoker;
mod metrics;
mod on_behalf;
mod passage;
mod progress;
mod quota;
mod retry;
mod secrets;
mod stage;

pub use access::{AccessRule, AccessRules, Authorizer, CallRequest, Decision, DenyReason};
pub use approval::{ApprovalError, Approvals, Awaiting, Stale};
pub use audit::{AuditRecord, AuditSink, CallId, Durability, JsonlAudit, MemoryAudit, NotKept};
pub use caller::{CallChain, Caller, ChainTooLong, MAX_CHAIN};
pub use invoker::{Invoker, InvokerBuilder, OnAuditFailure};
pub use metrics::{MAX_SERIES, Metrics, Outcome};
pub use on_behalf::{Answer, Call, Health, MAX_CALL_DEPTH, OnBehalf};
pub(crate) use progress::Invoked;
pub use quota::Quotas;
pub use retry::Retry;
pub use secrets::{BadSecret, MAX_SECRET, MIN_SECRET, Secret, Secrets};
pub use stage::{Stage, StageEvent, Trace};
