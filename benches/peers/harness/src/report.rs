//! The document on standard output.

use serde::{Deserialize, Serialize};

use crate::measure::Measurement;

/// What all peers answered and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// One row per peer and operation.
    pub peers: Vec<Row>,
}

/// One operation of one peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The peer and its version.
    pub name: String,
    /// The operation measured.
    pub what: String,
    /// What the peer answered, `true` for allowed, in the order of the requests.
    pub verdicts: Vec<bool>,
    /// Median of the calls timed singly, nanoseconds, the timer's own cost taken off.
    pub p50_ns: u64,
    /// 99th percentile of the same.
    pub p99_ns: u64,
    /// Nanoseconds per call in batches, the median of the batches' means.
    pub mean_ns: f64,
    /// Calls per second on one thread, from `mean_ns`.
    pub throughput_per_s: f64,
    /// What the peer cannot express, how it was driven, and how many calls stand behind the figures.
    pub note: String,
}

impl Row {
    /// Puts a name to a measurement; what the note must say of it is added here.
    #[must_use]
    pub fn new(name: &str, what: &str, measured: Measurement, note: &str) -> Self {
        let note = format!(
            "{note}; percentiles over {} calls timed singly, {} ns of timer taken off each; mean over {} calls in {} batches, median of batch means",
            measured.timed_calls, measured.timer_ns, measured.batch_calls, measured.batches
        );
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            verdicts: measured.verdicts,
            p50_ns: measured.p50_ns,
            p99_ns: measured.p99_ns,
            mean_ns: measured.mean_ns,
            throughput_per_s: 1e9 / measured.mean_ns,
            note,
        }
    }
}
