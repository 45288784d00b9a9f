//! Sums over a period that rolls.

use std::collections::VecDeque;
use std::time::Duration;

use agent_primitives::{Monotonic, Period};

/// Most calls in a period that are remembered one by one. Beyond it they are counted in slices of the period.
pub const MAX_EXACT: u32 = 10_000;

/// Slices a period is cut into where amounts are not remembered one by one.
const SLICES: usize = 60;
/// The present slice, and all that a period ending within it can reach back to.
const RING: usize = SLICES + 1;

/// When each of the last calls was let through: so any period, wherever it begins, holds at most the limit. A call leaves
/// a whole period after it came. Eight bytes for each call in the period.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<u64>);

impl Log {
    /// # Errors
    /// How long until there is room.
    pub(crate) fn peek(&mut self, limit: u32, period: Duration, now: Monotonic) -> Result<(), Duration> {
        self.forget(period, now);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // When the limit was lowered, more than one has to leave first.
        let Some(over) = (self.0.len() + 1).checked_sub(limit).filter(|over| 0 < *over) else {
            return Ok(());
        };
        let leaves = self.0.get(over - 1).map(|came| Monotonic::from_nanos(*came).after(period));
        Err(leaves.map_or(period, |leaves| leaves.since(now)))
    }

    pub(crate) fn take(&mut self, now: Monotonic) {
        // Callers read the clock before they take the lock, so a later one may come first.
        let latest = self.0.back().copied().unwrap_or(0);
        self.0.push_back(now.as_nanos().max(latest));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn forget(&mut self, period: Duration, now: Monotonic) {
        while self.0.front().is_some_and(|came| Monotonic::from_nanos(*came).after(period) <= now) {
            self.0.pop_front();
        }
    }
}

/// Amounts in slices of a period. A slice counts until a whole period lies behind its end, so no period, wherever it
/// begins, holds more than the limit, and room comes back up to a sixtieth of the period late. 61 numbers, whatever the
/// limit.
#[derive(Debug)]
pub(crate) struct Slices {
    period: Period,
    ring: [u64; RING],
    newest: u64,
    total: u64,
}

impl Slices {
    pub(crate) fn new(period: Period, now: Monotonic) -> Self {
        Self { period, ring: [0; RING], newest: slice(period, now), total: 0 }
    }

    /// Goes on with another period. What was counted stays counted, as if it had come now.
    pub(crate) fn rebase(&mut self, period: Period, now: Monotonic) {
        if self.period != period {
            let total = self.total;
            *self = Self::new(period, now);
            self.add(total, now);
        }
    }

    pub(crate) fn total(&mut self, now: Monotonic) -> u64 {
        self.roll(now);
        self.total
    }

    pub(crate) fn add(&mut self, amount: u64, now: Monotonic) {
        self.roll(now);
        let newest = self.newest;
        if let Some(slot) = self.slot(newest) {
            *slot = slot.saturating_add(amount);
        }
        self.total = self.total.saturating_add(amount);
    }

    /// How long until this much more fits under `limit`; `None` when it never does.
    pub(crate) fn wait(&mut self, limit: u64, more: u64, now: Monotonic) -> Option<Duration> {
        self.roll(now);
        let room = limit.checked_sub(more)?;
        let mut left = self.total;
        let oldest = self.newest.saturating_sub(SLICES as u64);
        for index in oldest..=self.newest {
            if left <= room {
                break;
            }
            left = left.saturating_sub(self.slot(index).map_or(0, |slot| *slot));
            if left <= room {
                let ends = index.saturating_add(RING as u64).saturating_mul(width(self.period));
                return Some(Monotonic::from_nanos(ends).since(now));
            }
        }
        Some(Duration::ZERO)
    }

    fn roll(&mut self, now: Monotonic) {
        let present = slice(self.period, now);
        let first = self.newest.saturating_add(1);
        // After a whole turn every slice has been emptied.
        for index in first..=present.min(self.newest.saturating_add(RING as u64)) {
            let gone = self.slot(index).map_or(0, std::mem::take);
            self.total = self.total.saturating_sub(gone);
        }
        self.newest = self.newest.max(present);
    }

    fn slot(&mut self, index: u64) -> Option<&mut u64> {
        self.ring.get_mut(usize::try_from(index % RING as u64).ok()?)
    }
}

/// Nanoseconds of a slice, rounded up so that the slices cover the period.
fn width(period: Period) -> u64 {
    u64::try_from(period.duration().as_nanos()).unwrap_or(u64::MAX).div_ceil(SLICES as u64)
}

fn slice(period: Period, now: Monotonic) -> u64 {
    now.as_nanos() / width(period)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Whether some period that begins with an admitted call holds more than `limit`. None that begins elsewhere can hold
    /// more than the one that begins with the first call in it.
    fn overfull(admitted: &[(u64, u64)], period: u64, limit: u64) -> bool {
        admitted.iter().enumerate().any(|(first, (begins, _))| {
            let within = admitted[first..].iter().take_while(|(at, _)| *at < begins + period);
            limit < within.map(|(_, amount)| amount).sum::<u64>()
        })
    }

    proptest! {
        #[test]
        fn no_period_holds_more_calls_than_the_limit_and_none_fewer_are_let_through(
            limit in 1u32..8, gaps in prop::collection::vec(0u64..40 * SECOND, 1..200),
        ) {
            let (period, mut log, mut now, mut admitted) = (60 * SECOND, Log::default(), 0, Vec::new());
            for gap in gaps {
                now += gap;
                let at = Monotonic::from_nanos(now);
                let recent = admitted.iter().filter(|(came, _)| now < came + period).count();
                match log.peek(limit, Duration::from_nanos(period), at) {
                    Ok(()) => {
                        prop_assert!(recent < limit as usize);
                        log.take(at);
                        admitted.push((now, 1));
                    }
                    Err(wait) => {
                        prop_assert_eq!(recent, limit as usize);
                        let before = at.after(wait - Duration::from_nanos(1));
                        prop_assert!(log.peek(limit, Duration::from_nanos(period), before).is_err());
                        prop_assert!(log.peek(limit, Duration::from_nanos(period), at.after(wait)).is_ok());
                        now += wait.as_nanos() as u64;
                        log.take(Monotonic::from_nanos(now));
                        admitted.push((now, 1));
                    }
                }
            }
            prop_assert!(!overfull(&admitted, period, u64::from(limit)));
        }

        #[test]
        fn no_period_holds_a_larger_sum_than_the_limit(
            limit in 1u64..1000,
            steps in prop::collection::vec((0u64..20 * SECOND, 1u64..400), 1..300),
        ) {
            let period = 60 * SECOND;
            let (mut now, mut admitted) = (0, Vec::new());
            let mut slices = Slices::new(Period::Minute, Monotonic::from_nanos(0));
            for (gap, amount) in steps {
                now += gap;
                let at = Monotonic::from_nanos(now);
                if slices.total(at) + amount <= limit {
                    prop_assert_eq!(slices.wait(limit, amount, at), Some(Duration::ZERO));
                    slices.add(amount, at);
                    admitted.push((now, amount));
                } else {
                    match slices.wait(limit, amount, at) {
                        None => prop_assert!(limit < amount),
                        Some(wait) => {
                            prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(61));
                            now += wait.as_nanos() as u64;
                            prop_assert!(slices.total(Monotonic::from_nanos(now)) + amount <= limit);
                        }
                    }
                }
            }
            prop_assert!(!overfull(&admitted, period, limit));
        }
    }
}
