#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod agent;
pub mod approval;
pub mod budget;
pub mod call;
#[cfg(all(unix, feature = "control"))]
pub mod control;
pub mod denial;
pub mod error;
pub mod flow;
pub mod history;
pub mod ipc;
pub mod kernel;
pub mod mode;
pub mod observe;
pub mod policy;
pub mod question;
pub mod recorder;
pub mod signal;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod tree;
pub mod vfs;
#[cfg(feature = "watch")]
pub mod watch;

pub use agent_primitives as primitives;
pub use agent_tool_registry as atr;
pub use caas_core as caas;
pub use emk;

pub use agent::AgentHandle;
pub use approval::Approvals;
pub use denial::Denial;
pub use error::CallError;
pub use kernel::{AgentSpec, AgentState, ExitStatus, Kernel, State as KernelState};
pub use policy::Policy;
pub use recorder::FlightRecorder;
