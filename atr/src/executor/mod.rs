//! Who runs a tool: functions of the host in place, programs at some level of isolation.

pub(crate) mod child;
mod choice;
#[cfg(feature = "docker")]
mod docker;
mod executions;
pub(crate) mod function;
#[cfg(target_os = "linux")]
pub(crate) mod process;
#[cfg(not(target_os = "linux"))]
#[path = "process/elsewhere.rs"]
pub(crate) mod process;
pub(crate) mod program;
pub mod python;
mod session;
mod stdio;
pub(crate) mod supervise;
#[cfg(feature = "wasm")]
pub mod wasm;

pub use child::{Child, Command};
pub(crate) use choice::identity;
pub use choice::{Artefact, Executor, Executors, Finished, Launch};
#[cfg(feature = "docker")]
pub use docker::Docker;
pub use executions::{Executions, Registered};
pub use process::Process;
pub use session::{Cause, Control, Exit, Held, Order, Pending, Session, Usage};
pub(crate) use supervise::{Job, Prepare, contained, supervise};
#[cfg(feature = "wasm")]
pub use wasm::Wasm;
