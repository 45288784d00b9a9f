//! What a kernel tells the `metrics` facade. Behind the feature `metrics`; the names and labels are the contract that
//! `docs/metrics.md` shows. Names of agents, tools, paths and arguments are never labels.

use std::time::Duration;

use agent_primitives::{Resource, Signal, Verdict};
use metrics::{counter, gauge, histogram};

use super::metrics::Counted;
use crate::question::CallKind;

pub(super) fn call(kind: CallKind, counted: Counted) {
    counter!("agent_os_syscalls_total", "syscall" => kind.name(), "verdict" => counted.name()).increment(1);
}

pub(super) fn signal(number: u8) {
    if let Some(signal) = Signal::from_number(number) {
        counter!("agent_os_signals_total", "signal" => signal.name()).increment(1);
    }
}

pub(super) fn bug() {
    counter!("agent_os_bugs_total").increment(1);
}

pub(super) fn reload_failed() {
    counter!("agent_os_policy_reload_failures_total").increment(1);
}

pub(super) fn policy_generation(generation: u64) {
    gauge!("agent_os_policy_generation").set(generation as f64);
}

pub(super) fn approvals_pending(pending: u64) {
    gauge!("agent_os_approvals_pending").set(pending as f64);
}

/// A human has answered, `waited` after being asked.
pub(crate) fn approval_answered(waited: Duration) {
    histogram!("agent_os_approval_wait_seconds").record(waited.as_secs_f64());
}

pub(super) fn recorder_lag(entries: u64) {
    gauge!("agent_os_recorder_lag_entries").set(entries as f64);
}

pub(super) fn reserved(resource: Resource, amount: u64) {
    gauge!("agent_os_budget_reserved", "resource" => resource.to_string()).increment(amount as f64);
}

pub(super) fn given_back(resource: Resource, amount: u64) {
    gauge!("agent_os_budget_reserved", "resource" => resource.to_string()).decrement(amount as f64);
}

pub(super) fn decided(took: Duration) {
    histogram!("agent_os_decision_seconds").record(took.as_secs_f64());
}

pub(super) fn appended(took: Duration) {
    histogram!("agent_os_recorder_append_seconds").record(took.as_secs_f64());
}

pub(super) fn diverged(from: Verdict, to: Verdict) {
    let word = |verdict| match verdict {
        Verdict::Allow => "allow",
        Verdict::Ask => "ask",
        Verdict::Deny => "deny",
    };
    counter!("agent_os_shadow_divergence_total", "from" => word(from), "to" => word(to)).increment(1);
}
