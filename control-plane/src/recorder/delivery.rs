//! What becomes of a signal that waited, and of the handlers of signals.

use serde::{Deserialize, Serialize};

/// To whom a signal that waited was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Delivery {
    /// Nobody held it back any more: its default action was taken.
    Default,
    /// Its handler, which begins to run.
    Handler,
    /// The agent, which was awaiting it.
    Awaited,
}

impl Delivery {
    /// The receiver in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Handler => "handler",
            Self::Awaited => "awaited",
        }
    }
}

/// What can happen to the handler of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HandlerStep {
    /// The agent registered it, in place of any before.
    Registered,
    /// The agent took it away.
    Removed,
    /// It ran to its end.
    Done,
    /// It said that it failed, or was gone when it was to begin; the default action has been taken.
    Failed,
    /// It panicked; the default action has been taken.
    Panicked,
    /// It did not end in time; the default action has been taken.
    Overran,
    /// The call it ran in was given up, or its agent ended; the default action has been taken if the agent lives.
    Abandoned,
}

impl HandlerStep {
    /// The step in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Removed => "removed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Overran => "overran",
            Self::Abandoned => "abandoned",
        }
    }
}
