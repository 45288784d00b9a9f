//! Counts and times of calls, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use agent_primitives::ToolId;

/// Most tools that have series of their own. Calls of any other are counted together, under the name `_other`.
pub const MAX_SERIES: usize = 10_000;

/// Powers of two of microseconds: from 1 µs to 67 s.
const BUCKETS: usize = 27;

/// How a call ended, as far as counting goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer.
    Answered,
    /// It was refused, and the tool did not run.
    Refused,
    /// The tool ran, and there is no answer.
    Failed,
}

/// What is counted of calls: of each tool the same fixed size, about 300 bytes. Every operation takes constant time.
#[derive(Default)]
pub struct Metrics {
    tools: RwLock<BTreeMap<ToolId, Arc<Series>>>,
    other: Series,
}

#[derive(Default)]
struct Series {
    outcomes: [AtomicU64; 3],
    buckets: [AtomicU64; BUCKETS],
    slower: AtomicU64,
    micros: AtomicU64,
}

impl Metrics {
    /// Counts one call.
    pub fn record(&self, tool: &ToolId, outcome: Outcome, took: Duration) {
        let known = self.tools.read().unwrap_or_else(PoisonError::into_inner).get(tool).cloned();
        match known {
            Some(series) => series.record(outcome, took),
            None => self.record_new(tool, outcome, took),
        }
    }

    fn record_new(&self, tool: &ToolId, outcome: Outcome, took: Duration) {
        let mut tools = self.tools.write().unwrap_or_else(PoisonError::into_inner);
        if MAX_SERIES <= tools.len() && !tools.contains_key(tool) {
            return self.other.record(outcome, took);
        }
        tools.entry(tool.clone()).or_default().record(outcome, took);
    }

    /// Everything counted, in the text format of Prometheus (version 0.0.4).
    #[must_use]
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all: Vec<(&str, &Series)> =
            tools.iter().map(|(id, series)| (id.as_str(), &**series)).collect();
        if self.other.calls() != 0 {
            all.push(("_other", &self.other));
        }
        text.write_str(
            "# HELP atr_calls_total Calls by tool and how they ended.\n# TYPE atr_calls_total counter\n",
        )?;
        for (tool, series) in &all {
            for (outcome, count) in ["answered", "refused", "failed"].into_iter().zip(&series.outcomes) {
                let count = count.load(Ordering::Relaxed);
                writeln!(text, "atr_calls_total{{tool=\"{}\",outcome=\"{outcome}\"}} {count}", Label(tool))?;
            }
        }
        text.write_str(
            "# HELP atr_call_seconds Time from call to answer.\n# TYPE atr_call_seconds histogram\n",
        )?;
        for (tool, series) in &all {
            series.write_times(tool, text)?;
        }
        Ok(())
    }
}

impl Series {
    fn record(&self, outcome: Outcome, took: Duration) {
        // `Relaxed`: counts order nothing else.
        let count = match (outcome, &self.outcomes) {
            (Outcome::Answered, [answered, _, _]) => answered,
            (Outcome::Refused, [_, refused, _]) => refused,
            (Outcome::Failed, [_, _, failed]) => failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        let bucket =
            micros.checked_next_power_of_two().map_or(BUCKETS, |bound| bound.trailing_zeros() as usize);
        self.buckets.get(bucket).unwrap_or(&self.slower).fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    fn calls(&self) -> u64 {
        self.outcomes.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn write_times(&self, tool: &str, text: &mut String) -> fmt::Result {
        let mut calls = 0;
        for (power, bucket) in self.buckets.iter().enumerate() {
            calls += bucket.load(Ordering::Relaxed);
            let seconds = (1u64 << power) as f64 / 1e6;
            writeln!(text, "atr_call_seconds_bucket{{tool=\"{}\",le=\"{seconds}\"}} {calls}", Label(tool))?;
        }
        calls += self.slower.load(Ordering::Relaxed);
        writeln!(text, "atr_call_seconds_bucket{{tool=\"{}\",le=\"+Inf\"}} {calls}", Label(tool))?;
        let seconds = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        writeln!(text, "atr_call_seconds_sum{{tool=\"{}\"}} {seconds}", Label(tool))?;
        writeln!(text, "atr_call_seconds_count{{tool=\"{}\"}} {calls}", Label(tool))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools = self.tools.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Metrics({} tools)", tools.len())
    }
}

/// The value of a label. No tool's name holds what has to be escaped, and nothing here relies on that.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|symbol| match symbol {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_labels_are_escaped() {
        assert_eq!(Label("a\"} 1\n\\").to_string(), "a\\\"} 1\\n\\\\");
    }

    #[test]
    fn a_series_is_small() {
        assert!(size_of::<Series>() <= 4096);
    }

    #[test]
    fn tools_beyond_the_cap_are_counted_together() {
        let metrics = Metrics::default();
        for number in 0..MAX_SERIES + 5 {
            let tool = format!("t{number}").parse().unwrap();
            metrics.record(&tool, Outcome::Answered, Duration::from_micros(1));
        }
        let text = metrics.to_prometheus();
        assert!(text.contains("atr_calls_total{tool=\"_other\",outcome=\"answered\"} 5\n"));
        assert_eq!(text.matches("outcome=\"answered\"").count(), MAX_SERIES + 1);
    }
}
