#![doc = include_str!("../README.md")]

mod arguments;
mod builder;
mod canonical;
pub mod compose;
mod context;
mod contract;
mod error;
pub mod executor;
pub mod export;
pub mod invoke;
pub mod isolation;
mod labels;
mod lifecycle;
mod manifest;
#[cfg(feature = "mcp")]
pub mod mcp;
mod number;
mod output;
mod path;
mod pointer;
mod registry;
#[cfg(feature = "sign")]
pub mod replicate;
mod role;
mod scan;
mod schema;
mod search;
mod snapshot;
mod text;
mod timer;

/// Identifiers, clocks, digests, rates, resources, tickets and labels, as they stand in the signatures here.
pub use agent_primitives as primitives;
pub use arguments::Arguments;
pub use builder::{MAX_WORDS, RegistryBuilder, ToolArguments, ToolBuilder, ToolReply};
pub use context::{CallContext, Canceller, MAX_RESOURCES, Meter, NotSpent, Ran};
pub use contract::{Effect, EffectSet, Endpoint, MAX_DESCRIPTION, Provenance, ToolContract};
pub use error::{ArgumentError, RegistryError, Stderr, ToolError};
#[cfg(feature = "wasm")]
pub use executor::Wasm;
pub use executor::{Artefact, Command, Executor, Executors, Process};
pub use invoke::{
    AccessRule, AccessRules, Answer, ApprovalError, Approvals, AuditRecord, AuditSink, Authorizer, Call,
    CallChain, Caller, Invoker, MemoryAudit, OnBehalf, Quotas, Secret, Stage,
};
pub use isolation::{
    Access, Guarantee, GuaranteeSet, IsolationReport, Level, Limits, Permissions, SandboxPolicy,
};
pub use labels::{Leaf, MAX_FIELD_PATTERN, MAX_LABELLED_FIELDS, OutputLabels};
pub use lifecycle::{MAX_TRANSITIONS, Status, Transition};
pub use manifest::{
    Loaded, MAX_ARTEFACT_BYTES, MAX_MANIFEST_BYTES, MAX_MANIFESTS, ManifestError, artefact_digest,
};
pub use output::Output;
pub use path::{MAX_PATH, PathRoot};
pub use registry::{Invocation, Registry};
pub use role::ArgumentRole;
pub use scan::{Finding, MAX_FINDINGS, Rule, scan};
pub use schema::{
    MAX_ENUM_VALUES, MAX_PATTERNS, MAX_PROPERTIES, MAX_SCHEMA_BYTES, MAX_SCHEMA_DEPTH, ValueSchema,
};
/// The version of schemars whose `JsonSchema` a tool's arguments derive.
pub use schemars;
pub use search::{Filter, MAX_FOUND, MAX_SEARCHED, SEARCH_TOOLS};
/// Versions of tools, and requirements of versions.
pub use semver;
pub use snapshot::{MAX_TOOLS, MAX_VERSIONS, Snapshot, Tool};
pub use timer::TokioTimer;
