//! Tools that fail one call after the other are left alone for a while.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{Monotonic, ToolId};

use crate::ToolError;

/// So many failures in a row open the circuit.
const FAILURES: u32 = 5;
/// For so long it stays open.
const OPEN: Duration = Duration::from_secs(30);

/// One circuit for each tool that has failed lately: closed, open for a while, then tried by one call. Only what the
/// executor or the way to the tool did counts, not what the tool answered. There is never more than one for a tool of the
/// registry.
#[derive(Debug, Default)]
pub(super) struct Breakers(Mutex<BTreeMap<ToolId, Circuit>>);

#[derive(Clone, Copy, Debug, Default)]
struct Circuit {
    failures: u32,
    open_until: Option<Monotonic>,
    probed: bool,
}

impl Breakers {
    /// Whether a call could go through now.
    pub(super) fn check(&self, tool: &ToolId, now: Monotonic) -> Result<(), ToolError> {
        self.lock().get(tool).map_or(Ok(()), |circuit| circuit.admits(now))
    }

    /// Lets a call through; after the circuit was open, one at a time.
    pub(super) fn enter(self: &Arc<Self>, tool: &ToolId, now: Monotonic) -> Result<Pass, ToolError> {
        let mut probe = false;
        if let Some(circuit) = self.lock().get_mut(tool) {
            circuit.admits(now)?;
            probe = circuit.open_until.is_some();
            circuit.probed = probe;
        }
        Ok(Pass { breakers: Arc::clone(self), tool: tool.clone(), probe })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ToolId, Circuit>> {
        // INVARIANT: what is changed under this lock are numbers and flags, so a poisoned map is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    fn admits(&self, now: Monotonic) -> Result<(), ToolError> {
        let wait = self.open_until.map_or(Duration::ZERO, |until| until.since(now));
        if self.probed || !wait.is_zero() {
            return Err(ToolError::CircuitOpen { retry_after: wait });
        }
        Ok(())
    }
}

/// A call that was let through. Dropped without a word, it says nothing about the tool.
#[derive(Debug)]
pub(super) struct Pass {
    breakers: Arc<Breakers>,
    tool: ToolId,
    probe: bool,
}

impl Pass {
    /// Says how the call went that was let through.
    pub(super) fn ended(self, failed: bool, now: Monotonic) {
        let mut circuits = self.breakers.lock();
        if !failed {
            // A call that began before the circuit opened does not close it.
            let closed = circuits.get(&self.tool).is_some_and(|circuit| circuit.open_until.is_none());
            if self.probe || closed {
                circuits.remove(&self.tool);
            }
            return;
        }
        let circuit = circuits.entry(self.tool.clone()).or_default();
        circuit.failures = circuit.failures.saturating_add(1);
        if FAILURES <= circuit.failures {
            circuit.open_until = Some(now.after(OPEN));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.probe
            && let Some(circuit) = self.breakers.lock().get_mut(&self.tool)
        {
            circuit.probed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn five_failures_open_and_one_probe_closes() {
        let (breakers, tool) = (Arc::new(Breakers::default()), "t".parse::<ToolId>().unwrap());
        for _ in 0..5 {
            breakers.enter(&tool, at(0)).unwrap().ended(true, at(0));
        }
        assert!(matches!(breakers.enter(&tool, at(29)), Err(ToolError::CircuitOpen { .. })));
        let probe = breakers.enter(&tool, at(30)).unwrap();
        assert!(breakers.check(&tool, at(30)).is_err(), "one at a time");
        drop(probe);
        breakers.enter(&tool, at(30)).unwrap().ended(true, at(30));
        assert!(breakers.enter(&tool, at(59)).is_err(), "a failed probe opens it again");
        breakers.enter(&tool, at(60)).unwrap().ended(false, at(60));
        assert!(breakers.lock().is_empty());
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let (breakers, tool) = (Arc::new(Breakers::default()), "t".parse::<ToolId>().unwrap());
        for failed in [true, true, true, true, false, true, true, true, true] {
            breakers.enter(&tool, at(0)).unwrap().ended(failed, at(0));
        }
        assert!(breakers.check(&tool, at(0)).is_ok());
    }

    #[test]
    fn a_call_from_before_does_not_close_an_open_circuit() {
        let (breakers, tool) = (Arc::new(Breakers::default()), "t".parse::<ToolId>().unwrap());
        let early = breakers.enter(&tool, at(0)).unwrap();
        for _ in 0..5 {
            breakers.enter(&tool, at(0)).unwrap().ended(true, at(0));
        }
        early.ended(false, at(1));
        assert!(breakers.check(&tool, at(2)).is_err());
    }
}
