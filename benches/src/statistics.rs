//! Timing, and what is made of it.

use std::hint::black_box;
use std::time::Duration;

use agent_primitives::{Clock, Monotonic, SystemClock};

/// Pairs of readings behind the timer's cost.
const TIMER_PAIRS: usize = 10_001;

/// Reads the clock, and knows what that costs.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    clock: SystemClock,
    overhead: u64,
}

impl Stopwatch {
    /// A stopwatch whose own cost is the median of many readings with nothing in between.
    #[must_use]
    pub fn new() -> Self {
        let clock = SystemClock::new();
        let empty = || nanos(clock.monotonic(), clock.monotonic());
        let mut costs: Vec<u64> = (0..TIMER_PAIRS).map(|_| empty()).collect();
        costs.sort_unstable();
        Self { clock, overhead: percentile(&costs, 50) }
    }

    /// Nanoseconds that a pair of readings takes; taken off each single sample.
    #[must_use]
    pub const fn overhead(&self) -> u64 {
        self.overhead
    }

    /// The time.
    #[must_use]
    pub fn read(&self) -> Monotonic {
        self.clock.monotonic()
    }

    /// Nanoseconds since `start`, less the timer's own.
    #[must_use]
    pub fn lap(&self, start: Monotonic) -> u64 {
        nanos(start, self.clock.monotonic()).saturating_sub(self.overhead)
    }
}

impl Default for Stopwatch {
    fn default() -> Self {
        Self::new()
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How long calls are made before anything counts.
    pub warm_up: Duration,
    /// How long each batch takes, about; at least one round over all positions. Shorter than the time slice of a busy
    /// machine, so that most batches are not interrupted.
    pub batch: Duration,
    /// How many batches make one repetition. Its result is the median of their means.
    pub batches: usize,
    /// How many repetitions.
    pub repetitions: usize,
    /// How many calls are timed singly, for the percentiles.
    pub samples: usize,
    /// Fewer samples are taken if they would take longer than this.
    pub longest: Duration,
}

/// What one operation costs, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// Median of the calls timed singly.
    pub p50: u64,
    /// 99th percentile of the same.
    pub p99: u64,
    /// Median of the repetitions. Its inverse is the throughput.
    pub mean: f64,
    /// The fastest repetition.
    pub least: f64,
    /// The slowest repetition.
    pub most: f64,
}

impl Figure {
    /// Condenses single samples and the results of repetitions, in any order.
    #[must_use]
    pub fn of(mut samples: Vec<u64>, repetitions: Vec<f64>) -> Self {
        samples.sort_unstable();
        Self {
            p50: percentile(&samples, 50),
            p99: percentile(&samples, 99),
            least: repetitions.iter().copied().min_by(f64::total_cmp).unwrap_or_default(),
            most: repetitions.iter().copied().max_by(f64::total_cmp).unwrap_or_default(),
            mean: median(repetitions),
        }
    }

    /// Operations per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        1e9 / self.mean
    }
}

/// Measures `call`, which is handed positions from 0 up to `positions`, round and round.
///
/// Warms up, then times batches of whole rounds, then single calls.
///
/// # Errors
/// The first error of `call`.
pub fn measure<T, E>(
    watch: &Stopwatch,
    effort: Effort,
    positions: usize,
    mut call: impl FnMut(usize) -> Result<T, E>,
) -> Result<Figure, E> {
    let mut round = |rounds: usize| -> Result<u64, E> {
        let start = watch.read();
        for _ in 0..rounds {
            for position in 0..positions {
                black_box(call(black_box(position))?);
            }
        }
        Ok(watch.lap(start))
    };
    let rounds = rounds_in(effort, &mut round)?;
    let calls = (rounds * positions).max(1);
    let mut repetitions = Vec::with_capacity(effort.repetitions);
    for _ in 0..effort.repetitions {
        let means = (0..effort.batches).map(|_| Ok(round(rounds)? as f64 / calls as f64));
        repetitions.push(median(means.collect::<Result<_, E>>()?));
    }
    let mut samples = Vec::with_capacity(effort.samples);
    let began = watch.read();
    for position in (0..positions).cycle().take(effort.samples) {
        let start = watch.read();
        black_box(call(black_box(position))?);
        samples.push(watch.lap(start));
        if effort.longest < start.since(began) {
            break;
        }
    }
    Ok(Figure::of(samples, repetitions))
}

/// The middle one, the later of two; 0 of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Warms up, and says how many rounds make a batch.
fn rounds_in<E>(effort: Effort, round: &mut impl FnMut(usize) -> Result<u64, E>) -> Result<usize, E> {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (mut rounds, mut spent, mut fastest) = (1, 0, u64::MAX);
    while spent < nanos(effort.warm_up) {
        let taken = round(rounds)?;
        spent += taken;
        fastest = fastest.min(taken / u64::try_from(rounds).unwrap_or(u64::MAX));
        rounds *= 2;
    }
    Ok(usize::try_from(nanos(effort.batch) / fastest.max(1)).unwrap_or(1).max(1))
}

/// Nearest rank in an ascending list: the smallest sample that at least `percent` in 100 do not exceed; 0 of none.
#[must_use]
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(0)
}

fn nanos(from: Monotonic, to: Monotonic) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u64> = (1..=100).collect();
        for (samples, percent, expected) in
            [(hundred.as_slice(), 50, 50), (&hundred, 99, 99), (&[7], 99, 7), (&[1, 9], 50, 1), (&[], 50, 0)]
        {
            assert_eq!(percentile(samples, percent), expected, "{percent} of {}", samples.len());
        }
    }

    #[test]
    fn a_figure_is_made_of_unsorted_samples() {
        let figure = Figure::of(vec![3, 1, 2], vec![20.0, 10.0, 40.0]);
        assert_eq!(figure, Figure { p50: 2, p99: 3, mean: 20.0, least: 10.0, most: 40.0 });
        assert_eq!(Figure { mean: 500.0, ..figure }.per_second(), 2e6);
    }

    #[test]
    fn calls_come_in_whole_rounds_and_an_error_ends_them() {
        let watch = Stopwatch::new();
        let time = Duration::from_micros(50);
        let effort = Effort {
            warm_up: time,
            batch: time,
            batches: 3,
            repetitions: 2,
            samples: 6,
            longest: Duration::MAX,
        };
        let mut counts = [0_u64; 3];
        let figure = measure(&watch, effort, 3, |position| {
            counts[position] += 1;
            Ok::<_, ()>(())
        });
        assert!(figure.unwrap().least <= figure.unwrap().most);
        assert!(counts[0] >= 9 && counts[0] == counts[1] && counts[1] == counts[2]);
        assert_eq!(
            measure(&watch, effort, 3, |position| if position == 2 { Err("two") } else { Ok(()) }),
            Err("two")
        );
    }
}
