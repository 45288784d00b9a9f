//! When a call is made again.

use std::time::Duration;

use agent_primitives::id_source::unit;
use agent_primitives::{Backoff, IdSource, Jitter};

/// How often a call of an idempotent tool is made in all, and how long it waits in between. A tool that is not idempotent
/// is called once, whatever this says.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    attempts: u32,
    backoff: Option<Backoff>,
}

impl Retry {
    /// Calls are made once.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, backoff: None }
    }

    /// So many attempts, with these waits in between.
    #[must_use]
    pub fn new(attempts: u32, backoff: Backoff) -> Self {
        Self { attempts, backoff: Some(backoff) }
    }

    /// How long to wait after `made` attempts; `None` when there is to be no other, or no randomness to spread it with.
    pub(super) fn wait(&self, made: u32, ids: &dyn IdSource) -> Option<Duration> {
        if self.attempts <= made {
            return None;
        }
        self.backoff?.delay(made.saturating_sub(1), unit(ids).ok()?).ok()
    }
}

impl Default for Retry {
    /// Three attempts, after at most 200 and 400 ms, with full jitter.
    fn default() -> Self {
        let (base, cap) = (Duration::from_millis(200), Duration::from_secs(10));
        Self { attempts: 3, backoff: Backoff::new(base, 2.0, cap, Jitter::Full).ok() }
    }
}
