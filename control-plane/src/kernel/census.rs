//! What an operator sees of the agents.

use agent_primitives::AgentId;
use serde_json::{Value, json};

use super::Inner;
use super::table::{Agent, AgentState};

impl Inner {
    /// Every live agent in order of its name, as an operator sees it.
    pub(crate) fn census(&self) -> Vec<Value> {
        let mut agents = self.table.all_live();
        agents.sort_by(|one, other| one.id.cmp(&other.id));
        for agent in &agents {
            self.enforce_grace(agent);
        }
        agents.iter().filter(|agent| agent.ended().is_none()).map(|agent| line(agent)).collect()
    }
}

fn line(agent: &Agent) -> Value {
    let state = match agent.state() {
        AgentState::Ready => "ready",
        AgentState::Running => "running",
        AgentState::Waiting { .. } => "waiting",
        AgentState::Stopped { .. } => "stopped",
        AgentState::Zombie(_) => "zombie",
    };
    let budgets: Vec<Value> = agent
        .accounts
        .states()
        .iter()
        .map(|one| json!({"account": one.level, "resource": one.resource, "used": one.used, "limit": one.limit}))
        .collect();
    let id: &AgentId = &agent.id;
    json!({
        "agent": id, "generation": agent.generation, "state": state, "tenant": agent.tenant,
        "in_flight": agent.word.load().in_flight(), "parked": agent.parked.load(std::sync::atomic::Ordering::Relaxed),
        "labels": agent.turn.lock().labels.iter().count(), "budgets": budgets, "dry_run": agent.dry_run,
        "policy_generation": agent.footing.generation(),
    })
}
