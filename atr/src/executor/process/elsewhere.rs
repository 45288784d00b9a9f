//! Where the kernel does not offer what a sandbox is made of.

use super::{Artefact, Executor, Launch, Pending, Session};
use crate::error::ToolError;
use crate::isolation::{GuaranteeSet, Level, Limits, Permissions};

/// The sandbox of Linux, which is not there on this system: nothing is run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Process(());

impl Process {
    /// It refuses everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It refuses everything.
    #[must_use]
    pub fn in_group(_folder: impl Into<std::path::PathBuf>) -> Self {
        Self::default()
    }
}

fn unavailable() -> ToolError {
    ToolError::unavailable(Level::Process, "this system is not Linux")
}

impl Executor for Process {
    fn level(&self) -> Level {
        Level::Process
    }

    fn takes(&self, artefact: &Artefact) -> bool {
        matches!(artefact, Artefact::Command(_))
    }

    fn guarantees(&self, _: &Permissions, _: &Limits) -> Result<GuaranteeSet, ToolError> {
        Err(unavailable())
    }

    fn start(&self, _: Launch) -> Pending<'_, Result<Session, ToolError>> {
        Box::pin(async { Err(unavailable()) })
    }
}
