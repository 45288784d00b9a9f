//! A kernel as a test wants it.

use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{ManualClock, Timestamp};
use agent_tool_registry::{Registry, RegistryError};

use super::{FakeTool, transcript};
use crate::agent::AgentHandle;
use crate::kernel::{AgentSpec, BuildError, Kernel, KernelBuilder, Ready, SpawnError};
use crate::policy::{Policy, PolicyErrors};
use crate::recorder::RecordingError;

/// A real kernel with a clock that stands still, a recorder in memory and the tools of the test.
#[derive(Debug)]
pub struct KernelFixture {
    kernel: Kernel,
    clock: ManualClock,
}

/// Why a fixture could not be made: the test is wrong, not what it tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixtureError {
    /// The policy does not load.
    #[error(transparent)]
    Policy(#[from] PolicyErrors),
    /// A tool cannot be registered.
    #[error(transparent)]
    Tool(#[from] RegistryError),
    /// The kernel cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl KernelFixture {
    /// A kernel under the policy in this YAML, with these tools. Its time begins at 2026-01-01T00:00:00Z.
    ///
    /// # Errors
    /// See [`FixtureError`].
    pub fn new<'t>(
        policy: &str,
        tools: impl IntoIterator<Item = &'t FakeTool>,
    ) -> Result<Self, FixtureError> {
        Self::with(policy, tools, |builder| builder)
    }

    /// As [`KernelFixture::new`], where the test has more to say to the builder: approvals, budgets, a recorder on disk.
    ///
    /// # Errors
    /// See [`FixtureError`].
    pub fn with<'t>(
        policy: &str,
        tools: impl IntoIterator<Item = &'t FakeTool>,
        more: impl FnOnce(KernelBuilder<Ready>) -> KernelBuilder<Ready>,
    ) -> Result<Self, FixtureError> {
        /// 2026-01-01T00:00:00Z in microseconds.
        const START: i64 = 1_767_225_600_000_000;
        let policy = Policy::from_yaml("test.yaml", policy)?;
        let mut registry = Registry::builder();
        tools.into_iter().try_for_each(|tool| tool.register(&mut registry))?;
        let clock = ManualClock::at(Timestamp::from_micros(START));
        let builder = Kernel::builder().policy(policy).tools(registry.build());
        let kernel = more(builder.timer(Arc::new(clock.clone()))).build()?;
        Ok(Self { kernel, clock })
    }

    /// The kernel.
    #[must_use]
    pub const fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// The clock, which moves when told to.
    #[must_use]
    pub const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// Moves the clock forward and wakes what slept that long.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Starts an agent of this name.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn agent(&self, name: &str) -> Result<AgentHandle, SpawnError> {
        self.kernel.spawn(AgentSpec::new(name))
    }

    /// What is on record, for a snapshot test: see [`transcript`].
    ///
    /// # Errors
    /// The recorder cannot be read, or has dropped what came first.
    pub fn transcript(&self) -> Result<String, RecordingError> {
        transcript(&self.kernel)
    }
}
