//! The machine's clock for hosts of any executor.

use crate::clock::Sleep;
use crate::{Clock, Monotonic, SystemClock, Timer, Timestamp};

/// [`SystemClock`] that wakes whoever sleeps from a thread of its own, which all timers of the process share: it needs no
/// runtime. Sleeps end never early.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTimer(SystemClock);

impl SystemTimer {
    /// A timer whose monotonic origin is now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Clock for SystemTimer {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
}

impl Timer for SystemTimer {
    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        let clock = self.0;
        Box::pin(async move {
            loop {
                let left = deadline.since(clock.monotonic());
                if left.is_zero() {
                    return;
                }
                futures_timer::Delay::new(left).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};
    use std::time::Duration;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    #[test]
    fn a_sleep_wakes_its_task_without_a_runtime_and_not_early() {
        let timer = SystemTimer::new();
        let deadline = timer.monotonic().after(Duration::from_millis(20));
        let mut sleep = pin!(timer.sleep_until(deadline));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        while sleep.as_mut().poll(&mut context).is_pending() {
            thread::park();
        }
        assert!(deadline <= timer.monotonic());
        let past = pin!(timer.sleep_until(deadline));
        assert_eq!(past.poll(&mut context), Poll::Ready(()), "what has passed is not waited for");
    }
}
