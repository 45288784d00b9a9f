//! What peers are handed and what they hand back: JSON on standard input and output, as `peers/README.md` says.

use serde::{Deserialize, Serialize};

use crate::workload::{Request, Rule, ToolCalls};

/// The document on a peer's standard input.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Task<'w> {
    rules: &'w [Rule],
    requests: &'w [Request],
    rounds: u32,
}

impl<'w> Task<'w> {
    /// A workload, to be asked `rounds` times for the mean and as often for the percentiles.
    #[must_use]
    pub fn new(workload: &'w ToolCalls, rounds: u32) -> Self {
        Self { rules: &workload.rules, requests: &workload.requests, rounds }
    }
}

/// The document on its standard output.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// One row per peer and operation.
    pub peers: Vec<Row>,
}

/// One operation of one peer.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    /// The peer and its version.
    pub name: String,
    /// The operation.
    pub what: String,
    /// What it answered to each request: is it allowed?
    pub verdicts: Vec<bool>,
    /// Median of the calls timed singly, in nanoseconds.
    pub p50_ns: f64,
    /// 99th percentile of the same.
    pub p99_ns: f64,
    /// Nanoseconds a call, from batches.
    pub mean_ns: f64,
    /// Calls per second on one thread.
    pub throughput_per_s: f64,
    /// What the peer cannot express.
    pub note: String,
}

/// Where a peer's verdicts are not the expected ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Requests it allows and should not.
    pub wrongly_allowed: Vec<usize>,
    /// Requests it denies and should not.
    pub wrongly_denied: Vec<usize>,
}

impl Differences {
    /// Holds one list against the other, by position. `None` if they differ in length.
    #[must_use]
    pub fn between(expected: &[bool], given: &[bool]) -> Option<Self> {
        if expected.len() != given.len() {
            return None;
        }
        let mut differences = Self::default();
        for (position, (expected, given)) in expected.iter().zip(given).enumerate() {
            match (expected, given) {
                (false, true) => differences.wrongly_allowed.push(position),
                (true, false) => differences.wrongly_denied.push(position),
                _ => {}
            }
        }
        Some(differences)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.wrongly_allowed.len() + self.wrongly_denied.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_apart_by_what_they_allow() {
        let found = Differences::between(&[true, true, false, false], &[true, false, true, false]).unwrap();
        assert_eq!(found, Differences { wrongly_allowed: vec![2], wrongly_denied: vec![1] });
        assert_eq!(found.count(), 2);
        assert_eq!(Differences::between(&[true], &[]), None);
    }

    #[test]
    fn a_task_is_the_document_peers_read() {
        let workload = ToolCalls::new(10);
        let task = serde_json::to_value(Task::new(&workload, 7)).unwrap();
        assert_eq!(task["rounds"], 7);
        assert_eq!(task["rules"][0]["tool"], "tool_0");
        assert!(task["requests"][0]["arguments"].is_object());
        assert_eq!(task.as_object().unwrap().len(), 3);
    }
}
