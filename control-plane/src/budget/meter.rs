//! How much of one limit is used.

use std::num::NonZeroU32;
use std::time::Duration;

use agent_primitives::{Gcra, Money, Monotonic, Period, Rate, Resource};

use super::window::{Log, MAX_EXACT, Slices};

/// Most calls that a limit lets run at once.
pub const MAX_CONCURRENCY: u32 = 1_000_000;

/// How often, how many at once, and for how much. What is `None` is not limited.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    /// With a burst of all it holds, at most so many in any period, wherever it begins; with another burst, paced (GCRA).
    pub(crate) rate: Option<Rate>,
    pub(crate) concurrency: Option<NonZeroU32>,
    pub(crate) cost: Option<CostLimit>,
}

/// Most money in any period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CostLimit {
    pub(crate) money: Money,
    pub(crate) period: Period,
}

impl Limit {
    /// Whether a call holds on to something until it ends.
    pub(crate) fn holds(&self) -> bool {
        self.concurrency.is_some() || self.cost.is_some()
    }

    /// What a call has to be counted under besides, when the same meter has counted it under `before`.
    pub(crate) fn beyond(&self, before: &Self) -> Self {
        Self {
            rate: self.rate.filter(|rate| before.rate.is_none_or(|before| !counted_alike(&before, rate))),
            concurrency: self.concurrency.filter(|_| !before.holds()),
            cost: self.cost.filter(|_| before.cost.is_none()),
        }
    }

    /// All that two limits bound.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            rate: self.rate.or(other.rate),
            concurrency: self.concurrency.or(other.concurrency),
            cost: self.cost.or(other.cost),
        }
    }
}

/// Whether calls count under one of two rates by being counted under the other.
fn counted_alike(one: &Rate, other: &Rate) -> bool {
    let way = |rate: &Rate| (rate.burst() != rate.cells(), rate.cells() <= MAX_EXACT);
    way(one) == way(other)
}

/// Why a limit leaves no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Rate {
        retry_after: Duration,
    },
    Running {
        limit: u32,
    },
    /// `None`: one such call alone is more than the limit.
    Cost {
        resource: Resource,
        needed: u64,
        left: u64,
        retry_after: Option<Duration>,
    },
    /// The call has no price in that currency.
    NoPrice,
}

/// The state of one limit.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    running: u32,
    paced: Gcra,
    calls: Log,
    /// Calls of rates too large to remember each.
    many: Option<Box<Slices>>,
    cost: Option<Box<Slices>>,
    /// Money set aside for calls under way.
    reserved: u64,
}

impl Meter {
    /// Whether one more call fits. Takes nothing.
    pub(crate) fn peek(
        &mut self,
        limit: &Limit,
        now: Monotonic,
        price: impl Fn(Resource) -> Option<u64>,
    ) -> Result<(), Full> {
        if let Some(most) = limit.concurrency
            && most.get() <= self.running
        {
            return Err(Full::Running { limit: most.get() });
        }
        if let Some(rate) = &limit.rate {
            self.peek_rate(rate, now).map_err(|retry_after| Full::Rate { retry_after })?;
        }
        let Some(cost) = &limit.cost else { return Ok(()) };
        let resource = Resource::Money(cost.money.currency);
        let needed = price(resource).ok_or(Full::NoPrice)?;
        let reserved = self.reserved;
        let spent = self.spent(cost, now);
        let (total, most) = (spent.total(now).saturating_add(reserved), cost.money.micros);
        if total.checked_add(needed).is_some_and(|sum| sum <= most) {
            return Ok(());
        }
        let retry_after = spent.wait(most, reserved.saturating_add(needed), now);
        // What is under way may turn out cheaper, so only a call that is too dear by itself never fits.
        let retry_after = retry_after.or((needed <= most).then_some(Duration::ZERO));
        Err(Full::Cost { resource, needed, left: most.saturating_sub(total), retry_after })
    }

    /// Takes what [`Meter::peek`] found room for, under the same lock.
    pub(crate) fn take(&mut self, limit: &Limit, now: Monotonic, cost: u64) {
        self.running = self.running.saturating_add(1);
        self.reserved = self.reserved.saturating_add(cost);
        let Some(rate) = &limit.rate else { return };
        if rate.burst() != rate.cells() {
            let _ = self.paced.check(rate, now);
        } else if rate.cells() <= MAX_EXACT {
            self.calls.take(now);
        } else {
            self.sliced(rate, now).add(1, now);
        }
    }

    /// A call that took is over, having reserved and used so much.
    pub(crate) fn give_back(&mut self, now: Monotonic, reserved: u64, used: u64) {
        self.running = self.running.saturating_sub(1);
        self.reserved = self.reserved.saturating_sub(reserved);
        if let Some(cost) = self.cost.as_mut().filter(|_| 0 < used) {
            cost.add(used, now);
        }
    }

    /// Whether forgetting this meter changes nothing.
    pub(crate) fn is_idle(&mut self, now: Monotonic) -> bool {
        /// The longest period there is, after which nothing counts any more.
        const LONGEST: Duration = Period::Day.duration();
        self.calls.forget(LONGEST, now);
        let empty =
            |slices: &mut Option<Box<Slices>>| slices.as_mut().is_none_or(|slices| slices.total(now) == 0);
        self.running == 0
            && self.calls.is_empty()
            && Rate::new(1, Period::Second).is_ok_and(|one| self.paced.peek(&one, now).is_ok())
            && empty(&mut self.many)
            && empty(&mut self.cost)
    }

    fn peek_rate(&mut self, rate: &Rate, now: Monotonic) -> Result<(), Duration> {
        if rate.burst() != rate.cells() {
            // A rate that was slower before must not make anybody wait longer than this one could.
            self.paced.rebase(rate, now);
            return self.paced.peek(rate, now).map_err(|wait| wait.0);
        }
        if rate.cells() <= MAX_EXACT {
            return self.calls.peek(rate.cells(), rate.period().duration(), now);
        }
        let most = u64::from(rate.cells());
        let sliced = self.sliced(rate, now);
        if sliced.total(now) < most {
            Ok(())
        } else {
            Err(sliced.wait(most, 1, now).unwrap_or(Duration::MAX))
        }
    }

    fn sliced(&mut self, rate: &Rate, now: Monotonic) -> &mut Slices {
        let slices = self.many.get_or_insert_with(|| Box::new(Slices::new(rate.period(), now)));
        slices.rebase(rate.period(), now);
        slices
    }

    fn spent(&mut self, cost: &CostLimit, now: Monotonic) -> &mut Slices {
        let slices = self.cost.get_or_insert_with(|| Box::new(Slices::new(cost.period, now)));
        slices.rebase(cost.period, now);
        slices
    }
}
