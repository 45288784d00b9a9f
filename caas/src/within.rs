//! A future that is given up when its time is over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use agent_primitives::Timer;

/// What `work` answers, or `None` when `patience` is over first. `work` is dropped then.
pub(crate) async fn within<T>(
    timer: &dyn Timer,
    patience: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut sleep = timer.sleep_until(timer.monotonic().after(patience));
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        sleep.as_mut().poll(context).map(|()| None)
    })
    .await
}
