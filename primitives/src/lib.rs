#![doc = include_str!("../README.md")]

pub mod clock;
pub mod detect;
pub mod digest;
pub mod id;
pub mod json;
pub mod label;
pub mod redact;
pub mod signal;
pub mod suggest;
pub mod text;
pub mod verdict;

pub use clock::{Clock, ManualClock, Monotonic, SystemClock, Timer, Timestamp};
pub use digest::Digest;
pub use id::{AgentId, BadId, TenantId, ToolId};
pub use label::{BadLabel, Label, LabelSet, TooManyLabels};
pub use signal::{Signal, SignalSet, UnknownSignal};
pub use verdict::Verdict;
