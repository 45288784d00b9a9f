//! The clockwork: warm up, time whole batches, then time each call.

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Passes before anything counts: caches, branch predictors and the allocator settle.
const WARM_UP: Duration = Duration::from_millis(200);
/// The mean is the median over this many batches at most: short ones, so that a busy neighbour spoils few of them.
const BATCHES: u32 = 101;
/// Neither the batches nor the single calls of one row go on for longer, except to finish the first pass of each.
const PHASE_LIMIT: Duration = Duration::from_secs(15);
/// Samples kept of one row: 16 MiB.
const MAX_SAMPLES: usize = 1 << 22;
/// Pairs of clock readings behind the timer's cost.
const TIMER_PAIRS: usize = 10_001;

/// One operation of one peer, over requests that are known by position.
pub trait Operation {
    /// Judges the request at this position: is it allowed? This is what is timed.
    fn call(&mut self, position: usize) -> bool;

    /// Calls after which the state is replaced by a fresh one; `None`: never.
    fn calls_per_state(&self) -> Option<usize> {
        None
    }

    /// Replaces the state. Never timed.
    ///
    /// # Errors
    /// The peer could not be built again; the measurement ends.
    fn renew(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(())
    }
}

/// What one operation did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measurement {
    /// The answers of the first pass.
    pub verdicts: Vec<bool>,
    /// Median of single calls, nanoseconds, without the timer's cost.
    pub p50_ns: u64,
    /// 99th percentile of the same.
    pub p99_ns: u64,
    /// Median of the batches' means, nanoseconds per call.
    pub mean_ns: f64,
    /// Calls behind the percentiles.
    pub timed_calls: usize,
    /// Calls behind the mean.
    pub batch_calls: usize,
    /// Batches behind the mean.
    pub batches: usize,
    /// What two readings of the clock cost, nanoseconds.
    pub timer_ns: u64,
}

/// Measures an operation over `requests` requests, `rounds` passes for the mean and as many for the percentiles.
///
/// Fewer passes are made if they would take longer than fifteen seconds per phase; the result says how many calls there were.
///
/// # Errors
/// Whatever [`Operation::renew`] reports.
pub fn measure(
    operation: &mut impl Operation,
    requests: usize,
    rounds: u32,
) -> Result<Measurement, Box<dyn Error>> {
    let mut passes = Passes { operation, requests, since_renewal: 0 };
    let verdicts = passes.ask()?;
    let pass_cost = passes.warm_up()?;
    let (mean_ns, batches, batch_calls) = passes.batches(rounds, pass_cost)?;
    let timer_ns = timer_cost();
    let mut samples = passes.samples(rounds, timer_ns)?;
    samples.sort_unstable();
    Ok(Measurement {
        verdicts,
        p50_ns: percentile(&samples, 50),
        p99_ns: percentile(&samples, 99),
        mean_ns,
        timed_calls: samples.len(),
        batch_calls,
        batches,
        timer_ns,
    })
}

/// Nearest rank over sorted samples: the smallest sample that at least `percent` per cent do not exceed.
fn percentile(sorted: &[u32], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().map_or(0, u64::from)
}

struct Passes<'a, O> {
    operation: &'a mut O,
    requests: usize,
    since_renewal: usize,
}

impl<O: Operation> Passes<'_, O> {
    fn ask(&mut self) -> Result<Vec<bool>, Box<dyn Error>> {
        self.make_room(1)?;
        Ok((0..self.requests).map(|position| self.operation.call(position)).collect())
    }

    fn warm_up(&mut self) -> Result<Duration, Box<dyn Error>> {
        let mut spent = Duration::ZERO;
        let mut passes = 0_u32;
        while passes == 0 || spent < WARM_UP {
            spent += self.timed(1)?;
            passes += 1;
        }
        Ok(spent / passes)
    }

    /// The median of the batches' means in nanoseconds per call, the number of batches, the number of calls.
    fn batches(&mut self, rounds: u32, pass_cost: Duration) -> Result<(f64, usize, usize), Box<dyn Error>> {
        let affordable = PHASE_LIMIT.as_nanos() / pass_cost.as_nanos().max(1);
        let passes = u128::from(rounds).min(affordable.max(1));
        let batches = u128::from(BATCHES).min(passes);
        let per_batch = usize::try_from(passes / batches).unwrap_or(usize::MAX);
        let calls_per_batch = per_batch * self.requests;
        let mut means = Vec::new();
        for _ in 0..batches {
            means.push(self.timed(per_batch)?.as_secs_f64() * 1e9 / calls_per_batch as f64);
        }
        means.sort_unstable_by(f64::total_cmp);
        let median = means.get(means.len() / 2).copied().unwrap_or_default();
        Ok((median, means.len(), calls_per_batch * means.len()))
    }

    /// Runs whole passes under the clock, stopping it while the state is renewed.
    fn timed(&mut self, passes: usize) -> Result<Duration, Box<dyn Error>> {
        let mut left = passes;
        let mut spent = Duration::ZERO;
        while 0 < left {
            let run = self.make_room(left)?;
            let start = now();
            for _ in 0..run {
                for position in 0..self.requests {
                    black_box(self.operation.call(black_box(position)));
                }
            }
            spent += start.elapsed();
            left -= run;
        }
        Ok(spent)
    }

    fn samples(&mut self, rounds: u32, timer_ns: u64) -> Result<Vec<u32>, Box<dyn Error>> {
        let passes = usize::try_from(rounds).unwrap_or(usize::MAX).min((MAX_SAMPLES / self.requests).max(1));
        let mut samples = Vec::with_capacity(passes * self.requests);
        let begun = now();
        for _ in 0..passes {
            self.make_room(1)?;
            for position in 0..self.requests {
                let start = now();
                black_box(self.operation.call(black_box(position)));
                let taken = start.elapsed().as_nanos();
                let net = taken.saturating_sub(u128::from(timer_ns));
                samples.push(u32::try_from(net).unwrap_or(u32::MAX));
            }
            if PHASE_LIMIT < begun.elapsed() {
                break;
            }
        }
        Ok(samples)
    }

    /// Renews the state if not even one pass fits, and answers how many of the wanted passes now do.
    fn make_room(&mut self, wanted: usize) -> Result<usize, Box<dyn Error>> {
        let Some(capacity) = self.operation.calls_per_state() else { return Ok(wanted) };
        if capacity < self.since_renewal + self.requests {
            self.operation.renew()?;
            self.since_renewal = 0;
        }
        let run = wanted.min(((capacity - self.since_renewal) / self.requests).max(1));
        self.since_renewal += run * self.requests;
        Ok(run)
    }
}

/// The median cost of reading the clock twice with nothing in between.
fn timer_cost() -> u64 {
    let mut costs: Vec<u32> =
        (0..TIMER_PAIRS).map(|_| u32::try_from(now().elapsed().as_nanos()).unwrap_or(u32::MAX)).collect();
    costs.sort_unstable();
    percentile(&costs, 50)
}

#[expect(clippy::disallowed_methods, reason = "elapsed time is the product here")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Allows even positions and remembers how long each state lived.
    #[derive(Default)]
    struct Counted {
        capacity: Option<usize>,
        calls: usize,
        longest_life: usize,
        life: usize,
    }

    impl Operation for Counted {
        fn call(&mut self, position: usize) -> bool {
            self.calls += 1;
            self.life += 1;
            self.longest_life = self.longest_life.max(self.life);
            position.is_multiple_of(2)
        }

        fn calls_per_state(&self) -> Option<usize> {
            self.capacity
        }

        fn renew(&mut self) -> Result<(), Box<dyn Error>> {
            self.life = 0;
            Ok(())
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_requests() {
        let measured = measure(&mut Counted::default(), 5, 1).unwrap();
        assert_eq!(measured.verdicts, [true, false, true, false, true]);
    }

    #[test]
    fn the_figures_stand_on_the_rounds_asked_for() {
        let measured = measure(&mut Counted::default(), 5, 202).unwrap();
        assert_eq!((measured.timed_calls, measured.batch_calls, measured.batches), (1010, 1010, 101));
    }

    #[test]
    fn no_state_outlives_its_capacity() {
        let mut operation = Counted { capacity: Some(12), ..Counted::default() };
        measure(&mut operation, 5, 70).unwrap();
        assert_eq!(operation.longest_life, 10);
        assert!(700 < operation.calls);
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred: Vec<u32> = (1..=100).collect();
        for (samples, percent, expected) in [
            (hundred.as_slice(), 50, 50),
            (&hundred, 99, 99),
            (&[7], 50, 7),
            (&[7], 99, 7),
            (&[1, 9], 50, 1),
            (&[], 50, 0),
        ] {
            assert_eq!(percentile(samples, percent), expected, "{percent} of {}", samples.len());
        }
    }
}
