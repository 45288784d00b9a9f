//! The states of a kernel, and what impairs it: the table is in `states.md`, which the module's documentation shows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::Timestamp;

use super::{Inner, Kernel};
use crate::error::CallError;
use crate::recorder::{Body, Source, VerifyError, VerifyReport};

/// Whether the kernel takes calls: see the table of [`crate::kernel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Not yet: the host prepares it.
    Booting,
    /// It does.
    Running,
    /// It does, and something that no promise rests on is impaired: see [`Kernel::impairments`].
    Degraded,
    /// It was shut down in order.
    Shutdown,
    /// It could not keep a promise, and closed every gate rather than break it. The host process goes on.
    Panicked(String),
}

impl State {
    /// The state in one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Degraded => "degraded",
            Self::Shutdown => "shutdown",
            Self::Panicked(_) => "panicked",
        }
    }
}

/// What can be impaired without a promise being broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Approvals cannot be written to their store, so they would not outlive the process.
    Approvals,
    /// The record forgets its oldest events, because its memory is full.
    Record,
    /// An anchor does not keep the record's checkpoints, so that nothing outside holds its newest part to account.
    Anchors,
    /// The policy's files hold what does not load; the policy before is in force.
    Policy,
}

impl Part {
    /// The part in one word, as in [`Body::Impaired`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Approvals => "approvals",
            Self::Record => "record",
            Self::Anchors => "anchors",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One impairment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Impairment {
    /// Of what.
    pub part: Part,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What is impaired now.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Whether the host still prepares the kernel.
    booting: AtomicBool,
    /// Whether `parts` holds something.
    impaired: AtomicBool,
    parts: Mutex<BTreeMap<Part, Impairment>>,
    /// How many records had been dropped when the kernel was built.
    dropped: u64,
}

impl Health {
    pub(super) fn new(booting: bool, dropped: u64) -> Self {
        Self { booting: AtomicBool::new(booting), dropped, ..Self::default() }
    }

    fn parts(&self) -> MutexGuard<'_, BTreeMap<Part, Impairment>> {
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest reason of an impairment that is kept, in characters.
const MAX_REASON: usize = 512;

impl Kernel {
    /// Whether the kernel takes calls.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.look();
        self.inner.state()
    }

    /// What is impaired now, in the order of [`Part`].
    #[must_use]
    pub fn impairments(&self) -> Vec<Impairment> {
        self.inner.look();
        self.inner.health.parts().values().cloned().collect()
    }

    /// Ends the state `Booting`: calls are taken from now on. Nothing changes for a kernel that is not in it.
    ///
    /// # Errors
    /// It could not be recorded; the kernel has panicked then.
    pub fn ready(&self) -> Result<(), CallError> {
        let inner = &self.inner;
        if inner.health.booting.load(Ordering::SeqCst) {
            inner.append(Source::KERNEL, 0, Body::Host { action: "says that the kernel is ready" })?;
            inner.health.booting.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    /// Recomputes every hash of the record that is kept. One that does not hold panics the kernel: what it decides from now
    /// on could not be shown to follow from what it decided before. Blocks on the disk; `progress` hears the number of
    /// records checked.
    ///
    /// # Errors
    /// The first record that does not hold.
    pub fn verify_record(&self, progress: impl FnMut(u64)) -> Result<VerifyReport, VerifyError> {
        let verified = self.inner.recorder.verify(None, progress);
        if let Err(error) = &verified {
            self.inner.panic(&format!("the record does not hold: {error}"));
        }
        verified
    }
}

impl Inner {
    pub(crate) fn state(&self) -> State {
        if let Some(down) = self.down.get() {
            return down.clone();
        }
        if self.health.booting.load(Ordering::SeqCst) {
            State::Booting
        } else if self.health.impaired.load(Ordering::SeqCst) {
            State::Degraded
        } else {
            State::Running
        }
    }

    /// Refuses calls when the kernel takes none.
    pub(crate) fn running(&self) -> Result<(), CallError> {
        self.up()?;
        if self.health.booting.load(Ordering::SeqCst) {
            return Err(CallError::KernelDown { reason: "it is not ready yet".to_owned() });
        }
        Ok(())
    }

    /// Refuses what a kernel that is down does not do. One that is not ready does it.
    pub(crate) fn up(&self) -> Result<(), CallError> {
        if self.table.is_poisoned() {
            self.panic("a panic has left the table of agents in an unknown state");
        }
        let reason = match self.down.get() {
            None => return Ok(()),
            Some(State::Panicked(reason)) => reason.clone(),
            Some(_) => "it was shut down".to_owned(),
        };
        Err(CallError::KernelDown { reason })
    }

    /// Looks at the parts that do not tell by themselves.
    fn look(&self) {
        self.look_at_record();
        self.look_at_anchors();
        self.look_at_approvals();
    }

    /// Says that a part is impaired, if it was not so already; that is on record.
    pub(crate) fn impair(&self, part: Part, reason: &str) {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        let mut parts = self.health.parts();
        if self.down.get().is_some() || parts.contains_key(&part) {
            return;
        }
        tracing::warn!(part = part.name(), reason, "the kernel is degraded");
        parts.insert(part, Impairment { part, reason: reason.clone(), since: self.timer.now() });
        self.health.impaired.store(true, Ordering::SeqCst);
        drop(parts);
        // A recorder that fails here has already panicked the kernel, which closed every gate.
        let _ = self.append(Source::KERNEL, 0, Body::Impaired { part: part.name(), reason: &reason });
    }

    /// Says that a part is whole, if it was impaired; that is on record.
    pub(crate) fn mend(&self, part: Part) {
        if !self.health.impaired.load(Ordering::SeqCst) {
            return;
        }
        let mut parts = self.health.parts();
        if parts.remove(&part).is_none() {
            return;
        }
        self.health.impaired.store(!parts.is_empty(), Ordering::SeqCst);
        drop(parts);
        let _ = self.append(Source::KERNEL, 0, Body::Mended { part: part.name() });
    }

    /// Notices whether the approvals could be kept the last time.
    pub(crate) fn look_at_approvals(&self) {
        let Some(desk) = &self.desk else { return };
        match desk.unkept() {
            Some(reason) => self.impair(Part::Approvals, &reason),
            None => self.mend(Part::Approvals),
        }
    }

    /// Notices whether an anchor failed the last time, and has not caught up since.
    fn look_at_anchors(&self) {
        let Some(seals) = self.recorder.seals() else { return };
        match seals.last_error() {
            Some(reason) => self.impair(Part::Anchors, reason),
            None => self.mend(Part::Anchors),
        }
    }

    /// Notices that the record has begun to forget.
    pub(crate) fn look_at_record(&self) {
        let dropped = self.recorder.dropped();
        if self.health.dropped < dropped {
            self.impair(Part::Record, "its memory is full, and the oldest events are dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentSpec, Policy};

    #[test]
    fn a_poisoned_table_panics_the_kernel_and_not_its_host() {
        let kernel = Kernel::builder().policy(Policy::deny_all()).build().unwrap();
        let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
        kernel.inner.table.poison();
        assert!(kernel.spawn(AgentSpec::new("b")).is_err());
        let State::Panicked(reason) = kernel.state() else { panic!("it went on") };
        assert!(reason.contains("the table of agents"), "{reason}");
        assert!(agent.cell().ended().is_some(), "every gate is closed");
    }
}
