//! Diagnostics: what an agent is doing and holds right now, for whoever wants to know why it does not get on.
//!
//! They say nothing of other agents but which of them are its children, and nothing of the host.

use agent_primitives::AgentId;
use serde_json::{Value, json};

use super::checkpoint::own_budgets;
use super::table::{Agent, AgentState, Was};
use super::{Inner, Kernel};

/// Most of its latest events that the diagnostics of an agent show.
pub const MAX_SHOWN_EVENTS: usize = 32;
/// Most open files, and most calls under way, that they show; the counts are of all.
pub const MAX_SHOWN: usize = 256;

impl Kernel {
    /// What a live agent is doing and holds, as `SIGUSR2` writes it; `None` when there is no such agent.
    #[must_use]
    pub fn diagnose(&self, agent: &AgentId) -> Option<Value> {
        self.inner.table.live(agent.as_str()).map(|cell| self.inner.diagnose(&cell))
    }
}

impl Inner {
    pub(super) fn diagnose(&self, agent: &Agent) -> Value {
        let seen = agent.word.load();
        let events = agent.trail.to_json();
        let open = agent.files.open_files();
        let files = |open: &[_]| -> Vec<Value> { open.iter().take(MAX_SHOWN).map(descriptor).collect() };
        let mounts = agent.files.mounted();
        let mounts = mounts.iter().map(|(point, access)| json!({"point": point.as_str(), "access": access}));
        let children = agent.children.alive();
        let latest = events.len().saturating_sub(MAX_SHOWN_EVENTS);
        json!({
            "version": 1,
            "agent": agent.id,
            "tenant": agent.tenant,
            "taken": self.timer.now().to_string(),
            "state": state(&agent.state()),
            "in_flight": seen.in_flight(),
            "parked": agent.parked.load(std::sync::atomic::Ordering::SeqCst),
            "calls": calls(&events),
            "waiting": agent.waiting.tickets(),
            "masked": seen.masked().iter().collect::<Vec<_>>(),
            "pending": seen.pending().iter().collect::<Vec<_>>(),
            "labels": self.carried_by(agent),
            "budgets": own_budgets(agent),
            "policy_generation": agent.footing.with(|standing| standing.generation),
            "descriptors": open.as_ref().map_or(Value::Null, |open| files(open).into()),
            "mounts": mounts.collect::<Vec<_>>(),
            "children": children.iter().map(|child| child.id.as_str()).collect::<Vec<_>>(),
            "events": events.get(latest..).unwrap_or_default(),
        })
    }
}

fn descriptor(open: &crate::vfs::namespace::snapshot::Opened) -> Value {
    json!({"descriptor": open.descriptor, "path": open.path.as_str(), "flags": open.flags, "position": open.position})
}

fn state(state: &AgentState) -> Value {
    match state {
        AgentState::Ready => json!("ready"),
        AgentState::Running => json!("running"),
        AgentState::Waiting { ticket } => json!({"waiting": ticket}),
        AgentState::Stopped { was: Was::Ready } => json!({"stopped": "ready"}),
        AgentState::Stopped { was: Was::Running } => json!({"stopped": "running"}),
        AgentState::Zombie(status) => json!({"ended": status.to_string()}),
    }
}

/// The calls that the latest events know to be under way: what is called, and since when it was judged.
fn calls(events: &[Value]) -> Vec<Value> {
    let of = |event: &Value| event.get("call").and_then(Value::as_u64).filter(|call| *call != 0);
    let is = |event: &Value, kinds: &[&str]| {
        event.get("kind").and_then(Value::as_str).is_some_and(|kind| kinds.contains(&kind))
    };
    let over: Vec<u64> =
        events.iter().filter(|event| is(event, &["outcome", "refused", "rejected"])).filter_map(of).collect();
    let open = |event: &&Value| {
        is(event, &["intent", "held"]) && of(event).is_some_and(|call| !over.contains(&call))
    };
    let line = |event: &Value| {
        let request = event.get("request");
        let what = ["tool", "path", "to"].iter().find_map(|key| request?.get(key));
        json!({"call": event.get("call"), "syscall": event.get("syscall"), "what": what,
            "since": event.get("time"), "held": is(event, &["held"])})
    };
    events.iter().filter(open).take(MAX_SHOWN).map(line).collect()
}
