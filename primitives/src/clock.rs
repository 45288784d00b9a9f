//! The one seam through which time enters.
//!
//! Nothing else in the workspace asks the operating system what time it is (a lint sees to that), so a run can be
//! repeated under a [`ManualClock`] and gives the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Timestamp;

/// Monotonic time: nanoseconds since an origin of the clock's own. Only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(u64);

impl Monotonic {
    /// From nanoseconds since the clock's origin.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The instant `wait` later; saturates at the end of time.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Wall-clock time, for records. May step backwards.
    fn now(&self) -> Timestamp;

    /// Monotonic time, for deadlines and durations. Never steps backwards.
    fn monotonic(&self) -> Monotonic;
}

/// What [`Timer::sleep_until`] returns. Dropping it forgets the sleep.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A clock that can also wake a task.
pub trait Timer: Clock {
    /// Resolves once [`Clock::monotonic`] has reached `deadline`; at once if it already has.
    fn sleep_until(&self, deadline: Monotonic) -> Sleep;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic origin is now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the seam the ban points to")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map(|elapsed| i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX));
        Timestamp::from_micros(since_epoch.unwrap_or(0))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// A clock that moves only when told to. Clones share one time.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<ManualTime>>);

#[derive(Default)]
struct ManualTime {
    wall: i64,
    monotonic: u64,
    next_key: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
}

impl ManualClock {
    /// A clock that starts at `wall`, with monotonic time zero.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        let clock = Self::default();
        clock.state().wall = wall.as_micros();
        clock
    }

    /// Moves both times forward and wakes every sleeper whose deadline has come, earliest first.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state();
        state.monotonic = state.monotonic.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
        state.wall = state.wall.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
        let first_later = (state.monotonic.saturating_add(1), 0);
        let later = state.sleepers.split_off(&first_later);
        let due = std::mem::replace(&mut state.sleepers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    /// How many sleeps are pending: lets a test wait for a task to have gone to sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.state().sleepers.len()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, ManualTime> {
        // INVARIANT: no code that can panic runs under this lock, so a poisoned one still holds a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("ManualClock").field("wall", &state.wall).field("monotonic", &state.monotonic).finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.state().wall)
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.state().monotonic)
    }
}

impl Timer for ManualClock {
    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        Box::pin(ManualSleep { clock: self.clone(), deadline: deadline.0, key: None })
    }
}

struct ManualSleep {
    clock: ManualClock,
    deadline: u64,
    key: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.state();
        if self.deadline <= state.monotonic {
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => {
                state.next_key += 1;
                state.next_key
            }
        };
        state.sleepers.insert((self.deadline, key), context.waker().clone());
        drop(state);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.state().sleepers.remove(&(self.deadline, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_when_its_deadline_comes_and_not_before() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep_until(clock.monotonic().after(Duration::from_secs(2)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn a_dropped_sleep_leaves_nothing_behind() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep_until(Monotonic::from_nanos(10));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(clock.sleepers(), 1);
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn monotonic_arithmetic_saturates() {
        let end = Monotonic::from_nanos(u64::MAX);
        assert_eq!(end.after(Duration::from_secs(1)), end);
        assert_eq!(Monotonic::default().since(end), Duration::ZERO);
    }
}
