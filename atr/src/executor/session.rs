//! One program under way.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::isolation::{GuaranteeSet, Level};

/// A boxed future, as the traits here answer.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is done to a program under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Order {
    /// Run no further instruction until told to. Its deadline stands still.
    Stop,
    /// Go on after [`Order::Stop`].
    Continue,
    /// End by yourself.
    Terminate,
    /// End now, with everything that was started.
    Kill,
}

impl Order {
    /// The order in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Continue => "continue",
            Self::Terminate => "terminate",
            Self::Kill => "kill",
        }
    }
}

/// How an order took hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Held {
    /// Stopped: not one instruction of the program runs.
    Hard,
    /// The program goes on where it computes, and stops where it next calls the kernel.
    Cooperative,
    /// It runs, or was asked to end.
    Running,
    /// It has ended, with everything it had started.
    Dead,
    /// It could not be ended: code in the host's address space that never awaits. Its result is discarded.
    Abandoned,
}

impl Held {
    /// The state in one word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Cooperative => "cooperative",
            Self::Running => "running",
            Self::Dead => "dead",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Reaches a program under way, from any thread.
pub trait Control: fmt::Debug + Send + Sync {
    /// Where it runs.
    fn level(&self) -> Level;

    /// Gives an order and comes back: within a millisecond or so, without a runtime, and without waiting for the order to
    /// take hold. Repeating an order, and any order to what has ended, changes nothing. Orders take hold in the order
    /// given; nothing undoes a kill.
    fn order(&self, order: Order);

    /// Resolves once the last order given has taken hold, or the program has ended.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the wait and nothing else.
    fn held(&self) -> Pending<'_, Held>;

    /// What it has used so far.
    fn usage(&self) -> Usage;
}

/// What a program has used. `None` is not measured, never zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time of the whole tree.
    pub cpu: Option<Duration>,
    /// The most memory it had at once, in bytes.
    pub peak_memory: Option<u64>,
    /// The most processes and threads it had at once.
    pub peak_processes: Option<u32>,
    /// Fuel burnt.
    pub fuel: Option<u64>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// By itself, with this code.
    Code(i32),
    /// By a signal of the operating system that nobody here sent.
    Signal(i32),
    /// By an order of ours.
    Killed,
    /// It used up its processor time.
    Cpu,
    /// It went beyond its memory.
    Memory,
    /// It went beyond its processes.
    Processes,
    /// It used up its fuel.
    Fuel,
    /// WebAssembly that trapped, in one word of wasmtime's.
    Trap(String),
    /// It tried what no program may: the system call, by name or number.
    Violation(String),
    /// The executor lost it. The program is gone all the same.
    Lost(String),
}

/// A program that has ended, with everything it had started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exit {
    /// How.
    pub cause: Cause,
    /// What it used.
    pub usage: Usage,
}

impl Exit {
    /// An end, and what was used until then.
    #[must_use]
    pub fn new(cause: Cause, usage: Usage) -> Self {
        Self { cause, usage }
    }
}

/// A program with its three streams.
///
/// INVARIANT: whoever made it has registered `control` with the [`Executions`](super::Executions) of the launch before
/// anything of the program ran.
#[must_use = "a session that is dropped kills its program"]
pub struct Session {
    /// What the program reads. Dropping it closes it.
    pub stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// What the program writes.
    pub stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// What the program complains of.
    pub stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// Reaches the program.
    pub control: std::sync::Arc<dyn Control>,
    /// Resolves when the program has ended and nothing of it is left. Dropping it kills the program.
    pub exit: Pending<'static, Exit>,
    /// What was really in force.
    pub guarantees: GuaranteeSet,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("control", &self.control)
            .field("guarantees", &self.guarantees)
            .finish_non_exhaustive()
    }
}
