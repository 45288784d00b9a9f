//! The machine's clock for hosts that run on tokio.

use agent_primitives::clock::Sleep;
use agent_primitives::{Clock, Monotonic, SystemClock, Timer, Timestamp};

/// [`SystemClock`] that wakes through tokio. Sleeps need a tokio runtime with its time driver enabled, and wake to the
/// millisecond, never early.
///
/// It reads the clock of the machine, so tokio's paused test time does not move it; tests use
/// [`ManualClock`](agent_primitives::ManualClock).
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioTimer(SystemClock);

impl TokioTimer {
    /// A timer whose monotonic origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for TokioTimer {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
}

impl Timer for TokioTimer {
    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        let clock = self.0;
        let sleep = async move {
            loop {
                let left = deadline.since(clock.monotonic());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left).await;
            }
        };
        // Without this, a tool that has used up its task's budget would keep its own deadline from being seen.
        Box::pin(tokio::task::unconstrained(sleep))
    }
}
