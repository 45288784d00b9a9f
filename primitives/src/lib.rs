#![doc = include_str!("../README.md")]

pub mod clock;
pub mod digest;
pub mod id;
pub mod json;
pub mod label;
pub mod severity;
pub mod signal;
pub mod suggest;
pub mod timestamp;
pub mod verdict;

pub use clock::{Clock, ManualClock, Monotonic, SystemClock, Timer};
pub use digest::Digest;
pub use id::{AgentId, BadId, SessionId, TenantId, ToolId};
pub use label::{BadLabel, Label, LabelSet, TooManyLabels};
pub use severity::{Severity, UnknownSeverity};
pub use signal::{Signal, SignalSet, UnknownSignal};
pub use timestamp::{BadTimestamp, Timestamp};
pub use verdict::Verdict;
