#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod backoff;
pub mod clock;
pub mod detect;
pub mod digest;
pub mod failure;
pub mod id;
pub mod id_source;
pub mod json;
pub mod label;
pub mod rate;
pub mod redact;
pub mod resource;
#[cfg(feature = "search")]
pub mod search;
pub mod severity;
pub mod signal;
pub mod span;
pub mod suggest;
pub mod text;
pub mod ticket;
#[cfg(feature = "timer")]
mod timer;
pub mod timestamp;
pub mod truncate;
pub mod verdict;

pub use backoff::{Backoff, InvalidPolicy, Jitter};
pub use clock::{Clock, ManualClock, Monotonic, SystemClock, Timer};
pub use digest::Digest;
pub use failure::{AgentFailure, FailureClass, FailureError, FailureId, FailureType};
pub use id::{AgentId, BadId, SessionId, TenantId, ToolId};
pub use id_source::{IdSource, NoRandomness, SeededIds, SystemIds};
pub use label::{BadLabel, Label, LabelSet, MAX_LABELS, TooManyLabels};
pub use rate::{BadRate, Gcra, Period, Rate, RetryAfter};
pub use resource::{BadAmount, Currency, Money, Resource};
pub use severity::{Severity, UnknownSeverity};
pub use signal::{Signal, SignalSet, UnknownSignal};
pub use ticket::{Principal, Scope, Ticket, TicketId};
#[cfg(feature = "timer")]
pub use timer::SystemTimer;
pub use timestamp::{BadTimestamp, Timestamp};
pub use verdict::Verdict;
