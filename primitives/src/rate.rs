//! Rate limits: the generic cell rate algorithm (ITU-T I.371, "virtual scheduling") on our own clock.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Monotonic;

/// So many cells in a period, and at most so many at once.
///
/// Written `100/hour`, `60/min` or `5/s`, with ` burst 10` behind it if the burst is not the number of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    cells: NonZeroU32,
    period: Period,
    burst: NonZeroU32,
}

/// What a rate counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Period {
    /// One second.
    Second,
    /// Sixty seconds.
    Minute,
    /// Sixty minutes.
    Hour,
    /// 24 hours.
    Day,
}

impl Period {
    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    const fn nanos(self) -> u64 {
        const SECOND: u64 = 1_000_000_000;
        match self {
            Self::Second => SECOND,
            Self::Minute => 60 * SECOND,
            Self::Hour => 3600 * SECOND,
            Self::Day => 24 * 3600 * SECOND,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRate {
    /// No `/` between a number and a period.
    #[error("`{text}` is not a rate; write one like `100/hour`")]
    Syntax {
        /// The text as written, cut to 32 characters.
        text: String,
    },
    /// Not a whole number from 1 to 1 000 000.
    #[error("`{text}` is not a number from 1 to {MAX_CELLS}")]
    BadNumber {
        /// The number as written, cut to 32 characters.
        text: String,
    },
    /// Not a period.
    #[error("unknown period `{text}`; periods are `s`, `min`, `hour` and `day`")]
    UnknownPeriod {
        /// The period as written, cut to 32 characters.
        text: String,
    },
}

/// Most cells in a period, and in a burst: a microsecond apart when the period is a second.
pub const MAX_CELLS: u32 = 1_000_000;

/// Most characters of a refused text that an error repeats.
const MAX_SHOWN: usize = 32;

impl Rate {
    /// `cells` in every `period`, all of which may come at once.
    ///
    /// # Errors
    /// `BadNumber` for no cells or more than [`MAX_CELLS`].
    pub fn new(cells: u32, period: Period) -> Result<Self, BadRate> {
        let cells = bounded(cells)?;
        Ok(Self { cells, period, burst: cells })
    }

    /// The same rate, of which at most `burst` may come at once.
    ///
    /// # Errors
    /// `BadNumber` for a burst of nothing or more than [`MAX_CELLS`].
    pub fn with_burst(self, burst: u32) -> Result<Self, BadRate> {
        Ok(Self { burst: bounded(burst)?, ..self })
    }

    /// Cells in a period.
    #[must_use]
    pub const fn cells(&self) -> u32 {
        self.cells.get()
    }

    /// What the cells are counted in.
    #[must_use]
    pub const fn period(&self) -> Period {
        self.period
    }

    /// Most cells at once.
    #[must_use]
    pub const fn burst(&self) -> u32 {
        self.burst.get()
    }

    /// Time after which one more cell is earned: the period over the cells, rounded up, so that rounding never admits more.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_nanos())
    }

    const fn interval_nanos(&self) -> u64 {
        self.period.nanos().div_ceil(self.cells.get() as u64)
    }

    /// How far ahead of its schedule a cell may come. At most 10^6 days, so it fits by far.
    const fn tolerance_nanos(&self) -> u64 {
        self.interval_nanos().saturating_mul(self.burst.get() as u64 - 1)
    }
}

fn bounded(number: u32) -> Result<NonZeroU32, BadRate> {
    NonZeroU32::new(number)
        .filter(|number| number.get() <= MAX_CELLS)
        .ok_or_else(|| BadRate::BadNumber { text: number.to_string() })
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

fn number(text: &str) -> Result<u32, BadRate> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| BadRate::BadNumber { text: shown(text) })
}

impl FromStr for Rate {
    type Err = BadRate;

    /// Periods are `s`, `sec`, `second`; `min`, `minute`; `h`, `hour`; `d`, `day`. A bare `m` is none: it could be a month.
    fn from_str(text: &str) -> Result<Self, BadRate> {
        let (cells, rest) = text.split_once('/').ok_or_else(|| BadRate::Syntax { text: shown(text) })?;
        let (period, burst) =
            rest.split_once(" burst ").map_or((rest, None), |(period, burst)| (period, Some(burst)));
        let period = match period {
            "s" | "sec" | "second" => Period::Second,
            "min" | "minute" => Period::Minute,
            "h" | "hour" => Period::Hour,
            "d" | "day" => Period::Day,
            _ => return Err(BadRate::UnknownPeriod { text: shown(period) }),
        };
        let rate = Self::new(number(cells)?, period)?;
        match burst {
            Some(burst) => rate.with_burst(number(burst)?),
            None => Ok(rate),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cells, self.period.name())?;
        if self.burst != self.cells {
            write!(f, " burst {}", self.burst)?;
        }
        Ok(())
    }
}

impl Serialize for Rate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The rate does not allow a cell now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over the rate; the next is due in {} ms", .0.as_nanos().div_ceil(1_000_000))]
pub struct RetryAfter(pub Duration);

/// The state of one limiter: when the next cell would be due if all came on schedule. A fresh one has a whole burst to
/// give. Eight bytes, whatever the rate; every operation takes constant time.
///
/// A cell that was admitted is spent, whether or not the work behind it then happens. There is no undo: a cell given back
/// after others were refused for it would have been refused to nobody's benefit, and one given back late would admit more
/// than the rate. Whoever has several limits to pass asks each with [`Gcra::peek`] first and takes from all of them
/// afterwards, under one lock.
///
/// In any window of length `w` it admits at most `burst + w / interval` cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gcra(u64);

impl Gcra {
    /// A limiter that has admitted nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Takes one cell.
    ///
    /// # Errors
    /// [`RetryAfter`] when the rate does not allow it; the state is as before, and the same call succeeds once exactly that
    /// time has passed and nobody else took the cell. At the end of monotonic time, some 584 years after its origin,
    /// nothing is admitted.
    pub fn check(&mut self, rate: &Rate, now: Monotonic) -> Result<(), RetryAfter> {
        self.0 = self.next(rate, now)?;
        Ok(())
    }

    /// What [`Gcra::check`] would answer, without taking anything.
    ///
    /// # Errors
    /// As [`Gcra::check`].
    pub fn peek(&self, rate: &Rate, now: Monotonic) -> Result<(), RetryAfter> {
        self.next(rate, now).map(drop)
    }

    /// Call when the rate has changed: what was spent under the old one stays spent, but nobody waits longer than the new
    /// rate could have made them.
    pub fn rebase(&mut self, rate: &Rate, now: Monotonic) {
        let furthest =
            now.as_nanos().saturating_add(rate.tolerance_nanos()).saturating_add(rate.interval_nanos());
        self.0 = self.0.min(furthest);
    }

    /// When a whole burst can be had again. From then on the limiter is as good as a fresh one, and may be forgotten.
    #[must_use]
    pub const fn whole_at(&self) -> Monotonic {
        Monotonic::from_nanos(self.0)
    }

    fn next(self, rate: &Rate, now: Monotonic) -> Result<u64, RetryAfter> {
        let now = now.as_nanos();
        let earliest = self.0.saturating_sub(rate.tolerance_nanos());
        if now < earliest {
            return Err(RetryAfter(Duration::from_nanos(earliest - now)));
        }
        self.0.max(now).checked_add(rate.interval_nanos()).ok_or(RetryAfter(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let rate: Rate = "2/s".parse().unwrap();
        let mut limiter = Gcra::new();
        let answers = [0, 0, 0, 499, 500, 999, 1000].map(|ms| limiter.check(&rate, at(ms)).is_ok());
        assert_eq!(answers, [true, true, false, false, true, false, true]);
    }

    #[test]
    fn a_limiter_is_as_good_as_new_once_its_burst_is_whole() {
        let rate: Rate = "2/s".parse().unwrap();
        let mut limiter = Gcra::new();
        limiter.check(&rate, at(0)).unwrap();
        limiter.check(&rate, at(0)).unwrap();
        assert_eq!(limiter.whole_at(), at(1000));
        let answers = [1000, 1000, 1000].map(|ms| limiter.check(&rate, at(ms)).is_ok());
        assert_eq!(answers, [true, true, false]);
    }

    #[test]
    fn rates_parse_and_print() {
        let cases = [
            ("100/hour", 100, Period::Hour, 100, "100/hour"),
            ("60/min", 60, Period::Minute, 60, "60/min"),
            ("5/s", 5, Period::Second, 5, "5/s"),
            ("5/second burst 1", 5, Period::Second, 1, "5/s burst 1"),
            ("1/d burst 7", 1, Period::Day, 7, "1/day burst 7"),
        ];
        for (text, cells, period, burst, printed) in cases {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.cells(), rate.period(), rate.burst()), (cells, period, burst), "{text}");
            assert_eq!(rate.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_rate_is_refused_with_help() {
        let cases = [
            ("100", "`100` is not a rate; write one like `100/hour`"),
            ("0/s", "`0` is not a number from 1 to 1000000"),
            ("+5/s", "`+5` is not a number from 1 to 1000000"),
            ("1000001/s", "`1000001` is not a number from 1 to 1000000"),
            ("1.5/s", "`1.5` is not a number from 1 to 1000000"),
            ("5/m", "unknown period `m`; periods are `s`, `min`, `hour` and `day`"),
            ("5/s ", "unknown period `s `; periods are `s`, `min`, `hour` and `day`"),
            ("5/s burst 0", "`0` is not a number from 1 to 1000000"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Rate>().unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn the_end_of_time_admits_nothing() {
        let rate: Rate = "5/s".parse().unwrap();
        let mut limiter = Gcra::new();
        assert_eq!(limiter.check(&rate, Monotonic::from_nanos(u64::MAX)), Err(RetryAfter(Duration::MAX)));
        assert_eq!(limiter, Gcra::new());
    }

    #[test]
    fn a_new_rate_does_not_inherit_the_wait_of_a_slow_one() {
        let (slow, fast): (Rate, Rate) = ("1/day".parse().unwrap(), "10/s".parse().unwrap());
        let mut limiter = Gcra::new();
        limiter.check(&slow, at(0)).unwrap();
        assert!(limiter.peek(&fast, at(0)).is_err());
        limiter.rebase(&fast, at(0));
        assert_eq!(limiter.peek(&fast, at(0)), Err(RetryAfter(fast.interval())));
        assert!(limiter.peek(&fast, at(100)).is_ok());
    }

    fn any_rate() -> impl Strategy<Value = Rate> {
        let period = prop::sample::select(vec![Period::Second, Period::Minute, Period::Hour, Period::Day]);
        (1..=MAX_CELLS, period, 1..=40u32)
            .prop_map(|(cells, period, burst)| Rate::new(cells, period).unwrap().with_burst(burst).unwrap())
    }

    proptest! {
        #[test]
        fn no_window_admits_more_than_its_share(
            rate in any_rate(),
            // Steps in tenths of an interval, so that every regime from flood to trickle is met.
            steps in prop::collection::vec(0u64..30, 1..200),
        ) {
            let interval = rate.interval().as_nanos() as u64;
            let (mut limiter, mut now, mut admitted) = (Gcra::new(), 0u64, Vec::new());
            for step in steps {
                now += step * interval / 10;
                if limiter.check(&rate, Monotonic::from_nanos(now)).is_ok() {
                    admitted.push(now);
                }
            }
            for (first, from) in admitted.iter().enumerate() {
                for (last, to) in admitted.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    prop_assert!(count <= u64::from(rate.burst()) + (to - from) / interval);
                }
            }
        }

        #[test]
        fn a_refusal_changes_nothing_and_names_the_exact_time(
            rate in any_rate(), taken in 0u32..60, gap in 0u64..1 << 40,
        ) {
            let mut limiter = Gcra::new();
            for _ in 0..taken {
                let _ = limiter.check(&rate, Monotonic::from_nanos(gap));
            }
            let now = Monotonic::from_nanos(gap + gap % 1000);
            let before = limiter;
            if let Err(RetryAfter(wait)) = limiter.check(&rate, now) {
                prop_assert_eq!(limiter, before);
                prop_assert!(wait <= rate.interval());
                let just_before = now.after(wait - Duration::from_nanos(1));
                prop_assert!(limiter.peek(&rate, just_before).is_err());
                prop_assert!(limiter.check(&rate, now.after(wait)).is_ok());
            }
        }

        #[test]
        fn a_steady_caller_at_the_rate_is_never_refused(rate in any_rate(), count in 1u64..200) {
            let mut limiter = Gcra::new();
            for turn in 0..count {
                let now = Monotonic::default().after(rate.interval() * u32::try_from(turn).unwrap());
                prop_assert!(limiter.check(&rate, now).is_ok());
            }
        }

        #[test]
        fn a_period_never_earns_more_than_its_cells(rate in any_rate()) {
            prop_assert!(rate.period().duration() <= rate.interval() * rate.cells());
        }

        #[test]
        fn a_rate_survives_its_text(rate in any_rate()) {
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }
    }
}
