//! What a kernel counts of itself: one relaxed counter for each thing, raised in the step that puts it on record.

use std::sync::atomic::{AtomicU64, Ordering};

use agent_primitives::{Signal, Timestamp, Verdict};
use serde_json::{Value, json};

#[cfg(feature = "metrics")]
use super::meters;
use super::table::AgentState;
use super::{Inner, Kernel};
use crate::question::CallKind;
use crate::recorder::{Body, Decided, Head, Outcome};

/// What became of a call, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counted {
    /// It was allowed, by policy alone or with a human's consent.
    Allow,
    /// It was held for a human. Once there is an answer the same call counts again, as what became of it.
    Ask,
    /// Policy, or a human, refused it.
    Deny,
    /// It was allowed, and there was no room for it.
    Limit,
    /// It was malformed, or its agent could make no call.
    Invalid,
}

impl Counted {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Allow, Self::Ask, Self::Deny, Self::Limit, Self::Invalid];

    /// The word in the metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
            Self::Limit => "limit",
            Self::Invalid => "invalid",
        }
    }

    fn of(decision: &Decided<'_>) -> Self {
        match (decision.verdict, decision.reason) {
            (Verdict::Allow, None) => Self::Allow,
            (Verdict::Allow, Some(_)) => Self::Limit,
            (Verdict::Ask | Verdict::Deny, _) => Self::Deny,
        }
    }
}

/// The counters of one kernel.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: [[AtomicU64; 5]; 8],
    signals: [AtomicU64; 12],
    bytes: AtomicU64,
    judged: AtomicU64,
    reload_failures: AtomicU64,
    bugs: AtomicU64,
}

impl Counters {
    /// Counts an event that is about to be put on record.
    pub(super) fn count(&self, body: &Body<'_>) {
        match body {
            Body::Intent { request, .. } => self.call(request.call(), Counted::Allow),
            Body::Held { request, .. } => self.call(request.call(), Counted::Ask),
            Body::Refused { request, decision } => self.call(request.call(), Counted::of(decision)),
            Body::Question { decision, .. } => self.call(CallKind::CheckPolicy, asked(decision)),
            Body::Judged { request, decision, .. } => {
                add(&self.judged, 1);
                self.call(request.call(), Counted::of(decision));
            }
            Body::Rejected { syscall, .. } => self.numbered(*syscall, Counted::Invalid),
            Body::Repeated { syscall, .. } => self.numbered(*syscall, Counted::Deny),
            Body::Signal { signal, .. } => {
                #[cfg(feature = "metrics")]
                meters::signal(*signal);
                if let Some(count) = self.signals.get(usize::from(*signal).wrapping_sub(1)) {
                    add(count, 1);
                }
            }
            // The codes of what is nobody's fault but ours.
            Body::Outcome { outcome: Outcome::Failed { code, .. }, .. } if code.starts_with("AK99") => {
                self.bug();
            }
            Body::Panic { .. } => self.bug(),
            _ => {}
        }
    }

    pub(super) fn recorded(&self, bytes: usize) {
        add(&self.bytes, bytes as u64);
    }

    pub(super) fn reload_failed(&self) {
        #[cfg(feature = "metrics")]
        meters::reload_failed();
        add(&self.reload_failures, 1);
    }

    fn numbered(&self, number: u8, counted: Counted) {
        if let Some(kind) = CallKind::ALL.into_iter().find(|kind| kind.number() == number) {
            self.call(kind, counted);
        }
    }

    fn bug(&self) {
        #[cfg(feature = "metrics")]
        meters::bug();
        add(&self.bugs, 1);
    }

    fn call(&self, kind: CallKind, counted: Counted) {
        #[cfg(feature = "metrics")]
        meters::call(kind, counted);
        let row = self.calls.get(usize::from(kind.number()).wrapping_sub(1));
        if let Some(count) = row.and_then(|row| row.get(counted as usize)) {
            add(count, 1);
        }
    }
}

/// What a question was answered counts as that, also where the answer is to ask.
fn asked(decision: &Decided<'_>) -> Counted {
    if decision.verdict == Verdict::Ask { Counted::Ask } else { Counted::of(decision) }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

/// What a kernel has counted since it was built, and what it holds now. Counters only grow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls by kind and by what became of them; pairs that did not occur are left out.
    pub calls: Vec<(CallKind, Counted, u64)>,
    /// How many of the calls were judged for a host that carries them out elsewhere.
    pub judged: u64,
    /// Signals raised, by signal; those that were not are left out.
    pub signals: Vec<(Signal, u64)>,
    /// Live agents by what they are doing.
    pub agents: AgentCounts,
    /// Calls that have passed the gate and have no outcome yet.
    pub in_flight: u64,
    /// Tickets that wait for an answer.
    pub approvals_pending: u64,
    /// Length of the record and hash of its last entry.
    pub head: Head,
    /// Encoded bytes of the events that this kernel has recorded.
    pub record_bytes: u64,
    /// Which policy set is in force.
    pub policy_generation: u64,
    /// Policies that were offered and did not come into force.
    pub reload_failures: u64,
    /// What should not have happened: services of the kernel's own that panicked, promises that could not be kept. A tool
    /// that panics is not among them.
    pub bugs: u64,
    /// When this was counted.
    pub time: Timestamp,
}

/// Live agents by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentCounts {
    /// No call in flight.
    pub ready: u64,
    /// At least one call in flight.
    pub running: u64,
    /// All calls in flight wait for a human.
    pub waiting: u64,
    /// Stopped.
    pub stopped: u64,
}

impl Metrics {
    /// How many calls were refused, by policy or for want of room.
    #[must_use]
    pub fn denials(&self) -> u64 {
        let refused = |counted| matches!(counted, Counted::Deny | Counted::Limit);
        self.calls.iter().filter(|(_, counted, _)| refused(*counted)).map(|(_, _, count)| count).sum()
    }

    /// The metrics as one JSON object, to which fields may be added.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let calls: Vec<Value> = self
            .calls
            .iter()
            .map(|(kind, counted, count)| {
                json!({"syscall": kind.name(), "verdict": counted.name(), "count": count})
            })
            .collect();
        let signals: serde_json::Map<String, Value> =
            self.signals.iter().map(|(signal, count)| (signal.name().to_owned(), (*count).into())).collect();
        let AgentCounts { ready, running, waiting, stopped } = self.agents;
        json!({
            "calls": calls, "denials": self.denials(), "judged": self.judged, "signals": signals,
            "agents": {"ready": ready, "running": running, "waiting": waiting, "stopped": stopped},
            "in_flight": self.in_flight, "approvals_pending": self.approvals_pending,
            "record": {"head": self.head.to_string(), "bytes": self.record_bytes},
            "policy_generation": self.policy_generation, "reload_failures": self.reload_failures,
            "bugs": self.bugs, "time": self.time.to_string(),
        })
    }
}

impl Kernel {
    /// What the kernel has counted so far. The counters are read one after another, while others may raise them; the cost
    /// grows with the number of live agents.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.inner.metrics()
    }
}

impl Inner {
    fn metrics(&self) -> Metrics {
        let counters = &self.counters;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut calls = Vec::new();
        for (kind, row) in CallKind::ALL.into_iter().zip(&counters.calls) {
            let counts = Counted::ALL.into_iter().zip(row.iter().map(read));
            calls.extend(
                counts.filter(|(_, count)| 0 < *count).map(|(counted, count)| (kind, counted, count)),
            );
        }
        let signals = Signal::ALL.into_iter().zip(counters.signals.iter().map(read));
        let (mut agents, mut in_flight) = (AgentCounts::default(), 0);
        for agent in self.table.all_live() {
            in_flight += agent.word.load().in_flight();
            match agent.state() {
                AgentState::Ready => agents.ready += 1,
                AgentState::Running => agents.running += 1,
                AgentState::Waiting { .. } => agents.waiting += 1,
                AgentState::Stopped { .. } => agents.stopped += 1,
                AgentState::Zombie(_) => {}
            }
        }
        Metrics {
            calls,
            judged: read(&counters.judged),
            signals: signals.filter(|(_, count)| 0 < *count).collect(),
            agents,
            in_flight,
            approvals_pending: self.desk.as_ref().map_or(0, |desk| desk.pending()),
            head: self.recorder.head(),
            record_bytes: read(&counters.bytes),
            policy_generation: self.policies.current().generation,
            reload_failures: read(&counters.reload_failures),
            bugs: read(&counters.bugs),
            time: self.timer.now(),
        }
    }
}
